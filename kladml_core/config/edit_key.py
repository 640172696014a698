"""Sets one top-level key in a YAML file that a person writes too: every other line stays as it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kladml_core.config.document import Document
from kladml_core.config.emit import dump, dump_value
from kladml_core.config.load import parse, read
from kladml_core.errors import ConfigError, UnusableError
from kladml_core.runs.files import write_text_atomic


def set_key(path: Path, key: str, value: Any) -> None:
    """Sets a top-level key of a YAML file, in one step; a missing file is made.

    Raises:
        ConfigError: the file is there and is no YAML mapping; it is left alone.
        UnusableError: it cannot be read or written.
    """
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError):
        read(path)  # says why
        raise UnusableError(f"{path} cannot be read") from None
    after = with_key(before, str(path), key, value)
    if after == before:
        return
    try:
        write_text_atomic(path, after)
    except OSError as error:
        raise UnusableError(f"cannot write {path}: {error.strerror}") from error


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


def _edited(text: str, document: Document, key: str, value: Any) -> str:
    lines = text.splitlines(keepends=True)
    new = f"{key}: {dump_value(value)}\n"
    if (key,) not in document.key_positions:
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        return "".join([*lines, new])
    starts = sorted(line for path, (line, _) in document.key_positions.items() if len(path) == 1)
    begin = document.key_positions[(key,)][0] - 1
    end = next((line - 1 for line in starts if line - 1 > begin), len(lines))
    # What stands above the next key belongs to that one.
    while end > begin + 1 and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
        end -= 1
    return "".join([*lines[:begin], new, *lines[end:]])
