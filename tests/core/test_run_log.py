"""What the worker's log leaves on disk: records, events, state and summary, also after a crash and on a full disk."""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from kladml_core.backends.run_log import RunLog
from kladml_core.metrics.columns import RECORD
from kladml_core.metrics.names import RECORD_SIZE, file_name
from kladml_core.runs.events import read_events
from kladml_core.runs.files import read_json
from kladml_core.runs.rundir import RunDirectory
from tests.waiting import wait_for


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory.create(tmp_path, "vision", "digits", "cnn", seed=0)
    run.claim_attempt()
    return run


def series(run: RunDirectory, metric: str) -> np.ndarray:
    return np.fromfile(run.metrics / file_name(metric), dtype=RECORD)


def kinds(run: RunDirectory) -> list[str]:
    return [event["kind"] for event in read_events(run.events)[0]]


def test_values_are_read_back_as_design_says(run: RunDirectory) -> None:
    log = RunLog(run, 1)
    log.log_metrics({"train/loss": 0.5, "val/loss": math.nan}, 10, 1000.0)
    log.log_metrics({"train/loss": 0.25}, 20, 1001.0)
    log.close()
    dtype = [("step", "<i8"), ("time", "<f8"), ("value", "<f8")]
    records = np.fromfile(run.path / "metrics" / "train%2Floss.bin", dtype=dtype)
    assert records.tolist() == [(10, 1000.0, 0.5), (20, 1001.0, 0.25)]
    assert math.isnan(series(run, "val/loss")["value"][0])


def test_the_summary_names_the_steps_of_the_extremes_and_counts_what_is_not_finite(run: RunDirectory) -> None:
    log = RunLog(run, 1)
    for step, value in enumerate([3.0, 1.0, math.inf, 2.0, math.nan]):
        log.log_metrics({"loss": value}, step)
    log.close()
    text = run.summary.read_text()
    assert json.loads(text, parse_constant=pytest.fail)["loss"] == {
        "last": "NaN", "last_step": 4, "min": 1.0, "min_step": 1, "max": 3.0, "max_step": 0,
        "count": 5, "non_finite": 2,
    }  # fmt: skip


def test_events_carry_the_envelope_and_strict_json(run: RunDirectory) -> None:
    log = RunLog(run, 1)
    log.event("validation", step=3, epoch=1, metrics={"val/loss": math.nan})
    log.close()
    event = json.loads(run.events.read_text(), parse_constant=pytest.fail)
    assert event["time"] > 0
    assert {key: event[key] for key in event if key != "time"} == {
        "v": 1, "seq": 1, "attempt": 1, "kind": "validation", "step": 3, "epoch": 1, "metrics": {"val/loss": "NaN"},
    }  # fmt: skip


def test_a_field_cannot_forge_the_envelope(run: RunDirectory) -> None:
    log = RunLog(run, 1)
    log.publish("events", {"kind": "log", "run": "x", "seq": 99, "attempt": 7, "message": "hello"})
    log.close()
    (event,), _ = read_events(run.events)
    assert (event["seq"], event["attempt"], event["message"]) == (1, 1, "hello")


@pytest.mark.parametrize("name", ["", "a\nb", "a\x1bb", "x" * 201, "é" * 40, "\ud800"])
def test_a_metric_name_that_cannot_be_a_file_is_refused_once_and_the_run_goes_on(run: RunDirectory, name: str) -> None:
    log = RunLog(run, 1)
    for step in range(3):
        log.log_metrics({name: 1.0, "good": 2.0}, step)
    log.close()
    assert kinds(run) == ["log"]
    assert [path.name for path in run.metrics.iterdir()] == ["good.bin"]
    assert len(series(run, "good")) == 3


def test_a_value_that_is_no_number_is_told_and_the_run_goes_on(run: RunDirectory) -> None:
    log = RunLog(run, 1)
    log.log_metrics({"loss": "oops", "good": 1.0}, 1)  # type: ignore[dict-item]
    log.close()
    assert kinds(run) == ["log"]
    assert len(series(run, "good")) == 1


