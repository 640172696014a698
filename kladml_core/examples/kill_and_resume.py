"""Kills a run with kill -9 in the middle, resumes it, and compares it bit by bit with one that nobody disturbed.

`python -m kladml_core.examples.kill_and_resume [CONFIG] [--kills N]` does it with real worker processes in a workspace
of its own, which it removes in the end; --keep leaves it. The moments of the kills are random.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from kladml_core.errors import KladMLError, TrainingFailedError
from kladml_core.runs.checkpoint_list import list_checkpoints
from kladml_core.runs.events import read_events
from kladml_core.runs.launch import launch, prepare, resume
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import LIVE, RunStatus, reconcile

CONFIG = Path(__file__).with_name("digits.yaml")
FILES = ("model.safetensors", "optimizer.safetensors", "rng.safetensors")
"""Weights and buffers, the optimizer's state, and every random generator."""
_SETTINGS = ("training.max_epochs=6", "training.checkpoint.every_steps=10", "launch.device=cpu")
_SECONDS = 300.0


def main(argv: Sequence[str] | None = None) -> int:
    """Prints what it does and the hashes of both ends; 0 when they are equal, 1 when not."""
    parser = ArgumentParser(prog="python -m kladml_core.examples.kill_and_resume", description=__doc__)
    parser.add_argument("config", nargs="?", type=Path, default=CONFIG, metavar="CONFIG", help="else digits")
    parser.add_argument("--kills", type=int, default=2, metavar="N", help="how often it is killed (2)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key; repeatable")
    parser.add_argument("--keep", action="store_true", help="leave the workspace there, to look at it")
    words = parser.parse_args(argv)
    workspace = Path(tempfile.mkdtemp(prefix="kladml-kill-"))
    (workspace / "kladml.yaml").write_text("workspace: {name: kill and resume}\n", encoding="utf-8")
    try:
        return _compare(words.config.resolve(), workspace, words.kills, [*_SETTINGS, *words.set])
    except KladMLError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    finally:
        if words.keep:
            print(f"the workspace: {workspace}")
        else:
            shutil.rmtree(workspace, ignore_errors=True)


def _compare(config: Path, workspace: Path, kills: int, settings: Sequence[str]) -> int:
    plan = prepare(config, workspace=workspace, overrides=settings)
    print(f"$ kladml-tui --run {config.name}", flush=True)
    undisturbed = launch(plan)
    total = _ended(undisturbed).total_steps or 0
    print(f"  {undisturbed.ref.run} finished, {total} steps", flush=True)

    print(f"$ kladml-tui --run {config.name} --detach", flush=True)
    killed = launch(plan)
    moments = sorted(random.sample(range(11, max(total, 12 + kills)), kills))
    for step in moments:
        if not _kill(killed, step):
            print(f"  it ended before step {step} could be interrupted")
            break
        print(f"$ kladml-tui resume {killed.ref.run}", flush=True)
        resume(killed, workspace=workspace)
    _ended(killed)
    for event in read_events(killed.events)[0]:
        if event["kind"] == "resumed":
            exact = "exact" if event["exact"] else f"not exact: {event['reason']}"
            print(f"  attempt {event['attempt']} went on from {event['checkpoint']}, {exact}")
    return _tell(undisturbed, killed)


def _kill(run: RunDirectory, step: int) -> bool:
    """kill -9 once the run has reached a step and has a checkpoint; False when it has ended by itself before."""
    deadline = time.monotonic() + _SECONDS
    while True:
        state = run.read_state() or {}
        pid = state.get("pid")
        here = state.get("status") == "running" and state.get("attempt") == run.latest_attempt()
        if here and isinstance(pid, int) and _progress(run) >= step and list_checkpoints(run):
            break
        if reconcile(run).status not in LIVE:
            return False
        if time.monotonic() > deadline:
            raise TrainingFailedError(f"{run.reference} does not reach step {step}", hint=f"see {run.console_log}")
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    while reconcile(run).status in LIVE:
        time.sleep(0.02)
    status = reconcile(run).status
    print(f"$ kill -9 {pid}        # after step {_progress(run)}: {status}", flush=True)
    return status == "lost"


def _progress(run: RunDirectory) -> int:
    """The newest step that events tell of; state.json is written once a second only."""
    events, _ = read_events(run.events)
    return max((event.get("step") or 0 for event in events if event["attempt"] == run.latest_attempt()), default=0)


def _ended(run: RunDirectory) -> RunStatus:
    deadline = time.monotonic() + _SECONDS
    while (status := reconcile(run)).status in LIVE and time.monotonic() < deadline:
        time.sleep(0.05)
    if status.status != "finished":
        raise TrainingFailedError(f"{run.reference} is {status.status}: {status.reason}", hint=f"see {run.console_log}")
    return status


def _tell(one: RunDirectory, other: RunDirectory) -> int:
    newest = [max(list_checkpoints(run), key=lambda checkpoint: checkpoint.step) for run in (one, other)]
    equal = newest[0].name == newest[1].name
    print(f"\nsha256 of the last checkpoint, {newest[0].name}:")
    for file in FILES:
        hashes = [_hash(run.checkpoints / last.name / file) for run, last in zip((one, other), newest, strict=True)]
        same = hashes[0] == hashes[1]
        equal = equal and same
        print(f"  {file:<22} {hashes[0][:16]}  {hashes[1][:16]}  {'equal' if same else 'DIFFERENT'}")
    print("bit-identical" if equal else "NOT the same")
    return int(not equal)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    raise SystemExit(main())
