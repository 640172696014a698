"""`kladml-tui --run` with real training: to the end, through every way of ending it, and what cannot be trained."""

from __future__ import annotations

import os
import signal
import time
from itertools import pairwise
from pathlib import Path

import pytest

from kladml_core.runs.status import read_status
from tests.system.command import ROOT, json_lines, kladml, start
from tests.system.terminal import Terminal
from tests.system.training import goes_on, only_run, runs_of, wait_for_step, write_config
from tests.waiting import wait_for

LONG = 100_000
END_SECONDS = 60.0


@pytest.mark.timeout(300)
def test_the_digits_are_learned_and_the_last_line_is_the_end(workspace: Path) -> None:
    done = kladml("--run", ROOT / "kladml_core/examples/digits.yaml", "--json", cwd=workspace, timeout=280)
    assert done.returncode == 0, done.stderr
    lines = json_lines(done.stdout)
    end = lines[-1]
    assert end["kind"] == "run_finished" and end["exit_code"] == 0
    assert end["metrics"]["val/accuracy"] > 0.97
    kinds = [line["kind"] for line in lines]
    assert kinds.count("run_finished") == 1 and kinds[0] == "run_started"
    assert {"validation", "epoch_finished", "checkpoint_saved", "new_best", "metrics"} <= set(kinds)
    metrics = [line for line in lines if line["kind"] == "metrics"]
    assert all(set(line) == {"kind", "step", "time", "values"} for line in metrics)
    last = {name: value for line in metrics for name, value in line["values"].items()}
    assert {name: last[name] for name in end["metrics"] if name in last} == {
        name: value for name, value in end["metrics"].items() if name in last
    }
    assert "val/accuracy" in last and "train/loss" in last


def test_metrics_come_at_most_ten_times_a_second(workspace: Path) -> None:
    write_config(workspace, epochs=6)
    process = start("--run", "data/configs/short.yaml", "--json", "--set", "training.log_every=1", cwd=workspace)
    assert process.stdout is not None
    arrivals = [time.monotonic() for line in process.stdout if '"kind": "metrics"' in line]
    assert process.wait(END_SECONDS) == 0
    windows = [sum(1 for at in arrivals if start <= at < start + 1.0) for start in arrivals]
    assert len(arrivals) > 3 and max(windows) <= 11  # ten, and one for the time a line takes to get here
    assert all(later >= earlier for earlier, later in pairwise(arrivals))


def test_off_a_terminal_there_are_plain_lines(workspace: Path) -> None:
    write_config(workspace)
    done = kladml("--run", "data/configs/short.yaml", cwd=workspace)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout and "checkpoint saved" in done.stdout
    assert "run finished" in done.stdout.splitlines()[-1]


def test_on_a_terminal_there_is_a_bar_and_then_a_summary(workspace: Path) -> None:
    write_config(workspace, epochs=3)
    terminal = Terminal("--run", "data/configs/short.yaml", cwd=workspace, columns=80, rows=24)
    assert terminal.finish() == 0
    for part in (b"epoch ", b"step ", b"ETA", b"checkpoint saved", b"val/accuracy", b"vision/digits/short/run_0001"):
        assert part in terminal.output


def test_set_reaches_the_run(workspace: Path) -> None:
    write_config(workspace)
    done = kladml("--run", "data/configs/short.yaml", "--set", "training.max_steps=3", "--json", cwd=workspace)
    assert done.returncode == 0, done.stderr
    assert json_lines(done.stdout)[-1]["step"] == 3


