"""The headless console with hostile text in every place where text can stand, in each of its three modes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from kladml_core.backends.run_log import RunLog
from kladml_core.runs.files import write_json
from kladml_core.runs.rundir import RunDirectory
from tests.system.command import json_lines, kladml
from tests.system.terminal import Terminal

HOSTILE = {
    "markup": "run[/red] [bold]x[/bold] [@click=app.bell]y[/]",
    "seed": "[seed=1]",
    "title": "\x1b]0;pwned\x07end",
    "clear": "\x1b[2J\x1b[H",
    "colour": "\x1b[31mred\x1b[0m",
    "c1": "\x9b31m\x9d0;x\x9c",
    "bell": "\x07\x08\x0c\x00",
    "bidi": "\u202egnp.exe\u2066x\u2069",
    "lines": "one\ntwo\r\nthree\u2028four",
    "surrogate": "broken\udcff",
    "wide": "数字 👩‍👩‍👧 e\u0301",
}
NUMBERS = {"nan": float("nan"), "inf": float("inf"), "minus": float("-inf"), "tiny": 1e-300}

# What the bar itself may send: cursor movement, erasing a line, colours, hiding the cursor.
_OWN = re.compile(rb"\x1b\[(\d+(;\d+)*)?[AKGmJ]|\x1b\[\?25[lh]|\r|\n")
_ALIVE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@pytest.fixture
def make_run(workspace: Path) -> Callable[[str, int], RunDirectory]:
    """Makes a run that has ended, with `text` wherever a run can hold text."""

    def make(text: str, exit_code: int) -> RunDirectory:
        name = text.replace("/", "|").replace("\x00", "0").encode("utf-8", "replace").decode()
        run = RunDirectory.create(workspace / "data", "project", "family", f"x{name}", seed=0)
        log = RunLog(run, run.claim_attempt())
        write_json(run.attempt_dir(1) / "attempt.json", {"v": 1, "created": 0.0, "host": text})
        run.console_log.write_bytes(f"output {text}\n".encode("utf-8", "surrogateescape"))
        log.status("running", reason=text)
        log.event("run_started", step=0, epoch=0, total_steps=10, total_epochs=1, device=text)
        log.log_metrics({f"m{text}": 1.0, "train/loss": float("nan"), **NUMBERS}, step=1)
        log.event("log", level=text, message=text)
        log.event("checkpoint_saved", step=5, epoch=1, name=text, bytes=1000, seconds=0.1, best=True, metrics={text: 1})
        log.event(text, step=6, **{f"key{text}": text})
        kind, status = ("run_failed", "failed") if exit_code else ("run_finished", "finished")
        best = {"metric": text, "value": float("nan"), "step": 5, "checkpoint": text}
        told = {"reason": text, "message": text, "hint": text, "file": text, "line": 3, "column": 1}
        log.event(kind, step=10, exit_code=exit_code, metrics={text: float("inf")}, best=best, resumable=True, **told)
        log.status(status, exit_code=exit_code, reason=text)
        log.close()
        return run

    return make


@pytest.mark.parametrize("name", HOSTILE)
def test_plain_lines_hold_nothing_that_a_terminal_acts_on(
    workspace: Path, make_run: Callable[[str, int], RunDirectory], name: str
) -> None:
    make_run(HOSTILE[name], 1)
    done = kladml("watch", "1", cwd=workspace)
    assert done.returncode == 1, done.stderr
    assert not _ALIVE.search(done.stdout) and not _ALIVE.search(done.stderr)
    assert "checkpoint saved" in done.stdout and "run failed" in done.stdout.splitlines()[-1]
    assert len(done.stdout.splitlines()) == len(done.stdout.split("\n")) - 1


@pytest.mark.parametrize("name", HOSTILE)
def test_json_lines_are_ascii_and_give_the_text_back(
    workspace: Path, make_run: Callable[[str, int], RunDirectory], name: str
) -> None:
    make_run(HOSTILE[name], 1)
    done = kladml("watch", "1", "--json", cwd=workspace)
    assert done.returncode == 1, done.stderr
    assert done.stdout.isascii() and not _ALIVE.search(done.stdout) and not _ALIVE.search(done.stderr)
    lines = json_lines(done.stdout)
    assert lines[-1]["kind"] == "run_failed"
    assert lines[-1]["message"] == HOSTILE[name].encode("utf-8", "backslashreplace").decode()
    values = {key: value for line in lines if line["kind"] == "metrics" for key, value in line["values"].items()}
    assert (values["nan"], values["inf"], values["minus"], values["tiny"]) == ("NaN", "Infinity", "-Infinity", 1e-300)


@pytest.mark.parametrize("exit_code", [0, 70])
@pytest.mark.parametrize("name", HOSTILE)
def test_on_a_terminal_only_our_own_sequences_are_sent(
    workspace: Path, make_run: Callable[[str, int], RunDirectory], name: str, exit_code: int
) -> None:
    make_run(HOSTILE[name], exit_code)
    terminal = Terminal("watch", "1", cwd=workspace, columns=80, rows=24)
    assert terminal.finish() == exit_code
    left = _OWN.sub(b"", terminal.output).decode("utf-8")
    assert not _ALIVE.search(left), left
    assert "finished" in left or "failed" in left
    if name in ("markup", "seed"):
        assert HOSTILE[name].partition(" ")[0] in left


def test_no_color_leaves_no_colour_on_a_terminal(workspace: Path, make_run: Callable[[str, int], RunDirectory]) -> None:
    make_run("plain", 0)
    terminal = Terminal("watch", "1", cwd=workspace, NO_COLOR="1")
    assert terminal.finish() == 0
    colours = [code for code in re.findall(rb"\x1b\[([\d;]*)m", terminal.output) if re.search(rb"\b[34][0-7]\b", code)]
    assert colours == []


def test_a_dumb_terminal_gets_plain_lines(workspace: Path, make_run: Callable[[str, int], RunDirectory]) -> None:
    make_run("plain", 0)
    terminal = Terminal("watch", "1", cwd=workspace)
    terminal.finish()
    assert b"\x1b" in terminal.output
    dumb = kladml("watch", "1", cwd=workspace, FORCE_COLOR="1")
    assert "\x1b" not in dumb.stdout


def test_a_stdout_that_speaks_only_ascii_is_no_error(
    workspace: Path, make_run: Callable[[str, int], RunDirectory]
) -> None:
    make_run(HOSTILE["wide"], 0)
    done = kladml("watch", "1", cwd=workspace, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii() and "\\u6570" in done.stdout
