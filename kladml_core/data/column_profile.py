"""What is found out about one column while its rows go by: counts, range, mean, distinct values, a histogram."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from typing import Any

import numpy as np

from kladml_core.data.histogram import Histogram

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
"""What a cell of a CSV file says that has no value."""
TEXT_CHARACTERS = 60
"""Of a text, what is kept to be shown."""
_NUMBER = r"^\s*[+-]?((\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|(?i:inf|infinity))\s*$"
_WHOLE = r"^\s*[+-]?\d+\s*$"
_WORDS = 12


class ColumnProfile:
    """One column.

    Args:
        name: its name.
        dtype: its type as the format says it; "" where the cells are texts that may be numbers.
        shape: of one row.
        distinct: up to how many distinct values are told apart.
    """

    def __init__(self, name: str, dtype: str, shape: tuple[int, ...], distinct: int) -> None:
        self.name, self.dtype, self.shape = name, dtype, shape
        self._limit = distinct
        self._counts: Counter[Any] | None = Counter()
        self._histogram = Histogram()
        self._numbers = self._missing = self._infinite = self._texts = 0
        self._mean = self._squares = 0.0
        self._least, self._greatest = math.inf, -math.inf
        self._whole = True
        self._longest = 0

    def add_numbers(self, values: np.ndarray[Any, Any]) -> None:
        """Values of any numeric type and shape; NaN counts as missing."""
        flat = values.reshape(-1)
        counted = flat
        if flat.dtype.kind == "f":
            here = ~np.isnan(flat)
            self._missing += int(flat.size - np.count_nonzero(here))
            counted = flat[here]
            finite = np.isfinite(counted)
            self._infinite += int(counted.size - np.count_nonzero(finite))
            self._add_finite(counted[finite].astype(np.float64))
        else:
            self._add_finite(flat.astype(np.float64))
        self._count(counted)

    def add_texts(self, texts: Any, *, parse: bool) -> None:
        """A pyarrow array of texts, its nulls missing; with `parse` what is written as a number counts as one."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if texts.null_count:
            self._missing += texts.null_count
            texts = texts.drop_null()
        if parse:
            absent = pc.is_in(pc.utf8_trim_whitespace(texts), pa.array(MISSING))
            self._missing += pc.sum(absent).as_py() or 0
            texts = texts.filter(pc.invert(absent))
            numeric = pc.match_substring_regex(texts, _NUMBER)
            numbers = pc.utf8_trim_whitespace(texts.filter(numeric))
            if len(numbers):
                self._whole = self._whole and bool(pc.all(pc.match_substring_regex(numbers, _WHOLE)).as_py())
                # Arrow reads no leading plus.
                values = (
                    pc.replace_substring_regex(numbers, r"^\+", "").cast(pa.float64()).to_numpy(zero_copy_only=False)
                )
                self.add_numbers(values)
            texts = texts.filter(pc.invert(numeric))
        if not len(texts):
            return
        self._texts += len(texts)
        self._longest = max(self._longest, int(pc.max(pc.utf8_length(texts)).as_py()))
        if self._counts is not None:
            found = pc.value_counts(texts)
            if len(found) > self._limit:
                self._counts = None
            else:
                for text, count in zip(
                    found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True
                ):
                    self._counts[_kept(text)] += count
                self._forget_if_many()

    def add_nulls(self, count: int) -> None:
        """Rows without a value."""
        self._missing += count

    def add_nothing(self, rows: int) -> None:
        """Rows of a type of which nothing is summarised."""
        self._texts += rows
        self._counts = None

    def result(self) -> dict[str, Any]:
        """The column as `examination` reads it."""
        numbers = self._numbers > 0
        dtype = self.dtype or self._found_type()
        bins, low, high = self._histogram.bins(whole=_is_whole(dtype))
        deviation = math.sqrt(self._squares / self._numbers) if numbers else None
        counts = self._counts
        return {
            "name": self.name,
            "dtype": dtype,
            "shape": list(self.shape),
            "numbers": self._numbers,
            "texts": self._texts,
            "missing": self._missing,
            "infinite": self._infinite,
            "least": self._least if numbers else None,
            "mean": self._mean if numbers else None,
            "greatest": self._greatest if numbers else None,
            "deviation": deviation,
            "distinct": None if counts is None else len(counts),
            "distinct_limit": self._limit,
            "bins": list(bins),
            "low": low,
            "high": high,
            "longest": self._longest,
            "words": [[_word(value), count] for value, count in (counts or Counter()).most_common(_WORDS)],
        }

    def classes(self) -> list[list[Any]] | None:
        """Each distinct value and how many rows have it, numbers in their order.

        Returns:
            None where there are too many, or the values are no classes: numbers with fractions, or in several shapes.
        """
        dtype = self.dtype or self._found_type()
        if not self._counts or self.shape or not (self._texts or _is_whole(dtype)):
            return None
        ordered = sorted(self._counts.items(), key=lambda item: (isinstance(item[0], tuple), item[0]))
        return [[_word(value), count] for value, count in ordered]

    def _found_type(self) -> str:
        if self._texts and self._numbers:
            return "mixed"
        if self._texts:
            return "text"
        if not self._numbers and not self._infinite:
            return "empty"
        return "int64" if self._whole and not self._infinite else "float64"

    def _add_finite(self, values: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        if not values.size:
            return
        self._least, self._greatest = min(self._least, float(values.min())), max(self._greatest, float(values.max()))
        # Chan, Golub and LeVeque (1979): the mean and the sum of squares of two parts give those of the whole.
        with np.errstate(over="ignore", invalid="ignore"):
            size, before = values.size, self._numbers
            mean = float(values.mean())
            squares = float(np.square(values - mean).sum())
            shift = mean - self._mean
            self._mean += shift * (size / (before + size))
            self._squares += squares + shift * shift * (before * size / (before + size))
        self._numbers += size
        self._histogram.add(values)

    def _count(self, values: np.ndarray[Any, Any]) -> None:
        if self._counts is None:
            return
        # Few look like many only where they are many: a part is enough to stop counting early.
        if values.size > 8 * self._limit and np.unique(values[: 4 * self._limit]).size > self._limit:
            self._counts = None
            return
        distinct, counts = np.unique(values, return_counts=True)
        if distinct.size > self._limit:
            self._counts = None
            return
        for value, count in zip(distinct.tolist(), counts.tolist(), strict=True):
            self._counts[value] += count
        self._forget_if_many()

    def _forget_if_many(self) -> None:
        if self._counts is not None and len(self._counts) > self._limit:
            self._counts = None


def _is_whole(dtype: str) -> bool:
    return dtype.lower().startswith(("int", "uint", "bool", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"))


def _kept(text: str) -> tuple[str, str]:
    """A text as it is told apart and shown: one too long by its beginning and its hash."""
    if len(text) <= TEXT_CHARACTERS:
        return text, ""
    return text[: TEXT_CHARACTERS - 1] + "…", hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _word(value: Any) -> str:
    if isinstance(value, tuple):
        return str(value[0])
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)
