"""A workspace that may only be read, and one that two apps work in at once."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from kladml_core.config.load import dump
from kladml_core.runs.launch import prepare
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.start import worker_environment, write_attempt
from kladml_core.runs.status import read_status
from tests.core.trainer_workspace import CONFIG, make_workspace, merged, work
from tests.system.command import json_lines, kladml
from tests.system.faults import processes_of, small_disk
from tests.system.tmux import Tmux
from tests.waiting import wait_for

needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")


def killed_run(workspace: Path, **training: object) -> RunDirectory:
    """A run whose worker was killed in its 15th step; its state says `running`."""
    source = workspace / "data" / "configs" / "one.yaml"
    source.parent.mkdir(parents=True, exist_ok=True)
    names = {"project": "p", "family": "f", "experiment": "e"}
    source.write_text(dump({**names, **merged(CONFIG, {"training": training})}))
    plan = prepare(source, workspace=workspace)
    run = RunDirectory.create(workspace / "data", *names.values(), seed=plan.config.seed)
    write_attempt(run, run.claim_attempt(0), plan, worker_environment(plan))
    assert work(run, workspace, TEST_AT="16", TEST_WHAT="SIGKILL").code == -signal.SIGKILL
    return run


@needs_tmux
def test_a_workspace_that_may_only_be_read_is_shown_truly_and_refuses_in_one_line(tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    with small_disk(shelf, "8m") as remount:
        workspace = make_workspace(shelf)
        run = killed_run(workspace)
        remount("ro")
        (listed,) = json_lines(kladml("show", "1", "--json", cwd=workspace).stdout)
        assert (listed["run"], listed["status"], listed["exit_code"]) == (run.reference, "lost", 137)
        for words in (["--run", "one.yaml"], ["resume", "1"]):
            refused = kladml(*words, cwd=workspace)
            assert refused.returncode == 3 and refused.stderr.count("\n") == 1, refused.stderr
            assert "is on a read-only file system" in refused.stderr
        assert run.latest_attempt() == 1
        with Tmux(tmp_path / "socket", workspace, columns=140, rows=40) as terminal:
            terminal.start()
            terminal.expect("run_0001 +lost")
            terminal.expect("r resume")
            terminal.press("r")
            terminal.expect("Not resumed")
            terminal.press("G")
            terminal.expect("t train")
            terminal.press("t")
            terminal.expect("Not launched")
            terminal.expect("is on a read-only")
            terminal.press("Escape")
            wait_for(lambda: "Not launched" not in terminal.screen(), 30, "the question stays")
            terminal.press("q")
            terminal.expect(r"^prompt>\s*$")


@needs_tmux
@pytest.mark.timeout(300)
def test_two_apps_resume_and_stop_the_same_run_and_one_worker_starts_and_ends(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "lab")
    run = killed_run(workspace, max_epochs=100_000, lr_scheduler="constant", validate_every=100_000)
    with (
        Tmux(tmp_path / "one", workspace, columns=140, rows=40) as one,
        Tmux(tmp_path / "two", workspace, columns=140, rows=40) as two,
    ):
        for app in (one, two):
            app.start()
            app.expect("run_0001 +lost")
            app.expect("r resume")
        one.press("r")
        two.press("r")
        wait_for(lambda: read_status(run).status == "running", 90, run.console_log.read_text())
        assert run.latest_attempt() == 2 and len(processes_of(run)) == 1
        for app in (one, two):
            app.expect("run_0001 +running")
            app.press("s")
        for app in (one, two):
            app.expect("Stop p/f/e/run_0001")
            app.press("s")
        wait_for(lambda: not read_status(run).live, 60, "it does not stop")
        assert (read_status(run).status, read_status(run).exit_code) == ("stopped", 75)
        for app in (one, two):
            app.expect("run_0001 +stopped")
        wait_for(lambda: not processes_of(run), 30, "a process is left")
