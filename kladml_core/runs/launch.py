"""Launching and resuming runs: check everything, claim the run directory, start a worker that outlives the caller.

`python -m kladml_core.runs.launch CONFIG` is the command of `launch_command`.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kladml_core.config.load import Document, read
from kladml_core.config.override import with_overrides
from kladml_core.errors import ConfigError, KladMLError, NothingToResumeError, UnusableError
from kladml_core.runs.checkpoint_list import list_checkpoints
from kladml_core.runs.elsewhere import refuse_if_live_elsewhere
from kladml_core.runs.files import write_text_atomic
from kladml_core.runs.machine_checks import check_disk, check_folders, check_run_folder
from kladml_core.runs.machines import join, joins, require_free_rendezvous
from kladml_core.runs.queue_list import ensure_scheduler
from kladml_core.runs.recorded_place import with_present_names
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.start import start_attempt
from kladml_core.runs.status import RunStatus, read_status
from kladml_core.runs.uploads import store_of
from kladml_core.settings import Settings, load_settings
from kladml_core.workspace.data_files import changed_since, look_at_data
from kladml_core.workspace.places import name_warnings

if TYPE_CHECKING:
    from kladml_core.config.schema import RunConfig


_MENDING_SECONDS = 5.0
"""A living worker writes state.json at least once a second."""


@dataclass(frozen=True)
class Plan:
    """A launch in which everything that can be checked without importing the user's code has been checked."""

    document: Document
    config: RunConfig
    workspace: Path
    settings: Settings
    config_file: Path
    overrides: tuple[str, ...]
    fingerprints: Mapping[str, str]
    """Of the data files that the config names, as they are now, by the name that the config gives them."""
    warnings: tuple[str, ...]
    """What the person should know before this trains; the worker writes each as an event."""
    cloned_from: Mapping[str, str] | None = None
    """`reference` and `uid` of the run whose config this is a copy of."""
    devices: tuple[str, ...] = ()
    """The GPUs that the queue gives it, by UUID; without any it takes what is visible."""


def prepare(
    config_file: Path,
    *,
    workspace: Path,
    overrides: Sequence[str] = (),
    processes: int | None = None,
    recorded_by: RunDirectory | None = None,
) -> Plan:
    """Reads and checks a config; writes nothing.

    Args:
        config_file: the YAML file.
        workspace: the workspace's root, which names in the config are resolved against.
        overrides: `KEY=VALUE` texts with dotted keys, applied in order.
        processes: overrides launch.processes.
        recorded_by: the run whose recorded config this is; the names of where it lies now take the place of those then.

    Raises:
        ConfigError: the text is wrong (exit code 2).
        UnusableError: it names something that cannot be used (exit code 3).
    """
    words = [*overrides, *([] if processes is None else [f"launch.processes={processes}"])]
    document = read(config_file)
    if recorded_by is not None:
        document = with_present_names(document, recorded_by)
    return _plan(with_overrides(document, words), workspace, config_file, words)


def launch(plan: Plan) -> RunDirectory:
    """Creates the run's directory and starts its worker; returns as soon as the worker's process exists.

    With `launch.machine_rank` above 0 no run is made: this machine joins the one that machine 0 has started.

    Raises:
        UnusableError: the directory cannot be written, the disk is full, or the worker's process does not start; or
            there is no run to join.
    """
    config = plan.config
    if joins(plan):
        return join(plan)
    check_folders(plan.settings, config)
    check_disk(plan.settings, config)
    require_free_rendezvous(plan)
    run = RunDirectory.create(
        plan.settings.data,
        config.project,
        config.family,
        config.experiment,
        seed=config.seed,
        fingerprints=plan.fingerprints,
    )
    try:
        start_attempt(run, run.claim_attempt(0), plan)
    except KladMLError:
        # Nothing has run: an empty run directory would be shown as a damaged run for ever.
        shutil.rmtree(run.path, ignore_errors=True)
        raise
    ensure_scheduler(plan.settings)  # should it have died, what waits goes on now
    return run


def resume(run: RunDirectory, *, workspace: Path, overrides: Sequence[str] = (), force: bool = False) -> RunDirectory:
    """Starts the next attempt of a run from its newest checkpoint; the run keeps its name and its curves.

    Arguments as `prepare_resume`.

    Raises:
        NothingToResumeError, ConfigError: as `prepare_resume`.
        UnusableError: as `prepare_resume`; or the run cannot be written, another process is starting it, or the
            worker does not start.
    """
    if any(word.startswith("launch.machine_rank=") for word in overrides):
        plan = _plan(with_overrides(read(run.config), overrides), workspace, run.config, overrides)
        if joins(plan):
            return join(plan, run)
    plan, ended = prepare_resume(run, workspace=workspace, overrides=overrides, force=force)
    check_run_folder(run)
    check_disk(plan.settings, plan.config, run)
    require_free_rendezvous(plan)
    attempt = run.claim_attempt(ended)
    before = run.config.read_text(encoding="utf-8")
    try:
        start_attempt(run, attempt, plan)
    except KladMLError:
        shutil.rmtree(run.attempt_dir(attempt), ignore_errors=True)
        with suppress(OSError):
            write_text_atomic(run.config, before)
        raise
    return run


