"""Which runs train on a dataset, and which datasets a run trains on, as their files say it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kladml_core.config.load import read
from kladml_core.config.references import is_data_path
from kladml_core.errors import KladMLError
from kladml_core.runs.ref import all_runs
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status
from kladml_core.workspace.datasets import FOLDER, DatasetRegistration, read_dataset

SPLITS = ("train", "val", "test")
_RUN_PARTS = 5
"""Parts of a run's path below the data directory."""


@dataclass(frozen=True)
class Use:
    """A run and a dataset that it trains on."""

    run: str
    """The run's reference."""
    dataset: str
    fingerprint: str | None
    """Of the data as the run was launched with it."""
    version: int | None = None
    """Which of the registered versions that is, from 1 on; None where it is none of them."""


def runs_using(data: Path, registration: DatasetRegistration) -> list[Use]:
    """The runs that were launched on a dataset, by name, in the order of their references. Reads each run's run.json.

    Args:
        data: the workspace's data directory.
        registration: the dataset.
    """
    name = registration.file.stem
    found = []
    for path in sorted(all_runs(data)):
        run = RunDirectory(path)
        fingerprints = _fingerprints(run)
        if name in fingerprints:
            mark = fingerprints[name]
            found.append(Use(run.reference, name, mark, version_of(registration, mark)))
        elif name in _named(run, name):
            found.append(Use(run.reference, name, None))
    return found


def datasets_of(run: RunDirectory) -> list[Use]:
    """The registered datasets that a run was launched on, each with the version that it saw."""
    folder = run.path.parents[_RUN_PARTS - 1] / FOLDER
    found = []
    fingerprints = _fingerprints(run)
    for name in dict.fromkeys([*_named(run), *(name for name in fingerprints if not is_data_path(name))]):
        version = None
        try:
            version = version_of(read_dataset(folder / f"{name}.yaml"), fingerprints.get(name))
        except KladMLError:
            pass  # it is registered no more, or damaged; the run trained on it all the same
        found.append(Use(run.reference, name, fingerprints.get(name), version))
    return found


def live_uses(data: Path, name: str) -> list[str]:
    """References of the runs that wait or run and were launched on a dataset."""
    found = []
    for path in sorted(all_runs(data)):
        run = RunDirectory(path)
        if (name in _fingerprints(run) or name in _named(run, name)) and read_status(run).live:
            found.append(run.reference)
    return found


def version_of(registration: DatasetRegistration, fingerprint: str | None) -> int | None:
    """The number of the newest version with that fingerprint."""
    if fingerprint is None:
        return None
    for number in range(len(registration.versions), 0, -1):
        if registration.versions[number - 1].get("fingerprint") == fingerprint:
            return number
    return None


def _behind_a_split(name: str, text: bytes) -> bool:
    # Thousands of runs are asked, and parsing a config takes a thousand times as long.
    # The name alone, not as a part of another: `digits` is not `digits-train`, which as many runs may have.
    alone = rb"(?<![\w.-])" + re.escape(name.encode()) + rb"(?![\w.-])"
    return re.search(rb"\b(?:train|val|test)[\"']?:[^\n]*" + alone, text) is not None


def _fingerprints(run: RunDirectory) -> dict[str, str]:
    recorded: Any = (run.read_run() or {}).get("fingerprints")
    return {str(name): str(mark) for name, mark in recorded.items()} if isinstance(recorded, dict) else {}


def _named(run: RunDirectory, only: str | None = None) -> list[str]:
    """Names of datasets in a run's config; a text in which `only` stands behind no split is not parsed."""
    try:
        if only is not None and only.isascii() and not _behind_a_split(only, run.config.read_bytes()):
            return []
        section = read(run.config).data.get("data")
    except (OSError, KladMLError):
        return []
    if not isinstance(section, dict):
        return []
    names = [section.get(split) for split in SPLITS]
    return [name for name in names if isinstance(name, str) and not is_data_path(name)]
