"""ExperimentRunner in programs of their own: the same run as a terminal's, and no need of the cli extra."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from kladml_core.config.load import dump
from kladml_core.errors import ExitCode
from kladml_core.metrics.columns import read as read_series
from kladml_core.metrics.names import file_name, list_metrics
from kladml_core.runs.events import read_events
from kladml_core.runs.launch import launch, prepare
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import LIVE, read_status
from tests.core.trainer_workspace import CONFIG, ROOT, Ended, add_attempt, assert_same_end, make_workspace, work
from tests.waiting import wait_for

SAME = """
from kladml_core import ExperimentRunner
import json
from pathlib import Path
given = json.loads(Path("given.json").read_text())
training = given["training"]
result = ExperimentRunner().run(
    model_class="models:Net",
    train_data="models:load",
    project="p", family="f", experiment_name="e", seed=3, device="cpu",
    model_config={"width": 16}, training_config=training,
)
print("RESULT", json.dumps([result.reference, result.status, result.metrics["val/accuracy"]]))
"""

ALONE = """
import sys
for name in ("textual", "rich", "typer", "plotext", "watchfiles", "kladml_tui"):
    sys.modules[name] = None

import torch
from torch import nn
from kladml_core import ExperimentRunner


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layer = nn.Linear(4, width)

    def forward(self, x):
        return self.layer(x)


if __name__ == "__main__":
    x = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    y = (x.sum(dim=1) > 0).long()
    result = ExperimentRunner().run(
        model_class=Net, train_data=(x, y), val_data=(x, y), loss="cross_entropy", experiment_name="script",
        model_config={"width": 2}, training_config={"max_epochs": 3, "batch_size": 10},
    )
    assert torch.equal(result.load_best().predict(x), result.model.predict(x))
    assert not {"textual", "typer", "mlflow"} & {name for name, module in sys.modules.items() if module is not None}
"""


def program(text: str, workspace: Path) -> str:
    """Runs a script in a workspace; returns what it printed."""
    (workspace / "program.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=workspace,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def shape(run: RunDirectory) -> list[str]:
    """The names of all files of a run but those that name processes of its own, which a run in a script has not."""
    files = (path.relative_to(run.path) for path in run.path.rglob("*") if path.is_file())
    return sorted(file.as_posix() for file in files if "processes" not in file.parts)


def series(run: RunDirectory) -> dict[str, list[tuple[int, float]]]:
    """Every curve but those of the clock."""
    return {
        metric: [(int(it["step"]), float(it["value"])) for it in read_series(run.metrics / file_name(metric))[0]]
        for metric in list_metrics(run.metrics)
        if metric not in ("train/samples_per_second", "train/data_wait")
    }


def timeless(event: dict[str, Any]) -> dict[str, Any]:
    """An event without what the clock decides, and without what names the file that a person wrote."""
    gone = ("time", "seconds", "bytes")
    kept = {key: value for key, value in event.items() if key not in gone}
    for key in ("metrics",):
        if isinstance(kept.get(key), dict):
            clocks = ("train/samples_per_second", "train/data_wait")
            kept[key] = {name: value for name, value in kept[key].items() if name not in clocks}
    return kept


def test_a_script_and_a_terminal_leave_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, script = make_workspace(tmp_path / "terminal"), make_workspace(tmp_path / "script")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    config = terminal / "given.yaml"
    config.write_text(dump({**CONFIG, "project": "p", "family": "f", "experiment": "e"}))
    launched = launch(prepare(config, workspace=terminal))
    (script / "given.json").write_text(json.dumps({"training": CONFIG["training"]}))
    output = program(SAME, script)
    wait_for(lambda: read_status(launched).status not in LIVE, 90)
    assert read_status(launched).status == "finished", launched.console_log.read_text()

    run = RunDirectory(script / launched.path.relative_to(terminal))
    expected, found = read_events(launched.events)[0], read_events(run.events)[0]
    assert json.loads(output.rpartition("RESULT ")[2]) == [
        launched.reference,
        "finished",
        expected[-1]["metrics"]["val/accuracy"],
    ]
    assert shape(run) == shape(launched)
    assert run.config.read_text() == launched.config.read_text()
    assert series(run) == series(launched)
    assert list(map(timeless, found)) == list(map(timeless, expected))
    assert (run.read_state() or {}).keys() == (launched.read_state() or {}).keys()
    assert (run.read_run() or {}).keys() == (launched.read_run() or {}).keys()
    one, other = run.read_attempt(1) or {}, launched.read_attempt(1) or {}
    # The mark is by which the stop ladder finds the processes that a launch has started; a script has started none.
    assert (one.keys() - other.keys(), other.keys() - one.keys()) == ({"in_process"}, {"mark"})
    best, theirs = (load_file(it.artifacts / "best_model" / "model.safetensors") for it in (run, launched))
    assert all(torch.equal(value, theirs[name]) for name, value in best.items())
    assert_same_end(Ended(launched, 0, ""), Ended(run, 0, ""))


STOPPED = SAME.replace("import json", "import json, os, signal").replace(
    "result =",
    """
