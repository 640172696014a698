"""Runs of archived projects, families and experiments: left out of lists, and never lost from sight."""

from __future__ import annotations

from pathlib import Path

import pytest

from kladml_core.backends.sqlite_metadata import SqliteMetadata
from kladml_core.runs.clone import failed_runs
from kladml_core.runs.ref import find_run
from kladml_core.settings import load_settings
from kladml_core.workspace.choose_runs import ChosenRuns, choose_runs, fresh_index
from kladml_core.workspace.filters import parse
from kladml_core.workspace.hierarchy import archive
from tests.core.pruned_runs import a_run, set_status

OLD, NEW = "vision/old/mlp", "vision/digits/cnn"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A workspace with two runs in an archived family, one of them failed, and one run beside it."""
    (tmp_path / "kladml.yaml").write_text("")
    data = tmp_path / "data"
    for experiment, status in ((OLD, "finished"), (OLD, "failed"), (NEW, "failed")):
        a_run(data, experiment=experiment, status=status, steps=())
    archive(data, "vision/old")
    return data


def indexed(data: Path) -> SqliteMetadata | None:
    return fresh_index(load_settings(data.parent))


def references(found: ChosenRuns) -> list[str]:
    return sorted(row.reference for row in found.rows)


@pytest.mark.parametrize("with_index", [False, True])
def test_runs_of_what_is_archived_are_left_out_and_counted_as_far_as_they_match(data: Path, with_index: bool) -> None:
    index = indexed(data) if with_index else None
    found = choose_runs(data, index=index)
    assert (references(found), found.archived) == ([f"{NEW}/run_0001"], 2)
    failed = choose_runs(data, parse("status:failed"), index=index)
    assert (references(failed), failed.archived) == ([f"{NEW}/run_0001"], 1)
    everything = choose_runs(data, archived=True, index=index)
    assert (len(everything.rows), everything.archived) == (3, 0)
    assert find_run(data, f"{OLD}/run_0002").path.is_dir()


def test_an_archived_experiment_with_a_live_run_is_there(data: Path) -> None:
    a_run(data, experiment="vision/old/cnn", steps=())
    set_status(find_run(data, f"{OLD}/run_0001"), "running")
    found = choose_runs(data, parse("status:failed project:vision"))
    assert (references(found), found.archived) == ([f"{NEW}/run_0001", f"{OLD}/run_0002"], 0)
    assert choose_runs(data).archived == 1  # its family is archived still


def test_failed_runs_of_what_is_archived_run_again_only_where_that_is_said(data: Path) -> None:
    found = failed_runs(data)
    assert ([run.reference for run in found.waiting], found.archived) == ([f"{NEW}/run_0001"], 1)
    assert failed_runs(data, ["vision/old"]).waiting == ()
    (named,) = failed_runs(data, [f"{OLD}/run_0002"]).waiting
    assert named.reference == f"{OLD}/run_0002"
    assert len(failed_runs(data, archived=True).waiting) == 2
