"""What the tree shows of each dataset: its rows, and whether its data is what was registered. Looked up in threads."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kladml_core.errors import KladMLError


@dataclass(frozen=True)
class DatasetMark:
    """One dataset as the tree shows it."""

    rows: int | None
    state: str
    """As `DatasetState.state`."""


class DatasetMarks:
    """Remembers between looks what cannot have changed: a registration and its data are read only when they differ.

    Args:
        workspace: its root.
    """

    def __init__(self, workspace: Path) -> None:
        self._root = workspace
        self._known: dict[Path, tuple[object, Path | None, DatasetMark]] = {}

    def known(self, files: Iterable[Path]) -> Mapping[Path, DatasetMark]:
        """The marks of earlier looks."""
        return {file: self._known[file][2] for file in files if file in self._known}

    def look(self, files: Iterable[Path]) -> Mapping[Path, DatasetMark]:
        """The marks as they are now."""
        files = tuple(files)
        for file in files:
            before = self._known.get(file)
            if before is None or before[0] != _stamps(file, before[1]):
                self._known[file] = self._read(file)
        for file in self._known.keys() - set(files):
            del self._known[file]
        return self.known(files)

    def _read(self, file: Path) -> tuple[object, Path | None, DatasetMark]:
        from kladml_core.workspace.dataset_state import WRONG, compare
        from kladml_core.workspace.datasets import read_dataset

        own = _stamp(file)  # before it is read: what changes meanwhile is read again
        try:
            registration = read_dataset(file)
            location = registration.location(self._root)
        except (KladMLError, OSError, RuntimeError):  # a home directory that does not exist is a RuntimeError
            return (own, None), None, DatasetMark(None, WRONG)
        stamps = (own, _stamp(location))
        state = compare(registration, self._root)
        return stamps, location, DatasetMark(registration.rows, state.state)


def _stamps(file: Path, location: Path | None) -> object:
    return _stamp(file), _stamp(location)


def _stamp(path: Path | None) -> tuple[int, int, int, int] | None:
    if path is None:
        return None
    try:
        seen = os.stat(path)
    except OSError:
        return None
    return seen.st_mtime_ns, seen.st_ctime_ns, seen.st_size, seen.st_ino