def test_more_metrics_than_may_stay_open_are_all_recorded(run: RunDirectory) -> None:
    log = RunLog(run, 1)
    for step in range(2):
        log.log_metrics({f"m{number}": float(number) for number in range(300)}, step)
    open_files = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_link(fd)]
    assert sum(path.startswith(str(run.metrics)) for path in open_files) <= 256
    log.close()
    assert all(len(series(run, f"m{number}")) == 2 for number in range(300))


def _is_link(descriptor: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{descriptor}")


def test_a_torn_record_and_a_torn_event_are_mended_before_the_next_attempt_appends(run: RunDirectory) -> None:
    log = RunLog(run, 1)
    log.log_metrics({"loss": 1.0}, 1)
    log.event("log", message="first")
    log.close()
    with (run.metrics / "loss.bin").open("ab") as file:
        file.write(b"\x01" * 7)
    with run.events.open("ab") as file:
        file.write(b'{"v":1,"seq":2,"kind":"lo')
    log = RunLog(run, run.claim_attempt())
    log.log_metrics({"loss": 2.0}, 2)
    log.event("log", message="second")
    log.close()
    assert series(run, "loss")["step"].tolist() == [1, 2]
    assert [(event["seq"], event["message"]) for event in read_events(run.events)[0]] == [(1, "first"), (2, "second")]


def test_a_resume_leaves_the_dead_branch_out_of_the_summary(run: RunDirectory) -> None:
    log = RunLog(run, 1)
    for step in range(1, 6):
        log.log_metrics({"loss": float(-step)}, step)
    log.close()
    log = RunLog(run, run.claim_attempt())
    log.event("resumed", step=2, offsets=log.offsets())
    log.log_metrics({"loss": 7.0}, 3)
    log.close()
    summary = read_json(run.summary)["loss"]
    assert (summary["count"], summary["min"], summary["last"], summary["last_step"]) == (3, -2.0, 7.0, 3)


def test_the_heartbeat_writes_progress_by_itself(run: RunDirectory) -> None:
    log = RunLog(run, 1, heartbeat=0.02)
    log.status("running", phase="training")
    log.progress(step=12, epoch=1, total_steps=40)
    state = wait_for(lambda: (state := run.read_state()) and state["step"] == 12 and state)
    assert (state["status"], state["epoch"], state["total_steps"], state["pid"]) == ("running", 1, 40, os.getpid())
    log.close()


def test_the_end_is_in_the_state(run: RunDirectory) -> None:
    log = RunLog(run, 1)
    log.event("run_finished", exit_code=0)
    log.status("finished", exit_code=0)
    log.close()
    state = run.read_state()
    assert state is not None
    assert (state["status"], state["exit_code"]) == ("finished", 0)
    assert state["ended"] >= state["started"]


FULL_DISK = textwrap.dedent("""
    import resource, signal, sys
    from pathlib import Path
    from kladml_core.backends.run_log import RunLog
    from kladml_core.runs.rundir import RunDirectory

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    log = RunLog(RunDirectory(Path(sys.argv[1])), 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (250, hard))
    for step in range(20):
        log.log_metrics({"loss": float(step)}, step)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    log.log_metrics({"loss": 99.0}, 99)
    log.close()
    print(log.dropped)
""")


def test_a_full_disk_costs_the_records_it_refuses_and_says_how_many(run: RunDirectory) -> None:
    """A file size limit refuses writes just as a full disk does, in the middle of a record too."""
    command = [sys.executable, "-c", FULL_DISK, str(run.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    whole = 250 // RECORD_SIZE
    assert series(run, "loss")["step"].tolist() == [*range(whole), 99]
    assert int(done.stdout) == 20 - whole
    (event,), _ = read_events(run.events)
    assert (event["kind"], event["count"]) == ("dropped", 20 - whole)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
