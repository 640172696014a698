"""Where in a YAML text the cursor is: the section's key path and the key, read from the lines as one types them.

Text that is being typed is seldom whole YAML, so this looks at indentation and braces alone and never fails.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_KEY_LINE = re.compile(r"^(?P<indent>[ ]*)(?P<key>[^\s#:{}\[\],&*!|>'\"%@`-][^#:{}\[\]]*?)[ ]*:(?=[ ]|$)")
_LONG = 3000
"""Lines above which looking at every one of them after each key would be felt."""
_WORD = re.compile(r"[\w.-]*$")


@dataclass(frozen=True)
class Spot:
    """The cursor's place."""

    section: tuple[str, ...]
    """Keys that lead to the section the cursor is in."""
    key: str
    """The key the cursor is at, or whose value it is in; a part of one while it is typed."""
    at_key: bool
    """Whether a key is expected here, and not its value."""


def spot(lines: Sequence[str], row: int, column: int) -> Spot:
    """Where the cursor is.

    Args:
        lines: the text.
        row: the cursor's line, from 0.
        column: the cursor's column in it, from 0.
    """
    line = lines[row] if 0 <= row < len(lines) else ""
    match = _KEY_LINE.match(line)
    if match is None:
        before = line[:column]
        indent = len(line) - len(line.lstrip(" ")) if line.strip() else column
        bare = before.strip()
        at_key = bool(re.fullmatch(r"[\w.-]*", bare)) and bool(re.fullmatch(r"[\w.-]*\s*", line.strip()))
        return Spot(_parents(lines, row, indent), line.strip() if at_key else bare, at_key)
    section = _parents(lines, row, len(match["indent"]))
    if column <= match.end("key"):
        return Spot(section, match["key"], True)
    return _in_value(line[match.end() : max(column, match.end())], line[column:], section, match["key"])


def _in_value(before: str, after: str, section: tuple[str, ...], key: str) -> Spot:
    """The place inside a value, which may be a flow mapping `{a: 1, b: {…}}`."""
    path = [*section, key]
    names: list[str] = []
    word = ""
    quote = ""
    at_key = False
    for character in before:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character == "{":
            names.append("")
            word, at_key = "", True
        elif character == "}":
            if names:
                names.pop()
            word, at_key = "", False
        elif character == "," and names:
            names[-1] = ""
            word, at_key = "", True
        elif character == ":" and names and at_key:
            names[-1] = word.strip()
            word, at_key = "", False
        else:
            word += character
    if not names:
        return Spot(tuple(path[:-1]), key, False)
    inner = (*path, *names[:-1])
    if at_key:
        rest = re.match(r"[\w.-]*", after)
        return Spot(inner, word.strip() + (rest[0] if rest else ""), True)
    return Spot(inner, names[-1], False)


def _parents(lines: Sequence[str], row: int, indent: int) -> tuple[str, ...]:
    """Keys of the lines above that stand further left, outermost last found first."""
    path: list[str] = []
    for line in reversed(lines[:row]):
        if indent == 0:
            break
        if line.startswith(" " * indent):
            continue
        match = _KEY_LINE.match(line)
        if match and len(match["indent"]) < indent:
            path.append(match["key"])
            indent = len(match["indent"])
    return tuple(reversed(path))


def siblings(lines: Sequence[str], row: int, section: tuple[str, ...]) -> set[str]:
    """Keys that lines of their own already give to a section, the line `row` excepted; none in a very long text."""
    found: set[str] = set()
    if len(lines) > _LONG:
        return found
    above: list[tuple[int, str]] = []
    for number, line in enumerate(lines):
        match = _KEY_LINE.match(line)
        if match is None:
            continue
        indent = len(match["indent"])
        while above and above[-1][0] >= indent:
            above.pop()
        if number != row and len(above) == len(section) and tuple(key for _, key in above) == section:
            found.add(match["key"])
        above.append((indent, match["key"]))
    return found


def word_before(line: str, column: int) -> str:
    """The word that ends at the column."""
    match = _WORD.search(line[:column])
    return match[0] if match else ""
