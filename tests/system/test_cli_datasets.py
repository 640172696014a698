"""`kladml-tui datasets` as a person or a script calls it: tables on stdout, words on stderr, exit codes, JSON."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def command(workspace: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "kladml_tui", "datasets", *words],
        cwd=workspace,
        env=environ,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == code, done.stderr
    return done


def told(workspace: Path, *words: str, code: int = 0) -> Any:
    return json.loads(command(workspace, *words, "--json", code=code).stdout)


@pytest.fixture
def flowers(workspace: Path) -> Path:
    with (workspace / "flowers.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["[/x] \x1b[31mwidth", "kind"])
        writer.writerows([number / 10, "wild \x1b[2J" if number % 3 else "garden"] for number in range(30))
    return workspace / "flowers.csv"


def test_a_dataset_from_adding_to_removing(workspace: Path, flowers: Path) -> None:
    words = ("--split", "train", "--description", "two kinds", "--param", "classes=[garden, wild]")
    made = told(workspace, "add", "flowers.csv", *words)
    assert (made["what"], made["name"], made["rows"], made["params"]) == (
        "new",
        "flowers",
        30,
        {"classes": ["garden", "wild"]},
    )
    listed = command(workspace, "list")
    assert [line.split() for line in listed.stdout.splitlines()[1:]] == [
        ["flowers", "csv", "30", *listed.stdout.split()[-4:-2], "train", "unchanged"]
    ]
    shown = command(workspace, "show", "flowers", "--rows", "2").stdout
    assert "[/x] width" in shown
    assert "\x1b" not in shown
    assert "20    66.7%" in shown
    assert "█" in shown
    data = told(workspace, "show", "flowers")["data"]
    assert [column["name"] for column in data["columns"]] == ["[/x] \x1b[31mwidth", "kind"]
    assert sum(data["columns"][0]["bins"]) == 30
    flowers.write_text(flowers.read_text() + "9,wild\n")
    (found,) = told(workspace, "check", code=3)
    assert (found["name"], found["state"], found["good"]) == ("flowers", "changed", False)
    assert "is no version" in command(workspace, "versions", "flowers").stderr
    assert told(workspace, "add", str(flowers))["version"] == 2
    assert [one["on_disk"] for one in told(workspace, "versions", "flowers")] == [False, True]
    assert command(workspace, "check", "--verify").stdout.split()[-4:] == ["unchanged", "every", "byte", "read"]
    removed = told(workspace, "remove", "flowers")
    assert flowers.exists()
    assert removed["data"] == "flowers.csv"
    assert command(workspace, "list").stdout == "no dataset is registered\n"
    fault = told(workspace, "show", "flowers", code=2)
    assert "no dataset named 'flowers'" in fault["message"]


def test_a_function_is_called_only_when_that_is_asked_for(workspace: Path) -> None:
    (workspace / "made.py").write_text(
        "def load(n):\n    open('called', 'a').write('x')\n    raise OSError('no net')\n"
    )
    assert "no net" in command(workspace, "add", "made:load", "--param", "n=3", code=3).stderr
    registration = workspace / "data/datasets/made.yaml"
    registration.parent.mkdir(parents=True, exist_ok=True)
    registration.write_text("name: made\ntarget: made:load\nparams: {n: 3}\n")
    assert told(workspace, "show", "made")["data"] is None
    assert told(workspace, "check")[0]["state"] == "target"
    assert (workspace / "called").read_text() == "x"
    assert "no net" in command(workspace, "show", "made", "--call", code=3).stderr
    assert (workspace / "called").read_text() == "xx"


def test_a_config_that_waits_is_told_of_its_changed_data(workspace: Path, flowers: Path) -> None:
    told(workspace, "add", "flowers.csv", "--param", "classes=[garden, wild]")
    (workspace / "net.py").write_text("import torch\ndef Net(): return torch.nn.Linear(1, 2)\n")
    (workspace / "flowers.yaml").write_text(
        'model: {target: "net.py:Net"}\ndata: {train: flowers}\nloss: cross_entropy\ntraining: {max_epochs: 1}\n'
    )
    flowers.write_text(flowers.read_text() + "9,wild\n")
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-P", "-m", "kladml_tui"]
    options: dict[str, Any] = {"cwd": workspace, "env": environ, "capture_output": True, "text": True, "timeout": 100}
    subprocess.run([*words, "queue", "pause"], check=True, **options)
    added = subprocess.run([*words, "queue", "add", "flowers.yaml"], check=True, **options)
    assert "warning: dataset 'flowers' has changed since it was registered" in added.stderr
    assert "uses 'flowers' and is not at its end" in command(workspace, "remove", "flowers", code=3).stderr
