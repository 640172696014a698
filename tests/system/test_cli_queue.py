"""The queue from the command line, with workers that train."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status
from kladml_core.workspace.init import init_workspace
from tests.system.command import kladml
from tests.waiting import wait_for

CONFIG = """
experiment: quick
model: {target: "quick.py:Model"}
data: {target: "quick.py:load"}
loss: mse
training: {max_epochs: 2, batch_size: 4}
launch: {device: cpu}
"""
CODE = """
import torch
def Model(): return torch.nn.Linear(2, 1)
def load():
    x = torch.ones(8, 2)
    return {"train": (x, x[:, :1]), "val": (x, x[:, :1])}
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    init_workspace(tmp_path)
    (tmp_path / "quick.py").write_text(CODE)
    (tmp_path / "quick.yaml").write_text(CONFIG)
    return tmp_path


def test_a_run_waits_trains_and_waits_again_to_go_on(lab: Path) -> None:
    assert kladml("queue", "pause", cwd=lab).returncode == 0
    added = kladml("queue", "add", "quick.yaml", "quick.yaml", "--set", "seed=5", "--json", cwd=lab)
    assert added.returncode == 0 and "the queue is paused" in added.stderr
    first, second = json.loads(added.stdout)
    assert (first["place"], first["needs"], first["state"], second["place"]) == (1, "CPU", "queued", 2)
    assert "queued #2" in kladml("runs", cwd=lab).stdout
    assert "queued #1" in kladml("show", first["run"], cwd=lab).stdout
    assert kladml("queue", "move", "2", "up", cwd=lab).stdout.splitlines()[1].startswith("#1 ")
    stopped = kladml("stop", "2", cwd=lab)
    assert stopped.returncode == 0
    assert kladml("queue", "run", cwd=lab).stdout == "the queue goes on\n"
    run = RunDirectory(lab / "data" / "projects" / first["run"])
    wait_for(lambda: read_status(run).status == "finished", 90, f"{read_status(run)}")
    assert kladml("queue", "add", "1", cwd=lab).returncode == 65  # it has finished: there is nothing left to train
    again = kladml("queue", "add", "1", "--set", "training.max_epochs=3", cwd=lab)
    assert again.returncode == 0, again.stderr
    wait_for(lambda: read_status(run).epoch == 3 and not read_status(run).live, 90, f"{read_status(run)}")
    assert read_status(run).attempt == 2
    wait_for(lambda: kladml("queue", "list", cwd=lab).stdout == "the queue is empty\n", 60)
    status = read_status(RunDirectory(lab / "data" / "projects" / second["run"]))
    assert (status.status, status.reason) == ("stopped", "removed from the queue")


def test_nothing_is_added_when_one_of_several_is_wrong(lab: Path) -> None:
    (lab / "wrong.yaml").write_text(CONFIG.replace("max_epochs", "max_epoch"))
    done = kladml("queue", "add", "quick.yaml", "wrong.yaml", cwd=lab)
    assert done.returncode == 2 and "wrong.yaml:6" in done.stderr
    assert kladml("queue", "list", "--json", cwd=lab).stdout == '{"paused": false, "items": []}\n'
    assert not (lab / "data" / "projects").exists()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["add", "nope.yaml"], 3, "there is no such file"),
        (["add", "quick.yaml", "--set", "launch.device=cuda"], 3, "no GPU"),
        (["remove", "7"], 3, "no run named '7' is in the queue of this machine"),
        (["move", "7", "top"], 3, "no run named"),
        (["retry", "7"], 3, "no run named"),
        (["jump"], 2, "No such command"),
        ([], 2, ""),
    ],
)
def test_what_cannot_be_done_says_why(lab: Path, words: list[str], code: int, says: str) -> None:
    done = kladml("queue", *words, cwd=lab, CUDA_VISIBLE_DEVICES="")
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr


def test_a_damaged_item_is_told_with_its_file(lab: Path) -> None:
    kladml("queue", "pause", cwd=lab)
    assert kladml("queue", "add", "quick.yaml", cwd=lab).returncode == 0
    (item,) = (lab / "data" / "queue").glob("*/0001.json")
    item.write_text("{torn", encoding="utf-8")
    listed = kladml("queue", "list", cwd=lab)
    assert listed.returncode == 0 and f"{item} is damaged" in listed.stderr
