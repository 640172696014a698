"""However a worker ends, its exit code, terminal event and state agree, and the run never stays "running"."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kladml_core.config.load import read
from kladml_core.errors import UnusableError
from kladml_core.runs.files import read_object, write_json
from kladml_core.training.attempt import train_attempt
from kladml_core.training.run_writer import NoWriter
from kladml_core.training.signals import StopSignals
from tests.core.trainer_workspace import CONFIG, Ended, add_attempt, make_workspace, new_run, start, work
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("ends"))


def assert_failed(ended: Ended, code: int) -> dict[str, Any]:
    assert ended.code == code, ended.output
    state = ended.run.read_state() or {}
    assert (state["status"], state["exit_code"]) == ("failed", code)
    assert (ended.terminal["kind"], ended.terminal["exit_code"]) == ("run_failed", code)
    return ended.terminal


def place(workspace: Path, key: str) -> tuple[str, int, int]:
    """Where a key's value stands in the config that the newest run was made from."""
    line, column = read(workspace / "config.yaml").dotted_positions()[key]
    return str(workspace / "config.yaml"), line, column


@pytest.fixture
def in_workspace(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """This process as a worker sees the world; what it imported from the workspace is forgotten afterwards."""
    monkeypatch.chdir(workspace)
    monkeypatch.syspath_prepend(str(workspace))
    yield workspace
    sys.modules.pop("models", None)


@pytest.mark.parametrize(
    ("change", "key", "says"),
    [
        ({"model": {"target": "models:Nett"}}, "model.target", "has no 'Nett'. Did you mean Net?"),
        ({"model": {"target": "absent:Net"}}, "model.target", "No module named 'absent'"),
        ({"model": {"target": "models:no_model", "params": {}}}, "model.target", "int"),
        ({"model": {"target": "models:AT", "params": {}}}, "model.target", "cannot be called"),
        ({"model": {"target": "models:Plain"}}, "model.target", "needs a loss"),
        ({"model": {"target": "models:Plain", "params": {"widht": 3}}, "loss": "mse"}, "model.params.widht", "width?"),
        ({"data": {"target": "models:broken_load"}}, "data.target", "no such data: numbers.csv at models.py:"),
        ({"data": {"target": "models:load", "params": {"size": 3}}}, "data.params.size", "size"),
        ({"training": {"early_stopping": {"enabled": True, "monitor": "val/f1"}}}, None, "val/f1"),
    ],
)
def test_a_config_that_cannot_be_used_names_its_line(
    in_workspace: Path, change: dict[str, Any], key: str | None, says: str
) -> None:
    with pytest.raises(UnusableError) as raised:
        train_attempt(new_run(in_workspace, change), 1, NoWriter(), StopSignals())
    error = raised.value
    assert error.exit_code == 3
    assert says in f"{error.message}. {error.hint}"
    if key is not None:
        assert (error.file, error.line, error.column) == place(in_workspace, key)


def test_a_worker_that_cannot_use_its_config_ends_with_3_and_says_all_that(workspace: Path) -> None:
    event = assert_failed(work(new_run(workspace, {"model": {"target": "models:Nett"}}), workspace), 3)
    assert (event["file"], event["line"], event["column"]) == place(workspace, "model.target")
    assert "models has no 'Nett'" in event["message"]
    assert event["hint"] == "Did you mean Net?"


def test_an_import_that_fails_names_the_persons_own_line_too(workspace: Path) -> None:
    (workspace / "sick.py").write_text("import math\n\nmath.sqrt('two')\n")
    event = assert_failed(work(new_run(workspace, {"model": {"target": "sick:Net"}}), workspace), 3)
    assert "sick.py:3" in event["message"]
    assert event["file"].endswith("config.yaml")


def test_a_model_that_raises_in_its_first_batch_ends_with_3_and_its_own_line(workspace: Path) -> None:
    event = assert_failed(work(new_run(workspace), workspace, TEST_AT="1", TEST_WHAT="raise"), 3)
    assert "the model is unwell" in event["message"]
    assert event["file"].endswith("models.py")


def test_a_model_that_raises_later_ends_with_1_and_the_traceback_is_in_the_console(workspace: Path) -> None:
    ended = work(new_run(workspace), workspace, TEST_AT="15", TEST_WHAT="raise")
    event = assert_failed(ended, 1)
    assert event["message"] == "ValueError: the model is unwell"
    assert event["file"].endswith("models.py")
    assert event["resumable"] is True
    assert "Traceback" in ended.output


def test_a_nan_ends_with_70_and_no_checkpoint_holds_it(workspace: Path) -> None:
    ended = work(new_run(workspace), workspace, TEST_AT="15", TEST_WHAT="nan")
    event = assert_failed(ended, 70)
    [non_finite] = ended.of_kind("non_finite")
    assert (non_finite["step"], non_finite["metric"]) == (14, "train/loss")
    assert event["metrics"]["train/loss"] == "NaN"
    assert ended.content().state["trainer"]["progress"]["step"] == 10
    assert all(tensor.isfinite().all() for tensor in ended.content().model.values())


def test_a_nan_may_be_skipped_and_is_counted(workspace: Path) -> None:
    run = new_run(workspace, {"training": {"non_finite": "skip"}})
    ended = work(run, workspace, TEST_AT="15", TEST_WHAT="nan")
    assert (ended.code, ended.status) == (0, "finished"), ended.output
    assert [event["step"] for event in ended.of_kind("non_finite")] == [14]
    assert ended.content().state["trainer"]["progress"]["skipped"] == 1


def test_a_validation_that_is_no_number_is_told_once_and_training_goes_on(workspace: Path) -> None:
    ended = work(new_run(workspace), workspace, TEST_WHAT="nan validation")
    assert (ended.code, ended.status) == (0, "finished"), ended.output
    assert len(ended.of_kind("validation")) > 1
    assert [event["metric"] for event in ended.of_kind("non_finite")] == ["val/odd"]


def test_no_memory_ends_with_71(workspace: Path) -> None:
    ended = work(new_run(workspace), workspace, TEST_AT="15", TEST_WHAT="memory")
    assert_failed(ended, 71)
    assert len(ended.of_kind("out_of_memory")) == 1


def test_a_last_checkpoint_that_cannot_be_written_ends_with_73(workspace: Path) -> None:
    run = new_run(workspace)
    run.checkpoints.rmdir()
    run.checkpoints.write_text("")  # a file in the place of the folder stops root too
    ended = work(run, workspace)
    assert_failed(ended, 73)
    # Training went on after each one that failed before.
    assert [event["step"] for event in ended.of_kind("checkpoint_failed")] == [10, 20, 30, 40]


def test_two_signals_end_at_once_though_a_step_never_returns(workspace: Path) -> None:
    ended = work(new_run(workspace), workspace, TEST_AT="15", TEST_WHAT="twice")
    assert (ended.code, ended.status) == (143, "stopped"), ended.output
    assert (ended.terminal["exit_code"], ended.terminal["resumable"]) == (143, True)
    assert ended.content().state["trainer"]["progress"]["step"] == 10


LONG = {"training": {"max_epochs": 100_000, "checkpoint": {"every_epochs": None}, "validate_every": 100_000}}


def test_a_stop_request_ends_with_75_and_a_checkpoint_request_is_carried_out(workspace: Path) -> None:
    run = new_run(workspace, LONG)
    # What was asked of an attempt that is gone must not stop this one.
    write_json(run.control / "stop.json", {"attempt": 0, "by": "nobody"})
    process = start(run, workspace)
    try:
        wait_for(lambda: ((run.read_state() or {}).get("step") or 0) > 3, 60, "no step was made")
        assert not (run.control / "stop.json").exists()
        write_json(run.control / "checkpoint.json", {"attempt": 1, "by": "test"})
        wait_for(lambda: not (run.control / "checkpoint.json").exists(), 20, "the request was not honoured")
        assert any(path.name.startswith("step-") for path in run.checkpoints.iterdir())
        assert process.poll() is None
        write_json(run.control / "stop.json", {"attempt": 1, "by": "test"})
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    ended = Ended(run, process.returncode, output)
    assert (ended.code, ended.status) == (75, "stopped"), output
    assert (ended.terminal["kind"], ended.terminal["resumable"]) == ("run_stopped", True)
    assert [event["by"] for event in ended.of_kind("stop_requested")] == ["test"]
    assert not (run.control / "stop.json").exists()
    assert (run.artifacts / "best_model" / "model.safetensors").is_file()


def test_a_signal_before_the_first_step_leaves_a_checkpoint_to_start_from(workspace: Path) -> None:
    run = new_run(workspace, LONG)
    process = start(run, workspace)
    try:
        wait_for(lambda: (run.read_state() or {}).get("pid") == process.pid, 30, "the worker wrote no state")
        os.kill(process.pid, signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 143, output
    assert Ended(run, 143, output).terminal["resumable"] is True


def test_max_steps_and_max_time_end_a_run(workspace: Path) -> None:
    by_steps = work(new_run(workspace, {"training": {"max_steps": 13}}), workspace)
    assert (by_steps.code, by_steps.terminal["reason"], by_steps.terminal["step"]) == (0, "max_steps", 13)
    assert [event["step"] for event in by_steps.of_kind("validation")] == [10, 13]
    by_time = work(new_run(workspace, {"training": {**LONG["training"], "max_time": 0.3}}), workspace)
    assert (by_time.code, by_time.status, by_time.terminal["reason"]) == (75, "stopped", "max_time")


def test_a_plain_module_with_a_loss_trains(workspace: Path) -> None:
    change = {"model": {"target": "models.py:Plain", "params": {"width": 8}}, "loss": "cross_entropy"}
    ended = work(new_run(workspace, change), workspace)
    assert (ended.code, ended.status) == (0, "finished"), ended.output
    assert read_object(ended.run.artifacts / "best_model" / "model.json") is not None


def test_a_model_that_trains_itself_uses_the_same_run_directory(workspace: Path) -> None:
    change = {"model": {"target": "models:Nearest", "params": {}}}
    ended = work(new_run(workspace, change), workspace)
    assert (ended.code, ended.status) == (0, "finished"), ended.output
    assert ended.terminal["metrics"]["val/accuracy"] > 0.5
    assert (ended.run.artifacts / "best_model" / "means.txt").is_file()


def test_a_model_that_trains_itself_is_broken_off_by_a_signal(workspace: Path) -> None:
    run = new_run(workspace, {"model": {"target": "models:Nearest", "params": {}}})
    process = start(run, workspace, TEST_WHAT="long")
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "training\n"
        os.kill(process.pid, signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    ended = Ended(run, process.returncode, output)
    assert (ended.code, ended.status, ended.terminal["resumable"]) == (143, "stopped", False), output


def test_the_events_of_a_whole_run_are_strict_json_in_their_order(workspace: Path) -> None:
    run = new_run(workspace)
    ended = work(run, workspace)
    kinds = [json.loads(line)["kind"] for line in run.events.read_text().splitlines()]
    epoch = ["validation", "epoch_finished", "checkpoint_saved"]
    without = [kind for kind in kinds if kind not in ("new_best", "checkpoint_removed", "log")]
    assert without == ["run_started", *epoch * 4, "run_finished"], ended.output
    assert ended.terminal["metrics"].keys() == {
        "train/loss", "train/learning_rate", "train/gradient_norm", "train/samples_per_second",
        "train/data_wait", "val/loss",
        "val/accuracy",
    }  # fmt: skip
    assert CONFIG["training"]["max_epochs"] == 4
    add_attempt(run)
    assert work(run, workspace).code == 0  # nothing is left to do, and that is said by finishing again
