"""Texts of absurd lengths are shown in part, and what is left out is said."""

from __future__ import annotations

import json
from pathlib import Path

from textual.app import App, ComposeResult

from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.tail import EVENTS_KEPT
from kladml_tui.app import KladMLApp
from kladml_tui.themes import variable_defaults
from kladml_tui.widgets.chart import Chart
from kladml_tui.widgets.config_view import MOST_LINES, ConfigView
from kladml_tui.widgets.console_view import ConsoleView
from kladml_tui.widgets.text_lines import LONGEST_LINE
from tests.tui.shell import a_run, shows, until, workspace_in


class Pages(App[None]):
    def get_theme_variable_defaults(self) -> dict[str, str]:
        return variable_defaults()

    def compose(self) -> ComposeResult:
        yield ConfigView(id="config")
        yield ConsoleView(id="console")


async def test_a_megabyte_in_one_line_is_cut_and_said_so() -> None:
    async with Pages().run_test(size=(80, 24)) as pilot:
        view = pilot.app.query_one(ConfigView)
        view.show_text('a: "' + "x y " * 250_000 + '"', path=Path("long.yaml"))
        await pilot.pause()
        assert view.plain.endswith("…")
        assert len(view.plain) < LONGEST_LINE + 100


async def test_a_file_of_many_lines_is_shown_in_part_and_says_how_much_more_there_is() -> None:
    async with Pages().run_test(size=(80, 24)) as pilot:
        view = pilot.app.query_one(ConfigView)
        view.show_text("\n".join(f"key_{number}: {number}" for number in range(60_000)))
        await pilot.pause()
        assert view.plain.count("\n") == MOST_LINES
        assert view.plain.endswith("… and 58,000 more lines")


async def test_a_log_whose_tail_is_one_line_is_cut() -> None:
    async with Pages().run_test(size=(80, 24)) as pilot:
        view = pilot.app.query_one(ConsoleView)
        view.begin(cut=True)
        for _ in range(8):
            view.feed(b"z" * 65536)
        await pilot.pause()
        view.feed(b"\nthe end\n")
        assert view.plain.endswith("…\nthe end")


async def test_more_events_than_are_kept_are_counted_and_their_marks_stay(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path)
    run = RunDirectory(a_run(workspace))
    first = {"v": 1, "seq": 0, "attempt": 1, "kind": "checkpoint_saved", "step": 3, "name": "an early one"}
    more = [{**first, "seq": seq, "kind": "log", "message": f"line {seq}"} for seq in range(1, EVENTS_KEPT + 5)]
    run.events.write_text("".join(f"{json.dumps(event)}\n" for event in (first, *more)))
    app = KladMLApp(workspace)
    async with app.run_test(size=(120, 30)) as pilot:
        await shows(pilot, "10,005")  # on the tab
        chart = app.screen.query_one(Chart)
        await until(pilot, lambda: [mark.label for mark in chart._scene.marks] == ["an early one"])
        await pilot.press("tab", "tab", "2")
        await shows(pilot, "line 10004")
        await pilot.press("G")
        await shows(pilot, "5 older events are in the run's events.jsonl")
        await pilot.press("enter")  # there is nothing to open
        await pilot.press("g")
        await shows(pilot, "line 10004")
