"""What the list of runs is chosen from: the index, the files where there is none, and the census that keeps it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kladml_core.backends import sqlite_metadata
from kladml_core.runs.notes import edit_notes
from kladml_core.runs.rundir import RunDirectory
from kladml_core.settings import load_settings
from kladml_core.workspace.filters import parse
from kladml_core.workspace.index_rows import Wanted
from kladml_core.workspace.rows import RunRow
from kladml_core.workspace.views import View
from kladml_core.workspace.workspace import Workspace
from kladml_tui import census as census_module
from kladml_tui.app import KladMLApp
from kladml_tui.census import Census
from kladml_tui.look import runs_of
from kladml_tui.run_store import RunStore, asked_for
from tests.core.indexed_workspace import age
from tests.tui.shell import ROOMY, a_damaged_run, a_run, screen_text, shows, until, workspace_in
from tests.waiting import wait_for


def test_a_filter_works_where_no_index_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = tmp_path / "file"
    nowhere.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(nowhere))
    monkeypatch.setattr("kladml_core.backends.index_file.tempfile.gettempdir", lambda: str(nowhere))
    workspace = workspace_in(tmp_path / "w")
    for _ in range(2):
        a_run(workspace)
    store = RunStore(load_settings(workspace))
    census = Census(Workspace.open(workspace))
    look = census.states(census.names(), everything=True)
    runs = tuple(runs_of(look, ""))
    view = View("val/loss<1 train/loss<1")
    wanted = parse(view.filter)
    unknown = store.catch_up(runs, look.states, asked_for(view, wanted))
    assert (unknown, store.has_index) == (list(runs), False)
    store.read(unknown, look.states, params=False)
    assert store.choose(runs, look.states, view, wanted).order == runs
    assert census.fault


async def test_a_filter_reads_the_files_of_what_a_full_disk_keeps_out_of_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = workspace_in(tmp_path / "w")
    edit_notes(RunDirectory(a_run(workspace)), note="x" * 5_000)
    opened = sqlite_metadata.connect

    def on_a_full_disk(*asked: Any) -> sqlite3.Connection:
        connection = opened(*asked)
        connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")
        return connection

    monkeypatch.setattr(sqlite_metadata, "connect", on_a_full_disk)
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "run_0001")
        app.workbench.show_as(View("val/loss<1 train/loss<1"))
        # A look that comes meanwhile has the run read once more, and the count is shown until then.
        await until(pilot, lambda: "1 of 1 match" in (text := screen_text(app)) and "to be read" not in text)


def test_a_filter_asks_only_for_what_changed_and_for_names_that_there_are(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    a_run(workspace)
    second = a_run(workspace)
    census, store = Census(Workspace.open(workspace)), RunStore(load_settings(workspace))
    asked: list[tuple[str, ...]] = []
    ask = store._ask

    def noticed(references: Sequence[str], wanted: Wanted) -> dict[str, RunRow]:
        asked.append(tuple(references))
        return ask(references, wanted)

    store._ask = noticed  # type: ignore[method-assign]

    def choose(text: str) -> tuple[str, ...]:
        look = census.states(census.names(), everything=True)
        runs, view, wanted = tuple(runs_of(look, "")), View(text), parse(text)
        assert store.catch_up(runs, look.states, asked_for(view, wanted)) == []
        return store.choose(runs, look.states, view, wanted).order

    for path in (second.parent / "run_0001", second):
        age(path)
    assert len(choose("val/loss<1")) == 2
    assert choose("val/los>1") == ()
    assert len(choose("val/loss<2")) == 2
    assert [len(one) for one in asked] == [2, 0, 0]
    edit_notes(RunDirectory(second), tag=["new"])
    assert choose("tag:new val/loss<2") == (RunDirectory(second).reference,)
    assert [len(one) for one in asked] == [2, 0, 0, 1]
    census.close()


def test_very_many_unknown_runs_are_read_by_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census_module, "MANY", 3)
    workspace = workspace_in(tmp_path / "w")
    runs = [RunDirectory(a_run(workspace)).reference for _ in range(4)]
    census = Census(Workspace.open(workspace))
    look = census.states(census.names(), everything=True, also=frozenset(runs[:1]))
    assert set(look.states) == set(runs[:1]), "those in sight are read at once"
    assert not look.complete
    assert look.busy == "looking…"
    wait_for(lambda: census.states(census.names(), everything=True).complete, timeout=60)
    assert census._reader is not None
    assert census._reader.wait() == 0
    census.close()


def test_closing_ends_the_reading_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census_module, "MANY", 1)
    workspace = workspace_in(tmp_path / "w")
    a_run(workspace)
    census = Census(Workspace.open(workspace))
    for _ in range(2):
        census.states(census.names(), everything=True)
    assert census._reader is not None
    census.close()
    assert census._reader.poll() is not None


async def test_the_screen_opens_on_what_the_index_knows_and_shows_what_changed_since(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    first = a_run(workspace)
    census = Census(Workspace.open(workspace))
    census.states(census.names(), everything=True)
    census.close()
    gone = a_run(workspace)
    edit_notes(RunDirectory(first), tag=["seen"])
    damaged = a_damaged_run(workspace)
    (damaged.parent / "run_0009").write_text("")
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "? run_0009 damaged", "? run_0003 damaged", "#seen")
        gone.rename(tmp_path / "elsewhere")
        await until(pilot, lambda: "run_0002" not in screen_text(app))
