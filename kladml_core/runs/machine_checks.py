"""What a launch needs of this machine, looked at before a worker or a device is: folders, disk and device memory.

What can only be known with the model in hand (the exact size of a checkpoint, say) the worker's own preflight checks.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kladml_core.config.load import read
from kladml_core.errors import KladMLError, UnusableError
from kladml_core.runs.checkpoint_list import list_checkpoints
from kladml_core.runs.event_text import size_text
from kladml_core.runs.gpus import Gpu, gpus, visible
from kladml_core.runs.provenance import user_name
from kladml_core.runs.ref import RUN_NAME
from kladml_core.runs.rundir import RunDirectory
from kladml_core.settings import FILE_NAME, Settings, with_environment

if TYPE_CHECKING:
    from kladml_core.config.schema import RunConfig

LEAST_FREE = 4_000_000
"""Bytes without which even the smallest run's metrics and output are not worth starting."""

_LOOKED_AT = 5
"""How many of an experiment's newest runs are searched for a checkpoint."""


def check_folders(settings: Settings, config: RunConfig) -> None:
    """Whether a run of this config can be made.

    Raises:
        UnusableError: its folder cannot be written; with the line of `workspace.data_dir` where that is to blame.
    """
    folder = experiment_folder(settings, config)
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    problem = _unwritable(existing)
    if problem is not None:
        raise UnusableError(
            f"a run cannot be made: {problem}",
            hint="make it writable, or name another place as workspace.data_dir in kladml.yaml",
            **_data_dir_place(settings),
        )


def check_run_folder(run: RunDirectory) -> None:
    """Whether a further attempt of a run can be written.

    Raises:
        UnusableError: one of its folders cannot be written.
    """
    for folder in (run.path, run.attempts, run.metrics, run.checkpoints, run.control):
        problem = _unwritable(folder) if folder.exists() else None
        if problem is not None:
            raise UnusableError(f"{run.reference} cannot go on: {problem}", hint="make it writable")


def check_disk(settings: Settings, config: RunConfig, run: RunDirectory | None = None) -> None:
    """Whether a checkpoint fits, judged by the run's own or by those of the experiment's newest alike run.

    Args:
        run: the run that goes on; None for a new one.

    Raises:
        UnusableError: it does not, or nearly nothing is free.
    """
    folder = run.path if run is not None else experiment_folder(settings, config)
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    expected = _checkpoint_size([run] if run is not None else _newest_alike(folder, config))
    if expected is not None and free < expected:
        raise UnusableError(
            f"a checkpoint takes about {size_text(expected)}, and {existing} has {size_text(free)} free",
            hint="free some space",
        )
    if free < LEAST_FREE:
        raise UnusableError(f"{existing} has only {size_text(free)} free", hint="free some space")


def memory_warnings(
    device: str, processes: int, environ: Mapping[str, str] = os.environ, devices: Sequence[Gpu] | None = None
) -> tuple[str, ...]:
    """A warning for each device of the run of which other processes hold most of the memory.

    Args:
        device: as `launch.device`.
        processes: training processes on this machine, each with a device of its own.
        environ: what the worker gets.
        devices: the machine's, asked of the driver when None.
    """
    kind, _, number = device.partition(":")
    if kind not in ("auto", "cuda"):
        return ()
    seen = visible(gpus() if devices is None else devices, environ)
    chosen = seen[int(number) : int(number) + 1] if number else seen[:processes]
    found = []
    for one in chosen:
        if one.free >= one.total / 2:
            continue
        by = f" (process {', '.join(map(str, one.pids))})" if one.pids else ""
        free = f"{size_text(one.free)} of {size_text(one.total)}"
        found.append(f"GPU {one.index} ({one.name}) has {free} free; other processes hold the rest{by}")
    return tuple(found)


def experiment_folder(settings: Settings, config: RunConfig) -> Path:
    """Where the runs of a config's experiment lie; it need not exist."""
    return settings.data / "projects" / config.project / config.family / config.experiment


def _unwritable(folder: Path) -> str | None:
    if os.access(folder, os.W_OK | os.X_OK):
        return None
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return f"{folder} is on a read-only file system"
    return f"{folder} may not be written by {user_name()}"


def _data_dir_place(settings: Settings) -> dict[str, Any]:
    """Where it is written where the data lies, as arguments of an error; empty where that is the default."""
    try:
        document = with_environment(read(settings.root / FILE_NAME, empty_ok=True), os.environ)
    except KladMLError:
        return {}
    section = document.data.get("workspace")
    if not isinstance(section, dict) or section.get("data_dir") is None:
        return {}
    place = document.place(("workspace", "data_dir"))
    return {"file": place.file, "line": place.line, "column": place.column}


def _newest_alike(folder: Path, config: RunConfig) -> list[RunDirectory]:
    """The experiment's newest runs of the same model and optimizer: other checkpoints say nothing of this one's."""
    try:
        names = sorted((name for name in os.listdir(folder) if RUN_NAME.fullmatch(name)), key=_number, reverse=True)
    except OSError:
        return []
    return [run for name in names[:_LOOKED_AT] if _alike(run := RunDirectory(folder / name), config)]


def _number(name: str) -> int:
    return int(name.rpartition("_")[2])


def _alike(run: RunDirectory, config: RunConfig) -> bool:
    try:
        before = read(run.config).data
    except KladMLError:
        return False
    now = config.model_dump(mode="json")
    training = before.get("training")
    same_optimizer = isinstance(training, dict) and training.get("optimizer") == now["training"]["optimizer"]
    return same_optimizer and before.get("model") == now["model"]


def _checkpoint_size(runs: Sequence[RunDirectory]) -> int | None:
    return next((row.bytes for run in runs for row in list_checkpoints(run) if row.valid), None)
