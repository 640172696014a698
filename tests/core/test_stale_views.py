"""Saved views after a rename: those that name what was renamed are told, and never changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from kladml_core.workspace.hierarchy import create, rename
from kladml_core.workspace.stale_views import stale_views
from kladml_core.workspace.views import FILE, View, read_views, save_view
from tests.core.pruned_runs import a_run

CNN = "vision/digits/cnn"


@pytest.mark.parametrize(
    ("words", "stale"),
    [
        ("project:vision status:finished", True),
        ("-project:Vision", True),
        ("project:vision,speech", True),
        ("project:vision,sight", False),
        ("project:vis*", True),
        ("project:speech family:digits name:run_0001", False),
        ("name:vision/digits/*", True),
        ('"vision/digits"', True),
        ("word -tag:vision note:vision val/loss<0.1", False),
    ],
)
def test_a_view_is_left_behind_where_its_filter_fits_the_old_name_alone(
    tmp_path: Path, words: str, stale: bool
) -> None:
    save_view(tmp_path, "mine", View(words))
    assert stale_views(tmp_path, "vision", "sight", ["digits/cnn/run_0001"]) == (("mine",) if stale else ())


def test_a_rename_names_the_views_that_it_leaves_behind_and_what_to_do(tmp_path: Path) -> None:
    a_run(tmp_path, experiment=CNN, steps=())
    save_view(tmp_path, "[/x] good", View("experiment:cnn", "duration"))
    save_view(tmp_path, "first", View("name:cnn/run_0001"))
    save_view(tmp_path, "rest", View("name:run_0001 status:finished"))
    before = read_views(tmp_path)
    (told,) = rename(tmp_path, CNN, "mlp").warnings
    assert "'[/x] good', 'first' still name vision/digits/cnn" in told
    assert "views list" in told and str(tmp_path / FILE) in told
    assert read_views(tmp_path) == before


def test_an_empty_project_is_named_too(tmp_path: Path) -> None:
    create(tmp_path, "vision")
    save_view(tmp_path, "mine", View("project:vision"))
    (told,) = rename(tmp_path, "vision", "sight").warnings
    assert "the saved view 'mine' still names vision;" in told


def test_views_that_cannot_be_read_do_not_stop_a_rename_and_are_told(tmp_path: Path) -> None:
    create(tmp_path, "vision")
    (tmp_path / FILE).write_text("mine: [\n")
    changed = rename(tmp_path, "vision", "sight")
    assert (tmp_path / "projects" / "sight").is_dir()
    assert len(changed.warnings) == 1 and FILE in changed.warnings[0]
