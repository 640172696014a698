"""The stop ladder on real processes: each rung, whoever does not heed it, and nobody who is not of the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kladml_core.errors import UnusableError
from kladml_core.runs.files import read_json, write_json
from kladml_core.runs.ladder import StopLadder, climb
from kladml_core.runs.ladder_view import LadderView
from kladml_core.runs.launch import launch, prepare
from kladml_core.runs.patience import Patience, patience_of
from kladml_core.runs.process_tree import ProcessTree
from kladml_core.runs.processes import identity, look, send_signal, variable
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status, reconcile
from kladml_core.runs.stop import request_stop
from tests.core.trainer_workspace import add_attempt, make_workspace, new_run, work
from tests.core.worker_forks import Forked, fork_workers, wait_until_gone
from tests.waiting import wait_for

LONG = {"training": {"max_epochs": 100_000, "log_every": 1, "checkpoint": {"every_epochs": 1000}}}
LATE = 60.0
"""Seconds that a rung may take on a busy machine where nothing but the worker is waited for."""
HASTY = Patience(ask=0.3, term=0.3, last=0.5)
PATIENT = Patience(ask=LATE, term=LATE, last=LATE)

DEAF = '''
import os
import signal
import time

import models


class Deaf(models.Net):
    """Never ends its fifth step, and hears of no signal that can be ignored."""

    calls = 0

    def training_step(self, module, batch):
        self.calls += 1
        if self.calls == 5:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            open(f"deaf-{os.getpid()}", "w").close()
            while True:
                time.sleep(0.01)
        return super().training_step(module, batch)
'''
GONE = {**identity().to_json(), "pid": 2**22 + 1}
STUCK = {"model": {"target": "deaf:Deaf"}, **LONG}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = make_workspace(tmp_path_factory.mktemp("ladder"))
    (directory / "deaf.py").write_text(DEAF)
    return directory


@contextmanager
def training(run: RunDirectory, place: Path, *, processes: int = 1, step: int = 1) -> Iterator[Forked]:
    """Workers of a run that have made some steps."""
    with fork_workers(run.path, place, processes=processes) as workers:
        wait_for(lambda: read_status(run).status == "running" and read_status(run).step >= step, LATE, workers.output)
        yield workers


def last(ladder: StopLadder) -> LadderView:
    """How a climb ends."""
    return list(climb(ladder, tick=0.02))[-1]


def tree(run: RunDirectory) -> list[int]:
    return [member.pid for member in ProcessTree(run, read_status(run).attempt or 1).look()]


def living(pids: list[int]) -> list[int]:
    """Those that are more than an exit code which nobody has asked for yet."""
    return [pid for pid in pids if (seen := look(pid)) is not None and not seen.dead]


def test_a_run_that_is_asked_stops_with_a_checkpoint_and_takes_its_loaders_along(place: Path) -> None:
    run = new_run(place, {"training": {**LONG["training"], "num_workers": 2}})
    with training(run, place):
        before = wait_for(lambda: len(tree(run)) == 3 and tree(run), LATE, "one worker with two loaders")
        views = list(climb(StopLadder(run, by="a test", patience=PATIENT)))
        assert {view.rung for view in views} == {"ask", "over"}
        assert (views[0].next, views[0].cancellable) == ("SIGTERM", True)
        assert (views[-1].outcome, views[-1].status.status, views[-1].status.exit_code) == ("ended", "stopped", 75)
        assert views[-1].processes == 0 and not living(before)
    assert list(run.checkpoints.glob("step-*"))


def test_two_ranks_that_are_asked_stop_at_one_step(place: Path) -> None:
    run = new_run(place, {**LONG, "launch": {"processes": 2}})
    with training(run, place, processes=2) as workers:
        assert set(tree(run)) == set(workers.pids)
        view = last(StopLadder(run, by="a test", patience=PATIENT))
        assert (view.outcome, view.status.status) == ("ended", "stopped")
        assert workers.wait() == [75, 75]


def test_now_begins_with_sigterm_which_leaves_time_for_a_checkpoint(place: Path) -> None:
    run = new_run(place, LONG)
    with training(run, place) as workers:
        view = last(StopLadder(run, by="a test", now=True, patience=PATIENT))
        assert workers.wait() == [143]
    assert [told.rung for told in view.told] == ["term", "over"]
    assert (view.status.status, view.status.exit_code, view.status.reason) == ("stopped", 143, "signal SIGTERM")
    assert list(run.checkpoints.glob("step-*"))


def test_two_who_stop_a_run_at_once_send_one_signal(place: Path) -> None:
    run = new_run(place, LONG)
    with training(run, place) as workers:
        ladders = [StopLadder(run, by=f"command {number}", now=True, patience=PATIENT) for number in (1, 2)]
        first, second = (ladder.look() for ladder in ladders)
        assert (first.rung, second.rung) == ("term", "term")
        assert "was sent to process" in first.text + first.told[0].message
        assert second.told[0].message == "SIGTERM was sent already by command 1"
        assert [last(ladder).outcome for ladder in ladders] == ["ended", "ended"]
        # A second signal would have ended it at once, with another reason and without this checkpoint.
        assert workers.wait() == [143]
    assert read_status(run).reason == "signal SIGTERM"
    assert list(run.checkpoints.glob("step-*"))


def test_who_heeds_neither_request_nor_signal_is_killed_and_the_run_says_by_whom(place: Path) -> None:
    run = new_run(place, {**STUCK, "training": {**LONG["training"], "num_workers": 1}})
    with training(run, place, step=2) as workers:
        wait_for((place / f"deaf-{workers.pids[0]}").exists, LATE)
        before = wait_for(lambda: len(tree(run)) == 2 and tree(run), LATE, "one worker with a loader")
        view = last(StopLadder(run, by="a test", patience=HASTY))
        assert workers.wait() == [-signal.SIGKILL]
        assert not living(before)
    rungs = [told.rung for told in view.told]
    assert rungs == sorted(rungs, key=("ask", "term", "kill", "over").index) and rungs.count("term") == 2
    assert (view.outcome, view.status.status, view.status.exit_code) == ("ended", "lost", 137)
    assert "killed on request by" in str(view.status.reason) and "(a test)" in str(view.status.reason)
    assert reconcile(run).reason == view.status.reason


def test_a_held_worker_is_woken_to_save_its_checkpoint(place: Path) -> None:
    run = new_run(place, LONG)
    with training(run, place) as workers:
        os.kill(workers.pids[0], signal.SIGSTOP)
        wait_for(lambda: (seen := look(workers.pids[0])) is not None and seen.state == "T")
        view = last(StopLadder(run, by="a test", patience=Patience(ask=0.3, term=LATE)))
        assert (view.status.status, view.outcome) == ("stopped", "ended")
        assert workers.wait() in ([143], [75])
    assert list(run.checkpoints.glob("step-*"))


def test_a_stop_can_be_taken_back_until_a_signal_is_sent(place: Path) -> None:
    run = new_run(place, STUCK)
    with training(run, place, step=2) as workers:
        wait_for((place / f"deaf-{workers.pids[0]}").exists, LATE)
        ladder = StopLadder(run, by="a test", patience=PATIENT)
        assert ladder.look().cancellable and (run.control / "stop.json").exists()
        view = ladder.cancel()
        assert (view.outcome, view.text) == ("cancelled", "cancelled: the request is withdrawn and the run goes on")
        assert not (run.control / "stop.json").exists()
        assert ladder.look() == view

        ladder = StopLadder(run, by="a test", patience=PATIENT)
        ladder.look()
        ladder.hurry()
        assert wait_for(lambda: (found := ladder.look()).rung == "term" and found).next == "SIGKILL"
        assert "no SIGKILL will follow" in ladder.cancel().text
        assert look(workers.pids[0]) is not None


def test_what_a_run_has_started_is_found_when_all_that_led_to_it_are_gone(place: Path) -> None:
    mark = {"KLADML_ATTEMPT": "of-this-test"}
    run = new_run(place, LONG)
    attempt = read_json(run.attempt_dir(1) / "attempt.json")
    write_json(run.attempt_dir(1) / "attempt.json", {**attempt, "mark": mark["KLADML_ATTEMPT"]})
    # Each in a session of its own; the second belongs to a run that the first has started, and so to that one.
    left = subprocess.Popen(["sleep", "600"], env={**os.environ, **mark}, start_new_session=True)
    other = subprocess.Popen(["sleep", "600"], env={**os.environ, "KLADML_ATTEMPT": "another"}, start_new_session=True)
    try:
        wait_for(lambda: variable(left.pid, "KLADML_ATTEMPT") == "of-this-test")
        write_json(run.state_json, {"v": 1, "status": "stopped", "attempt": 1, **GONE})
        assert tree(run) == [left.pid]
        view = last(StopLadder(run, by="a test", patience=HASTY))
        assert (view.outcome, view.status.status) == ("ended", "stopped")
        assert left.wait(LATE) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        for process in (left, other):
            process.kill()
            process.wait()


def test_a_pid_that_another_program_has_by_now_is_left_alone(place: Path) -> None:
    run = new_run(place, LONG)
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        theirs = identity(stranger.pid)
        ours = {**theirs.to_json(), "start_time": theirs.start_time - 1.0}
        (run.attempt_dir(1) / "processes").mkdir()
        for role in ("rank-0", "rank-1"):
            write_json(run.attempt_dir(1) / "processes" / f"{role}.json", {"role": role, **ours})
        write_json(run.state_json, {"v": 1, "status": "running", "attempt": 1, "heartbeat": time.time(), **ours})
        assert tree(run) == []
        with pytest.raises(UnusableError, match="lost"):
            StopLadder(run, by="a test")
        assert send_signal(stranger.pid, theirs.start_time - 1.0, signal.SIGKILL) is False
        assert stranger.poll() is None
        assert send_signal(stranger.pid, theirs.start_time, signal.SIGKILL) is True
        assert stranger.wait(LATE) == -signal.SIGKILL
        assert send_signal(stranger.pid, theirs.start_time, signal.SIGKILL) is False
    finally:
        stranger.kill()
        stranger.wait()


def test_a_request_to_an_earlier_attempt_stops_nobody(place: Path) -> None:
    run = new_run(place, {"training": {"max_epochs": 1}})
    write_json(run.control / "stop.json", {"attempt": 1, "by": "somebody", "host": "h", "pid": 1})
    ended = work(run, place)
    assert (ended.status, ended.code) == ("stopped", 75), "a request to this very attempt is honoured"
    assert not (run.control / "stop.json").exists()

    write_json(run.control / "stop.json", {"attempt": 1, "by": "somebody", "host": "h", "pid": 1})
    add_attempt(run)
    ended = work(run, place)
    assert (ended.status, ended.code) == ("finished", 0), ended.output
    assert not (run.control / "stop.json").exists()


@pytest.mark.parametrize("where", ["host", "program"])
def test_a_run_out_of_reach_is_only_asked_and_that_is_told(place: Path, where: str) -> None:
    run = new_run(place, LONG)
    state = {"v": 1, "status": "running", "attempt": 1, "heartbeat": time.time(), **identity().to_json()}
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        state |= identity(process.pid).to_json()
        if where == "host":
            state["host"] = "elsewhere"
        else:
            attempt = read_json(run.attempt_dir(1) / "attempt.json")
            write_json(run.attempt_dir(1) / "attempt.json", {**attempt, "in_process": True})
        write_json(run.state_json, state)
        view = last(StopLadder(run, by="a test", now=True, patience=HASTY))
        assert (view.outcome, view.rung, view.status.status) == ("asked", "over", "running")
        assert {"host": "elsewhere", "program": "a notebook"}[where] in view.text
        assert read_json(run.control / "stop.json")["by"] == "a test"
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_a_run_that_cannot_be_written_to_is_signalled(place: Path) -> None:
    run = new_run(place, LONG)
    with training(run, place) as workers:
        run.control.rmdir()
        run.control.write_text("not a folder")
        view = last(StopLadder(run, by="a test", patience=PATIENT))
        assert view.told[0].message.startswith("cannot write the request")
        assert view.outcome == "ended" and workers.wait() == [143]


def test_the_patience_is_what_the_config_promises(place: Path) -> None:
    run = new_run(place, {"training": {"grace_seconds": 90.0}})
    assert patience_of(run) == Patience(ask=90.0, term=90.0)
    write_json(run.state_json, {"step_seconds": 20.0})
    assert patience_of(run) == Patience(ask=130.0, term=90.0)
    assert patience_of(run, ask=1.0, term=2.0) == Patience(ask=1.0, term=2.0)
    run.config.write_text("training: [")
    assert patience_of(run).term == 30.0


def _launched_pair(workspace: Path, name: str, target: str) -> RunDirectory:
    make_workspace(workspace)
    (workspace / "deaf.py").write_text(DEAF)
    config = workspace / f"{name}.yaml"
    config.write_text(
        f"project: p\nfamily: f\nexperiment: {name}\nmodel: {{target: '{target}'}}\ndata: {{target: 'models:load'}}\n"
        "training: {max_epochs: 100000, batch_size: 4, log_every: 1, num_workers: 1, "
        "checkpoint: {every_epochs: 1000}}\n"
        "launch: {processes: 2, device: cpu}\n"
    )
    run = launch(prepare(config, workspace=workspace))
    wait_for(lambda: read_status(run).status != "starting" and read_status(run).step > 1, LATE, "it never trained")
    return run


def test_a_launched_pair_that_heeds_nothing_is_killed_to_the_last_process(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run = _launched_pair(workspace, "stuck", "deaf:Deaf")
    wait_for(lambda: len(list(workspace.glob("deaf-*"))) == 2, LATE)
    before = wait_for(lambda: len(tree(run)) >= 5 and tree(run), LATE, "a launcher, two ranks, a loader each")
    view = last(StopLadder(run, by="a test", now=True, patience=HASTY))
    assert (view.outcome, view.status.status, view.processes) == ("ended", "lost", 0), view.told
    assert wait_until_gone(before)


def test_ranks_whose_launcher_is_killed_stop_with_a_checkpoint(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run = _launched_pair(workspace, "orphans", "models:Net")
    before = tree(run)
    launcher = read_json(run.attempt_dir(1) / "processes" / "launcher.json")["pid"]
    os.kill(launcher, signal.SIGKILL)
    status = wait_for(lambda: not (found := reconcile(run)).live and found, LATE, run.console_log.read_text())
    assert (status.status, status.exit_code) == ("stopped", 143)
    assert status.reason == f"its launcher (process {launcher}) was killed"
    assert wait_until_gone(before, LATE)
    assert list(run.checkpoints.glob("step-*"))


def test_asking_twice_changes_nothing(place: Path) -> None:
    run = new_run(place, STUCK)
    with training(run, place, step=2):
        request_stop(run, by="ada")
        view = StopLadder(run, by="grace", patience=PATIENT).look()
        assert "was asked already by ada" in view.told[0].message
        assert read_json(run.control / "stop.json")["by"] == "ada"
