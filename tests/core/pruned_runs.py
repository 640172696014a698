"""Ended runs with checkpoints as the trainer leaves them, without a trainer."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

from kladml_core.runs.checkpoint_list import MANIFEST, seal
from kladml_core.runs.files import write_json
from kladml_core.runs.processes import identity
from kladml_core.runs.rundir import RunDirectory

SIZE = 20_000


def name(step: int) -> str:
    """A checkpoint's name."""
    return f"step-{step:010d}"


def a_checkpoint(run: RunDirectory, step: int, *, best: bool = False, written: float | None = None) -> Path:
    """A valid checkpoint of one file."""
    path = run.checkpoints / name(step)
    path.mkdir(parents=True)
    content = bytes([step % 256]) * SIZE
    (path / "model.safetensors").write_bytes(content)
    files = {"model.safetensors": {"size": SIZE, "sha256": hashlib.sha256(content).hexdigest()}}
    known = {"step": step, "epoch": 0, "time": written or time.time(), "metrics": {}, "best": best, "world_size": 1}
    (path / MANIFEST).write_bytes(seal({"v": 1, **known, "config_hash": "", "versions": {}, "files": files}))
    if best:
        write_json(run.checkpoints / "best.json", {"name": path.name, "step": step})
    return path


def a_run(
    data: Path,
    *,
    experiment: str = "vision/digits/cnn",
    status: str = "finished",
    steps: Sequence[int] = (10, 20, 30, 40),
    best: int = 20,
    ended: float | None = None,
) -> RunDirectory:
    """A run with these checkpoints, whose first attempt has this status; a live one is this process's."""
    run = RunDirectory.create(data, *experiment.split("/"), seed=0)
    attempt = run.claim_attempt()
    for step in steps:
        a_checkpoint(run, step, best=step == best, written=ended)
    set_status(run, status, attempt, ended=ended)
    run.console_log.write_text("printed\n")
    return run


def set_status(run: RunDirectory, status: str, attempt: int = 1, *, ended: float | None = None) -> None:
    """Writes state.json."""
    now = time.time()
    state = {"v": 1, "status": status, "attempt": attempt, "heartbeat": now, "progress_at": now, "started": now - 60}
    write_json(run.state_json, {**state, **identity().to_json(), "ended": ended or now})


def tree(path: Path) -> dict[str, bytes | str]:
    """Everything below a directory: files with their content, links with what they name."""
    found: dict[str, bytes | str] = {}
    for one in sorted(path.rglob("*")):
        below = one.relative_to(path).as_posix()
        found[below] = f"-> {one.readlink()}" if one.is_symlink() else b"" if one.is_dir() else one.read_bytes()
    return found
