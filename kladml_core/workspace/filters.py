"""The language in which runs are asked for, on the screen and by commands: a text becomes a frozen `Filter`.

    status:running,stalled      any of these; `live` and `ended` too
    val/loss<0.05               a metric's last value, or a parameter; best:val/loss, min:, max:, last: are a metric's
    model.params.width>=32      a parameter, or param:width; != and = too; text by = with * for anything
    tag:baseline                a tag; note:, project:, family:, experiment:, name:, reason: likewise
    star:yes  has:val/loss      a star; whether there is such a metric or parameter
    created>=2026-01-31  age<7d  duration>1h30m  step>=1000  exit:70
    word  "two words"           anywhere in reference, status, note or tags
    -term                       runs that the term does not match

All terms must match. Names and words with blanks or signs stand in double quotes, `\\"` is a quote within them.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches

from kladml_core.config.durations import seconds
from kladml_core.errors import ConfigError
from kladml_core.runs.status import LIVE, STATUSES
from kladml_core.workspace.filter_words import Part, cut
from kladml_core.workspace.values import NUMBERS, SPANS, TIMES, Value, value_named

STATUS_WORDS = (*STATUSES, "stalled", "silent")
_GROUPS = {"live": (*sorted(LIVE), "stalled", "silent"), "ended": tuple(sorted({*STATUSES} - LIVE))}
_TEXTS = frozenset({"name", "project", "family", "experiment", "tags", "note", "reason"})
_NUMBER = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?\.?(inf|nan)", re.IGNORECASE)
_TIMES = (("%Y-%m-%dT%H:%M:%S", 1), ("%Y-%m-%dT%H:%M", 60), ("%Y-%m-%d", 86400))


class FilterError(ConfigError):
    """A filter that cannot be understood.

    Args:
        message: what is wrong.
        position: where, counted from 0, in the text of the filter.
        hint: what to do about it.
    """

    def __init__(self, message: str, position: int, *, hint: str | None = None) -> None:
        super().__init__(f"the filter is wrong at character {position + 1}: {message}", hint=hint)
        self.what = message
        self.position = position


@dataclass(frozen=True)
class Word:
    """A text that must stand somewhere in reference, status, note or tags."""

    text: str


@dataclass(frozen=True)
class Status:
    """One of these statuses."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class Text:
    """A field that is, or has as a tag, one of these texts; `*` is anything. A note or reason need only contain it."""

    field: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Star:
    """A star, or none."""

    wanted: bool


@dataclass(frozen=True)
class Has:
    """There is such a value."""

    value: Value


@dataclass(frozen=True)
class Number:
    """A value compared with a number. NaN is neither less nor greater than anything, and equal to NaN alone."""

    value: Value
    sign: str
    """One of < <= > >= = !=."""
    number: float


@dataclass(frozen=True)
class Within:
    """A time in a stretch of time: from the first moment on, before the second."""

    value: Value
    begin: float
    end: float
    wanted: bool = True


@dataclass(frozen=True)
class Equal:
    """A metric or parameter that is one of these: as a number where both are numbers, else as a text with `*`."""

    value: Value
    texts: tuple[str, ...]
    wanted: bool = True
    """False: that has a value, which is none of these."""


@dataclass(frozen=True)
class Not:
    """What the term does not match."""

    term: Term


Term = Word | Status | Text | Star | Has | Number | Within | Equal | Not


@dataclass(frozen=True)
class Filter:
    """Terms that must all match; none match every run."""

    terms: tuple[Term, ...] = ()
    text: str = ""
    """As it was written."""

    def __bool__(self) -> bool:
        return bool(self.terms)

    @property
    def values(self) -> tuple[Value, ...]:
        """The metrics and parameters that the filter asks for."""
        found = (term.term if isinstance(term, Not) else term for term in self.terms)
        return tuple(term.value for term in found if isinstance(term, Has | Number | Within | Equal))


def parse(text: str) -> Filter:
    """Reads a filter.

    Raises:
        FilterError: it cannot be understood; says where and what to do.
    """
    return Filter(tuple(_term(part) for part in cut(text, FilterError)), text)


def parse_words(words: Sequence[str]) -> Filter:
    """Reads the words of a command line as one filter; raises as `parse`."""
    return parse(" ".join(words))


