"""Real runs for the tests of what happens around them: a config that ends soon, and one that goes on for long."""

from __future__ import annotations

from pathlib import Path

from kladml_core.runs.processes import is_alive
from kladml_core.runs.ref import all_runs
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import RunStatus, read_status
from tests.waiting import wait_for

START_SECONDS = 60.0

_CONFIG = """\
project: vision
family: digits
experiment: {experiment}
model:
  target: {target}
  params: {{width: 8}}
data:
  target: kladml_core.examples.digits:load
training:
  max_epochs: {epochs}
  learning_rate: 2e-3
  log_every: 5
launch: {{device: cpu}}
"""


def write_config(
    workspace: Path,
    name: str = "short",
    *,
    epochs: int = 2,
    target: str = "kladml_core.examples.digits:DigitsCNN",
) -> Path:
    """Writes a config into the workspace; with 100,000 epochs it outlives every test."""
    path = workspace / "data" / "configs" / f"{name}.yaml"
    path.write_text(_CONFIG.format(experiment=name, epochs=epochs, target=target))
    return path


def only_run(workspace: Path) -> RunDirectory:
    """The one run of the workspace, once it exists."""
    paths = wait_for(lambda: list(all_runs(workspace / "data")), START_SECONDS, "no run was made")
    assert len(paths) == 1
    return RunDirectory(paths[0])


def runs_of(workspace: Path) -> list[RunDirectory]:
    """Every run of the workspace."""
    return [RunDirectory(path) for path in all_runs(workspace / "data")]


def wait_for_step(run: RunDirectory, step: int = 1) -> RunStatus:
    """Waits until the run trains and has made `step` steps."""

    def reached() -> RunStatus | None:
        status = read_status(run)
        assert status.live, f"the run is {status.status}: {status.reason}\n{run.console_log.read_text()}"
        return status if status.status == "running" and status.step >= step else None

    return wait_for(reached, START_SECONDS, f"{run.reference} never reached step {step}")


def goes_on(run: RunDirectory) -> bool:
    """Whether the worker lives and makes further steps."""
    before = read_status(run)
    wait_for(lambda: read_status(run).step > before.step, START_SECONDS, "it makes no steps any more")
    return is_alive(run.read_state() or {}) is True
