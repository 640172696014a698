"""Rows out of the index are those that the files give, and a filter chooses the same runs of both."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kladml_core.backends.sqlite_metadata import SqliteMetadata
from kladml_core.runs.files import read_object
from kladml_core.runs.notes import edit_notes
from kladml_core.runs.processes import identity
from kladml_core.runs.rundir import RunDirectory
from kladml_core.workspace import index_process
from kladml_core.workspace.choose_runs import choose_runs
from kladml_core.workspace.filters import parse
from kladml_core.workspace.index_rows import Wanted, read_rows, wanted_for
from kladml_core.workspace.rows import run_row, with_params
from kladml_core.workspace.values import value_named
from tests.core.indexed_workspace import a_run, a_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = a_workspace(tmp_path / "w")
    for width in (16, 32, 64):
        for rate in (1e-3, 1e-2):
            config = {"model": {"params": {"width": width}}, "training": {"learning_rate": rate, "layers": [1, 2]}}
            run = a_run(root, metrics={"val/loss": 1 / width + rate, "val/accuracy": width / 64}, config=config)
    edit_notes(run, tag=["baseline", "a"], note="the best", star=True)
    a_run(root, "vision/letters/mlp", metrics={"val/loss": math.nan}, status="failed", exit_code=70, reason="NaN")
    dead = {**identity().to_json(), "pid": 2**22 + 1, "start_time": 1.0}
    a_run(root, status="running", ended=None, exit_code=None, **dead)
    return root


def index_of(workspace: Path, tmp_path: Path) -> SqliteMetadata:
    metadata = SqliteMetadata(workspace, file=tmp_path / "index.sqlite")
    metadata.refresh()
    return metadata


def test_a_row_of_the_index_is_the_row_of_the_files(workspace: Path, tmp_path: Path) -> None:
    data, metadata = workspace / "data", index_of(workspace, tmp_path)
    rows = read_rows(metadata, data)
    assert len(rows) == 8
    for reference, row in rows.items():
        of_files = with_params(run_row(RunDirectory(data / "projects" / reference)))
        # NaN is not equal to itself.
        assert repr(replace(row, metrics=dict(sorted(row.metrics.items())))) == repr(
            replace(of_files, metrics=dict(sorted(of_files.metrics.items())))
        )
    some = [*list(rows)[:2], "no/such/run/run_0001"]
    assert read_rows(metadata, data, some) == {reference: rows[reference] for reference in some[:2]}


def test_only_what_is_asked_for_is_in_a_row(workspace: Path, tmp_path: Path) -> None:
    metadata = index_of(workspace, tmp_path)
    wanted = wanted_for([value_named("best:val/loss"), value_named("param:model.params.width")])
    row = read_rows(metadata, workspace / "data", ["vision/digits/cnn/run_0001"], wanted)["vision/digits/cnn/run_0001"]
    assert set(row.metrics) == {"val/loss"}
    assert row.params == {"model.params.width": 16}
    none = read_rows(metadata, workspace / "data", None, Wanted(frozenset(), frozenset()))
    assert not any(row.metrics or row.params for row in none.values())


@pytest.mark.parametrize(
    ("words", "sort"),
    [
        ("", ""),
        ("status:lost", ""),
        ("val/loss<0.05", "best:val/loss"),
        ("model.params.width>=32 -training.learning_rate:0.01", "model.params.width"),
        ("tag:baseline star:yes", "name"),
        ("-val/accuracy>0.5", "max:val/accuracy"),
        ('"the best"', "duration"),
    ],
)
@pytest.mark.parametrize("columns", [(), ("params", "metrics"), ("val/loss",)])
def test_a_filter_chooses_the_same_of_the_index_and_of_the_files(
    workspace: Path, tmp_path: Path, words: str, sort: str, columns: tuple[str, ...]
) -> None:
    data, metadata = workspace / "data", index_of(workspace, tmp_path)
    of_files = choose_runs(data, parse(words), sort=sort, columns=columns).rows
    of_index = choose_runs(data, parse(words), sort=sort, columns=columns, index=metadata).rows
    assert [row.reference for row in of_index] == [row.reference for row in of_files]
    for one, other in zip(of_index, of_files, strict=True):
        assert {name: repr(figures) for name, figures in one.metrics.items()} == {
            name: repr(figures) for name, figures in other.metrics.items()
        }
        assert one.status.word == other.status.word
        assert one.params == other.params or not other.params


def test_a_list_out_of_the_index_writes_down_whom_it_finds_dead(workspace: Path, tmp_path: Path) -> None:
    (lost,) = choose_runs(workspace / "data", parse("status:lost"), index=index_of(workspace, tmp_path)).rows
    assert (read_object(lost.run.path / "lost.json") or {}).get("attempt") == 1


def test_a_process_of_its_own_reads_what_is_unknown(workspace: Path) -> None:
    assert index_process.start(workspace).wait(timeout=60) == 0
    assert len(SqliteMetadata(workspace).runs()) == 8


def test_where_there_is_no_workspace_the_process_says_so(tmp_path: Path) -> None:
    (tmp_path / "kladml.yaml").write_text("nonsense: 1\n")
    command = [sys.executable, "-P", "-m", "kladml_core.workspace.index_process", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, "nonsense" in ended.stderr) == (2, True)
