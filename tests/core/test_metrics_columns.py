"""Series files: names that survive, whole records, dead branches, the last value of a step."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kladml_core.metrics import columns, names
from kladml_core.metrics.columns import RECORD, Cut


def records(*rows: tuple[int, float, float]) -> np.ndarray:
    return np.array(list(rows), RECORD)


@given(st.text(min_size=1, max_size=80))
def test_every_name_that_is_not_refused_comes_back_from_its_file_name(metric: str) -> None:
    if names.check_name(metric) is not None:
        return
    file = names.file_name(metric)
    assert "/" not in file and "\x00" not in file and len(file.encode()) <= 255
    assert names.metric_name(file) == metric


@pytest.mark.parametrize("metric", ["", "a\nb", "a\x00", "\x1b[31mred", "x" * 201, "é" * 40, "\ud800", "a\u2028b"])
def test_bad_names_are_refused_with_a_reason(metric: str) -> None:
    assert names.check_name(metric)


@pytest.mark.parametrize("metric", ["train/loss", "..", ".", "50% [done]", "val/f1 score", "größe", "x" * 200])
def test_odd_but_honest_names_are_taken(metric: str) -> None:
    assert names.check_name(metric) is None


def test_a_directory_lists_only_its_series_files(tmp_path: Path) -> None:
    for name in ("train%2Floss.bin", "val%2Floss.bin", "notes.txt", "a%2fb.bin", ".bin"):
        (tmp_path / name).touch()
    assert names.list_metrics(tmp_path) == ["train/loss", "val/loss"]
    assert names.list_metrics(tmp_path / "missing") == []


def test_names_need_no_numpy() -> None:
    code = "import sys, kladml_core.metrics.names, kladml_core.metrics.summary; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_documented_dtype_reads_what_the_documented_struct_writes(tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes(struct.pack(names.RECORD_STRUCT, 2**53 + 1, 1.5, -0.0))
    (found,) = np.fromfile(tmp_path / "m.bin", dtype=[("step", "<i8"), ("time", "<f8"), ("value", "<f8")])
    assert (int(found["step"]), float(found["time"])) == (2**53 + 1, 1.5)
    assert RECORD.itemsize == names.RECORD_SIZE


def test_a_torn_record_at_the_end_waits_until_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "m.bin"
    data = records((1, 1.0, 0.5), (2, 2.0, 0.25)).tobytes()
    path.write_bytes(data[:-5])
    first, offset = columns.read(path)
    assert first["step"].tolist() == [1] and offset == 24
    path.write_bytes(data)
    second, offset = columns.read(path, offset)
    assert second["step"].tolist() == [2] and offset == 48
    nothing, offset = columns.read(path, offset)
    assert len(nothing) == 0 and offset == 48


def test_a_file_that_is_not_there_is_empty(tmp_path: Path) -> None:
    found, offset = columns.read(tmp_path / "none.bin")
    assert len(found) == 0 and offset == 0


def test_a_limit_reads_a_long_file_piece_by_piece(tmp_path: Path) -> None:
    path = tmp_path / "m.bin"
    records(*((i, 1.0, float(i)) for i in range(10))).tofile(path)
    pieces = list(columns.chunks(path, limit=4))
    assert [len(piece) for piece, _ in pieces] == [4, 4, 2]
    assert [offset for _, offset in pieces] == [0, 96, 192]


def test_what_a_dead_branch_logged_after_the_checkpoint_is_hidden() -> None:
    before = [(step, 1.0, 1.0) for step in range(1, 8)]
    after = [(step, 2.0, 2.0) for step in range(5, 10)]
    cut = Cut(offset=24 * len(before), step=4)
    found = columns.visible(records(*before, *after), 0, [cut])
    assert found["step"].tolist() == list(range(1, 10))
    assert found["value"].tolist() == [1.0] * 4 + [2.0] * 5


def test_a_dead_branch_that_reached_further_than_the_new_one_stays_hidden() -> None:
    found = columns.visible(records((1, 1, 1), (2, 1, 1), (9, 1, 1), (2, 1, 2)), 0, [Cut(72, 1)])
    assert found["step"].tolist() == [1, 2]
    assert found["value"].tolist() == [1.0, 2.0]


def test_two_resumes_each_hide_their_own_branch() -> None:
    rows = [(1, 1, 1), (2, 1, 1), (3, 1, 1), (2, 1, 2), (3, 1, 2), (3, 1, 3)]
    found = columns.visible(records(*rows), 0, [Cut(5 * 24, 2), Cut(3 * 24, 1)])
    assert list(zip(found["step"].tolist(), found["value"].tolist(), strict=True)) == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_a_resume_from_the_very_beginning_hides_everything_before_it() -> None:
    assert len(columns.visible(records((1, 1, 1), (2, 1, 1)), 0, [Cut(48, 0)])) == 0


def test_a_cut_of_an_earlier_part_of_the_file_spares_the_later_one() -> None:
    later = records((1, 1, 1), (5, 1, 1))
    assert len(columns.visible(later, 240, [Cut(240, 0)])) == 2
    assert columns.visible(later, 240, [Cut(264, 0)])["step"].tolist() == [5]


@pytest.mark.parametrize("time", [0.0, -1.0, float("nan"), float("inf"), float("-inf")])
def test_a_record_without_a_positive_time_is_ignored(time: float) -> None:
    assert columns.visible(records((1, time, 1.0), (2, 1.0, 2.0)))["step"].tolist() == [2]


def test_of_a_step_logged_twice_the_last_value_counts() -> None:
    found = columns.visible(records((1, 1, 1), (2, 1, 2), (1, 1, 3), (3, 1, 4)))
    assert list(zip(found["step"].tolist(), found["value"].tolist(), strict=True)) == [(2, 2.0), (1, 3.0), (3, 4.0)]


rows = st.lists(st.tuples(st.integers(0, 12), st.sampled_from([-1.0, 0.0, 1.0, 2.0]), st.floats()), max_size=40)


@settings(max_examples=200)
@given(rows, st.lists(st.tuples(st.integers(0, 41), st.integers(0, 12)), max_size=3))
def test_visible_is_what_the_rules_say(table: list[tuple[int, float, float]], cuts: list[tuple[int, int]]) -> None:
    expected: dict[int, float] = {}
    for index, (step, time, value) in enumerate(table):
        if time > 0 and not any(index < at and step > last for at, last in cuts):
            expected[step] = value
    found = columns.visible(records(*table), 0, [Cut(at * 24, last) for at, last in cuts])
    assert len(found) == len(expected)
    for step, value in zip(found["step"].tolist(), found["value"].tolist(), strict=True):
        assert np.array_equal(value, expected[step], equal_nan=True)
