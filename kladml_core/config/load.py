"""Reads YAML configs: the YAML 1.2 core schema, with the position of every key and value, and writes them back."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from kladml_core.config.compose import compose, forbidden_character
from kladml_core.config.document import Document, KeyPath, Place, describe, dotted
from kladml_core.errors import ConfigError, UnusableError

__all__ = [
    "Document",
    "KeyPath",
    "Place",
    "describe",
    "dotted",
    "dump",
    "parse",
    "read",
]

MAX_BYTES = 1 << 20
RUN_KEYS = ("model", "data", "training")
"""The keys that a run's config needs."""


def dump(data: Any) -> str:
    """YAML of plain data; see `kladml_core.config.emit.dump`."""
    from kladml_core.config import emit  # who only reads, as the app does up to its first frame, need not load it

    return emit.dump(data)


def parse(text: str, file: str, *, empty_ok: bool = False, needs: Sequence[str] = RUN_KEYS) -> Document:
    """Parses YAML text whose top level is a mapping.

    Args:
        text: the YAML.
        file: what to call it in messages.
        empty_ok: an empty text is an empty mapping instead of an error.
        needs: the keys that a file of this kind needs, for the hint of an error.

    Raises:
        ConfigError: not YAML, or YAML that is refused: duplicate keys, keys that are not text, tags,
            merge keys, several documents, aliases that unfold without bound.
    """
    if len(text) > MAX_BYTES:
        raise ConfigError(f"this is larger than {MAX_BYTES // 1024} KiB, too large for a config", file=file, line=1)
    text = text.removeprefix("\ufeff")
    bad = forbidden_character(text)
    if bad is not None:
        line, column = _line_column(text, bad)
        raise ConfigError(
            f"the character U+{ord(text[bad]):04X} is not allowed in YAML",
            hint='Inside double quotes it can be written as an escape, e.g. "\\x1b"',
            file=file,
            line=line,
            column=column,
        )
    positions: dict[KeyPath, tuple[int, int]] = {}
    keys: dict[KeyPath, tuple[int, int]] = {}
    texts: dict[KeyPath, str] = {}
    data = compose(text, file, positions, keys, texts)
    line, column = positions.get((), (1, 1))
    if data is None and () not in positions:
        if empty_ok:
            return Document({}, file)
        raise ConfigError("the file is empty", hint=f"It needs at least {_listed(needs)}", file=file, line=1)
    if not isinstance(data, dict):
        raise ConfigError(
            f"the top level must be a mapping of keys to values, not {describe(data)}",
            hint=f"Begin with a key, e.g. {needs[0]}:",
            file=file,
            line=line,
            column=column,
        )
    return Document(data, file, positions, keys, texts=texts)


def read(path: Path | str, *, empty_ok: bool = False, needs: Sequence[str] = RUN_KEYS) -> Document:
    """Parses a YAML file; messages name it as `path` does. The other arguments are those of `parse`.

    Raises:
        UnusableError: there is no such file, it is a directory or the like, or it cannot be opened.
        ConfigError: it is too large, not UTF-8, or not YAML that `parse` takes.
    """
    path = Path(path)
    file = str(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise UnusableError("this is a directory, not a config file", file=file, hint=_yaml_files_in(path))
        if not stat.S_ISREG(mode):
            raise UnusableError("this is not a regular file", file=file)
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UnusableError("there is no such file", file=file, hint=_similar_file(path)) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UnusableError(f"the file cannot be read: {reason}", file=file) from None
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"the file is larger than {MAX_BYTES // 1024} KiB, too large for a config", file=file, line=1)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line, column = _line_column(raw[: error.start].decode("utf-8"), error.start)
        raise ConfigError(
            f"the file is not UTF-8: byte 0x{raw[error.start]:02x} is not valid here",
            hint="Save it as UTF-8",
            file=file,
            line=line,
            column=column,
        ) from None
    return parse(text, file, empty_ok=empty_ok, needs=needs)


def _listed(keys: Sequence[str]) -> str:
    """`model:, data: and training:`."""
    *first, last = [f"{key}:" for key in keys]
    return f"{', '.join(first)} and {last}" if first else last


def _line_column(text: str, index: int) -> tuple[int, int]:
    """1-based line and column of the character at `index`."""
    before = text[:index]
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _similar_file(path: Path) -> str | None:
    try:
        names = [entry.name for entry in os.scandir(path.parent) if entry.name.endswith((".yaml", ".yml"))]
    except OSError:
        return f"The folder {path.parent} does not exist"
    close = get_close_matches(path.name, names, n=1, cutoff=0.5)
    return f"Did you mean {path.parent / close[0]}?" if close else None


def _yaml_files_in(path: Path) -> str | None:
    try:
        names = sorted(entry.name for entry in os.scandir(path) if entry.name.endswith((".yaml", ".yml")))
    except OSError:
        return None
    return f"It holds {', '.join(names[:5])}" if names else None
