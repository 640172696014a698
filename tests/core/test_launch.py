"""Launching and resuming: what is claimed, what is recorded, and that a failed start leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from kladml_core.errors import KladMLError, NothingToResumeError, UnusableError
from kladml_core.runs.files import read_json, write_json
from kladml_core.runs.launch import Plan, launch, prepare, resume
from kladml_core.runs.rundir import CLAIM_SECONDS, RunDirectory
from kladml_core.runs.status import read_status
from kladml_core.workspace.dataset_register import register
from kladml_core.workspace.fingerprints import read_fingerprint
from kladml_core.workspace.init import init_workspace
from tests.waiting import wait_for

CONFIG = """
experiment: quick
model: {target: "quick.py:Model"}
data: {train: little}
loss: mse
training: {max_epochs: 2, batch_size: 4}
"""
MODEL = """
import torch
def Model(): return torch.nn.Linear(2, 1)
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    init_workspace(tmp_path)
    (tmp_path / "quick.py").write_text(MODEL)
    (tmp_path / "quick.yaml").write_text(CONFIG)
    _write_data(tmp_path, rows=8)
    register(tmp_path, "little", path="little.npz", split="train")
    return tmp_path


def _write_data(lab: Path, rows: int) -> None:
    x = np.ones((rows, 2), np.float32)
    np.savez(lab / "little.npz", x=x, y=x[:, :1])


def plan(lab: Path, *overrides: str) -> Plan:
    return prepare(lab / "quick.yaml", workspace=lab, overrides=overrides)


def ended(run: RunDirectory) -> str:
    wait_for(lambda: not read_status(run).live, timeout=60, message=f"{run.path} goes on")
    return read_status(run).status


def test_a_launch_returns_when_the_state_names_the_worker(lab: Path) -> None:
    run = launch(plan(lab))
    state = run.read_state()
    assert state is not None
    assert (state["status"] in ("starting", "running"), state["attempt"]) == (True, 1)
    command = Path(f"/proc/{state['pid']}/cmdline").read_bytes()
    assert b"kladml_core.training.worker" in command
    assert ended(run) == "finished"


def test_the_worker_is_in_a_session_of_its_own_and_nobodys_child_here(lab: Path) -> None:
    run = launch(plan(lab))
    state = run.read_state()
    assert state is not None
    fields = Path(f"/proc/{state['pid']}/stat").read_text().rpartition(")")[2].split()
    parent, session = int(fields[1]), int(fields[3])
    assert session == state["pid"]
    assert parent != os.getpid()
    assert ended(run) == "finished"


def test_a_dataset_that_changed_is_recorded_as_it_is_and_told(lab: Path) -> None:
    registered = read_fingerprint(lab / "little.npz")
    _write_data(lab, rows=12)
    changed = plan(lab)
    (warning,) = changed.warnings
    assert "'little' has changed since it was registered" in warning
    run = launch(changed)
    fingerprints = read_json(run.run_json)["fingerprints"]
    assert fingerprints == {"little": read_fingerprint(lab / "little.npz")} != {"little": registered}
    assert ended(run) == "finished"
    assert warning in run.events.read_text()


def test_an_unchanged_dataset_is_not_worth_a_word(lab: Path) -> None:
    assert plan(lab).warnings == ()


def test_a_worker_that_cannot_be_started_leaves_no_run_behind(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(lab / "no-python-here"))
    with pytest.raises(UnusableError, match="the worker could not be started"):
        launch(plan(lab))
    assert list((lab / "data" / "projects").glob("*/*/*/*")) == []


def test_a_command_that_cannot_be_executed_is_told_by_the_starter(lab: Path) -> None:
    run = RunDirectory.create(lab / "data", "p", "f", "e", seed=0)
    starter = [
        sys.executable,
        "-P",
        "-m",
        "kladml_core.runs.detach",
        str(run.path),
        "1",
        "0",
        str(lab),
        "/no/such/program",
    ]
    done = subprocess.run(starter, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "/no/such/program" in done.stderr or "No such file" in done.stderr


def test_two_resumes_at_once_start_one_worker(lab: Path) -> None:
    run = launch(plan(lab))
    assert ended(run) == "finished"
    barrier = threading.Barrier(2)
    outcomes: list[object] = []

    def again() -> None:
        barrier.wait()
        try:
            outcomes.append(resume(run, workspace=lab, overrides=["training.max_epochs=4"]))
        except KladMLError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=again) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["RunDirectory", "UnusableError"]
    assert ended(run) == "finished"
    assert sorted(path.name for path in run.attempts.iterdir()) == ["001", "002"]
    assert run.events.read_text().count('"run_started"') == 2


def test_an_attempt_that_nobody_came_to_start_does_not_block_the_run_for_ever(lab: Path) -> None:
    run = launch(plan(lab))
    assert ended(run) == "finished"
    run.attempt_dir(2).mkdir()
    with pytest.raises(UnusableError, match="is being started by"):
        run.claim_attempt(1)
    past = run.attempt_dir(2).stat().st_mtime - CLAIM_SECONDS - 1
    os.utime(run.attempt_dir(2), (past, past))
    assert run.claim_attempt(1) == 3


def test_a_finished_run_has_nothing_to_resume_and_a_damaged_one_is_refused(lab: Path) -> None:
    run = launch(plan(lab))
    assert ended(run) == "finished"
    with pytest.raises(NothingToResumeError, match="nothing left to train"):
        resume(run, workspace=lab)
    identity = read_json(run.run_json)
    run.run_json.unlink()
    with pytest.raises(UnusableError, match="damaged"):
        resume(run, workspace=lab, overrides=["training.max_epochs=4"])
    write_json(run.run_json, identity)


def test_a_key_that_makes_the_run_what_it_is_cannot_change_on_resume(lab: Path) -> None:
    run = launch(plan(lab))
    assert ended(run) == "finished"
    with pytest.raises(KladMLError, match="cannot be resumed with another seed"):
        resume(run, workspace=lab, overrides=["seed=7", "training.max_epochs=4"])
    assert sorted(path.name for path in run.attempts.iterdir()) == ["001"]
