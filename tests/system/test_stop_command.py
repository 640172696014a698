"""`kladml-tui stop`: a countdown on a terminal that Ctrl-C ends, plain or JSON lines off it, and what it leaves."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from kladml_core.runs.process_tree import ProcessTree
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status
from tests.system.command import json_lines, kladml
from tests.system.terminal import Terminal
from tests.system.training import goes_on, only_run, wait_for_step, write_config

LONG = 100_000


def held_run(workspace: Path) -> tuple[RunDirectory, int]:
    """A run whose worker is held, so that it answers nothing until it is let go or signalled; and its pid."""
    write_config(workspace, "long", epochs=LONG)
    assert kladml("--run", "data/configs/long.yaml", "--detach", cwd=workspace).returncode == 0
    run = only_run(workspace)
    pid = wait_for_step(run).pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    return run, pid


def test_a_countdown_is_cancelled_by_ctrl_c_and_the_run_goes_on(workspace: Path) -> None:
    run, pid = held_run(workspace)
    terminal = Terminal("stop", "1", cwd=workspace)
    terminal.read_until(b"asked to stop; SIGTERM in 30 s  (Ctrl-C cancels)")
    terminal.read_until(b"SIGTERM in 28 s")
    assert (run.control / "stop.json").exists()
    terminal.type(b"\x03")
    assert terminal.finish() == 130
    assert b"the request is withdrawn and the run goes on" in terminal.output
    os.kill(pid, signal.SIGCONT)
    assert goes_on(run)


def test_each_rung_is_a_line_and_no_process_is_left(workspace: Path) -> None:
    run, pid = held_run(workspace)
    done = kladml("stop", "1", "--ask", "0.5", cwd=workspace)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[0].endswith("long/run_0001 is asked to save a checkpoint and stop")
    assert lines[1] == f"SIGTERM was sent to process {pid}; it may save a checkpoint"
    assert lines[2].startswith("stopped (exit 143)") and lines[2].endswith("no process of it is left")
    assert "\x1b" not in done.stderr and "stopped 143" in done.stdout
    assert (read_status(run).status, ProcessTree(run, 1).look()) == ("stopped", [])

    again = kladml("stop", "1", cwd=workspace)
    assert again.returncode == 3 and "is not running: it is stopped" in again.stderr


def test_a_killed_run_is_told_in_json_with_who_killed_it(workspace: Path) -> None:
    (workspace / "deaf.py").write_text(
        "import signal, time\nfrom kladml_core.examples.digits import DigitsCNN\n\n\n"
        "class Deaf(DigitsCNN):\n    calls = 0\n\n    def training_step(self, module, batch):\n"
        "        self.calls += 1\n"
        "        if self.calls == 9:\n            signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "            time.sleep(1000)\n        return super().training_step(module, batch)\n"
    )
    write_config(workspace, "long", epochs=LONG, target="deaf.py:Deaf")
    assert kladml("--run", "data/configs/long.yaml", "--detach", cwd=workspace).returncode == 0
    run = only_run(workspace)
    wait_for_step(run, 5)
    done = kladml("stop", "1", "--now", "--term", "0.5", "--json", cwd=workspace)
    assert done.returncode == 0, done.stderr
    lines = json_lines(done.stdout)
    assert [line["rung"] for line in lines] == ["term", "term", "kill", "over"]
    assert {line["kind"] for line in lines} == {"stop"}
    last = lines[-1]
    assert (last["outcome"], last["status"], last["exit_code"], last["processes"]) == ("ended", "lost", 137, 0)
    assert "killed on request by" in last["reason"] and "(kladml-tui stop)" in last["reason"]
    assert "killed on request by" in kladml("runs", cwd=workspace).stdout
    assert ProcessTree(run, 1).look() == []
