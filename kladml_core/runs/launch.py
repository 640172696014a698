"""Launching and resuming runs: check everything, claim the run directory, start a worker that outlives the caller.

`python -m kladml_core.runs.launch CONFIG` is the command of `launch_command`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kladml_core.config.load import Document, dotted, dump, read, with_overrides
from kladml_core.errors import ConfigError, KladMLError, NothingToResumeError, UnusableError
from kladml_core.runs import provenance
from kladml_core.runs.checkpoint_list import list_checkpoints
from kladml_core.runs.files import write_json, write_text_atomic
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.session_killers import session_killers
from kladml_core.runs.status import read_status
from kladml_core.settings import Settings, load_settings

if TYPE_CHECKING:
    from kladml_core.config.schema import RunConfig

START_SECONDS = 20.0
_WORKER = "kladml_core.training.worker"


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


def prepare(config_file: Path, *, workspace: Path, overrides: Sequence[str] = (), processes: int | None = None) -> Plan:
    """Reads and checks a config; writes nothing.

    Args:
        config_file: the YAML file.
        workspace: the workspace's root, which names in the config are resolved against.
        overrides: `KEY=VALUE` texts with dotted keys, applied in order.
        processes: overrides launch.processes.

    Raises:
        ConfigError: the text is wrong (exit code 2).
        UnusableError: it names something that cannot be used (exit code 3).
    """
    words = [*overrides, *([] if processes is None else [f"launch.processes={processes}"])]
    document = with_overrides(read(config_file), words)
    return _plan(document, workspace, config_file, words)


def launch(plan: Plan) -> RunDirectory:
    """Creates the run's directory and starts its worker; returns as soon as the worker's process exists.

    Raises:
        UnusableError: the directory cannot be written, or the worker's process does not start.
    """
    config = plan.config
    run = RunDirectory.create(
        plan.settings.data,
        config.project,
        config.family,
        config.experiment,
        seed=config.seed,
        fingerprints=plan.fingerprints,
    )
    try:
        _start(run, run.claim_attempt(0), plan)
    except KladMLError:
        # Nothing has run: an empty run directory would be shown as a damaged run for ever.
        shutil.rmtree(run.path, ignore_errors=True)
        raise
    return run


def resume(run: RunDirectory, *, workspace: Path, overrides: Sequence[str] = ()) -> RunDirectory:
    """Starts the next attempt of a run from its newest checkpoint; the run keeps its name and its curves.

    Args:
        overrides: changes to the recorded config. Keys that make the run what it is are refused.

    Raises:
        NothingToResumeError: it is live, finished with nothing left to train, or has no checkpoint.
        ConfigError: an override is wrong, or changes what the run is.
    """
    status = read_status(run)
    if status.status == "damaged":
        raise UnusableError(f"{run.reference} is damaged: {status.damaged}", hint="launch its config again")
    if status.live:
        raise UnusableError(f"{run.reference} is {status.status} already", hint="watch it, or stop it first")
    if not any(checkpoint.valid for checkpoint in list_checkpoints(run)):
        raise NothingToResumeError(f"{run.reference} has no checkpoint to resume from", hint="launch its config again")
    if status.status == "finished" and not overrides:
        raise NothingToResumeError(
            f"{run.reference} has finished; there is nothing left to train",
            hint="train further with --set training.max_epochs=N",
        )
    recorded = read(run.config)
    document = with_overrides(recorded, overrides)
    plan = _plan(document, workspace, run.config, overrides)
    _refuse_other_identity(_resolve(recorded, workspace, plan.settings), plan.config, run)
    attempt = run.claim_attempt(status.attempt)
    before = run.config.read_text(encoding="utf-8")
    try:
        _start(run, attempt, plan)
    except KladMLError:
        shutil.rmtree(run.attempt_dir(attempt), ignore_errors=True)
        with suppress(OSError):
            write_text_atomic(run.config, before)
        raise
    return run


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


def _plan(document: Document, workspace: Path, config_file: Path, overrides: Sequence[str]) -> Plan:
    settings = load_settings(workspace)
    config = _resolve(document, workspace, settings)
    fingerprints, warnings = _datasets(config, workspace)
    return Plan(document, config, workspace, settings, config_file, tuple(overrides), fingerprints, warnings)


def _resolve(document: Document, workspace: Path, settings: Settings) -> RunConfig:
    from kladml_core.config.schema import resolve  # pydantic: not needed until something is launched

    return resolve(document, workspace=workspace, settings=settings)


def _datasets(config: RunConfig, workspace: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """Fingerprints of the data files that a config names, and a warning for each that changed since its registration.

    The data of a `target` is fingerprinted by the worker, which alone may import it.
    """
    from kladml_core.config.references import is_data_path
    from kladml_core.workspace.datasets import file_fingerprint, find_dataset

    fingerprints: dict[str, str] = {}
    warnings: list[str] = []
    for split in ("train", "val", "test"):
        name = getattr(config.data, split)
        if name is None:
            continue
        if is_data_path(name):
            fingerprints[name] = file_fingerprint(workspace / Path(name).expanduser())
            continue
        registration = find_dataset(workspace, name)
        location = registration.location(workspace)
        if location is None:
            continue
        fingerprints[name] = file_fingerprint(location)
        if registration.fingerprint not in (None, fingerprints[name]):
            warnings.append(f"dataset {name!r} has changed since it was registered: {location}")
    return fingerprints, tuple(warnings)


def _start(run: RunDirectory, attempt: int, plan: Plan) -> None:
    directory = run.attempt_dir(attempt)
    text = dump(plan.config.model_dump(mode="json"))
    command = _command(run, attempt, plan)
    try:
        write_text_atomic(directory / "config.yaml", text)
        write_text_atomic(run.config, text)
        write_json(directory / "attempt.json", _record(plan, command, attempt, directory))
        run.console_log.touch()
    except OSError as error:
        raise UnusableError(f"cannot write {directory}: {error.strerror}", hint="free some space") from error
    # -P: the workspace may hold a file named like a module of the standard library; only the worker is to see it.
    starter = [sys.executable, "-P", "-m", "kladml_core.runs.detach", str(run.path), str(attempt), str(plan.workspace)]
    try:
        subprocess.run(
            [*starter, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=_worker_environment(plan),
            timeout=START_SECONDS,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise UnusableError(f"the worker could not be started: {last}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnusableError(f"the worker could not be started: {error}") from error


def _command(run: RunDirectory, attempt: int, plan: Plan) -> list[str]:
    processes, place = _processes_here(plan), plan.config.launch
    worker = ["-m", _WORKER, str(run.path), str(attempt)]
    if processes == 1 and place.machines == 1:
        return [sys.executable, *worker]
    where = ["--standalone"]
    if place.machines > 1:
        # The static rendezvous keeps the ranks as they are written: machine 0 holds rank 0, which writes the run.
        meeting = ["--rdzv-backend=static", f"--rdzv-endpoint={place.rendezvous}"]
        where = [f"--nnodes={place.machines}", f"--node-rank={place.machine_rank}", *meeting]
    # --tee gives every line its rank; SIGHUP stays out of the launcher's list, so that a closed terminal ends nothing.
    options = [*where, f"--nproc-per-node={processes}", "--tee=3", "--signals-to-handle=SIGTERM,SIGINT"]
    return [sys.executable, "-m", "torch.distributed.run", *options, *worker]


def _processes_here(plan: Plan) -> int:
    """Processes of this machine: as configured, or with `launch.distributed` one for each visible CUDA device."""
    if not plan.config.launch.distributed:
        return plan.config.launch.processes
    return max(plan.config.launch.processes, _cuda_devices())


@lru_cache(maxsize=1)
def _cuda_devices() -> int:
    # In a process of its own: whoever launches (the app above all) never imports torch.
    code = "import torch; print(torch.cuda.device_count())"
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60.0, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UnusableError(
            f"the visible devices cannot be counted: {error}", hint="write launch.processes instead of distributed"
        ) from error
    return int(done.stdout)


def _worker_environment(plan: Plan) -> dict[str, str]:
    environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
    # Threads that spin while they wait bring training to a crawl as soon as another job wants the same cores
    # (measured here: 107 s instead of 8 s, against 19 s); on an idle machine sleeping costs little.
    environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    processes = _processes_here(plan)
    if processes > 1 or plan.config.launch.machines > 1:
        threads = max(1, (os.cpu_count() or 1) // processes)
        environ.setdefault("OMP_NUM_THREADS", str(threads))
        environ.setdefault("TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE", "[rank ${rank}] ")
    return environ


def _record(plan: Plan, command: Sequence[str], attempt: int, directory: Path) -> dict[str, Any]:
    positions = {} if attempt > 1 else plan.document.dotted_positions()
    return {
        "v": 1,
        "attempt": attempt,
        "created": time.time(),
        "argv": provenance.mask_argv(sys.argv),
        "command": list(command),
        "overrides": [provenance.mask_override(word) for word in plan.overrides],
        "warnings": [*session_killers(), *plan.warnings],
        "launcher_pid": os.getpid(),
        **provenance.record(directory, _code_location(plan), _worker_environment(plan)),
        "source": {
            "file": plan.document.file,
            "positions": {key: list(place) for key, place in positions.items()},
            "overrides": {
                dotted(path): provenance.mask_override(word) for path, word in plan.document.overrides.items()
            },
        },
    }


def _code_location(plan: Plan) -> Path:
    """The file that defines the model's target: its repository is the one whose state matters."""
    from kladml_core.config.targets import find_target

    return Path(find_target(plan.config.model.target, plan.workspace).file)


def _refuse_other_identity(before: RunConfig, after: RunConfig, run: RunDirectory) -> None:
    from kladml_core.config.schema import changed_identity

    changes = changed_identity(before, after)
    if changes:
        told = "; ".join(f"{key}: {old!r} → {new!r}" for key, old, new in changes)
        raise ConfigError(
            f"{run.reference} cannot be resumed with another {', '.join(key for key, _, _ in changes)} ({told})",
            hint="press n on it in the app, or copy its config.yaml, to train a different run",
        )


if __name__ == "__main__":
    from kladml_core.runs.launch_command import main

    raise SystemExit(main())
