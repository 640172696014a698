"""The workspace tree: filled from what was looked up, calm under refresh."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from textual.app import App, ComposeResult

from kladml_tui.census import Census
from kladml_tui.look import Experiment, Look, RunState, runs_of
from kladml_tui.widgets.workspace_tree import WorkspaceTree
from tests.tui.shell import a_run, many_runs, workspace_in


def a_look(*keys: str, runs: int = 1, states: dict[str, RunState] | None = None) -> Look:
    """A workspace with these experiments."""
    experiments = tuple(
        Experiment(*key.split("/"), Path("/nowhere") / key, tuple(f"run_{n:04d}" for n in range(runs, 0, -1)))
        for key in sorted(keys)
    )
    projects = tuple(sorted({one.project for one in experiments}))
    families = tuple(sorted({(one.project, one.family) for one in experiments}))
    return Look(projects, families, experiments, (Path("/w/a.yaml"),), (), states or {}, complete=True)


class OneTree(App[None]):
    """Nothing but the tree."""

    def get_theme_variable_defaults(self) -> dict[str, str]:
        from kladml_tui.themes import variable_defaults

        return variable_defaults()

    def compose(self) -> ComposeResult:
        yield WorkspaceTree(id="tree")

    @property
    def nodes(self) -> WorkspaceTree:
        return self.query_one(WorkspaceTree)


async def test_it_opens_at_the_experiment_that_wrote_last() -> None:
    states = {"a/f/x/run_0001": RunState("finished", 10.0), "b/f/y/run_0001": RunState("finished", 20.0)}
    app = OneTree()
    async with app.run_test(size=(40, 20)) as pilot:
        app.nodes.show(a_look("a/f/x", "b/f/y", states=states))
        await pilot.pause()
        assert app.nodes.cursor_key == "runs:b/f/y"
        assert "runs:a/f" not in app.nodes.keys


async def test_branches_fill_when_they_are_opened() -> None:
    app = OneTree()
    async with app.run_test(size=(40, 20)) as pilot:
        app.nodes.restore(("projects",), "projects")
        app.nodes.show(a_look("a/f/x", "a/f/y"))
        app.nodes.focus()
        await pilot.press("g", "l", "l")
        assert app.nodes.keys[:3] == ("projects", "runs:a", "runs:a/f")
        await pilot.press("l", "right")
        assert "runs:a/f/x" in app.nodes.keys
        await pilot.press("h")
        assert "runs:a/f/x" not in app.nodes.keys
        await pilot.press("h")
        assert app.nodes.cursor_key == "runs:a"


async def test_a_refresh_moves_neither_cursor_nor_scrolling_nor_branches() -> None:
    app = OneTree()
    names = [f"m/f/e{number:02d}" for number in range(40)]
    async with app.run_test(size=(40, 12)) as pilot:
        app.nodes.restore(("projects", "runs:m", "runs:m/f"), "runs:m/f/e20")
        app.nodes.show(a_look(*names))
        await pilot.pause()
        assert app.nodes.cursor_key == "runs:m/f/e20"
        place = app.nodes.keys.index("runs:m/f/e20") - app.nodes.scroll_offset.y
        # Two experiments and a project appear above the cursor.
        app.nodes.show(a_look(*names, "m/f/a1", "m/f/a2", "a/f/x"))
        await pilot.pause()
        assert app.nodes.cursor_key == "runs:m/f/e20"
        assert app.nodes.keys.index("runs:m/f/e20") - app.nodes.scroll_offset.y == place
        assert "runs:a/f" not in app.nodes.keys


async def test_a_row_that_goes_away_leaves_the_cursor_near() -> None:
    app = OneTree()
    async with app.run_test(size=(40, 20)) as pilot:
        app.nodes.restore(("projects", "runs:m", "runs:m/f"), "runs:m/f/b")
        app.nodes.show(a_look("m/f/a", "m/f/b", "m/f/c"))
        await pilot.pause()
        app.nodes.show(a_look("m/f/a", "m/f/c"))
        await pilot.pause()
        assert app.nodes.cursor_key == "runs:m/f/c"


async def test_live_runs_are_counted_up_to_the_root() -> None:
    states = {"a/f/x/run_0001": RunState("running", 10.0, live=True)}
    app = OneTree()
    async with app.run_test(size=(40, 20)) as pilot:
        app.nodes.show(a_look("a/f/x", "b/f/y", runs=3, states=states))
        await pilot.pause()
        rows = {key: app.nodes.row(key, 38).plain for key in app.nodes.keys}
        assert rows["projects"].split()[-2:] == ["●1", "6"]
        assert rows["runs:a/f/x"].split()[-2:] == ["●1", "3"]
        assert rows["runs:b"].split()[-1:] == ["3"]


def test_live_runs_come_first_and_keep_their_order_whichever_of_them_wrote_last() -> None:
    ended = RunState("finished", 50.0)
    for first, second in ((90.0, 80.0), (80.0, 90.0)):
        states = {
            "a/f/x/run_0001": RunState("running", first, live=True),
            "b/f/y/run_0001": RunState("running", second, live=True),
            "c/f/z/run_0001": ended,
        }
        look = a_look("c/f/z", "a/f/x", "b/f/y", runs=1, states=states)
        assert runs_of(look, "") == ["a/f/x/run_0001", "b/f/y/run_0001", "c/f/z/run_0001"]


def test_the_census_sees_new_runs_and_changed_states(tmp_path: Path) -> None:
    from kladml_core.workspace.workspace import Workspace

    workspace = workspace_in(tmp_path / "w")
    a_run(workspace)
    census = Census(Workspace.open(workspace))
    look = census.states(census.names(), everything=True)
    assert {ref: state.status for ref, state in look.states.items()} == {"vision/digits/cnn/run_0001": "finished"}
    assert look.complete
    a_run(workspace, status="running")
    look = census.states(census.names(), everything=False)
    assert look.live == ("vision/digits/cnn/run_0002",)
    assert runs_of(look, "vision/digits/cnn") == [
        "vision/digits/cnn/run_0002",
        "vision/digits/cnn/run_0001",
    ]


@pytest.mark.parametrize("count", [2000])
def test_a_later_look_reads_no_run_that_has_ended(tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import kladml_core.workspace.index as module
    from kladml_core.workspace.workspace import Workspace

    workspace = workspace_in(tmp_path / "w")
    many_runs(workspace, count)
    for path in (workspace / "data" / "projects").glob("*/*/*/*"):
        os.utime(path / "state.json", (1.7e9, 1.7e9))
        os.utime(path, (1.7e9, 1.7e9))
    census = Census(Workspace.open(workspace), elsewhere=False)
    census.states(census.names(), everything=True)
    read: list[str] = []
    original = module.read_entry
    monkeypatch.setattr(module, "read_entry", lambda path, name: read.append(name) or original(path, name))
    look = census.states(census.names(), everything=True)
    assert len(look.states) == count
    assert read == []
