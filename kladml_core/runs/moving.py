"""Keeps launches out of a project, family or experiment that is being renamed or deleted, on every host.

No lock is held over a network file system. Instead each side writes first and looks then: a rename makes `.moving` in
the folder and looks for claimed runs after that, a launch claims its run or attempt and looks for `.moving` after that.
Whichever came second sees the other and gives way.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kladml_core.errors import UnusableError
from kladml_core.runs.files import read_object, strict_dumps
from kladml_core.runs.processes import identity, is_alive

FILE = ".moving"
STALE_SECONDS = 60.0
"""After which a mark that nobody took away counts for nothing, where its process cannot be looked at."""
_LEVELS = 3


@contextmanager
def moving(folder: Path, verb: str) -> Iterator[None]:
    """Marks a folder as being moved; the mark goes along with it, and is taken away by `unmark` or at the end.

    Args:
        folder: a project's, a family's or an experiment's.
        verb: what is done to it, e.g. `renamed`.

    Raises:
        UnusableError: another process moves it, or what it lies in; or the mark cannot be written.
    """
    mark = folder / FILE
    refuse_if_moving(folder)
    try:
        with suppress(FileNotFoundError):
            mark.unlink()  # a stale one
        with mark.open("x", encoding="utf-8") as file:
            file.write(strict_dumps({**identity().to_json(), "verb": verb, "since": time.time()}))
    except FileExistsError:
        raise UnusableError(f"{folder.name} is being moved by another process", hint="try again in a moment") from None
    except OSError as error:
        raise UnusableError(f"{folder} cannot be changed: {error.strerror}") from error
    try:
        refuse_if_moving(folder.parent, levels=_LEVELS - 1)
        yield
    finally:
        unmark(folder)


def unmark(folder: Path) -> None:
    """Takes the mark away; for a folder that was moved, at its new place."""
    with suppress(OSError):
        (folder / FILE).unlink(missing_ok=True)


def refuse_if_moving(folder: Path, *, levels: int = _LEVELS) -> None:
    """Looks for marks of others in a folder and in those that it lies in.

    Args:
        folder: an experiment's, a family's or a project's.
        levels: how many folders are looked at, upwards.

    Raises:
        UnusableError: one is being moved.
    """
    for place in (folder, *folder.parents)[:levels]:
        holder = _holder(place / FILE)
        if holder is not None:
            raise UnusableError(f"{place.name} is being {holder}", hint="try again in a moment")


def _holder(mark: Path) -> str | None:
    """What is done, and by whom, as the mark says; None where there is none that counts."""
    try:
        age = time.time() - os.stat(mark).st_mtime
    except OSError:
        return None
    found = read_object(mark) or {}
    alive = is_alive(found) if "pid" in found else None
    if alive is False or (alive is None and age > STALE_SECONDS):
        return None
    return f"{found.get('verb', 'moved')} by process {found.get('pid', '?')} on {found.get('host', '?')}"
