"""The traceback of a run that failed, found in what it printed."""

from __future__ import annotations

from pathlib import Path

from kladml_core.runs.output import TAIL_BYTES, failure_output
from kladml_core.runs.rundir import RunDirectory

FIRST = 'Traceback (most recent call last):\n  File "a.py", line 1\nKeyError: 1'
SECOND = 'Traceback (most recent call last):\n  File "b.py", line 2\nValueError: [/red]\nmore of it'


def printed(tmp_path: Path, text: str) -> RunDirectory:
    run = RunDirectory(tmp_path)
    run.console_log.write_text(text)
    return run


def test_the_newest_traceback_is_found_to_its_end(tmp_path: Path) -> None:
    run = printed(tmp_path, f"epoch 1\n{FIRST}\nwent on all the same\n{SECOND}\n")
    assert failure_output(run) == SECOND


def test_what_led_to_it_belongs_to_it(tmp_path: Path) -> None:
    for phrase in (
        "During handling of the above exception, another exception occurred:",
        "The above exception was the direct cause of the following exception:",
    ):
        whole = f"{FIRST}\n\n{phrase}\n\n{SECOND}"
        assert failure_output(printed(tmp_path, f"epoch 1\n{whole}\n")) == whole


def test_every_rank_has_its_own(tmp_path: Path) -> None:
    ranks = "\n".join(f"[rank {rank}] {line}" for rank in (0, 1) for line in SECOND.splitlines())
    old = "\n".join(f"[rank 0] {line}" for line in FIRST.splitlines())
    assert failure_output(printed(tmp_path, f"{old}\n[rank 0] epoch 1\n{ranks}\n")) == ranks


def test_without_a_traceback_the_last_lines_are_told(tmp_path: Path) -> None:
    run = printed(tmp_path, "".join(f"line {number}\n" for number in range(1000)))
    lines = failure_output(run).splitlines()
    assert len(lines) == 200 and lines[-1] == "line 999"


def test_only_the_end_of_a_long_log_is_read(tmp_path: Path) -> None:
    run = printed(tmp_path, "x" * (2 * TAIL_BYTES) + f"\n{FIRST}\n")
    assert failure_output(run) == FIRST


def test_a_run_that_printed_nothing_has_no_output(tmp_path: Path) -> None:
    assert failure_output(RunDirectory(tmp_path)) == ""
