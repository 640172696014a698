"""Where runs are filed: projects, families and experiments, found by their names and listed with what is in them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from kladml_core.config.place_names import PLACES, look_alike, normal_name
from kladml_core.errors import ConfigError, UnusableError
from kladml_core.runs.ref import RUN_NAME
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status
from kladml_core.workspace.descriptions import Description, description_file, read_description
from kladml_core.workspace.places_scan import run_names


@dataclass(frozen=True)
class Place:
    """A project, a family or an experiment, by the names that lead to it."""

    names: tuple[str, ...]

    @property
    def kind(self) -> str:
        """project, family or experiment."""
        return PLACES[len(self.names) - 1]

    @property
    def key(self) -> str:
        """`project`, `project/family` or `project/family/experiment`."""
        return "/".join(self.names)

    def folder(self, data: Path) -> Path:
        """Where it lies; it need not exist."""
        return (data / "projects").joinpath(*self.names)

    def file(self, data: Path) -> Path:
        """Its project.yaml, family.yaml or experiment.yaml."""
        return description_file(self.folder(data), len(self.names))

    def runs(self, folder: Path) -> Iterator[RunDirectory]:
        """The directories of runs below it, in no promised order; what is damaged beyond being one is left out.

        Args:
            folder: where it lies, or lay down to rest.
        """
        for path in folder.glob("*/" * (len(PLACES) - len(self.names)) + "run_*"):
            if RUN_NAME.fullmatch(path.name) and path.is_dir():
                yield RunDirectory(path)

    @classmethod
    def parse(cls, text: str) -> Place:
        """Reads `project[/family[/experiment]]`; whether the names are good ones is not asked.

        Raises:
            ConfigError: it is nothing of the kind.
        """
        names = tuple(text.removesuffix("/").split("/"))
        if len(names) > len(PLACES) or any(name in ("", ".", "..") for name in names):
            raise ConfigError(f"{text!r} names no project, family or experiment", hint="Write vision, vision/digits, …")
        return cls(names)


@dataclass(frozen=True)
class PlaceRow:
    """A project, a family or an experiment in a list."""

    place: Place
    description: Description
    hidden: bool
    """Whether it, or what it lies in, is archived."""
    runs: int
    live: int

    def to_json(self) -> dict[str, Any]:
        """The row as commands print it."""
        told = {"title": self.description.title, "description": self.description.description}
        flags = {"archived": self.description.archived, "hidden": self.hidden}
        counts = {"runs": self.runs, "live": self.live}
        more = {"problem": self.description.problem or None}
        return {"ref": self.place.key, "kind": self.place.kind, **told, **flags, **counts, **more}


def find_place(data: Path, text: str) -> Place:
    """The project, family or experiment that is meant; names are taken as they are on the disk.

    Raises:
        ConfigError: the text is no such reference.
        UnusableError: there is none.
    """
    wanted = Place.parse(text)
    found: tuple[str, ...] = ()
    for name in wanted.names:
        parent = (data / "projects").joinpath(*found)
        # As it is written first; then as Unicode writes it elsewhere: macOS has made folders of decomposed letters.
        there = name if (parent / name).is_dir() else same_name(name, folders(parent))
        if there is None:
            place = Place((*found, name))
            near = look_alike(name, folders(parent))
            hint = f"Did you mean {'/'.join((*found, near))}?" if near else "`kladml-tui projects list` lists what is"
            raise UnusableError(f"there is no {place.kind} {place.key!r}", hint=hint)
        found = (*found, there)
    return Place(found)


def listing(data: Path, below: str = "") -> list[PlaceRow]:
    """Every project, family and experiment, each before those that lie in it.

    Args:
        data: the workspace's data directory.
        below: only this one and those in it.

    Raises:
        ConfigError: `below` is no reference.
        UnusableError: there is no such one.
    """
    if not below:
        return [row for name in folders(data / "projects") for row in _rows(data, Place((name,)), False)]
    place = find_place(data, below)
    above = [Place(place.names[:depth]) for depth in range(1, len(place.names))]
    return _rows(data, place, any(read_description(one.file(data)).archived for one in above))


def left_out(data: Path, live: Iterable[str]) -> Callable[[str], bool]:
    """A function that says of a run, by its reference, whether lists leave it out: it lies in something archived.

    Args:
        data: the workspace's data directory.
        live: references of live runs; an experiment with one is shown whatever is archived.
    """
    shown = {reference.rpartition("/")[0] for reference in live}

    @cache
    def archived(key: str) -> bool:
        above = key.rpartition("/")[0]
        return (above != "" and archived(above)) or read_description(Place.parse(key).file(data)).archived

    def says(reference: str) -> bool:
        experiment = reference.rpartition("/")[0]
        return experiment not in shown and archived(experiment)

    return says


def name_warnings(data: Path, names: tuple[str, ...], instead_of: tuple[str, ...] = ()) -> tuple[str, ...]:
    """A warning for each new name of a place that could be mistaken for one that is there.

    Args:
        data: the workspace's data directory.
        names: of the place, from the project down.
        instead_of: the names of the place that gets these, which counts as gone.
    """
    found = []
    for depth, name in enumerate(names):
        parent = (data / "projects").joinpath(*names[:depth])
        if (parent / name).is_dir():
            continue
        near = look_alike(name, [other for other in folders(parent) if (*names[:depth], other) != instead_of])
        if near is not None:
            found.append(f"there is a {PLACES[depth]} {near!r} beside {name!r}; on disks that ignore case they are one")
        break  # below a new one there is nothing
    return tuple(found)


def _rows(data: Path, place: Place, hidden: bool) -> list[PlaceRow]:
    description = read_description(place.file(data))
    hidden = hidden or description.archived
    if place.kind == PLACES[-1]:
        runs = _runs(place.folder(data))
        return [PlaceRow(place, description, hidden, len(runs), sum(read_status(run).live for run in runs))]
    below = [_rows(data, Place((*place.names, name)), hidden) for name in folders(place.folder(data))]
    one = PlaceRow(place, description, hidden, 0, 0)
    firsts = [rows[0] for rows in below]
    one = replace(one, runs=sum(row.runs for row in firsts), live=sum(row.live for row in firsts))
    return [one, *(row for rows in below for row in rows)]


def _runs(experiment: Path) -> list[RunDirectory]:
    """Its runs, damaged ones too, as lists of runs have them; none where it cannot be listed."""
    try:
        return [RunDirectory(experiment / name) for name in run_names(experiment)]
    except OSError:
        return []


def folders(parent: Path) -> list[str]:
    """The names of the folders in one, sorted, without hidden ones; none where it is missing."""
    try:
        with os.scandir(parent) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
    except OSError:
        return []


def same_name(name: str, others: list[str]) -> str | None:
    """The one of `others` that is the name, however Unicode writes it."""
    return next((other for other in others if normal_name(other) == normal_name(name)), None)
