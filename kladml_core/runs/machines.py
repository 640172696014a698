"""A run of several machines: machine 0 makes it, the others join it in the workspace that all of them share."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kladml_core.config.diff import diff
from kladml_core.config.load import parse
from kladml_core.errors import ConfigError, KladMLError, UnusableError
from kladml_core.runs.files import read_object
from kladml_core.runs.processes import host_name
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.start import start_worker, worker_command, worker_environment
from kladml_core.runs.status import read_status

if TYPE_CHECKING:
    from kladml_core.runs.launch import Plan

JOIN_SECONDS = 30.0
"""How long machine 0 may take to come, where all machines are started at once."""

FREE_SECONDS = 20.0
"""How long the launcher of an attempt that has ended may still listen at the rendezvous."""

_LOOK_SECONDS = 0.2
_OF_ITS_OWN = ("device", "machine_rank", "processes")
"""Keys of `launch` in which machines may differ."""


def joins(plan: Plan) -> bool:
    """Whether this plan is that of another machine than the one that writes the run."""
    return bool(plan.config.launch.machine_rank)


def require_free_rendezvous(plan: Plan) -> None:
    """On machine 0 of several: waits until nobody listens where they are to meet.

    The launcher of an attempt that has just ended may listen for a moment longer, and machines that met there would
    meet in the wrong attempt.

    Raises:
        UnusableError: somebody goes on listening.
    """
    place = plan.config.launch
    if place.machines == 1 or place.rendezvous is None:
        return
    host, _, port = place.rendezvous.rpartition(":")
    deadline = time.monotonic() + FREE_SECONDS
    while _listens(host.strip("[]"), int(port)):
        if time.monotonic() > deadline:
            raise UnusableError(
                f"launch.rendezvous {place.rendezvous} is taken: something listens there already",
                hint="another run of several machines, say; write another port",
            )
        time.sleep(_LOOK_SECONDS)


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False  # nobody, or no such address, which the launcher tells


def refuse_joining(plan: Plan) -> None:
    """For a queue: what joins a run does so while that waits for it, not when its turn comes.

    Raises:
        UnusableError: the plan is that of a machine which joins.
    """
    if joins(plan):
        raise UnusableError(
            f"machine {plan.config.launch.machine_rank} joins a run as soon as machine 0 starts it, and cannot queue",
            hint="start it with --run",
        )


def join(plan: Plan, run: RunDirectory | None = None) -> RunDirectory:
    """Starts this machine's processes of the run that machine 0 has started, or is about to.

    The run, its state and its curves are machine 0's; this machine leaves `machine-N.json` and `machine-N.log` (what
    its processes print) beside the attempt.

    Args:
        run: the one to be resumed; None looks for the newest run of the plan's experiment that waits for this machine.

    Raises:
        UnusableError: no run waits for this machine, or its worker does not start.
        ConfigError: the run was started with another config.
    """
    run, attempt = _waiting(plan, run)
    _require_same(plan, run, attempt)
    environ = worker_environment(plan)
    machine = int(plan.config.launch.machine_rank or 0)
    place = run.machine_json(attempt, machine)
    command = worker_command(run, attempt, plan)
    try:
        # The first of two launches as the same machine has it.
        os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except FileExistsError:
        raise UnusableError(f"{run.reference} has its machine {machine} already: {_holder(place)}") from None
    except OSError as error:
        raise UnusableError(f"cannot write {place}: {error.strerror}") from error
    try:
        start_worker(run, attempt, plan.workspace, command, environ, machine=machine)
    except KladMLError:
        place.unlink(missing_ok=True)
        raise
    return run


def _waiting(plan: Plan, run: RunDirectory | None) -> tuple[RunDirectory, int]:
    """The run that waits for this machine, and its attempt."""
    config = plan.config
    experiment = plan.settings.data / "projects" / config.project / config.family / config.experiment
    deadline = time.monotonic() + JOIN_SECONDS
    while True:
        for candidate in [run] if run is not None else _newest_first(experiment):
            attempt = candidate.latest_attempt()
            if attempt is not None and _waits(candidate, attempt, plan):
                return candidate, attempt
        if time.monotonic() > deadline:
            what = run.reference if run is not None else f"{config.project}/{config.family}/{config.experiment}"
            raise UnusableError(
                f"no run of {what} waits for machine {config.launch.machine_rank} at {config.launch.rendezvous}",
                hint="start it with launch.machine_rank=0 on machine 0; the workspace must be on a disk that all share",
            )
        time.sleep(_LOOK_SECONDS)


def _waits(run: RunDirectory, attempt: int, plan: Plan) -> bool:
    # No process trains before all machines are there, so a run that lacks one is still starting.
    wanted = plan.config.launch
    if read_status(run).status != "starting" or run.machine_json(attempt, wanted.machine_rank or 0).exists():
        return False
    launch = _recorded(run, attempt).get("launch") or {}
    return bool(launch.get("rendezvous") == wanted.rendezvous and launch.get("machines") == wanted.machines)


def _recorded(run: RunDirectory, attempt: int) -> dict[str, Any]:
    path = run.attempt_dir(attempt) / "config.yaml"
    try:
        return dict(parse(path.read_text(encoding="utf-8"), str(path)).data)
    except (OSError, KladMLError):
        return {}  # not written yet


def _require_same(plan: Plan, run: RunDirectory, attempt: int) -> None:
    configs = [_recorded(run, attempt), plan.config.model_dump(mode="json")]
    changes = diff([{**it, "launch": _shared(it.get("launch") or {})} for it in configs])
    if changes:
        told = "; ".join(f"{key}: {there!r} there, {here!r} here" for key, (there, here) in changes)
        raise ConfigError(
            f"{run.reference} was started with another config on machine 0 ({told})",
            hint="start every machine with the same config; only launch.machine_rank differs",
        )


def _shared(launch: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in launch.items() if key not in _OF_ITS_OWN}


def _newest_first(experiment: Path) -> list[RunDirectory]:
    try:
        return [RunDirectory(path) for path in sorted(experiment.glob("run_*"), key=_number, reverse=True)]
    except OSError:
        return []


def _number(path: Path) -> tuple[int, str]:
    return len(path.name), path.name


def _holder(place: Path) -> str:
    found = read_object(place) or {}
    return f"process {found.get('pid', '?')} on {found.get('host', host_name())}"
