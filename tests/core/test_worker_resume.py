"""Proof 3. A worker that is stopped by a real signal and resumed ends bit for bit as one that was never disturbed.

A few steps always, each of the 40 in turn with `-m long`.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from kladml_core.metrics.columns import read
from kladml_core.metrics.names import file_name
from kladml_core.runs.events import read_events, resume_cuts
from kladml_core.runs.rundir import RunDirectory
from tests.core.trainer_workspace import Ended, add_attempt, assert_same_end, launched, make_workspace, new_run, work

STEPS = 40


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("resume"))


@pytest.fixture(scope="module")
def undisturbed(workspace: Path) -> Ended:
    ended = work(new_run(workspace), workspace)
    assert (ended.code, ended.status) == (0, "finished"), ended.output
    return ended


def losses(run: RunDirectory) -> list[tuple[int, float]]:
    """What a reader of the curve sees: of dead branches nothing."""
    cuts = resume_cuts(read_events(run.events)[0]).get("train/loss", [])
    records, _ = read(run.metrics / file_name("train/loss"))
    seen: dict[int, float] = {}
    for place, record in enumerate(records):
        if not any(place * 24 < offset and record["step"] > step for offset, step in cuts):
            seen[int(record["step"])] = float(record["value"])
    return sorted(seen.items())


def interrupted(workspace: Path, step: int, what: str, start: Callable[..., Ended] = work) -> tuple[Ended, Ended]:
    """A run that is sent a signal inside its step `step` (preflight is the first call), and its resumption."""
    run = new_run(workspace)
    first = start(run, workspace, TEST_AT=str(step + 1), TEST_WHAT=what)
    add_attempt(run)
    return first, start(run, workspace)


def check(undisturbed: Ended, workspace: Path, step: int, name: str) -> None:
    first, second = interrupted(workspace, step, name)
    number = signal.Signals[name]
    assert first.code == 128 + number, first.output
    stopped = next(event for event in first.events if event["kind"] == "run_stopped")
    assert (stopped["exit_code"], stopped["resumable"]) == (128 + number, True)
    assert (second.code, second.status) == (0, "finished"), second.output
    [resumed] = second.of_kind("resumed")
    assert (resumed["step"], resumed["exact"], resumed["attempt"]) == (step, True, 2)
    assert_same_end(undisturbed, second)
    assert losses(second.run) == losses(undisturbed.run)


@pytest.mark.parametrize(("step", "name"), [(1, "SIGTERM"), (15, "SIGINT"), (20, "SIGHUP")])
def test_a_signal_at_a_step_and_a_resume_change_nothing(
    undisturbed: Ended, workspace: Path, step: int, name: str
) -> None:
    check(undisturbed, workspace, step, name)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("step", range(1, STEPS))
def test_a_signal_at_every_step_and_a_resume_change_nothing(undisturbed: Ended, workspace: Path, step: int) -> None:
    check(undisturbed, workspace, step, "SIGTERM")


def test_a_killed_worker_goes_on_from_its_last_checkpoint_and_the_dead_branch_is_hidden(
    undisturbed: Ended, workspace: Path
) -> None:
    first, second = interrupted(workspace, 27, "SIGKILL", launched)
    assert first.code == -signal.SIGKILL
    [resumed] = second.of_kind("resumed")
    assert resumed["step"] == 20
    assert second.code == 0, second.output
    assert_same_end(undisturbed, second)
    assert losses(second.run) == losses(undisturbed.run)


def test_best_model_is_what_the_best_checkpoint_holds(undisturbed: Ended) -> None:
    from safetensors.torch import load_file

    best = undisturbed.terminal["best"]
    content = load_file(undisturbed.run.checkpoints / best["checkpoint"] / "model.safetensors")
    saved = load_file(undisturbed.run.artifacts / "best_model" / "model.safetensors")
    assert content.keys() == saved.keys()
    assert all(torch.equal(content[name], saved[name]) for name in saved)


def test_a_run_without_a_checkpoint_has_nothing_to_resume(workspace: Path) -> None:
    run = new_run(workspace)
    add_attempt(run)
    ended = work(run, workspace)
    assert (ended.code, ended.status, ended.terminal["kind"]) == (65, "failed", "run_failed")


def test_a_longer_run_on_resume_is_told_as_a_change_of_the_config(undisturbed: Ended, workspace: Path) -> None:
    run = new_run(workspace, {"training": {"max_epochs": 2}})
    assert work(run, workspace).code == 0
    run.config.write_text(run.config.read_text().replace("max_epochs: 2", "max_epochs: 4"))
    add_attempt(run)
    ended = work(run, workspace)
    assert (ended.code, ended.terminal["step"]) == (0, STEPS), ended.output
    assert [event["changes"] for event in ended.of_kind("config_changed")] == [{"training.max_epochs": [2, 4]}]
    assert ended.of_kind("resumed")[0]["step"] == 20
