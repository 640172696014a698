"""Reads YAML configs: the YAML 1.2 core schema, with the position of every key and value, and writes them back."""

from __future__ import annotations

import copy
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from kladml_core.config.compose import compose, plain_value
from kladml_core.config.emit import dump
from kladml_core.errors import ConfigError, UnusableError

__all__ = [
    "Document",
    "KeyPath",
    "Place",
    "describe",
    "dotted",
    "dump",
    "parse",
    "parse_value",
    "read",
    "split_override",
    "with_overrides",
    "with_value",
]

KeyPath = tuple[str | int, ...]
MAX_BYTES = 1 << 20
_YAML_STARTS = ("[", "{", '"', "'", "!", "|", ">")
_FORBIDDEN = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Place:
    """Where something is written: `line` and `column` count from 1 and are None where there is no file behind it."""

    file: str
    line: int | None = None
    column: int | None = None


@dataclass(frozen=True)
class Document:
    """A parsed YAML mapping that knows where each of its keys and values stands."""

    data: dict[str, Any]
    file: str
    positions: Mapping[KeyPath, tuple[int, int]] = field(default_factory=dict)
    """Line and column, from 1, of the value under each path; the root is `()`."""
    key_positions: Mapping[KeyPath, tuple[int, int]] = field(default_factory=dict)
    """The same for the key that leads to the value."""
    overrides: Mapping[KeyPath, str] = field(default_factory=dict)
    """Where a value came from `--set`: its path and the words of the command line."""

    def place(self, path: KeyPath, *, key: bool = False) -> Place:
        """Where the value at `path` is written, or its key when `key`, or the nearest thing above it that is."""
        for length in range(len(path), -1, -1):
            above = path[:length]
            if above in self.overrides:
                return Place(self.overrides[above])
            if key and length == len(path) and above in self.key_positions:
                return Place(self.file, *self.key_positions[above])
            # A key that is missing below a mapping is best shown at the mapping's own key.
            table = self.key_positions if length < len(path) and above in self.key_positions else self.positions
            if above in table:
                return Place(self.file, *table[above])
        return Place(self.file)

    def key_position(self, path: KeyPath) -> tuple[int, int]:
        """Line and column of the key at `path`, or (1, 1) where it is not written in the file."""
        return self.key_positions.get(path, (1, 1))

    def dotted_positions(self) -> dict[str, tuple[int, int]]:
        """Line and column of each value by dotted key, as a run records them."""
        return {dotted(path): position for path, position in self.positions.items() if path}

    def get(self, path: KeyPath, default: Any = None) -> Any:
        """The value under `path`, or `default` where there is none."""
        value: Any = self.data
        for part in path:
            if isinstance(value, dict):
                known = part in value
            else:
                known = isinstance(value, list) and isinstance(part, int) and 0 <= part < len(value)
            if not known:
                return default
            value = value[part]
        return value


def dotted(path: Sequence[str | int]) -> str:
    """`("a", "b", 0)` as `a.b.0`."""
    return ".".join(str(part) for part in path)


def parse(text: str, file: str, *, empty_ok: bool = False) -> Document:
    """Parses YAML text whose top level is a mapping.

    Args:
        text: the YAML.
        file: what to call it in messages.
        empty_ok: an empty text is an empty mapping instead of an error.

    Raises:
        ConfigError: not YAML, or YAML that is refused: duplicate keys, keys that are not text, tags,
            merge keys, several documents, aliases that unfold without bound.
    """
    if len(text) > MAX_BYTES:
        raise ConfigError(f"this is larger than {MAX_BYTES // 1024} KiB, too large for a config", file=file, line=1)
    text = text.removeprefix("\ufeff")
    bad = _FORBIDDEN.search(text)
    if bad:
        line, column = _line_column(text, bad.start())
        raise ConfigError(
            f"the character U+{ord(bad.group()):04X} is not allowed in YAML",
            hint='inside double quotes it can be written as an escape, e.g. "\\x1b"',
            file=file,
            line=line,
            column=column,
        )
    positions: dict[KeyPath, tuple[int, int]] = {}
    keys: dict[KeyPath, tuple[int, int]] = {}
    data = compose(text, file, positions, keys)
    line, column = positions.get((), (1, 1))
    if data is None and () not in positions:
        if empty_ok:
            return Document({}, file)
        raise ConfigError("the file is empty", hint="It needs at least model:, data: and training:", file=file, line=1)
    if not isinstance(data, dict):
        raise ConfigError(
            f"the top level must be a mapping of keys to values, not {describe(data)}",
            hint="Begin with a key, e.g. model:",
            file=file,
            line=line,
            column=column,
        )
    return Document(data, file, positions, keys)


