"""The buffer of a curve and its windows, against brute force over the records."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kladml_core.metrics.columns import RECORD, chunks
from kladml_core.metrics.reduce import RAW_LIMIT, SeriesBuffer
from kladml_core.metrics.series import Window
from kladml_core.metrics.smooth import Average, smooth
from kladml_core.metrics.summary import extended, summarize

Row = tuple[int, float, float]


def records(rows: list[Row]) -> np.ndarray:
    return np.array(rows, RECORD)


def curve(values: np.ndarray, first: int = 0) -> np.ndarray:
    made = np.empty(len(values), RECORD)
    made["step"] = np.arange(first, first + len(values))
    made["time"] = 1e9 + made["step"]
    made["value"] = values
    return made


def buffered(*batches: np.ndarray, smoothing: float = 0.6, **limits: int) -> SeriesBuffer:
    buffer = SeriesBuffer(smoothing, **limits)
    for batch in batches:
        buffer.append(batch)
    return buffer


def truth(rows: list[Row]) -> list[Row]:
    """What counts of the rows, by the rules alone."""
    kept: dict[int, Row] = {}
    for row in rows:
        if 0 < row[1] < math.inf:
            kept[row[0]] = row
    return [kept[step] for step in sorted(kept)]


def averaged(values: list[float], factor: float) -> list[float]:
    """The moving average, one value after the other."""
    biased, seen, result = 0.0, 0, []
    for value in values:
        if not math.isfinite(value):
            result.append(math.nan)
            continue
        biased, seen = factor * biased + (1 - factor) * value, seen + 1
        result.append(biased / (1 - factor**seen))
    return result


def brute_force(xs: list[int], ys: list[float], low: int, high: int, columns: int) -> dict[int, list[float]]:
    """The values of each column that has a record."""
    found: dict[int, list[float]] = {}
    for x, y in zip(xs, ys, strict=True):
        if low <= x <= high:
            column = min(columns - 1, (x - low) * columns // (high - low)) if high > low else columns - 1
            found.setdefault(column, []).append(y if math.isfinite(y) else math.nan)
    return found


def assert_same(window: Window, expected: dict[int, list[float]]) -> None:
    assert len(window.x) == len(expected)
    for i, column in enumerate(sorted(expected)):
        values = expected[column]
        finite = [value for value in values if not math.isnan(value)]
        assert np.array_equal(window.first[i], values[0], equal_nan=True)
        assert np.array_equal(window.last[i], values[-1], equal_nan=True)
        assert np.array_equal(window.low[i], min(finite, default=math.nan), equal_nan=True)
        assert np.array_equal(window.high[i], max(finite, default=math.nan), equal_nan=True)
        if finite:
            assert window.low[i] <= window.mean[i] <= window.high[i]


steps = st.one_of(st.integers(0, 60), st.integers(2**53, 2**53 + 40), st.integers(0, 2**62))
values = st.one_of(st.floats(), st.sampled_from([0.0, -1.0, 1e-300, 1e300, math.inf, -math.inf, math.nan]))
batches = st.lists(st.lists(st.tuples(steps, st.floats(-1, 10), values), max_size=25), max_size=4)


@settings(max_examples=300, deadline=None)
@given(batches, st.integers(0, 2**53), st.integers(0, 2**20), st.sampled_from([1, 2, 8, 64]))
@example([[(5, 1.0, 1.0)]], 5, 0, 8)
def test_a_window_is_what_brute_force_finds(made: list[list[Row]], low: int, width: int, columns: int) -> None:
    rows = [row for batch in made for row in batch]
    kept = truth(rows)
    series = buffered(*(records(batch) for batch in made)).snapshot()
    assert series.count == len(kept)
    places = [row[0] for row in kept]
    for start, reach in ((low, width * columns), *([(min(places), max(places) - min(places))] if kept else [])):
        end = start + -(-reach // columns) * columns
        window = series.window(start, end, columns)
        assert_same(window, brute_force(places, [row[2] for row in kept], start, end, columns))


@settings(max_examples=150, deadline=None)
@given(batches)
def test_the_snapshot_says_what_the_records_say(made: list[list[Row]]) -> None:
    kept = truth([row for batch in made for row in batch])
    series = buffered(*(records(batch) for batch in made)).snapshot()
    finite = [row[2] for row in kept if math.isfinite(row[2])]
    assert series.non_finite == tuple(row[0] for row in kept if not math.isfinite(row[2]))
    assert series.non_finite_count == len(kept) - len(finite)
    assert (series.min, series.max) == (min(finite, default=None), max(finite, default=None))
    if kept:
        assert (series.first_step, series.last_step) == (kept[0][0], kept[-1][0])
        assert np.array_equal(series.last_value, kept[-1][2], equal_nan=True)


@pytest.mark.parametrize("count", [3, 1500, 4000])
def test_late_and_repeated_steps_find_their_place_however_the_records_come(count: int) -> None:
    generator = np.random.default_rng(count)
    made = curve(generator.normal(size=count))
    again = made.copy()
    again["value"] += 1.0
    order = generator.permutation(count)
    buffer = buffered(*np.array_split(made[order], 7), *np.array_split(again[generator.permutation(count)], 3))
    series = buffer.snapshot()
    assert series.count == count
    window = series.window(0, count, count)
    assert np.array_equal(window.last, again["value"])
    assert series.max == again["value"].max()


def test_a_spike_of_one_step_never_vanishes_however_long_the_curve() -> None:
    noise = np.random.default_rng(0).normal(size=50_000)
    noise[31_234] = 1e6
    noise[17] = -1e6
    buffer = buffered(*np.array_split(curve(noise), 50), raw_limit=2000, piece_limit=700)
    series = buffer.snapshot()
    assert series.decimated and series.count == 50_000
    assert (series.max, series.max_step, series.min, series.min_step) == (1e6, 31_234, -1e6, 17)
    window = series.window(0, 50_000, 100)
    assert window.high.argmax() == 31_234 // 500 and window.high.max() == 1e6
    assert window.low.argmin() == 0 and window.low.min() == -1e6


@pytest.mark.parametrize("columns", [1, 7, 64])
def test_a_decimated_window_holds_every_value_of_its_columns(columns: int) -> None:
    count = 20_000
    generator = np.random.default_rng(columns)
    made = curve(generator.normal(size=count))
    series = buffered(made, raw_limit=1500, piece_limit=600).snapshot()
    assert sum(part.rows for part in series.parts) < 3000
    for low, high in ((0, count), (5000, 12_345), (19_000, 25_000)):
        window = series.window(low, high, columns)
        for step in generator.integers(low, min(high, count), 50):
            near = np.abs(window.x - step) <= (high - low) / columns + 2 * series.stride
            assert near.any()
            assert window.low[near].min() <= made["value"][step] <= window.high[near].max()


def test_gaps_survive_decimation_as_gaps_and_as_counts() -> None:
    values_ = np.ones(40_000)
    values_[10_000:20_000] = np.nan
    values_[5] = np.inf
    series = buffered(curve(values_), raw_limit=1000, piece_limit=400).snapshot()
    assert series.non_finite_count == 10_001
    assert len(series.non_finite) <= 5000 and 5 in series.non_finite
    window = series.window(0, 40_000, 40)
    assert np.isnan(window.high[11:20]).all() and not np.isnan(window.high[:9]).any()


def test_a_late_value_on_a_decimated_curve_is_still_seen() -> None:
    buffer = buffered(curve(np.zeros(20_000)), raw_limit=1000, piece_limit=400)
    buffer.append(records([(123, 1.0, 77.0)]))
    series = buffer.snapshot()
    assert series.max == 77.0 and series.count == 20_000
    assert series.window(0, 20_000, 100).high[:2].max() == 77.0


def test_columns_without_a_record_are_left_out_and_edges_tell_the_neighbours() -> None:
    series = buffered(records([(0, 1, 1.0), (50, 2, 2.0), (100, 3, 3.0)])).snapshot()
    window = series.window(20, 80, 30)
    assert window.x.tolist() == [50.0] and window.position.tolist() == [0.5]
    assert window.before is not None and window.before.value == 1.0 and window.before.position < 0
    assert window.after is not None and window.after.value == 3.0 and window.after.position > 1
    empty = series.window(10, 20, 5)
    assert len(empty.x) == 0 and empty.before is not None and empty.after is not None


def test_steps_beyond_two_to_the_53_keep_their_places() -> None:
    base = 2**53
    series = buffered(records([(base + i, 1.0, float(i)) for i in range(9)])).snapshot()
    assert series.window(base, base + 8, 8).position.tolist() == [i / 8 for i in range(7)] + [1.0]
    assert series.limits() == (base, base + 8)


def test_time_never_runs_backwards_on_its_axis() -> None:
    series = buffered(records([(1, 100.0, 1.0), (2, 50.0, 2.0), (3, 120.0, 3.0)])).snapshot()
    window = series.window(0.0, 200.0, 400, axis="time")
    assert window.x.tolist() == [100.0, 120.0] and window.low[0] == 1.0 and window.high[0] == 2.0
    assert series.limits("time") == (50.0, 120.0)


def test_only_positive_values_are_shown_and_the_others_counted() -> None:
    for limits in ({}, {"raw_limit": 100, "piece_limit": 50}):
        values_ = np.tile([1.0, 0.0, -2.0, 4.0], 1000)
        window = buffered(curve(values_), **limits).snapshot().window(0, 4000, 10, positive=True)
        assert window.hidden == 2000
        assert window.low.tolist() == [1.0] * 10 and window.high.tolist() == [4.0] * 10


@settings(max_examples=100, deadline=None)
@given(st.lists(values, max_size=120), st.sampled_from([0.0, 0.1, 0.6, 0.99]), st.integers(0, 120))
def test_smoothing_is_the_recurrence_however_it_is_cut(made: list[float], factor: float, cut: int) -> None:
    array = np.array(made, float)
    head, state = smooth(array[:cut], factor)
    tail, _ = smooth(array[cut:], factor, state)
    expected = np.array(averaged(made, factor), float)
    scale = max((abs(value) for value in made if math.isfinite(value)), default=0.0)
    assert np.allclose(np.concatenate((head, tail)), expected, rtol=1e-9, atol=scale * 1e-12, equal_nan=True)


def test_a_buffer_smooths_its_curve_and_can_change_its_mind() -> None:
    values_ = np.random.default_rng(3).normal(size=5000)
    buffer = buffered(*np.array_split(curve(values_), 9))
    for factor in (0.6, 0.9, 0.0):
        buffer.set_smoothing(factor)
        window = buffer.snapshot().window(0, 5000, 5000, smoothed=True)
        assert np.allclose(window.last, averaged(values_.tolist(), factor))
    assert np.allclose(buffer.snapshot().with_smoothing(0.5).window(0, 5000, 5000, smoothed=True).last,
                       averaged(values_.tolist(), 0.5))  # fmt: skip


def test_a_decimated_curve_keeps_the_average_at_the_end_of_its_pieces() -> None:
    values_ = np.random.default_rng(4).normal(size=30_000).cumsum()
    series = buffered(*np.array_split(curve(values_), 20), raw_limit=1500, piece_limit=500).snapshot()
    exact = np.array(averaged(values_.tolist(), 0.6))
    closed = series.parts[0]
    assert np.allclose(closed.smooth, exact[closed.step_last])


def test_a_wrong_factor_is_refused() -> None:
    for factor in (-0.1, 1.0, math.nan):
        with pytest.raises(ValueError, match="smoothing"):
            SeriesBuffer(factor)


def test_a_snapshot_does_not_change_while_the_buffer_goes_on() -> None:
    made = curve(np.random.default_rng(5).normal(size=9000))
    buffer = buffered(made[:3000], raw_limit=4000, piece_limit=1000)
    before = buffer.snapshot()
    kept = before.window(0, 3000, 50)
    buffer.append(made[1500:1600])
    buffer.append(made[3000:])
    buffer.set_smoothing(0.9)
    after = before.window(0, 3000, 50)
    assert before.count == 3000 and buffer.snapshot().count == 9000
    assert np.array_equal(kept.low, after.low) and np.array_equal(kept.mean, after.mean)
    assert buffer.snapshot() is buffer.snapshot() and buffer.snapshot().version > before.version


def test_snapshots_taken_while_another_thread_appends_are_whole() -> None:
    made = curve(np.ones(60_000))
    buffer, done, faults = SeriesBuffer(raw_limit=5000, piece_limit=2000), threading.Event(), []

    def look() -> None:
        while not done.is_set():
            series = buffer.snapshot()
            if series.count:
                window = series.window(0, series.last_step or 0, 50)
                if np.isnan(window.low).any() or window.low.min() != 1.0 or window.high.max() != 1.0:
                    faults.append(series.count)

    thread = threading.Thread(target=look)
    thread.start()
    for batch in np.array_split(made, 200):
        buffer.append(batch)
    done.set()
    thread.join(10)
    assert not thread.is_alive() and not faults


def test_reset_forgets_everything() -> None:
    buffer = buffered(curve(np.ones(5000)))
    buffer.reset()
    series = buffer.snapshot()
    assert (series.count, series.last_value, series.min, series.limits()) == (0, None, None, None)
    assert len(series.window(0, 10, 5).x) == 0 and series.at(3) is None


def test_the_nearest_record_is_read_out() -> None:
    series = buffered(records([(10, 1.0, 1.0), (20, 2.0, 2.0), (40, 3.0, math.nan)])).snapshot()
    near = [series.at(x) for x in (0, 14, 16, 20, 1000)]
    assert [reading.step for reading in near if reading] == [10, 10, 20, 20, 40]
    assert near[-1] is not None and math.isnan(near[-1].value)


def test_a_file_over_eight_mebibytes_is_loaded_in_chunks_and_bounded(tmp_path: Path) -> None:
    count = 3 * RAW_LIMIT
    path = tmp_path / "long.bin"
    curve(np.random.default_rng(6).normal(size=count)).tofile(path)
    buffer = SeriesBuffer()
    for piece, _ in chunks(path):
        buffer.append(piece)
    series = buffer.snapshot()
    assert series.count == count and series.decimated
    assert sum(part.rows for part in series.parts) < 200_000


def test_a_summary_tells_the_last_value_the_extremes_and_the_gaps() -> None:
    made = records([(1, 1, 2.0), (2, 1, math.nan), (3, 1, -1.0), (4, 1, -1.0), (5, 1, math.inf)])
    summary = summarize(made)
    assert summary == {"last": math.inf, "last_step": 5, "min": -1.0, "min_step": 3, "max": 2.0, "max_step": 1,
                       "count": 5, "non_finite": 2}  # fmt: skip
    assert extended(extended(None, [(1, 2.0)]), [(2, 3.0)]) == extended(None, [(1, 2.0), (2, 3.0)])
    assert smooth(np.empty(0), 0.5)[1] == Average()