from models import Net
step = Net.training_step
def stopping(self, module, batch):
    self.calls = getattr(self, "calls", 0) + 1
    if self.calls == 18:
        signal.raise_signal(signal.SIGINT)
    return step(self, module, batch)
Net.training_step = stopping
result =""",
)


def test_a_worker_takes_up_what_a_script_began_and_ends_equal(tmp_path: Path) -> None:
    one, other = make_workspace(tmp_path / "one"), make_workspace(tmp_path / "other")
    for workspace, text in ((one, SAME), (other, STOPPED)):
        (workspace / "given.json").write_text(json.dumps({"training": CONFIG["training"]}))
        assert ("stopped" in program(text, workspace)) == (text is STOPPED)
    undisturbed, run = (RunDirectory(it / "data/projects/p/f/e/run_0001") for it in (one, other))
    add_attempt(run)
    ended = work(run, other)
    assert ended.code == 0, ended.output
    assert [(it["step"], it["exact"]) for it in ended.of_kind("resumed")] == [(17, True)]
    assert_same_end(Ended(undisturbed, 0, ""), ended)


def test_a_plain_script_needs_no_cli_extra_and_its_data_is_not_in_the_config(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    output = program(ALONE, workspace)
    assert "run finished" in output
    run = RunDirectory(workspace / "data/projects/default/default/script/run_0001")
    assert "program.py:Net" in run.config.read_text()
    add_attempt(run)
    ended = work(run, workspace)
    assert ended.code == ExitCode.UNUSABLE, ended.output
    assert "given in memory" in ended.terminal["message"]
    assert "resume=" in ended.terminal["hint"]


ESTIMATOR = """
project: tabular
family: digits
experiment: logistic
model: {target: "tests.core.runner_workspace:Regression", params: {C: 0.5}}
data: {target: "tests.core.runner_workspace:digits"}
training: {max_epochs: 1}
"""


def test_a_scikit_learn_estimator_is_launched_like_any_run(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kladml_core import ExperimentRunner
    from tests.core.runner_workspace import Regression, digits

    # The target's file is found in the workspace and on the path alike; the worker's path has the repository.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    config = workspace / "data" / "configs" / "logistic.yaml"
    config.write_text(ESTIMATOR)
    run = launch(prepare(config, workspace=workspace))
    wait_for(lambda: read_status(run).status not in LIVE, 90)
    assert read_status(run).status == "finished", run.console_log.read_text()
    monkeypatch.chdir(workspace)
    best = ExperimentRunner().load_best(run.reference)
    assert isinstance(best, Regression)
    terminal = read_events(run.events)[0][-1]
    assert terminal["metrics"]["val/accuracy"] == best.evaluate(*digits()["val"])["accuracy"] > 0.9
    assert terminal["resumable"] is False