def read(path: Path | str, *, empty_ok: bool = False) -> Document:
    """Parses a YAML file; messages name it as `path` does.

    Raises:
        UnusableError: there is no such file, or it cannot be opened.
        ConfigError: it is no regular file, too large, not UTF-8, or not YAML that `parse` takes.
    """
    path = Path(path)
    file = str(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ConfigError("this is a directory, not a config file", file=file, hint=_yaml_files_in(path))
        if not stat.S_ISREG(mode):
            raise ConfigError("this is not a regular file", file=file)
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
    return parse(text, file, empty_ok=empty_ok)


def with_overrides(document: Document, overrides: Sequence[str]) -> Document:
    """A copy of `document` with `key.key=value` words applied in order, values read as in a file.

    Raises:
        ConfigError: a word without `=`, an empty key, a value that is not YAML, or a key below a plain value.
    """
    for word in overrides:
        parts, value = split_override(word)
        document = with_value(document, parts, value, f"--set {word}")
    return document


def with_value(document: Document, parts: Sequence[str], value: Any, source: str) -> Document:
    """A copy of `document` with one value put under `parts`; messages about it name `source`.

    Raises:
        ConfigError: `parts` lead below a plain value or outside of a list.
    """
    data = copy.deepcopy(document.data)
    path = _assign(data, tuple(parts), value, source)

    def without(table: Mapping[KeyPath, Any]) -> dict[KeyPath, Any]:
        return {known: kept for known, kept in table.items() if known[: len(path)] != path}

    sources = {**without(document.overrides), path: source}
    return Document(data, document.file, without(document.positions), without(document.key_positions), sources)


def split_override(word: str) -> tuple[tuple[str, ...], Any]:
    """The key path and the value of one `key.key=value`.

    Raises:
        ConfigError: it is not written so, or its value is not YAML.
    """
    source = f"--set {word}"
    name, equals, text = word.partition("=")
    parts = tuple(part.strip() for part in name.split("."))
    if not equals:
        raise ConfigError("there is no = in it", hint="Write KEY=VALUE, e.g. training.learning_rate=1e-3", file=source)
    if not all(parts):
        raise ConfigError("a part of the key is empty", hint="Write KEY=VALUE, e.g. training.max_epochs=3", file=source)
    check_characters(name, source)
    return parts, parse_value(text, source)


def parse_value(text: str, source: str) -> Any:
    """What a value outside a file means: text that begins like a list, a mapping or a quoted text is YAML, all other
    text is one plain scalar, whatever `:` and `#` it holds.

    Raises:
        ConfigError: it begins like YAML and is none.
    """
    check_characters(text, source)
    text = text.strip()
    if not text.startswith(_YAML_STARTS) and "\n" not in text:
        return plain_value(text, source)
    try:
        return compose(text, source, {}, {})
    except ConfigError as error:
        raise ConfigError(error.message, hint=error.hint, file=source) from None


def check_characters(text: str, source: str) -> None:
    """Refuses what no YAML file may hold: control characters and lone surrogates."""
    bad = _FORBIDDEN.search(text)
    if bad:
        raise ConfigError(f"the character U+{ord(bad.group()):04X} is not allowed", file=source)


def _assign(data: dict[str, Any], parts: tuple[str, ...], value: Any, source: str) -> KeyPath:
    """Puts `value` under `parts` of `data`, making mappings on the way; returns the path as positions name it."""
    holder: Any = data
    path: list[str | int] = []
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        key: str | int = part
        if isinstance(holder, list):
            if not part.isascii() or not part.isdigit() or int(part) >= len(holder):
                where = dotted(path)
                raise ConfigError(f"{where} is a list of {len(holder)} items and has no item {part!r}", file=source)
            key = int(part)
        elif not isinstance(holder, dict):
            below = dotted(parts[number:])
            where = dotted(path)
            raise ConfigError(
                f"{where} is {describe(holder)} and has no keys below it",
                hint=f"Set {where} as a whole, e.g. --set '{where}={{name: …, {below}: …}}'",
                file=source,
            )
        path.append(key)
        if last:
            holder[key] = value
        else:
            if isinstance(holder, dict) and holder.get(part) is None:
                holder[part] = {}
            holder = holder[key]
    return tuple(path)


def describe(value: Any) -> str:
    """A value of a config in words for a message, shortened: `'ten'`, `3`, `a list`, `nothing`."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _cut(repr(value))
    if isinstance(value, (int, float)):
        return _cut(repr(value))
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    return f"a {type(value).__name__}"


def _cut(text: str, length: int = 60) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


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
