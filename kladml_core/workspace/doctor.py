"""Looks whether all is well with a workspace: settings, disk, index, runs, processes; changes nothing but the index.

Each check says what it found, and of what is wrong what to do about it. What only a terminal knows is the caller's.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any, Literal

from kladml_core.backends.network_disks import file_system, network_file_system
from kladml_core.backends.sqlite_metadata import told
from kladml_core.backends.sqlite_schema import VERSION
from kladml_core.errors import ConfigError, KladMLError
from kladml_core.runs.event_text import seconds_text, size_text
from kladml_core.runs.files import read_object
from kladml_core.runs.processes import host_name, is_alive
from kladml_core.runs.ref import RUN_NAME
from kladml_core.settings import FILE_NAME, Settings, load_settings
from kladml_core.workspace.datasets import read_dataset
from kladml_core.workspace.index import Index, Progress
from kladml_core.workspace.places_scan import Tree
from kladml_core.workspace.workspace import Workspace

State = Literal["ok", "note", "wrong"]
LITTLE_SPACE, TOO_LITTLE_SPACE = 5_000_000_000, 200_000_000
"""Bytes free on the disk from which on it is noted, and wrong."""
STALE_SECONDS = 3600.0
"""A temporary file that was not written to for so long was left by a process that died."""


@dataclass(frozen=True)
class Finding:
    """One thing of several that a check has to tell of, such as a damaged run."""

    what: str
    text: str
    hint: str = ""


@dataclass(frozen=True)
class Check:
    """What was looked at, and how it is."""

    name: str
    state: State
    text: str
    hint: str = ""
    """What to do about it."""
    findings: tuple[Finding, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As the command prints it with `--json`."""
        found = [vars(one) for one in self.findings]
        return {"check": self.name, "state": self.state, "text": self.text, "hint": self.hint or None, "found": found}


def examine(
    root: Path,
    *,
    rebuild: bool = False,
    progress: Progress | None = None,
    done: Callable[[Check], None] | None = None,
) -> list[Check]:
    """Looks at a workspace.

    Args:
        root: the directory with kladml.yaml.
        rebuild: throw the index away first, and read every run anew.
        progress: told how many runs of how many are read.
        done: told of each check as soon as it is made.
    """
    checks: list[Check] = []

    def add(found: Iterable[Check]) -> None:
        for check in found:
            checks.append(check)
            if done is not None:
                done(check)

    try:
        settings = load_settings(root)
    except ConfigError as error:
        add([Check("settings", "wrong", error.message, error.hint or f"Correct {error.location or root / FILE_NAME}")])
        return checks
    add([Check("settings", "ok", str(root / FILE_NAME))])
    add(_disk(settings))
    index = Index(Workspace(settings.root, settings))
    try:
        add(_index(index, rebuild, progress))
        tree = index.tree()
        add([_runs(index), _foreign(settings.data, tree), _left_over(settings.data, tree)])
    finally:
        index.close()
    add([_datasets(settings), _background(settings)])
    return checks


def _disk(settings: Settings) -> list[Check]:
    data = settings.data
    there = next(path for path in (data, *data.parents) if path.exists())
    kind, network = file_system(there), network_file_system(there)
    where = f"{data}{f' ({kind})' if kind else ''}"
    try:
        with tempfile.TemporaryFile(dir=there):
            writable = Check(
                "data folder", "ok", where if data.exists() else f"{where}; it will be made by the first run"
            )
    except OSError as error:
        hint = f"Make it writable, or name another place as workspace.data_dir in {settings.root / FILE_NAME}"
        writable = Check("data folder", "wrong", f"{there} cannot be written: {error.strerror}", hint)
    free = shutil.disk_usage(there).free
    space = Check("free space", "ok", size_text(free))
    if free < LITTLE_SPACE:
        state: State = "wrong" if free < TOO_LITTLE_SPACE else "note"
        space = Check("free space", state, f"{size_text(free)} only", "`kladml-tui prune` says what could go")
    if network is None:
        return [writable, space]
    text = f"the workspace lies on {network}: it is looked at again and again, and changes are seen a little later"
    shared = Check("network disk", "note", text)
    if settings.tracker.backend == "local" and settings.tracker.uri is None:
        hint = "Set tracker.uri to an MLflow server, or tracker.backend: none"
        shared = Check("network disk", "wrong", f"MLflow's SQLite file cannot lie on {network}", hint)
    return [writable, space, shared]


def _index(index: Index, rebuild: bool, progress: Progress | None) -> list[Check]:
    metadata = index.metadata
    if metadata is None:
        return [Check("index", "wrong", index.fault, "Set XDG_CACHE_HOME to a folder that you may write")]
    if rebuild:
        metadata.begin_anew()
    age = max(0.0, time.time() - metadata.file.stat().st_mtime)
    known = metadata.query("SELECT count(*) FROM runs")[0][0]
    begin = time.monotonic()
    index.refresh(progress)
    took = time.monotonic() - begin
    if index.fault:
        hint = f"Make room for {metadata.file}, or `kladml-tui doctor --rebuild` makes it anew"
        return [Check("index", "wrong", index.fault, hint)]
    rows = metadata.query("SELECT count(*) FROM runs")[0][0]
    try:
        whole = metadata.query("PRAGMA quick_check(1)")[0][0] == "ok"
    except sqlite3.Error:
        whole = False
    if not whole:
        return [Check("index", "wrong", f"{metadata.file} is damaged", "`kladml-tui doctor --rebuild` makes it anew")]
    before = f"{known:,} were known, written {seconds_text(int(age))} ago" if known else f"read in {took:.1f} s"
    size = size_text(metadata.file.stat().st_size)
    return [Check("index", "ok", f"{rows:,} runs ({before}), version {VERSION}, {size}, {metadata.file}")]


