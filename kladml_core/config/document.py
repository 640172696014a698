"""A parsed config: its data, and where each key and value of it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kladml_core.errors import kind_of

KeyPath = tuple[str | int, ...]


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
    texts: Mapping[KeyPath, str] = field(default_factory=dict)
    """What is written for a value that is no text: `007` for 7, `True` for true."""

    def place(self, path: KeyPath, *, key: bool = False) -> Place:
        """Where the value at `path` is written, or its key when `key`, or the nearest thing above it that is."""
        for length in range(len(path), -1, -1):
            above = path[:length]
            if above in self.overrides:
                return Place(self.overrides[above])
            if above and above not in self.positions:
                # `--set a.b=1` made not only b but also an a that the file does not have.
                made = next((source for below, source in self.overrides.items() if below[:length] == above), None)
                if made is not None:
                    return Place(made)
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
    return kind_of(value)


def _cut(text: str, length: int = 60) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