def number(text: str) -> float | None:
    """The number that a text says, NaN and the infinities included; None where it is none."""
    if not _NUMBER.fullmatch(text):
        return None
    return float(text.replace("_", "").replace(".inf", "inf").replace(".nan", "nan").lower())


def _term(part: Part) -> Term:
    term = Word(part.values[0]) if part.key is None else _pair(part)
    return Not(term) if part.negated else term


def _pair(part: Part) -> Term:
    key, sign = part.key or "", part.sign
    if part.prefix is None and key == "has" and sign == ":":
        return Has(_value(part, part.values[0]))
    value = _value(part, key)
    if value.kind != "field":
        return _measured(part, value)
    name = value.name
    if name in TIMES or name in SPANS or name in NUMBERS:
        return _moment(part, value) if name in TIMES else _amount(part, value)
    if sign not in (":", "=", "!="):
        raise FilterError(f"{key} has no order, it cannot be {sign}", part.sign_at, hint=f"Write {key}:…")
    term: Term
    if name == "status":
        term = Status(tuple(word for text in part.values for word in _statuses(part, text)))
    elif name == "star":
        term = Star(_yes(part))
    else:
        term = Text(name, part.values)
    return Not(term) if sign == "!=" else term


def _value(part: Part, name: str) -> Value:
    if part.prefix is not None:
        return Value("param", name) if part.prefix == "param" else Value("metric", name, part.prefix)
    if part.key_quoted:
        return Value("either", name)
    try:
        return value_named(name)
    except ConfigError as error:
        raise FilterError(error.message, part.at, hint=error.hint) from None


def _measured(part: Part, value: Value) -> Term:
    """A metric or a parameter."""
    if part.sign in (":", "=", "!="):
        return Equal(value, part.values, part.sign != "!=")
    found = number(part.values[0]) if len(part.values) == 1 else None
    if found is None:
        raise FilterError(
            f"{part.key} {part.sign} needs a number, not {part.written!r}",
            part.value_at,
            hint="Text is compared by = or !=",
        )
    return Number(value, part.sign, found)


def _amount(part: Part, value: Value) -> Term:
    """A number or a stretch of time."""
    found = number(part.values[0]) if len(part.values) == 1 else None
    if found is None and value.name in SPANS:
        found = seconds(part.values[0])
    if found is None or math.isnan(found):
        what = "a time such as 90s, 1h30m or 7d" if value.name in SPANS else "a number"
        raise FilterError(f"{part.key} is compared with {what}, not {part.written!r}", part.value_at)
    return Number(value, "=" if part.sign == ":" else part.sign, found)


def _moment(part: Part, value: Value) -> Term:
    """A day, a minute or a second, in local time."""
    text = part.written.replace(" ", "T")
    for form, length in _TIMES:
        try:
            begin = datetime.strptime(text, form)
            first, last = begin.timestamp(), (begin + timedelta(seconds=length)).timestamp()
        except (ValueError, OverflowError, OSError):
            continue
        if part.sign in (":", "=", "!="):
            return Within(value, first, last, part.sign != "!=")
        # After a day is from the next one on; up to a day is all of it.
        sign, at = {">": (">=", last), ">=": (">=", first), "<": ("<", first), "<=": ("<", last)}[part.sign]
        return Number(value, sign, at)
    today = time.strftime("%Y-%m-%d")
    hint = f"Write {part.key}>={today} or {part.key}>={today}T12:00; how long ago it was is age<7d"
    raise FilterError(f"{part.written!r} is no date", part.value_at, hint=hint)


def _statuses(part: Part, text: str) -> tuple[str, ...]:
    word = text.lower()
    if word in _GROUPS:
        return _GROUPS[word]
    if word in STATUS_WORDS:
        # A run that does not get on is running all the same.
        return ("running", "stalled", "silent") if word == "running" else (word,)
    close = get_close_matches(word, (*STATUS_WORDS, *_GROUPS), n=1)
    hint = f"Did you mean {close[0]}?" if close else f"It is one of {', '.join((*STATUS_WORDS, *_GROUPS))}"
    raise FilterError(f"there is no status {text!r}", part.value_at, hint=hint)


def _yes(part: Part) -> bool:
    word = part.written.lower()
    if word in ("yes", "true", "1"):
        return True
    if word in ("no", "false", "0"):
        return False
    raise FilterError(f"star is yes or no, not {part.written!r}", part.value_at)
