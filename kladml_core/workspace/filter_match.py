"""Whether a run matches a filter, in plain Python: the meaning of the language, which the SQL is held to."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

from kladml_core.workspace.filters import (
    Equal,
    Filter,
    Has,
    Not,
    Number,
    Star,
    Status,
    Term,
    Text,
    Within,
    Word,
    number,
)
from kladml_core.workspace.rows import RunRow
from kladml_core.workspace.values import fold, lookup, number_of, param_text

Test = Callable[[RunRow], bool]

_SIGNS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
}
CONTAINED = frozenset({"note", "reason"})
"""Text fields of which a part is enough."""


def matching(rows: Iterable[RunRow], chosen: Filter) -> list[RunRow]:
    """The runs that match, in their order."""
    test = matcher(chosen)
    return [row for row in rows if test(row)]


def matcher(chosen: Filter) -> Test:
    """A function that says whether a run matches; parameters are asked only where `RunRow.params` holds them."""
    tests = [_test(term) for term in chosen.terms]
    if len(tests) == 1:
        return tests[0]
    return lambda row: all(test(row) for test in tests)


def words_of(row: RunRow) -> str:
    """What bare words are looked for in."""
    return fold("\n".join((row.reference, row.status.word, row.note, *row.tags)))


def text_matches(pattern: str, text: str) -> bool:
    """Whether a text is what a pattern says; `*` is anything, case does not matter."""
    return _pattern(fold(pattern)).fullmatch(fold(text)) is not None


@lru_cache(256)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text.split("*"))), re.DOTALL)


def compares(value: object, sign: str, wanted: float) -> bool:
    """Whether a value is a number that stands so to another."""
    found = number_of(value)
    if found is None:
        return False
    if math.isnan(wanted) or math.isnan(found):
        same = math.isnan(wanted) and math.isnan(found)
        return same if sign == "=" else sign == "!=" and not same
    return found != wanted if sign == "!=" else _SIGNS[sign](found, wanted)


def equals(value: object, text: str) -> bool:
    """Whether a metric's value or a parameter is what a text says."""
    found, wanted = number_of(value), number(text)
    if found is not None and wanted is not None:
        return compares(found, "=", wanted)
    return text_matches(text, param_text(value))


def _test(term: Term) -> Test:
    match term:
        case Not(inner):
            test = _test(inner)
            return lambda row: not test(row)
        case Word(text):
            wanted = fold(text)
            return lambda row: wanted in words_of(row)
        case Status(words):
            stati = frozenset(words)
            return lambda row: row.status.word in stati
        case Star(starred):
            return lambda row: row.star is starred
        case Text(field, texts):
            return _text(field, texts)
        case Has(value):
            get = lookup(value)
            return lambda row: get(row) not in (None, "", ())
        case Number(value, sign, wanted_number):
            get = lookup(value)
            return lambda row: compares(get(row), sign, wanted_number)
        case Within(value, begin, end, inside):
            get = lookup(value)
            return lambda row: (found := number_of(get(row))) is not None and (begin <= found < end) is inside
        case Equal(value, texts, wanted_equal):
            get = lookup(value)
            return lambda row: (
                (found := get(row)) is not None and any(equals(found, text) for text in texts) is wanted_equal
            )


def _text(field: str, texts: tuple[str, ...]) -> Test:
    if field == "tags":
        return lambda row: any(text_matches(text, tag) for text in texts for tag in row.tags)
    if field == "name":
        return lambda row: any(text_matches(f"*/{text}", f"/{row.reference}") for text in texts)
    get = lookup_text(field)
    if field in CONTAINED:
        folded = tuple(map(fold, texts))
        return lambda row: any(text in fold(get(row)) for text in folded)
    return lambda row: any(text_matches(text, get(row)) for text in texts)


def lookup_text(field: str) -> Callable[[RunRow], str]:
    """A function that gives a text field of a run, empty where it has none."""
    from kladml_core.workspace.values import Value

    get = lookup(Value("field", field))
    return lambda row: str(get(row) or "")
