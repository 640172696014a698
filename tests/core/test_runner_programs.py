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

from kladml_core.config.load import read
from kladml_core.errors import ExitCode
from kladml_core.metrics.columns import read as read_series
from kladml_core.metrics.names import file_name, list_metrics
from kladml_core.runs.events import read_events
from kladml_core.runs.launch import launch, prepare
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import LIVE, read_status
from tests.core.trainer_workspace import ROOT, add_attempt, assert_same_end, make_workspace, new_run, work
from tests.waiting import wait_for

SAME = '''
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
'''

ALONE = '''
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
'''


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
    """The names of all files of a run."""
    return sorted(path.relative_to(run.path).as_posix() for path in run.path.rglob("*") if path.is_file())


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


def test_a_script_and_a_terminal_leave_the_same_run(tmp_path: Path) -> None:
    terminal, script = make_workspace(tmp_path / "terminal"), make_workspace(tmp_path / "script")
    launched = work(new_run(terminal), terminal)
    assert launched.code == 0, launched.output
    config = RunDirectory(launched.run.path).config

    (script / "given.json").write_text(json.dumps({"training": read(config).data["training"]}))
    output = program(SAME, script)
    run = RunDirectory(script / launched.run.path.relative_to(terminal))
    reference, status, accuracy = json.loads(output.rpartition("RESULT ")[2])
    assert (reference, status) == (launched.run.reference, "finished")
    assert accuracy == launched.terminal["metrics"]["val/accuracy"]
    assert shape(run) == shape(launched.run)
    assert series(run) == series(launched.run)
    mine, theirs = (list(map(timeless, read_events(it.events)[0])) for it in (run, launched.run))
    assert mine == theirs
    assert (run.read_state() or {}).keys() == (launched.run.read_state() or {}).keys()
    assert (run.read_run() or {}).keys() == (launched.run.read_run() or {}).keys()
    best, other = (load_file(it.artifacts / "best_model" / "model.safetensors") for it in (run, launched.run))
    assert all(torch.equal(value, other[name]) for name, value in best.items())
    ended = work_again(run, script)
    assert_same_end(launched, ended)


def work_again(run: RunDirectory, workspace: Path) -> Any:
    """A worker takes the script's run up, as `kladml-tui resume` would: its data and model have names."""
    add_attempt(run)
    ended = work(run, workspace)
    assert ended.code == 0, ended.output
    assert ended.of_kind("resumed")[-1]["exact"] is True
    return ended


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


def test_a_scikit_learn_estimator_is_launched_like_any_run(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
