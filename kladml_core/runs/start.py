"""Starting the worker of a claimed attempt: its files, its command, its environment, and the process itself."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kladml_core.config.load import dotted, dump
from kladml_core.errors import UnusableError
from kladml_core.runs import provenance, uploads
from kladml_core.runs.files import write_json, write_text_atomic
from kladml_core.runs.machine_checks import memory_warnings
from kladml_core.runs.notices import listen
from kladml_core.runs.process_tree import mark_of, new_mark
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.session_killers import session_killers
from kladml_core.runs.slots import PCI_ORDER
from kladml_core.tracking.outbox import enlist, refusal
from kladml_core.workspace.data_files import changed_since
from kladml_core.workspace.descriptions import bring_back

if TYPE_CHECKING:
    from kladml_core.runs.launch import Plan

START_SECONDS = 20.0
_WORKER = "kladml_core.training.worker"


def start_attempt(run: RunDirectory, attempt: int, plan: Plan) -> None:
    """Writes a claimed attempt's files and starts its worker; returns as soon as the worker's process exists.

    Raises:
        UnusableError: the directory cannot be written, or the worker's process does not start.
    """
    environ = worker_environment(plan)
    held = memory_warnings(plan.config.launch.device, processes_here(plan), environ)
    plan = replace(plan, warnings=(*held, *plan.warnings))
    command = write_attempt(run, attempt, plan, environ)
    start_worker(run, attempt, plan.workspace, command, environ)


def write_attempt(run: RunDirectory, attempt: int, plan: Plan, environ: Mapping[str, str]) -> list[str]:
    """Freezes the config and records where the attempt comes from.

    Args:
        environ: what the worker gets.

    Returns:
        the worker's command.

    Raises:
        UnusableError: the directory cannot be written.
    """
    directory = run.attempt_dir(attempt)
    text = dump(plan.config.model_dump(mode="json"))
    command = worker_command(run, attempt, plan)
    try:
        write_text_atomic(directory / "config.yaml", text)
        write_text_atomic(run.config, text)
        write_json(directory / "attempt.json", _record(plan, command, attempt, directory, environ))
        run.console_log.touch()
    except OSError as error:
        raise UnusableError(f"cannot write {directory}: {error.strerror}", hint="free some space") from error
    return command


def rewrite_attempt(run: RunDirectory, attempt: int, plan: Plan, environ: Mapping[str, str]) -> list[str]:
    """Brings the record of an attempt that was written earlier to what it is started with: code, machine, environment.

    Where it comes from (command line, overrides, file) stays as it was. What changed in the meantime is a warning.

    Returns:
        the worker's command.

    Raises:
        UnusableError: the directory cannot be written.
    """
    directory = run.attempt_dir(attempt)
    before = run.read_attempt(attempt) or {}
    command = worker_command(run, attempt, plan)
    patch = directory / provenance.PATCH_FILE
    try:
        code_then = _code(before, patch, plan.settings.data)
        patch.unlink(missing_ok=True)
        record = _record(plan, command, attempt, directory, environ)
        if code_then != _code(record, patch, plan.settings.data):
            record["warnings"].append("the code has changed since the run was queued; it trains as it is now")
        kept = {key: before[key] for key in ("created", "argv", "overrides", "source", "cloned_from") if key in before}
        for name in changed_since((run.read_run() or {}).get("fingerprints"), plan.fingerprints):
            record["warnings"].append(f"the data {name!r} has changed since the run was queued")
        write_json(directory / "attempt.json", {**record, **kept, "started": time.time(), "devices": plan.devices})
    except OSError as error:
        raise UnusableError(f"cannot write {directory}: {error.strerror}", hint="free some space") from error
    return command


def _code(record: Mapping[str, Any], patch: Path, data: Path) -> tuple[str | None, frozenset[bytes]]:
    """Commit and changed files of a recorded attempt, without what lies in the data directory: runs are no code."""
    git = record.get("git") or {}
    parts = patch.read_bytes().split(b"diff --git ")[1:] if patch.is_file() else []
    try:
        inside = b"a/" + os.fsencode(data.resolve().relative_to(git.get("root") or "/")) + b"/"
    except ValueError:
        inside = b"a//"  # somewhere else: no path in a patch begins so
    return git.get("sha"), frozenset(part for part in parts if not part.lstrip(b'"').startswith(inside))


def start_worker(
    run: RunDirectory,
    attempt: int,
    workspace: Path,
    command: Sequence[str],
    environ: Mapping[str, str],
    *,
    keep_open: Sequence[int] = (),
    machine: int = 0,
) -> None:
    """Starts the worker of an attempt that is written.

    Args:
        keep_open: file descriptors that the starting process holds until state.json names the worker.
        machine: which of several machines this is; of another than 0 it is machine-N.json that names the worker.

    Raises:
        UnusableError: the worker's process does not start.
    """
    # -P: the workspace may hold a file named like a module of the standard library; only the worker is to see it.
    starter = [sys.executable, "-P", "-m", "kladml_core.runs.detach"]
    whose = [str(run.path), str(attempt), str(machine), str(workspace)]
    try:
        subprocess.run(
            [*starter, *whose, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**environ, **mark_of(run, attempt)},
            pass_fds=keep_open,
            timeout=START_SECONDS,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise UnusableError(f"the worker could not be started: {last}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnusableError(f"the worker could not be started: {error}") from error
    if machine == 0:
        listen(run, attempt, workspace)
        enlist(run, attempt, workspace)
        uploads.enlist(run, attempt, workspace)


def worker_command(run: RunDirectory, attempt: int, plan: Plan) -> list[str]:
    """What is executed on this machine: one worker, or the launcher of several."""
    processes, place = processes_here(plan), plan.config.launch
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


def processes_here(plan: Plan) -> int:
    """Processes of this machine: as configured, or with `launch.distributed` one for each visible CUDA device."""
    if not plan.config.launch.distributed:
        return plan.config.launch.processes
    return max(plan.config.launch.processes, len(plan.devices) or _cuda_devices())


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


def worker_environment(plan: Plan) -> dict[str, str]:
    """What the worker gets: this process's environment, and what keeps processes from fighting over the cores."""
    environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
    # Threads that spin while they wait bring training to a crawl as soon as another job wants the same cores
    # (measured here: 107 s instead of 8 s, against 19 s); on an idle machine sleeping costs little.
    environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if plan.devices:
        environ |= PCI_ORDER
        if not plan.config.launch.device.startswith("cuda:"):  # that number counts in what is visible already
            environ["CUDA_VISIBLE_DEVICES"] = ",".join(plan.devices)
    processes = processes_here(plan)
    if processes > 1 or plan.config.launch.machines > 1:
        threads = max(1, (os.cpu_count() or 1) // processes)
        environ.setdefault("OMP_NUM_THREADS", str(threads))
        environ.setdefault("TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE", "[rank ${rank}] ")
    return environ


def _record(
    plan: Plan, command: Sequence[str], attempt: int, directory: Path, environ: Mapping[str, str]
) -> dict[str, Any]:
    positions = {} if attempt > 1 else plan.document.dotted_positions()
    return {
        "v": 1,
        "attempt": attempt,
        "created": time.time(),
        "argv": provenance.mask_argv(sys.argv),
        "command": list(command),
        "overrides": [provenance.mask_override(word) for word in plan.overrides],
        "warnings": [
            *session_killers(),
            *filter(None, [refusal(plan.settings)]),
            *plan.warnings,
            *bring_back(directory.parents[1]),
        ],
        "launcher_pid": os.getpid(),
        "mark": new_mark(),
        **({} if plan.cloned_from is None else {"cloned_from": dict(plan.cloned_from)}),
        **provenance.record(directory, _code_location(plan), environ),
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
