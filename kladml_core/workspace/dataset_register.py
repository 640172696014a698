"""Registers data, makes a new version where it has changed, takes a registration away; the data is never touched."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kladml_core.config.names import is_target
from kladml_core.config.references import is_data_path
from kladml_core.errors import ConfigError, UnusableError
from kladml_core.runs import trash
from kladml_core.settings import load_settings
from kladml_core.workspace.dataset_examine import SECONDS
from kladml_core.workspace.dataset_uses import live_uses
from kladml_core.workspace.dataset_write import save_text, whole_hash, write_registration
from kladml_core.workspace.datasets import DatasetRegistration, find_registration, read_dataset, registration_file
from kladml_core.workspace.fingerprints import SAMPLED

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Registered:
    """What registering did."""

    registration: DatasetRegistration
    what: str
    """`new`, `new version`, or `unchanged`: the data is that of the newest version."""
    notes: tuple[str, ...] = ()
    """What the person should know of the data."""


def add(
    workspace: Path,
    source: str,
    *,
    base: Path | None = None,
    name: str | None = None,
    split: str | None = None,
    description: str | None = None,
    params: Mapping[str, Any] | None = None,
    update: bool = False,
    verify: bool = False,
    seconds: float = SECONDS,
) -> Registered:
    """Registers a file or a target; of one that is registered it makes a new version where the data has changed.

    What is not given stays as the earlier registration says it. The data is looked through, for `seconds` at most.

    Args:
        workspace: its root.
        source: a data file, or `module:function`.
        base: what a relative path is relative to; the workspace when None.
        name: its name; else that of the file or the function.
        split: train, val or test.
        params: arguments of the target, or which columns of a file are taken, see `TableChoice`.
        update: the name may be that of other data, of which this is the next version.
        verify: read every byte of a file so large that its fingerprint covers only blocks.
        seconds: after them a target is ended, and what was seen of a file suffices.

    Raises:
        ConfigError: the name cannot be one or is that of other data, or a split or parameter is wrong.
        UnusableError: the data cannot be used, or the registration cannot be written.
    """
    if split is not None and split not in SPLITS:
        raise ConfigError(f"there is no split {split!r}", hint="the splits are train, val and test")
    target = source if is_target(source) and not is_data_path(source.rpartition(":")[2]) else None
    path = None if target else _in_workspace(workspace, (base or workspace) / Path(source).expanduser())
    name = name or (source.rpartition(":")[2].rpartition(".")[2] if target else Path(source).stem)
    file = registration_file(workspace, name)
    before = read_dataset(file) if file.exists() else None
    if before is not None and not update and not _same_source(before, path, target, workspace):
        raise ConfigError(
            f"{name!r} is registered already, from {before.path or before.target}",
            hint="choose another --name, or --update makes this its next version",
        )
    if before is not None:
        split = before.split if split is None else split
        description = before.description if description is None else description
        params = before.params if params is None else params
    made, notes = write_registration(
        workspace, name, path, target, params or {}, split, description or "", look=seconds, verify=verify
    )
    fresh = before is None or len(made.versions) > len(before.versions) or made.versions[-1] != before.versions[-1]
    what = "new" if before is None else "new version" if fresh else "unchanged"
    return Registered(made, what, notes)


def add_again(workspace: Path, name: str) -> Registered:
    """Makes what is on the disk now the newest version of a registered dataset; raises as `add`."""
    made = find_registration(workspace, name)
    return add(workspace, str(made.path or made.target), name=name, update=True)


def register(
    workspace: Path,
    name: str,
    *,
    path: str | Path | None = None,
    target: str | None = None,
    params: Mapping[str, Any] | None = None,
    split: str | None = None,
    description: str = "",
) -> DatasetRegistration:
    """Writes a dataset's registration as it is given; one that exists gets a new version when the data has changed.

    Unlike `add` it calls no target, and looks through a file only where its headers do not say rows and columns.

    Args:
        workspace: its root.
        name: at most 100 characters, without a slash and not beginning with a dot.
        path: a data file, relative to the workspace or absolute.
        target: `module:function` instead of a path, called with `params`.
        split: train, val or test.

    Raises:
        ConfigError: the name cannot be one, or not exactly one of path and target is given.
        UnusableError: the file is missing, no data file, or the registration cannot be written.
    """
    if (path is None) == (target is None):
        raise ConfigError(f"dataset {name!r} needs either a path or a target")
    where = None if path is None else str(path)
    return write_registration(
        workspace, name, where, target, params or {}, split, description, look=None, verify=False
    )[0]


def remove(workspace: Path, name: str, *, force: bool = False) -> tuple[DatasetRegistration | None, str]:
    """Moves a registration into the trash; what it names stays where it is.

    Args:
        force: also while a run that is to train on it waits or runs.

    Returns:
        the registration, where it could be read, and the entry of the trash.

    Raises:
        ConfigError: there is none of that name.
        UnusableError: a live run uses it, or it cannot be moved.
    """
    file = registration_file(workspace, name)
    registration = None
    try:
        registration = find_registration(workspace, name)
    except ConfigError:
        if not file.is_file():
            raise
    data = load_settings(workspace).data
    live = live_uses(data, name)
    if live and not force:
        more = f" and {len(live) - 1} more" if len(live) > 1 else ""
        raise UnusableError(f"{live[0]}{more} uses {name!r} and is not at its end", hint="--force removes it anyway")
    thing = trash.Thing("0001", file.relative_to(data).as_posix(), "", name, trash.DATASET, file.stat().st_size)
    entry = trash.begin(data, [thing])
    try:
        os.rename(file, entry / thing.number)
    except OSError as error:
        shutil.rmtree(entry, ignore_errors=True)
        raise UnusableError(f"{file} cannot be moved into the trash: {error.strerror}") from error
    return registration, entry.name


def record_whole(workspace: Path, name: str) -> str:
    """Reads every byte of a dataset's file and writes its hash into the registration, where it has none; returns it.

    Raises:
        ConfigError, UnusableError: there is no such dataset, or its data cannot be read.
    """
    registration = find_registration(workspace, name)
    location = registration.location(workspace)
    if location is None:
        raise UnusableError(f"{name!r} is made by {registration.target}: there is no file to read")
    found = whole_hash(location)
    if registration.sha256 is None and (registration.fingerprint or "").startswith(SAMPLED):
        from kladml_core.config.load import read

        text = dict(read(registration.file, needs=("name", "path")).data)
        text["sha256"] = found
        save_text(registration.file, text)
    return found


def _in_workspace(workspace: Path, path: Path) -> str:
    """The path as it is registered: relative to the workspace where it lies in it."""
    absolute, root = Path(os.path.abspath(path)), workspace.resolve()
    return absolute.relative_to(root).as_posix() if absolute.is_relative_to(root) else str(absolute)


def _same_source(before: DatasetRegistration, path: str | None, target: str | None, workspace: Path) -> bool:
    if path is None:
        return before.target == target
    return before.location(workspace) == workspace.resolve() / path
