"""Projects, families and experiments: made, described, archived, renamed and deleted. Each is a folder with runs below.

One with a live or queued run, on any host, is neither renamed nor deleted. A rename is one rename of the folder; what
is deleted goes into the trash, from where `kladml_core.runs.trash.restore` brings it back.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kladml_core.config.place_names import name_fault, normal_name
from kladml_core.errors import ConfigError, UnusableError
from kladml_core.runs import trash
from kladml_core.runs.disk_use import disk_use
from kladml_core.runs.moving import moving, unmark
from kladml_core.runs.status import read_status
from kladml_core.workspace.descriptions import write_description
from kladml_core.workspace.places import Place, find_place, folders, name_warnings, same_name
from kladml_core.workspace.renamed import rename_references
from kladml_core.workspace.stale_views import stale_views_told

_TOLD = 4
_MEANWHILE = "a run was launched into it at this moment"


@dataclass(frozen=True)
class Changed:
    """What became of a project, a family or an experiment, and what a person should know of it."""

    place: Place
    warnings: tuple[str, ...] = ()
    entry: str | None = None
    """The entry of the trash in which a deleted one lies."""


def create(data: Path, text: str, *, title: str | None = None, description: str | None = None) -> Changed:
    """Makes a project, a family or an experiment, and what it lies in where that is missing.

    Raises:
        ConfigError: a name cannot be one.
        UnusableError: it is there already, or cannot be made.
    """
    place = _new_place(data, text)
    _refuse_taken(data, place)
    warnings = name_warnings(data, place.names)
    folder = place.folder(data)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
    except FileExistsError:
        raise UnusableError(f"there is a {place.kind} {place.key!r} already") from None
    except OSError as error:
        raise UnusableError(f"cannot make {folder}: {error.strerror}") from error
    write_description(place.file(data), title=title or None, description=description or None)
    return Changed(place, warnings)


def describe(data: Path, text: str, *, title: str | None = None, description: str | None = None) -> Changed:
    """Sets title and description; None leaves one as it is.

    Raises:
        ConfigError: the file that holds them is damaged.
        UnusableError: there is no such project, family or experiment, or its file cannot be written.
    """
    place = find_place(data, text)
    write_description(place.file(data), title=title, description=description)
    return Changed(place)


def archive(data: Path, text: str, *, archived: bool = True) -> Changed:
    """Hides a project, a family or an experiment in lists, or shows it again; its runs stay where they are.

    Launching into one that is archived shows it again, see `kladml_core.workspace.descriptions.bring_back`.

    Raises:
        ConfigError, UnusableError: as `describe`.
    """
    place = find_place(data, text)
    live = _busy(place, place.folder(data)) if archived else []
    write_description(place.file(data), archived=archived)
    return Changed(place, (f"{_told(live)}; it is hidden all the same",) if live else ())


def rename(data: Path, text: str, to: str) -> Changed:
    """Gives a project, a family or an experiment another name, or another place of the same kind.

    References to it in the queue and in the lists of background processes go along. Configs that name it do not, see
    `kladml_core.workspace.config_places.naming`; nor do saved views, of which a warning tells.

    Args:
        data: the workspace's data directory.
        text: which one.
        to: the new name; or a whole reference, by which it also moves into another family or project.

    Raises:
        ConfigError: the new name cannot be one.
        UnusableError: there is none of the old name or one of the new, a run of it is live or queued, or another
            process moves it or launches into it.
    """
    old = find_place(data, text)
    wanted = to if "/" in to else "/".join((*old.names[:-1], to))
    if not to:
        raise ConfigError("the new name is empty")
    if len(Place.parse(wanted).names) != len(old.names):
        hint = "Write a name, or a reference of as many parts"
        raise ConfigError(f"{_a(old.kind)} cannot become {wanted!r}", hint=hint)
    new = _new_place(data, wanted)
    if new == old:
        raise UnusableError(f"it is called {old.key!r} already")
    warnings = name_warnings(data, new.names, old.names)
    folder, target = old.folder(data), new.folder(data)
    _refuse_taken(data, new, instead_of=old)
    _refuse_busy(old, folder, "renamed")  # before launches are kept out: most refusals need not disturb anybody
    with moving(folder, "renamed"):
        before = _stamps(old, folder)
        _refuse_busy(old, folder, "renamed")
        _move(folder, target)
        try:
            # On a shared file system a claim may come to light late.
            if _stamps(old, target) != before:
                _move(target, folder)
                raise UnusableError(f"{old.key} cannot be renamed: {_MEANWHILE}", hint="try again once it has ended")
        finally:
            unmark(target)
    left = rename_references(data, old.key, new.key)
    return Changed(new, (*warnings, *left, *stale_views_told(data, old.key, new.key, before)))


def delete(data: Path, text: str) -> Changed:
    """Moves a project, a family or an experiment with all its runs into the trash, by one rename.

    Raises:
        ConfigError: the text is no reference.
        UnusableError: there is none, a run of it is live or queued, or another process moves it or launches into it;
            or the trash cannot be written.
    """
    place = find_place(data, text)
    folder = place.folder(data)
    _refuse_busy(place, folder, "deleted")
    with moving(folder, "deleted"):
        before = _stamps(place, folder)
        _refuse_busy(place, folder, "deleted")
        origin = folder.relative_to(data).as_posix()
        thing = trash.Thing("0001", origin, place.key, place.kind, place.kind, disk_use(folder))
        entry = trash.begin(data, [thing])
        target = entry / thing.number
        try:
            os.rename(folder, target)
            if _stamps(place, target) != before:
                _move(target, folder)
                raise UnusableError(f"{place.key} cannot be deleted: {_MEANWHILE}", hint="try again once it has ended")
        except OSError as error:
            raise UnusableError(f"{folder} cannot be moved into the trash: {error.strerror}") from error
        finally:
            unmark(target)
            trash.drop_if_empty(entry)
    return Changed(place, (), entry.name)


def _new_place(data: Path, text: str) -> Place:
    """A place by good names.

    Raises:
        ConfigError: a name cannot be one.
    """
    place = Place.parse(normal_name(text))
    for depth, name in enumerate(place.names, 1):
        one = Place(place.names[:depth])
        if one != place and one.folder(data).is_dir():
            continue  # it may have been made by hand, under a name that we would not give
        fault = name_fault(name)
        if fault:
            raise ConfigError(f"{name!r} cannot name {_a(one.kind)}: it {fault}")
    return place


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _refuse_taken(data: Path, place: Place, instead_of: Place | None = None) -> None:
    """Refuses a name that is there, however its letters are written; but for one that goes away."""
    there = same_name(place.names[-1], folders(place.folder(data).parent))
    if there is not None and (instead_of is None or (*place.names[:-1], there) != instead_of.names):
        raise UnusableError(f"there is a {place.kind} {Place((*place.names[:-1], there)).key!r} already")


def _stamps(place: Place, folder: Path) -> dict[str, tuple[int | None, int]]:
    """What changes of a run when it is launched, queued or resumed: its attempts and its state."""
    found = {}
    for run in place.runs(folder):
        try:
            changed = os.stat(run.state_json).st_mtime_ns
        except OSError:
            changed = 0
        found[run.path.relative_to(folder).as_posix()] = (run.latest_attempt(), changed)
    return found


def _move(folder: Path, target: Path) -> None:
    """Renames a folder to a name that is free; never into or over what is there.

    Raises:
        UnusableError: there is something of the new name, or it cannot be moved.
    """
    claimed = False
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not _is_one(folder, target):
            target.mkdir()
            claimed = True
        os.rename(folder, target)
    except OSError as error:
        if claimed:
            with suppress(OSError):
                target.rmdir()
        if isinstance(error, FileExistsError) or (target.exists() and folder.exists()):
            raise UnusableError(f"there is something at {target} already", hint="choose another name") from None
        raise UnusableError(f"{folder} cannot be moved to {target}: {error.strerror}") from error


def _is_one(folder: Path, target: Path) -> bool:
    """Whether two names lead to one folder."""
    return target.exists() and target.samefile(folder)


def _refuse_busy(place: Place, folder: Path, verb: str) -> None:
    busy = _busy(place, folder)
    if busy:
        raise UnusableError(f"{place.key} cannot be {verb}: {_told(busy)}", hint="stop it, or wait until it has ended")


def _busy(place: Place, folder: Path) -> list[str]:
    """What lives, waits or is being started below a folder: `run_0001 is running on this host`."""
    found = []
    for run in place.runs(folder):
        status = read_status(run)
        if status.live or run.is_claimed():
            name = run.path.relative_to(folder).as_posix()
            where = f" on {status.host}" if status.host else ""
            found.append(f"{name} is {status.word}{where}" if status.live else f"{name} is being started or pruned")
    return found


def _told(busy: list[str]) -> str:
    more = f", and {len(busy) - _TOLD} more" if len(busy) > _TOLD else ""
    return ", ".join(busy[:_TOLD]) + more