def test_ctrl_c_asks_the_run_to_stop_and_it_can_be_resumed(workspace: Path) -> None:
    write_config(workspace, "long", epochs=LONG)
    terminal = Terminal("--run", "data/configs/long.yaml", cwd=workspace)
    run = only_run(workspace)
    wait_for_step(run, 3)
    terminal.type(b"\x03")
    assert terminal.finish() == 75
    status = read_status(run)
    assert (status.status, status.exit_code) == ("stopped", 75)
    assert b"asked the run to stop" in terminal.output and b"kladml-tui resume" in terminal.output

    again = start("resume", "1", "--json", cwd=workspace)
    wait_for(lambda: read_status(run).attempt == 2, END_SECONDS)
    wait_for_step(run, status.step + 3)
    again.send_signal(signal.SIGTERM)
    output, errors = again.communicate(timeout=END_SECONDS)
    assert again.returncode == 75, errors
    lines = json_lines(output)
    assert lines[-1]["kind"] == "run_stopped" and lines[-1]["resumable"] is True
    assert {line["attempt"] for line in lines if line["kind"] != "metrics"} == {2}
    assert "resumed" in {line["kind"] for line in lines}
    assert min(line["step"] for line in lines if line["kind"] == "metrics") >= status.step


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_ends_the_run_at_once(workspace: Path, number: signal.Signals, code: int) -> None:
    write_config(workspace, "long", epochs=LONG)
    process = start("--run", "data/configs/long.yaml", "--json", cwd=workspace)
    run = only_run(workspace)
    wait_for_step(run)
    process.send_signal(number)
    process.send_signal(number)
    _, errors = process.communicate(timeout=END_SECONDS)
    # Two signals may arrive as one, and the run may stop of itself before it hears the second.
    assert process.returncode in (code, 75), errors
    assert read_status(run).status == "stopped"


def test_a_closed_stdout_ends_the_follower_alone(workspace: Path) -> None:
    write_config(workspace, "long", epochs=LONG)
    process = start("--run", "data/configs/long.yaml", "--json", cwd=workspace)
    run = only_run(workspace)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(END_SECONDS) == 141
    assert "Traceback" not in process.stderr.read()
    assert goes_on(run)


def test_a_hang_up_ends_the_follower_alone(workspace: Path) -> None:
    write_config(workspace, "long", epochs=LONG)
    terminal = Terminal("--run", "data/configs/long.yaml", cwd=workspace)
    run = only_run(workspace)
    wait_for_step(run)
    terminal.hang_up()
    assert terminal.process.wait(END_SECONDS) == 129
    assert goes_on(run)


def test_killing_the_follower_changes_nothing_and_another_can_watch(workspace: Path) -> None:
    write_config(workspace, "long", epochs=LONG)
    process = start("--run", "data/configs/long.yaml", "--json", cwd=workspace)
    run = only_run(workspace)
    wait_for_step(run)
    process.kill()
    process.communicate()
    assert goes_on(run)

    watcher = start("watch", "1", "--json", cwd=workspace)
    assert watcher.stdout is not None
    watcher.stdout.readline()
    watcher.send_signal(signal.SIGINT)
    watcher.communicate(timeout=END_SECONDS)
    assert watcher.returncode == 130 and goes_on(run)

    stopped = kladml("stop", "1", "--json", cwd=workspace)
    assert stopped.returncode == 0, stopped.stderr
    line = json_lines(stopped.stdout)[-1]
    assert (line["outcome"], line["status"], line["exit_code"], line["processes"]) == ("ended", "stopped", 75, 0)


def test_a_killed_worker_is_lost_and_its_follower_says_so(workspace: Path) -> None:
    write_config(workspace, "long", epochs=LONG)
    process = start("--run", "data/configs/long.yaml", "--json", cwd=workspace)
    run = only_run(workspace)
    status = wait_for_step(run)
    assert status.pid is not None
    os.kill(status.pid, signal.SIGKILL)
    output, _ = process.communicate(timeout=END_SECONDS)
    assert process.returncode == 137
    assert json_lines(output)[-1]["kind"] == "run_lost"
    assert read_status(run).status == "lost"


def test_detach_returns_when_the_worker_runs(workspace: Path) -> None:
    write_config(workspace, "long", epochs=LONG)
    done = kladml("--run", "data/configs/long.yaml", "--detach", "--json", cwd=workspace)
    assert done.returncode == 0, done.stderr
    last = json_lines(done.stdout)[-1]
    run = only_run(workspace)
    assert (last["kind"], last["run"], last["path"]) == ("detached", run.reference, str(run.path))
    assert goes_on(run)


