"""A workspace with runs on disk for the tests of the workbench, and looking at the screen."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

from textual.pilot import Pilot

from kladml_core.backends.run_log import RunLog
from kladml_core.runs.files import write_json, write_text_atomic
from kladml_core.runs.rundir import RunDirectory
from kladml_tui.app import KladMLApp

ROOMY = (160, 48)
SMALL = (80, 24)
CONFIG = """\
project: vision
family: digits
experiment: cnn
model: {target: "kladml_core.examples.digits:DigitsCNN"}
data: {target: "kladml_core.examples.digits:load"}
training: {max_epochs: 1}
"""


def workspace_in(directory: Path, *, config: str = CONFIG) -> Path:
    """A workspace with one config and no run."""
    (directory / "data" / "configs").mkdir(parents=True)
    (directory / "kladml.yaml").write_text("workspace: {name: bench}\n")
    (directory / "data" / "configs" / "digits.yaml").write_text(config)
    return directory


def a_run(workspace: Path, experiment: str = "vision/digits/cnn", *, status: str = "finished", steps: int = 20) -> Path:
    """A run that ended in some way, or that `lost` its process; a `running` one is this process's."""
    run = RunDirectory.create(workspace / "data", *experiment.split("/"), seed=0)
    attempt = run.claim_attempt()
    write_text_atomic(run.config, CONFIG)
    write_json(run.attempt_dir(attempt) / "attempt.json", {"v": 1, "attempt": attempt, "user": "ada", "host": "gpu-01"})
    run.console_log.write_text("".join(f"line {number}\n" for number in range(100)))
    log = RunLog(run, attempt)
    log.status("running", started=time.time() - 100, phase="training")
    log.progress(total_steps=100, total_epochs=10)
    log.event("run_started", step=0, epoch=0)
    for step in range(1, steps + 1):
        value = math.nan if status == "failed" and step == steps else 2.0 / step
        log.log_metrics({"train/loss": value}, step)
    log.log_metrics({"val/loss": 0.25}, steps)
    if steps:
        log.event("checkpoint_saved", step=steps, epoch=1, name=f"step-{steps:010d}", best=True, bytes=1_200_000)
        log.checkpoint({"name": f"step-{steps:010d}", "step": steps})
    log.progress(step=steps, epoch=1)
    ends = {"finished": ("run_finished", 0, None), "failed": ("run_failed", 70, "train/loss is NaN")}
    ends["stopped"] = ("run_stopped", 75, "stopped on request")
    if status in ends:
        kind, code, reason = ends[status]
        log.event(kind, step=steps, exit_code=code, reason=reason)
        log.status(status, exit_code=code, reason=reason)
        log.close()
    elif status == "lost":
        log.status("running")
        log.close()
        state = run.read_state() or {}
        write_json(run.state_json, {**state, "pid": 2**22 + 1, "start_time": 1.0})
    else:
        log.status("running")
        log.close()
    return run.path


def many_runs(workspace: Path, count: int) -> None:
    """So many finished runs of one experiment, as bare files."""
    parent = workspace / "data" / "projects" / "big" / "family" / "experiment"
    parent.mkdir(parents=True)
    state = {"v": 1, "status": "finished", "attempt": 1, "step": 9, "epoch": 3, "started": 1.7e9, "ended": 1.7e9 + 60}
    for number in range(1, count + 1):
        run = parent / f"run_{number:04d}"
        run.mkdir()
        (run / "run.json").write_text(json.dumps({"v": 1, "uid": str(number), "created": 1.7e9 + number}))
        (run / "state.json").write_text(json.dumps(state))


def a_damaged_run(workspace: Path, experiment: str = "vision/digits/cnn") -> Path:
    """A directory that is named like a run and holds nothing."""
    parent = workspace / "data" / "projects" / experiment
    run = parent / f"run_{1 + len(list(parent.iterdir())):04d}"
    run.mkdir()
    os.utime(run, (1, 1))
    return run


def screen_text(app: KladMLApp) -> str:
    """What the person sees, line by line."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


async def until(
    pilot: Pilot[None], condition: Callable[[], object], message: str = "", *, timeout: float = 20.0
) -> None:
    """Lets the app go on until the condition holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            app = pilot.app
            shown = screen_text(app) if isinstance(app, KladMLApp) else ""
            raise AssertionError(f"{message or condition} within {timeout} s\n{shown}")
        await pilot.pause(0.02)


async def shows(pilot: Pilot[None], *words: str) -> None:
    """Waits until all these words are on the screen."""
    app = pilot.app
    assert isinstance(app, KladMLApp)
    await until(pilot, lambda: all(word in screen_text(app) for word in words), f"{words} never came to the screen")