def _runs(index: Index) -> Check:
    metadata = index.metadata
    if metadata is None or index.fault:
        damaged = sorted(name for name, seen in index.seen.items() if seen.status == "damaged")
        findings = tuple(Finding(name, "damaged", _hint(name)) for name in damaged)
    else:
        rows = metadata.query(
            "SELECT reference, damaged, problem FROM runs WHERE status = 'damaged' OR problem != '' ORDER BY reference"
        )
        findings = tuple(
            Finding(told(key), damaged or problem, _hint(told(key), damaged)) for key, damaged, problem in rows
        )
    total = len(index.seen)
    if not findings:
        return Check("runs", "ok", f"{total:,}, none damaged")
    return Check("runs", "wrong", f"{len(findings):,} of {total:,} are damaged", findings=findings)


def _hint(reference: str, damaged: str | None = "") -> str:
    name = reference.rpartition("/")[2]
    if not RUN_NAME.fullmatch(name):
        return "Rename it to run_ and a number that no run has, or move it out of the projects' folder"
    if damaged and ("a file where" in damaged or "a link to" in damaged):
        return "Remove it, or move it out of the projects' folder"
    if damaged:
        return f"`kladml-tui prune --runs {quote(reference)} --yes` moves it into the trash"
    return "The run itself can be used; mend or remove that file"


def _foreign(data: Path, tree: Tree) -> Check:
    """What lies among the projects and belongs to none of them."""
    projects = data / "projects"
    known: dict[Path, set[str]] = {projects: set(tree.projects)}
    for project, family in tree.families:
        known.setdefault(projects / project, {"project.yaml"}).add(family)
    for project in tree.projects:
        known.setdefault(projects / project, {"project.yaml"})
    for project, family in tree.families:
        known.setdefault(projects / project / family, {"family.yaml"})
    for project, family, experiment, runs in tree.experiments:
        known[projects / project / family].add(experiment)
        known[projects / project / family / experiment] = {"experiment.yaml", *runs}
    found = []
    for folder, names in known.items():
        found += [folder / name for name in _names(folder) if name not in names and not name.startswith(".")]
    findings = tuple(
        Finding(str(path.relative_to(data)), "belongs to no run and is left alone") for path in sorted(found)
    )
    if not findings:
        return Check("foreign files", "ok", "none among the projects")
    return Check("foreign files", "note", f"{len(findings):,} among the projects", findings=findings)


def _left_over(data: Path, tree: Tree) -> Check:
    """Temporary files of writers that died."""
    folders = [
        data,
        data / "datasets",
        data / "configs",
        data / "queue" / host_name(),
        data / ".background" / host_name(),
    ]
    folders += [data / "projects" / reference for reference in tree.references]
    stale = []
    for folder in folders:
        for name in _names(folder):
            if name.endswith(".tmp"):
                try:
                    written = (folder / name).lstat().st_mtime
                except OSError:
                    continue
                if time.time() - written > STALE_SECONDS:
                    stale.append(folder / name)
    findings = tuple(Finding(str(path.relative_to(data)), "left by a process that died", "Remove it") for path in stale)
    if not findings:
        return Check("temporary files", "ok", "none left over")
    return Check("temporary files", "note", f"{len(findings):,} left over", "They can be removed", findings)


def _datasets(settings: Settings) -> Check:
    found, files = [], Workspace(settings.root, settings).datasets()
    for path in files:
        try:
            location = read_dataset(path).location(settings.root)
            if location is not None and not location.exists():
                found.append(
                    Finding(path.stem, f"its data is gone: there is no {location}", f"It is registered in {path}")
                )
        except KladMLError as error:
            found.append(Finding(path.stem, error.message, f"Correct {error.location or path}"))
    if not found:
        return Check("datasets", "ok", f"{len(files):,} registered")
    return Check("datasets", "wrong", f"{len(found):,} of {len(files):,} cannot be used", findings=tuple(found))


def _background(settings: Settings) -> Check:
    """The processes that go on with every screen closed; each is started anew by whatever has work for it."""
    folder = settings.data / ".background" / host_name()
    found = []
    for name in sorted(_names(folder)):
        record = read_object(folder / name) if name.endswith(".json") else None
        if record is None:
            continue
        kind, pid = name.removesuffix(".json"), record.get("pid")
        since = record.get("since")
        age = f" for {seconds_text(int(time.time() - since))}" if isinstance(since, int | float) else ""
        if is_alive(record) is True:
            found.append(Finding(kind, f"process {pid} runs{age}"))
        else:
            found.append(Finding(kind, f"process {pid} is gone; the next one with work for it starts it anew"))
    text = ", ".join(one.what for one in found) or "none runs"
    return Check("background", "ok", text, findings=tuple(found))


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