@pytest.mark.parametrize("more", [[], ["--detach"]])
def test_a_target_that_cannot_be_imported_fails_the_run_at_its_line(workspace: Path, more: list[str]) -> None:
    (workspace / "mine.py").write_text("import no_such_module_anywhere\n\nclass Mine:\n    pass\n")
    write_config(workspace, target="mine:Mine")
    done = kladml("--run", "data/configs/short.yaml", "--json", *more, cwd=workspace)
    assert done.returncode == 3, done.stderr
    end = json_lines(done.stdout)[-1]
    assert (end["kind"], end["exit_code"], end["line"], end["column"]) == ("run_failed", 3, 5, 11)
    assert end["file"].endswith("short.yaml") and "no_such_module_anywhere" in end["message"]
    assert "short.yaml:5:11" in done.stderr
    assert [read_status(run).status for run in runs_of(workspace)] == ["failed"]


def test_an_exception_in_training_is_exit_code_1_with_the_traceback(workspace: Path) -> None:
    (workspace / "mine.py").write_text(
        "from kladml_core.examples.digits import DigitsCNN\n\n\nclass Mine(DigitsCNN):\n"
        "    calls = 0\n\n    def training_step(self, module, batch):\n        Mine.calls += 1\n"
        "        if Mine.calls > 5:\n            raise RuntimeError('\\x1b[31mbroken [/red]')\n"
        "        return super().training_step(module, batch)\n"
    )
    write_config(workspace, target="mine:Mine")
    done = kladml("--run", "data/configs/short.yaml", cwd=workspace)
    assert done.returncode == 1
    assert (
        "broken [/red]" in done.stderr and "in training_step" in done.stderr and "\x1b" not in done.stdout + done.stderr
    )


BAD_CONFIGS = {
    "a key with a typo": ("learning_rate", "learning_rtae", 2, 11, 3, "learning_rate"),
    "a value of the wrong type": ("max_epochs: 2", "max_epochs: two", 2, 10, 15, None),
    "unparsable YAML": ("params: {width: 8}", "params: {width: 8", 2, None, None, None),
    "a key that stands twice": ("family: digits", "project: digits", 2, 2, 1, None),
    "a dataset that nobody registered": (
        "target: kladml_core.examples.digits:load",
        "train: nothing",
        2,
        8,
        10,
        None,
    ),
    "a data file that is missing": (
        "target: kladml_core.examples.digits:load",
        "train: ./nothing.npz",
        3,
        8,
        10,
        None,
    ),
    "a module that is missing": ("digits:DigitsCNN", "digist:DigitsCNN", 3, 5, 11, "digits"),
    "a name that its module lacks": ("digits:DigitsCNN", "digits:DigitCNN", 3, 5, 11, "DigitsCNN"),
}


@pytest.mark.parametrize("case", BAD_CONFIGS)
def test_a_bad_config_is_one_error_at_its_place_and_leaves_no_run(workspace: Path, case: str) -> None:
    right, wrong, code, line, column, suggestion = BAD_CONFIGS[case]
    path = write_config(workspace)
    path.write_text(path.read_text().replace(right, wrong))
    done = kladml("--run", "data/configs/short.yaml", "--json", cwd=workspace)
    assert done.returncode == code, done.stdout + done.stderr
    (error,) = json_lines(done.stdout)
    assert (error["kind"], error["exit_code"]) == ("error", code)
    assert error["file"] == "data/configs/short.yaml" and isinstance(error["line"], int)
    if line is not None:
        assert (error["line"], error["column"]) == (line, column), error
    if suggestion is not None:
        assert suggestion in error["hint"]
    (told,) = done.stderr.splitlines()
    assert f"data/configs/short.yaml:{error['line']}:" in told
    assert runs_of(workspace) == []
