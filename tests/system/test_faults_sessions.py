"""A run belongs to the person, not to the terminal: what happens to the session that launched it does not reach it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from kladml_core.runs.files import read_json
from kladml_core.runs.status import read_status
from tests.system.command import json_lines, kladml
from tests.system.faults import gated_target, processes_of, send, session_of
from tests.system.terminal import Terminal
from tests.system.training import goes_on, only_run, wait_for_step, write_config
from tests.waiting import wait_for

END_SECONDS = 90.0


@pytest.mark.timeout(300)
def test_hang_ups_of_the_session_do_not_reach_a_run_of_two_processes_and_its_own_stop_it_whole(
    workspace: Path,
) -> None:
    write_config(workspace, "long", epochs=100_000)
    terminal = Terminal("--run", "data/configs/long.yaml", "--processes", "2", cwd=workspace)
    run = only_run(workspace)
    wait_for_step(run)
    tree = processes_of(run)
    assert len(tree) == 3, "a launcher and two ranks"

    def storm() -> bool:
        left = session_of(terminal.process.pid)
        send(left, signal.SIGHUP)
        return not left

    terminal.hang_up()
    wait_for(storm, END_SECONDS, "the session goes on in spite of its hang-ups")
    # A shell calls both 129: it ended itself, or was hit once more on its way out.
    assert terminal.process.wait(END_SECONDS) in (129, -signal.SIGHUP)
    assert goes_on(run)
    assert processes_of(run) == tree

    send([pid for pid in tree if b"torch.distributed.run" in Path(f"/proc/{pid}/cmdline").read_bytes()], signal.SIGHUP)
    assert goes_on(run)
    assert processes_of(run) == tree, "the launcher left its ranks behind"

    send(tree, signal.SIGHUP)
    wait_for(lambda: not processes_of(run), END_SECONDS, "processes of the run are left")
    status = read_status(run)
    assert (status.status, status.exit_code) == ("stopped", 129), run.console_log.read_text()
    assert any(path.name.startswith("step-") for path in run.checkpoints.iterdir())


@pytest.mark.timeout(300)
def test_a_run_whose_session_is_killed_and_whose_terminal_closes_trains_to_its_end(workspace: Path) -> None:
    write_config(workspace, target=gated_target(workspace))
    terminal = Terminal("--run", "data/configs/short.yaml", cwd=workspace)
    run = only_run(workspace)
    wait_for_step(run)
    send(session_of(terminal.process.pid), signal.SIGKILL)
    terminal.hang_up()
    assert terminal.process.wait(END_SECONDS) == -signal.SIGKILL
    assert len(processes_of(run)) == 1
    (workspace / "go").touch()
    wait_for(lambda: not read_status(run).live, END_SECONDS, "the run does not end")
    assert read_status(run).status == "finished", run.console_log.read_text()


def test_what_will_end_the_run_is_said_once_and_recorded_and_no_secret_with_it(workspace: Path) -> None:
    write_config(workspace)
    job = {"SLURM_JOB_ID": "77", "LAB_PASSWORD": "hunter2", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    plain = kladml("--run", "data/configs/short.yaml", "--set", "training.max_steps=1", cwd=workspace, **job)
    assert plain.returncode == 0, plain.stderr
    assert plain.stderr.count("warning: Slurm ends this run with job 77") == 1 and "job 77" not in plain.stdout
    run = only_run(workspace)
    attempt = read_json(run.attempt_dir(1) / "attempt.json")
    assert any("job 77" in warning for warning in attempt["warnings"])
    assert attempt["environment"]["values"]["SLURM_JOB_ID"] == "77"
    assert "LAB_PASSWORD" in attempt["environment"]["names"] and "hunter2" not in str(attempt)
    watched = json_lines(kladml("watch", "1", "--json", cwd=workspace).stdout)
    assert sum("job 77" in line.get("message", "") for line in watched) == 1
