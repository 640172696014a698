"""Puts a parser's complaint about YAML into a person's words, at the place where the person will look."""

from __future__ import annotations

import re
from typing import Any

import yaml

from kladml_core.errors import ConfigError

Position = tuple[int, int]
_ALIGN = "Give the keys of one mapping the same indentation"


def worded(
    error: yaml.YAMLError,
    text: str,
    file: str,
    open_bracket: Position | None,
    quote: tuple[Position, int] | None = None,
) -> ConfigError:
    """The error to raise.

    Args:
        error: what PyYAML or libyaml said; their words differ, what comes out does not.
        text: the whole YAML.
        file: what to call it.
        open_bracket: 1-based line and column of the innermost [ or { that was open.
        quote: where the value before the error opened, and its last line, where it is quoted and several lines long.
    """
    problem = str(getattr(error, "problem", None) or error)
    context = str(getattr(error, "context", None) or "")
    lines = text.split("\n")
    here = _position(getattr(error, "problem_mark", None)) or (1, 1)
    opened = _position(getattr(error, "context_mark", None)) or here
    shown = lines[here[0] - 1] if here[0] <= len(lines) else ""
    character = shown[here[1] - 1 : here[1]]
    at_end = not "\n".join([shown[here[1] - 1 :], *lines[here[0] :]]).strip()
    place, hint = here, None
    message = f"this is not YAML: {problem}"

    if quote and here[0] == quote[1]:
        # Left open by mistake, it took all up to the opening quote of a later value, and only there goes wrong.
        place, message = quote[0], f"the quote that opens here is closed only on line {quote[1]}, where more follows"
        hint = "Close it with the same quote"
    elif re.match(r" *\t", shown) or "'\\t'" in problem:
        place = (here[0], shown.find("\t") + 1 or here[1])
        message, hint = "a tab is used for indentation", "Indent with spaces"
    elif "quoted scalar" in context:
        if "escape" in problem or "hexadecimal" in problem:
            message, hint = f"a wrong escape in double quotes: {problem}", "Use single quotes, or write \\\\"
        else:
            place, message, hint = opened, "the quote that opens here is not closed", "Close it with the same quote"
    elif open_bracket and at_end:
        place = open_bracket
        message, hint = _unclosed(lines, place)
    elif "node content" in problem and character in ("]", "}"):
        message, hint = f"a value cannot begin with {character!r}", "Quote it"
    elif "node content" in problem:
        message, hint = "a value is missing here", "Write null for none"
    elif "flow" in context:
        place = opened
        message, hint = _unclosed(lines, place, ", or a comma is missing between its items")
    elif "mapping values are not allowed" in problem:
        message = "a second `:` on this line, or a line indented deeper than the one above it"
        hint = "Quote the value if the colon is part of it"
    elif "could not find expected ':'" in problem:
        place, message, hint = opened, "this line is no `key: value`", "Write a colon and a space after the key"
    elif "cannot start any token" in problem:
        message, hint = f"a value cannot begin with {character!r}", "Quote it"
    elif "block" in context and shown[: here[1] - 1].strip():
        message, hint = "this cannot follow the value before it", "Quote the whole value"
    elif "block" in context:
        message, hint = "this line does not line up with the keys above it", _ALIGN
    return ConfigError(message, hint=hint, file=file, line=place[0], column=place[1])


def _position(mark: Any) -> Position | None:
    return None if mark is None else (mark.line + 1, mark.column + 1)


def _unclosed(lines: list[str], place: Position, otherwise: str = "") -> tuple[str, str]:
    line = lines[place[0] - 1] if place[0] <= len(lines) else ""
    bracket = line[place[1] - 1 : place[1]]
    closing = "}" if bracket == "{" else "]"
    return f"the {bracket} that opens here is not closed{otherwise}", f"Close it with {closing}"
