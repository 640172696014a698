"""One metric of many runs: read bit by bit, by the time since each began; and mean and spread of repetitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kladml_core.backends.run_log import RunLog
from kladml_core.metrics.columns import RECORD, file_name
from kladml_core.metrics.reduce import SeriesBuffer
from kladml_core.metrics.series import Series
from kladml_core.metrics.spread import PLACES, spread_curve
from kladml_core.runs.overlay import Overlay, metrics_of
from kladml_core.runs.rundir import RunDirectory
from kladml_tui.run_looks import COLOURS, MARKERS, run_looks


def a_run(workspace: Path) -> tuple[RunDirectory, RunLog]:
    run = RunDirectory.create(workspace / "data", "p", "f", "e", seed=0)
    return run, RunLog(run, run.claim_attempt())


def write(run: RunDirectory, metric: str, count: int, *, at: float = 1.7e9) -> None:
    records = np.zeros(count, RECORD)
    records["step"], records["value"] = np.arange(count), np.sin(np.arange(count))
    records["time"] = at + np.arange(count)
    with (run.metrics / file_name(metric)).open("ab") as file:
        records.tofile(file)


def curve(steps: list[int], values: list[float]) -> Series:
    records = np.zeros(len(steps), RECORD)
    records["step"], records["value"], records["time"] = steps, values, 1.0 + np.array(steps)
    buffer = SeriesBuffer()
    buffer.append(records)
    return buffer.snapshot()


def test_a_live_run_goes_on_and_one_without_the_metric_has_no_curve(workspace: Path) -> None:
    (first, log), (other, _) = a_run(workspace), a_run(workspace)
    log.status("running")
    log.log_metrics({"val/loss": 0.5}, 1)
    overlay = Overlay([first, other], "val/loss")
    seen = overlay.read()
    assert seen[0].live and seen[0].series is not None and seen[0].series.count == 1 and seen[1].series is None
    log.log_metrics({"val/loss": 0.25}, 2)
    again = overlay.read()[0].series
    assert again is not None and (again.count, again.last_value) == (2, 0.25)
    assert overlay.read()[0].series is again
    assert metrics_of([first, other]) == {"val/loss": 1}
    log.close()


def test_times_count_from_each_runs_first_value(workspace: Path) -> None:
    runs = [a_run(workspace)[0] for _ in range(2)]
    for number, run in enumerate(runs):
        write(run, "loss", 11, at=1.7e9 + number * 86400)
    limits = [one.series.limits("time") for one in Overlay(runs, "loss").read() if one.series is not None]
    assert limits == [(1.0, 11.0)] * 2


def test_a_branch_that_a_resume_gave_up_is_hidden(workspace: Path) -> None:
    run, log = a_run(workspace)
    for step in (1, 2, 3):
        log.log_metrics({"loss": float(step)}, step)
    log.close()
    overlay = Overlay([run], "loss")
    assert overlay.read()[0].series is not None
    overlay = Overlay([run], "loss")
    second = RunLog(run, run.claim_attempt())
    second.event("resumed", step=1, offsets={"loss": (run.metrics / "loss.bin").stat().st_size})
    second.log_metrics({"loss": 9.0}, 2)
    second.close()
    series = overlay.read()[0].series
    assert series is not None and (series.count, series.last_step, series.last_value, series.max) == (2, 2, 9.0, 9.0)


def test_long_curves_of_many_runs_keep_little(workspace: Path) -> None:
    runs = [a_run(workspace)[0] for _ in range(200)]
    write(runs[0], "loss", 300_000)
    series = Overlay(runs, "loss").read()[0].series
    assert series is not None and series.count == 300_000 and series.parts[0].rows <= 2048
    assert series.max is not None and series.max > 0.999999


def test_mean_and_deviation_are_those_of_the_curves_that_reach_there() -> None:
    found = spread_curve([curve([0, 1, 2], [1.0, 2.0, 3.0]), curve([0, 1], [3.0, 4.0]), curve([], [])])
    assert found is not None and found.count == 2
    means = [reading.value for step in (0, 1, 2) if (reading := found.mean.at(step))]
    highs = [reading.value for step in (0, 1, 2) if (reading := found.high.at(step))]
    assert means == [2.0, 3.0, 3.0] and np.allclose(highs, [2.0 + 2**0.5, 3.0 + 2**0.5, 3.0])
    assert spread_curve([curve([], [])]) is None


def test_a_value_that_is_no_number_counts_for_no_mean() -> None:
    found = spread_curve([curve([0, 1], [1.0, float("nan")]), curve([0, 1], [3.0, 5.0])])
    reading = found.mean.at(1) if found is not None else None
    assert reading is not None and reading.value == 5.0


def test_the_spread_of_long_curves_is_thinned_out_to_what_a_screen_shows() -> None:
    found = spread_curve([curve(list(range(5000)), [1.0] * 5000)] * 2)
    assert found is not None and found.mean.count == PLACES and found.mean.last_step == 4999


def test_the_looks_of_runs_do_not_depend_on_their_order_and_never_collide() -> None:
    names = [f"run {number}" for number in range(COLOURS * len(MARKERS))]
    looks = dict(zip(names, run_looks(names), strict=True))
    assert looks == dict(zip(reversed(names), run_looks(names[::-1]), strict=True))
    assert len(set(looks.values())) == len(names)
    few = run_looks(names[:COLOURS])
    assert len({look.colour for look in few}) == len({look.marker for look in few}) == COLOURS
    assert len({look.marker for look in run_looks(names[: len(MARKERS)])}) == len(MARKERS)
