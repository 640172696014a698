"""Giving a fetched run its place: in one step, and never over what somebody may be using."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from kladml_core.errors import UnusableError
from kladml_core.runs.checkpoint_list import CHECKPOINT_NAME
from kladml_core.runs.fetch_files import link_or_copy
from kladml_core.runs.files import write_json
from kladml_core.runs.moving import refuse_if_moving
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import LIVE, read_status
from kladml_core.runs.stored import FETCHED, Store, StoredCheckpoint, StoredRun

NEW, ADDED, REPLACED = "new", "added", "replaced"
"""What a fetch does: makes the run, adds checkpoints to it, or brings it to where it has gone on elsewhere."""


def put_back(target: RunDirectory, half: Path) -> None:
    """Undoes a replacement that was interrupted between its two renames."""
    aside = half.with_suffix(".old.tmp")
    if aside.is_dir() and target.inode is None:
        aside.rename(target.path)


def put_in_place(
    target: RunDirectory,
    half: Path,
    store: Store,
    stored: StoredRun,
    chosen: Sequence[StoredCheckpoint],
    how: str,
) -> None:
    """Gives what was fetched its place. From here on it is seen."""
    if how == ADDED:
        for one in chosen:
            if (half / "checkpoints" / one.name).is_dir():
                target.checkpoints.mkdir(exist_ok=True)
                _replace_damaged(target.checkpoints / one.name)
                (half / "checkpoints" / one.name).rename(target.checkpoints / one.name)
        shutil.rmtree(half, ignore_errors=True)
        return
    fetched = RunDirectory(half)
    for directory in (fetched.attempts, fetched.metrics, fetched.checkpoints, fetched.artifacts, fetched.control):
        directory.mkdir(exist_ok=True)
    for old in half.glob("checkpoints/step-*"):
        if old.name not in {one.name for one in chosen}:
            shutil.rmtree(old)  # an earlier fetch of other checkpoints was interrupted
    _end_there(fetched, stored)
    if stored.best is not None and stored.best in chosen:
        write_json(fetched.checkpoints / "best.json", {"name": stored.best.name, "step": stored.best.step})
    write_json(
        half / FETCHED,
        {
            "v": 1,
            "uid": stored.uid,
            "bucket": store.bucket,
            "reference": stored.reference,
            "time": time.time(),
            "stored": stored.time,
            "attempt": stored.attempt,
            "live": stored.live,
            "host": stored.host,
            "events": stored.files["events.jsonl"].size if "events.jsonl" in stored.files else 0,
        },
    )
    if how == REPLACED:
        _exchange(target, half)
        return
    refuse_if_moving(target.path.parent)
    try:
        target.path.mkdir()  # a launch may claim this number at this moment; one of the two gets it
    except FileExistsError:
        raise UnusableError(f"{stored.reference} was made here meanwhile", hint="Fetch it once more") from None
    half.rename(target.path)


def _end_there(run: RunDirectory, stored: StoredRun) -> None:
    """Has the state of a run that was live when it was stored say so: no process of it is this copy's."""
    state = run.read_state()
    if not stored.live or state is None or state.get("status") not in LIVE:
        return
    ago = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(stored.time))
    reason = f"fetched while it was {state['status']} on {stored.host}, as it stood at {ago}"
    write_json(
        run.state_json, {**state, "status": "lost", "exit_code": 137, "reason": reason, "ended": stored.heartbeat}
    )


def _exchange(target: RunDirectory, half: Path) -> None:
    """Puts the fetched run in the place of its earlier state, of which notes and other checkpoints are kept."""
    number = target.claim_attempt(read_status(target).attempt or 0)  # nobody resumes it under our hands
    aside = half.with_suffix(".old.tmp")
    try:
        for name in ("notes.yaml", "tracking.json"):
            if (target.path / name).is_file():
                shutil.copy2(target.path / name, half / name)
        for path in target.checkpoints.glob("step-*"):
            if CHECKPOINT_NAME.fullmatch(path.name) and not (half / "checkpoints" / path.name).exists():
                shutil.copytree(path, half / "checkpoints" / path.name, copy_function=link_or_copy)
        shutil.rmtree(aside, ignore_errors=True)
        target.path.rename(aside)
    except BaseException:
        shutil.rmtree(target.attempt_dir(number), ignore_errors=True)
        raise
    half.rename(target.path)
    shutil.rmtree(aside, ignore_errors=True)


def _replace_damaged(path: Path) -> None:
    if path.exists():
        path.rename(path.with_name(f"{path.name}.rejected-{time.time_ns():x}"))
