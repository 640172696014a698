"""A workspace whose queue starts small workers, and looking at how it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from kladml_core.runs import background, queue_list
from kladml_core.runs.launch import prepare
from kladml_core.runs.queue import enqueue
from kladml_core.runs.queue_items import KIND
from kladml_core.runs.queue_list import Entry, entries
from kladml_core.runs.rundir import RunDirectory
from tests.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
experiment: quick
model: {target: "quick.py:Model"}
data: {target: "quick.py:load"}
loss: mse
training: {max_epochs: 1}
launch: {device: cpu}
"""


def queue_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace whose queue starts small workers."""
    (tmp_path / "kladml.yaml").write_text("workspace: {name: lab}\n")
    (tmp_path / "quick.yaml").write_text(CONFIG)
    (tmp_path / "quick.py").write_text("def Model(): ...\ndef load(): ...\n")
    monkeypatch.setattr(queue_list, "SCHEDULER", "tests.core.small_scheduler")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def add(lab: Path, count: int = 1, *overrides: str) -> list[Entry]:
    """So many runs of the config come to wait."""
    plan = prepare(lab / "quick.yaml", workspace=lab, overrides=overrides)
    return [enqueue(plan) for _ in range(count)]


def hold(lab: Path) -> Path:
    """While the file is there, workers go on."""
    (lab / "hold").touch()
    return lab / "hold"


def began(lab: Path) -> list[str]:
    """Names of the runs whose worker began, in that order."""
    file = lab / "began.txt"
    return [line.split()[0].rpartition("/")[2] for line in file.read_text().splitlines()] if file.exists() else []


def shown(lab: Path) -> list[tuple[str, str]]:
    """Name and state of what is in the queue, as it is listed."""
    return [(entry.reference.rpartition("/")[2], entry.state) for entry in entries(lab / "data")]


def run_named(lab: Path, name: str) -> RunDirectory:
    return RunDirectory(lab / "data" / "projects" / "default" / "default" / "quick" / name)


def wait_until_empty(lab: Path) -> None:
    wait_for(lambda: not entries(lab / "data"), 90, f"the queue never became empty: {shown(lab)}")


def wait_until_nobody_schedules(lab: Path) -> None:
    wait_for(lambda: background.holder(lab / "data", KIND) is None, 60, "the scheduler did not end")
