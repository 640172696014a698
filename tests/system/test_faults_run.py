"""Faults of one run: killed, torn, damaged, misled by the clock or by a pid; what it measured stays, and is true."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kladml_core.metrics.columns import Cut, read, visible
from kladml_core.metrics.names import file_name
from kladml_core.runs.events import read_events, resume_cuts
from kladml_core.runs.files import write_json
from kladml_core.runs.processes import identity
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status, reconcile
from tests.core.trainer_workspace import Ended, add_attempt, make_workspace, new_run, work
from tests.core.worker_forks import fork_workers
from tests.system.command import kladml, start
from tests.system.faults import processes_of
from tests.system.stepwise import CHANGE, let, reach, write_model
from tests.system.training import runs_of, write_config
from tests.waiting import wait_for

FOR_EVER = 1_000_000


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    workspace = make_workspace(tmp_path / "lab")
    write_model(workspace, until=25)
    return workspace


def steps(run: RunDirectory) -> list[int]:
    cuts = resume_cuts(read_events(run.events)[0])
    records, _ = read(run.metrics / file_name("train/loss"))
    return visible(records, 0, [Cut(*cut) for cut in cuts.get("train/loss", [])])["step"].tolist()


def resumed(run: RunDirectory, lab: Path) -> Ended:
    let(lab, FOR_EVER)
    add_attempt(run)
    return work(run, lab)


def test_a_killed_worker_has_lost_no_step_and_torn_files_do_not_stop_the_next_attempt(lab: Path) -> None:
    run = new_run(lab, CHANGE)
    with fork_workers(run.path, lab) as worker:
        reach(lab, 26)
        os.kill(worker.pids[0], signal.SIGKILL)
        assert worker.wait() == [-signal.SIGKILL]
    assert reconcile(run).status == "lost"
    assert steps(run) == list(range(1, 26))
    with (run.metrics / file_name("train/loss")).open("ab") as file:
        file.write(b"\x1a\x00\x00\x00\x00")
    with run.events.open("ab") as file:
        file.write(b'{"v":1,"seq":99,"attempt":1,"kind":"run_fin')
    run.state_json.write_bytes(b"\x00" * 300)
    ended = resumed(run, lab)
    assert (ended.code, ended.status) == (0, "finished"), ended.output
    assert steps(run) == list(range(1, 41))
    assert (read_status(run).status, read_status(run).attempt) == ("finished", 2)


def test_a_state_that_is_damaged_under_a_living_worker_is_whole_again_by_its_next_beat(lab: Path) -> None:
    run = new_run(lab, CHANGE)
    with fork_workers(run.path, lab) as worker:
        reach(lab, 26)
        for damage in (b"", b'{"status": "finished"', b"\xff\xfe", b"[]"):
            run.state_json.write_bytes(damage)
            wait_for(lambda: read_status(run).status == "running", 30, f"{damage!r} stays")
        run.state_json.unlink()
        wait_for(lambda: read_status(run).status == "running" and run.state_json.exists(), 30)
        let(lab, FOR_EVER)
        assert worker.wait() == [0], worker.output
    assert read_status(run).status == "finished"


def test_a_clock_that_steps_back_hides_no_step_and_no_end(lab: Path) -> None:
    run = new_run(lab, CHANGE)
    told = lab / "an-hour-ago"
    hook = {"TEST_HOOK": "tests.core.worker_hooks:clock_that_steps_back", "TEST_STEP_BACK": str(told)}
    with fork_workers(run.path, lab, environ=hook) as worker:
        reach(lab, 26)
        told.touch()
        before = time.time() - 1800
        wait_for(lambda: (read_status(run).heartbeat or before) < before, 30, "the clock did not step back")
        status = read_status(run)
        assert (status.status, status.step, status.stalled) == ("running", 25, False)
        let(lab, FOR_EVER)
        assert worker.wait() == [0], worker.output
    ended = Ended(run, 0, worker.output)
    assert steps(run) == list(range(1, 41))
    status = read_status(run)
    assert (status.status, status.step) == ("finished", 40)
    assert [event["seq"] for event in ended.events] == list(range(1, len(ended.events) + 1))
    assert [event["step"] for event in ended.of_kind("checkpoint_saved")][-1] == 40


def test_a_program_that_has_got_the_pid_of_a_dead_worker_is_left_alone(workspace: Path) -> None:
    run = RunDirectory.create(workspace / "data", "p", "f", "e", seed=0)
    run.claim_attempt()
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        now = time.time()
        seen = {**identity(bystander.pid).to_json(), "status": "running", "attempt": 1, "step": 3, "heartbeat": now}
        write_json(run.state_json, {**seen, "start_time": seen["start_time"] - 1, "started": now})
        listed = kladml("runs", cwd=workspace)
        assert "lost 137" in listed.stdout and "running" not in listed.stdout
        for words in (["stop", "1"], ["stop", "1", "--now"]):
            refused = kladml(*words, cwd=workspace)
            assert refused.returncode == 3 and "Traceback" not in refused.stderr, refused.stderr
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_launch_that_is_killed_half_way_leaves_no_run_that_reads_running_and_no_process(workspace: Path) -> None:
    write_config(workspace, "long", epochs=100_000)
    launch = start("--run", "data/configs/long.yaml", "--detach", cwd=workspace)
    (run,) = wait_for(lambda: runs_of(workspace), 60, "no run was made")
    launch.kill()
    launch.communicate()
    # What starts the worker is a process of its own by then, and comes to its end or has not begun.
    wait_for(lambda: run.state_json.exists() or not processes_of(run), 60, "neither a worker nor an end")
    if run.state_json.exists():
        wait_for(lambda: read_status(run).status == "running", 60, run.console_log.read_text())
        return
    assert read_status(run).status == "starting"
    made = time.time() - 3600
    identity_written = run.read_run()
    if identity_written is not None:
        write_json(run.run_json, {**identity_written, "created": made})
    os.utime(run.path, (made, made))
    assert read_status(run).status == "damaged"
