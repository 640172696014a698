"""Cuts the text of a filter into its parts: key, sign and values, with where each stands and what was in quotes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kladml_core.errors import KladMLError

PREFIXES = frozenset({"last", "best", "min", "max", "param"})
_SIGNS = ("<=", ">=", "!=", "==", "<", ">", "=", ":")
Fault = Callable[..., KladMLError]


@dataclass(frozen=True)
class Part:
    """One term as it is written."""

    at: int
    """Where it begins, from 0."""
    negated: bool
    prefix: str | None
    """`best` of `best:val/loss`; None where there is none."""
    key: str | None
    """None of a bare word."""
    key_quoted: bool
    sign: str
    """One of : = != < <= > >=; empty of a bare word."""
    sign_at: int
    values: tuple[str, ...]
    value_at: int

    @property
    def written(self) -> str:
        """The values as they stand behind the sign, without their quotes."""
        return ",".join(self.values)


def cut(text: str, fault: Fault) -> list[Part]:
    """The terms of a text.

    Args:
        fault: makes the error to raise of a message, a position and a `hint`.

    Raises:
        KladMLError: made by `fault`: a quote is not closed, a sign has nothing before or behind it.
    """
    return _Cutter(text, fault).parts()


def quoted(text: str) -> str:
    """The text as a filter takes it whole: in quotes where it needs them."""
    plain = text and not any(character.isspace() or character in '<>=:!,"\\*' for character in text)
    if plain and not text.startswith("-"):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class _Cutter:
    """Goes through the text once."""

    def __init__(self, text: str, fault: Fault) -> None:
        self._text = text
        self._fault = fault
        self._at = 0

    def parts(self) -> list[Part]:
        found: list[Part] = []
        while True:
            while self._next.isspace():
                self._at += 1
            if not self._next:
                return found
            found.append(self._part())

    @property
    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _part(self) -> Part:
        at = self._at
        negated = self._next == "-"
        self._at += negated
        start = self._at
        name, was_quoted = self._piece(stops="<>=:!")
        prefix = None
        if (
            name in PREFIXES
            and not was_quoted
            and self._next == ":"
            and self._text[self._at + 1 : self._at + 2].strip()
        ):
            self._at += 1
            prefix = name
            name, was_quoted = self._piece(stops="<>=:!")
        sign_at = self._at
        sign = next((one for one in _SIGNS if self._text.startswith(one, self._at)), "")
        if not sign:
            if prefix is not None:
                raise self._fault(f"{prefix}:{name} is compared with nothing", start, hint=f"Write {prefix}:{name}<1")
            if not name and not was_quoted:
                raise self._fault("a - stands alone", at, hint="-tag:old leaves out what tag:old matches")
            return Part(at, negated, None, None, was_quoted, "", sign_at, (name,), start)
        if not name:
            raise self._fault(
                f"nothing stands before {sign}", sign_at, hint="Write a field, a metric or a parameter there"
            )
        self._at += len(sign)
        value_at = self._at
        values = self._values()
        if values == [("", False)]:
            raise self._fault(f"nothing stands behind {name}{sign}", value_at, hint="Write the value without a blank")
        if any(value == "" and not in_quotes for value, in_quotes in values):
            raise self._fault("nothing stands beside the comma", value_at)
        sign = "=" if sign == "==" else sign
        return Part(at, negated, prefix, name, was_quoted, sign, sign_at, tuple(value for value, _ in values), value_at)

    def _values(self) -> list[tuple[str, bool]]:
        found = [self._piece(stops=",<>=")]
        while self._next == ",":
            self._at += 1
            found.append(self._piece(stops=",<>="))
        if self._next and not self._next.isspace():
            raise self._fault(
                f"a second {self._next} in one term",
                self._at,
                hint="Part terms by blanks; what is one name or text goes in quotes",
            )
        return found

    def _piece(self, stops: str) -> tuple[str, bool]:
        """The text up to a blank or one of some signs, without its quotes; and whether it had any."""
        found: list[str] = []
        was_quoted = False
        while (character := self._next) and not character.isspace():
            if character == '"':
                found.append(self._quoted())
                was_quoted = True
                continue
            # A ! is a sign only before =.
            if character in stops and (character != "!" or self._text.startswith("!=", self._at)):
                break
            found.append(character)
            self._at += 1
        return "".join(found), was_quoted

    def _quoted(self) -> str:
        begin = self._at
        self._at += 1
        found: list[str] = []
        while (character := self._next) != '"':
            if character == "\\" and self._text[self._at + 1 : self._at + 2] in ('"', "\\"):
                self._at += 1
                character = self._next
            if not character:
                raise self._fault("a quote is not closed", begin, hint='End it with "')
            found.append(character)
            self._at += 1
        self._at += 1
        return "".join(found)
