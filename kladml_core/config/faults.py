"""What a broken rule of a config says, and the words that rules share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeGuard


@dataclass(frozen=True)
class Fault:
    """One broken rule: `path` leads to the value from the section that was checked; `message` begins with its key."""

    path: tuple[str | int, ...]
    message: str
    hint: str | None = None
    at_key: bool = False
    """The key itself is wrong, not its value."""
    meant: str | None = None
    """The key that a misspelt one was meant to be."""
    lacks: tuple[str, ...] = ()
    """The keys below `path` of which one is missing."""


def suggestion(name: str, known: Mapping[str, Any] | tuple[str, ...] | list[str], otherwise: str) -> str:
    """`Did you mean adamw?` where a known name is close, else all of them."""
    by_lower = {key.lower(): key for key in known}
    close = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {by_lower[close[0]]}?"
    sentence = f"{otherwise}: {', '.join(known)}"
    return sentence[0].upper() + sentence[1:]


def number(value: Any) -> TypeGuard[float]:
    """Whether a value is a number, which true and false are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def mapping(value: Any) -> Mapping[str, Any]:
    """The value where it is a mapping, else an empty one: its type is checked elsewhere."""
    return value if isinstance(value, Mapping) else {}
