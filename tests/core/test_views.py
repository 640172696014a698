"""Saved views of the runs: any name, in a file that a person writes too."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kladml_core.errors import ConfigError
from kladml_core.workspace.views import MAX_NAME, View, checked_name, find_view, read_views, remove_view, save_view

GOOD = View('status:finished "a b"', "best:val/loss", reverse=True, columns=("status", "params"))


def test_a_view_is_saved_found_and_removed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert read_views(data) == {}
    save_view(data, "good ones", GOOD)
    save_view(data, "all", View())
    assert read_views(data) == {"good ones": GOOD, "all": View()}
    save_view(data, "good ones", View("star:yes"))
    assert find_view(data, "good ones") == View("star:yes")
    remove_view(data, "good ones")
    assert list(read_views(data)) == ["all"]
    with pytest.raises(ConfigError, match="Did you mean 'all'"):
        find_view(data, "al")
    with pytest.raises(ConfigError, match="no view 'good ones'"):
        remove_view(data, "good ones")


@given(names=st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=4))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_name_that_is_taken_comes_back(tmp_path: Path, names: list[str]) -> None:
    (tmp_path / "views.yaml").unlink(missing_ok=True)
    saved = {}
    for name in names:
        try:
            saved[checked_name(name)] = GOOD
        except ConfigError:
            continue
        save_view(tmp_path, name, GOOD)
    assert read_views(tmp_path) == saved
    for name in saved:
        remove_view(tmp_path, name)
    assert read_views(tmp_path) == {}


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\x1b", "x" * (MAX_NAME + 1), "\u202e"])
def test_what_cannot_be_a_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a view"):
        save_view(tmp_path, name, GOOD)
    assert not (tmp_path / "views.yaml").exists()


def test_what_a_person_wrote_around_stays(tmp_path: Path) -> None:
    file = tmp_path / "views.yaml"
    file.write_text("# ours\nmine:   # the best\n  filter: star:yes\n\n# others\nother: {sort: name}\n")
    save_view(tmp_path, "[/x]: #", GOOD)
    remove_view(tmp_path, "other")
    assert file.read_text().startswith("# ours\nmine:   # the best\n  filter: star:yes\n\n# others\n")
    assert read_views(tmp_path) == {"mine": View("star:yes"), "[/x]: #": GOOD}


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: {filtr: x}\n", 1, "Did you mean filter?"),
        ("a:\n  sort: name\n  columns: name\n", 3, "must be a list of texts"),
        ("a: {}\nb: 3\n", 2, "must be a mapping"),
        ("a:\n  sort: name\n  filter: val/loss<\n", 3, "nothing stands behind val/loss<"),
    ],
)
def test_a_slip_in_the_file_is_told_with_its_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    (tmp_path / "views.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_views(tmp_path)
    assert said in str(caught.value)
    assert caught.value.line == line


def test_a_view_that_cannot_be_understood_is_not_saved(tmp_path: Path) -> None:
    for view in (View("val/loss<"), View(sort="crated"), View(columns=("stauts",))):
        with pytest.raises(ConfigError):
            save_view(tmp_path, "x", view)
    assert not (tmp_path / "views.yaml").exists()
