"""`clone`, `rerun` and `compare` from outside: what they print, write and exit with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kladml_core.runs.files import write_json
from kladml_core.runs.queue import pause
from kladml_core.runs.queue_list import entries
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status
from tests.system.command import json_lines, kladml

CONFIG = """\
project: p
family: f
experiment: e
model: {target: "kladml_core.examples.diabetes:DiabetesMLP"}
data: {target: "kladml_core.examples.diabetes:load"}
training: {max_epochs: 1}
launch: {device: cpu}
"""


def ended(workspace: Path, *, config: str = CONFIG, status: str = "failed", code: int = 1) -> RunDirectory:
    run = RunDirectory.create(workspace / "data", "p", "f", "e", seed=0)
    run.claim_attempt()
    run.config.write_text(config)
    write_json(run.state_json, {"v": 1, "status": status, "attempt": 1, "exit_code": code})
    return run


def test_a_clone_is_followed_to_its_end_as_a_run_is(workspace: Path) -> None:
    run = ended(workspace)
    done = kladml("clone", "1", "--set", "training.max_epochs=2", "--json", cwd=workspace)
    *_, last = json_lines(done.stdout)
    assert (done.returncode, last["kind"], last["run"]) == (0, "run_finished", "p/f/e/run_0002"), done.stderr
    again = RunDirectory(run.path.parent / "run_0002")
    assert read_status(again).epoch == 2
    assert (again.read_attempt(1) or {})["cloned_from"]["reference"] == run.reference


def test_a_clone_into_a_file_starts_nothing(workspace: Path) -> None:
    ended(workspace)
    done = kladml("clone", "1", "--set", "seed=5", "--to", "mine.yaml", cwd=workspace)
    assert (done.returncode, done.stdout) == (0, "mine.yaml\n")
    assert "seed: 5" in (workspace / "mine.yaml").read_text()
    again = kladml("clone", "1", "--to", "mine.yaml", cwd=workspace)
    assert again.returncode == 3 and "is there already" in again.stderr
    assert len(list((workspace / "data/projects/p/f/e").iterdir())) == 1


@pytest.mark.parametrize(
    "arguments",
    [["clone", "1", "--to", "x.yaml", "--detach"], ["rerun"], ["compare", "1"], ["clone", "1", "--set", "sed=5"]],
)
def test_wrong_usage_exits_with_2_and_starts_nothing(workspace: Path, arguments: list[str]) -> None:
    run = ended(workspace)
    done = kladml(*arguments, cwd=workspace)
    assert done.returncode == 2 and done.stdout == "", done.stderr
    assert len(list(run.path.parent.iterdir())) == 1


def test_failed_runs_are_run_again_once_and_one_that_cannot_does_not_keep_the_others(workspace: Path) -> None:
    broken = ended(workspace, config="model: [", code=2)
    ended(workspace, status="finished", code=0)
    ended(workspace, status="lost", code=137)
    done = kladml("rerun", "--failed", "p/f", "--json", cwd=workspace)
    (wrong, right) = sorted(json.loads(done.stdout), key=lambda row: str(row["run"]))
    assert done.returncode == 2 and broken.reference in done.stderr
    assert (wrong["again"], wrong["status"]) == (None, "not started")
    assert (right["run"], right["again"]) == ("p/f/e/run_0003", "p/f/e/run_0004")
    assert right["status"] in ("running", "finished")
    again = kladml("rerun", "--failed", "p/f", cwd=workspace)
    assert "1 more was run again already" in again.stderr and "run_0003" not in again.stdout
    none = kladml("rerun", "--failed", "p/f/e/run_0002", cwd=workspace)
    assert (none.returncode, none.stdout) == (0, "no failed runs\n")


def test_a_run_that_failed_over_its_config_is_said_to_run_as_recorded(workspace: Path) -> None:
    run = ended(workspace, code=3)
    done = kladml("rerun", "1", cwd=workspace)
    assert "exit 3" in done.stderr and str(run.config) in done.stderr
    assert done.returncode == 0 and "p/f/e/run_0002" in done.stdout


def test_runs_again_may_wait_in_the_queue(workspace: Path) -> None:
    runs = [ended(workspace), ended(workspace, status="lost", code=137)]
    pause(workspace / "data")
    done = kladml("rerun", "--failed", "--queue", "--json", cwd=workspace)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(row["run"], row["status"]) for row in rows] == [(run.reference, "queued") for run in runs]
    waiting = [entry.reference for entry in entries(workspace / "data")]
    assert waiting == [row["again"] for row in rows] == ["p/f/e/run_0003", "p/f/e/run_0004"]
    record = RunDirectory(workspace / "data/projects/p/f/e/run_0003").read_attempt(1) or {}
    assert record["cloned_from"]["reference"] == "p/f/e/run_0001"
    assert json.loads(kladml("rerun", "--failed", "--json", cwd=workspace).stdout) == []


def test_runs_are_compared_in_text_and_in_json(workspace: Path) -> None:
    ended(workspace)
    ended(workspace, config=CONFIG.replace("max_epochs: 1", 'max_epochs: 2, note: "\\e[31mred"'))
    text = kladml("compare", "1", "2", cwd=workspace)
    assert text.returncode == 0, text.stderr
    lines = [line.split() for line in text.stdout.splitlines()]
    assert ["Config", "run_0001", "run_0002"] in lines and ["training.max_epochs", "1", "2"] in lines
    assert "Metrics: No metric has been logged." in text.stdout and "\x1b" not in text.stdout
    (found,) = json_lines(kladml("compare", "1", "2", "--json", cwd=workspace).stdout)
    assert found["config"]["training.max_epochs"] == {"p/f/e/run_0001": 1, "p/f/e/run_0002": 2}
