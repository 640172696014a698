"""Sets top-level keys in a YAML file that a person writes too: every other line stays as it is written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kladml_core.config.document import Document
from kladml_core.config.emit import dump, dump_value
from kladml_core.config.load import parse, read
from kladml_core.errors import ConfigError, UnusableError
from kladml_core.runs.files import write_text_atomic

_TRIES = 20
_PLAIN = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)


class _Removed:
    """Stands for a key that is to go."""


REMOVED = _Removed()


def set_key(path: Path, key: str, value: Any) -> None:
    """Sets a top-level key of a YAML file, in one step; a missing file is made. Raises as `edit_keys`."""
    edit_keys(path, lambda _: {key: value})


def edit_keys(path: Path, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
    """Sets top-level keys of a YAML file, in one step; a missing file is made.

    Args:
        path: the file.
        change: what its data is to what it gets: the keys to set, `REMOVED` for one that is to go. Asked again where
            another process has written the file meanwhile.

    Raises:
        ConfigError: the file is there and is no YAML mapping; it is left alone.
        UnusableError: it cannot be read or written.
    """
    for _ in range(_TRIES):
        before = _text(path)
        after = before
        for key, value in change(parse(before, str(path), empty_ok=True).data).items():
            after = without_key(after, str(path), key) if value is REMOVED else with_key(after, str(path), key, value)
        if after == before:
            return
        if _text(path) != before:
            continue
        try:
            write_text_atomic(path, after)
        except OSError as error:
            raise UnusableError(f"cannot write {path}: {error.strerror}") from error
        return
    raise UnusableError(f"{path} is being written by others all the time", hint="try again")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError):
        read(path)  # says why
        raise UnusableError(f"{path} cannot be read") from None


def with_key(text: str, file: str, key: str, value: Any) -> str:
    """The YAML text with a top-level key set to a value, comments and all other lines kept where that is possible.

    Raises:
        ConfigError: the text is no YAML mapping.
    """
    document = parse(text, file, empty_ok=True)
    wanted = {**document.data, key: value}
    edited = _edited(text, document, key, value)
    try:
        if parse(edited, file).data == wanted:
            return edited
    except ConfigError:
        pass  # a mapping in braces, or one that `...` ends, takes no further line
    return dump(wanted)


def without_key(text: str, file: str, key: str) -> str:
    """The YAML text without a top-level key; comments and all other lines are kept where that is possible.

    Raises:
        ConfigError: the text is no YAML mapping.
    """
    document = parse(text, file, empty_ok=True)
    if key not in document.data:
        return text
    wanted = {name: value for name, value in document.data.items() if name != key}
    lines = text.splitlines(keepends=True)
    begin, end = _span(lines, document, key)
    edited = "".join([*lines[:begin], *lines[end:]])
    try:
        if parse(edited, file, empty_ok=True).data == wanted:
            return edited
    except ConfigError:
        pass  # as above
    return dump(wanted)


def _edited(text: str, document: Document, key: str, value: Any) -> str:
    lines = text.splitlines(keepends=True)
    new = f"{_written(key)}: {dump_value(value)}\n"
    if (key,) not in document.key_positions:
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        return "".join([*lines, new])
    begin, end = _span(lines, document, key)
    return "".join([*lines[:begin], new, *lines[end:]])


def _written(key: str) -> str:
    """The key as it is written before a colon: bare where that is a plain word, else in quotes."""
    return dump_value(key) if _PLAIN.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def _span(lines: list[str], document: Document, key: str) -> tuple[int, int]:
    """The lines of a key and its value: from the first on, before the second."""
    starts = sorted(line for path, (line, _) in document.key_positions.items() if len(path) == 1)
    begin = document.key_positions[(key,)][0] - 1
    end = next((line - 1 for line in starts if line - 1 > begin), len(lines))
    # What stands above the next key belongs to that one.
    while end > begin + 1 and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
        end -= 1
    return begin, end