def prepare_resume(
    run: RunDirectory, *, workspace: Path, overrides: Sequence[str] = (), force: bool = False
) -> tuple[Plan, int | None]:
    """Checks that a run can go on, and with which config; writes nothing.

    Args:
        overrides: changes to the recorded config. Keys that make the run what it is are refused.
        force: goes on with a fetched run although it may be live where it came from, or has gone on there.

    Returns:
        the plan, and the attempt that was found ended.

    Raises:
        NothingToResumeError: it is finished with nothing left to train, or has no checkpoint.
        ConfigError: an override is wrong, or changes what the run is.
        UnusableError: it is live, here or where it was fetched from, or its identity is damaged.
    """
    status = _settled(run)
    if status.status == "damaged" and run.read_run() is None:
        raise UnusableError(f"{run.reference} is damaged: {status.damaged}", hint="launch its config again")
    if status.live:
        raise UnusableError(f"{run.reference} is {status.status} already", hint="watch it, or stop it first")
    if not any(checkpoint.valid for checkpoint in list_checkpoints(run)):
        raise NothingToResumeError(
            f"{run.reference} has no checkpoint to resume from", hint="start it again as a new run: `kladml-tui rerun`"
        )
    if status.status == "finished" and not overrides:
        raise NothingToResumeError(
            f"{run.reference} has finished; there is nothing left to train",
            hint="train further with --set training.max_epochs=N",
        )
    recorded = with_present_names(read(run.config), run)
    document = with_overrides(recorded, overrides)
    plan = _plan(document, workspace, run.config, overrides)
    _refuse_other_identity(_resolve(recorded, workspace, plan.settings), plan.config, run)
    if not force:
        refuse_if_live_elsewhere(run, lambda: store_of(plan.settings))
    changed = changed_since((run.read_run() or {}).get("fingerprints"), plan.fingerprints)
    told = tuple(f"the data {name!r} is no longer what this run was made with" for name in changed)
    return replace(plan, warnings=(*plan.warnings, *told)), status.attempt


def prepare_queued(run: RunDirectory, attempt: int, *, workspace: Path) -> Plan:
    """Checks once more what was frozen when the attempt was queued, now that it is to start; writes nothing.

    Raises:
        KladMLError: as `prepare`; or the disk is full.
    """
    frozen = run.attempt_dir(attempt) / "config.yaml"
    plan = _plan(read(frozen), workspace, frozen, ())
    check_run_folder(run)
    check_disk(plan.settings, plan.config, run)
    require_free_rendezvous(plan)
    return plan


def wait_until_running(run: RunDirectory, timeout: float | None = None) -> str:
    """Waits until the worker says `running`, or the attempt has ended; returns that status.

    Raises:
        UnusableError: `timeout` seconds passed first.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    while (status := read_status(run)).status in ("queued", "starting"):
        if deadline is not None and time.monotonic() > deadline:
            raise UnusableError(f"{run.reference} is still starting", hint=f"its output is in {run.console_log}")
        time.sleep(0.05)
    return status.status


def _settled(run: RunDirectory) -> RunStatus:
    """The run's status; where it is damaged, after the time in which a living worker would have mended state.json."""
    deadline = time.monotonic() + _MENDING_SECONDS
    while (status := read_status(run)).status == "damaged" and run.state_json.exists() and run.read_run() is not None:
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return status


def _plan(document: Document, workspace: Path, config_file: Path, overrides: Sequence[str]) -> Plan:
    settings = load_settings(workspace)
    config = _resolve(document, workspace, settings)
    fingerprints, changed = look_at_data(config, workspace)
    warnings = (*name_warnings(settings.data, (config.project, config.family, config.experiment)), *changed)
    return Plan(document, config, workspace, settings, config_file, tuple(overrides), fingerprints, warnings)


def _resolve(document: Document, workspace: Path, settings: Settings) -> RunConfig:
    from kladml_core.config.schema import resolve  # pydantic: not needed until something is launched

    return resolve(document, workspace=workspace, settings=settings)


def _refuse_other_identity(before: RunConfig, after: RunConfig, run: RunDirectory) -> None:
    from kladml_core.config.schema import changed_identity

    changes = changed_identity(before, after)
    if changes:
        told = "; ".join(f"{key}: {old!r} → {new!r}" for key, old, new in changes)
        raise ConfigError(
            f"{run.reference} cannot be resumed with another {', '.join(key for key, _, _ in changes)} ({told})",
            hint="`kladml-tui clone`, or n in the app, makes a new run of a copy of its config",
        )


if __name__ == "__main__":
    from kladml_core.runs.launch_command import main

    raise SystemExit(main())
