"""Texts of absurd lengths are shown in part, and what is left out is said."""

from __future__ import annotations

from pathlib import Path

from textual.app import App, ComposeResult

from kladml_tui.themes import variable_defaults
from kladml_tui.widgets.config_view import MOST_LINES, ConfigView
from kladml_tui.widgets.console_view import ConsoleView
from kladml_tui.widgets.curve_group import epochs, marks
from kladml_tui.widgets.text_lines import LONGEST_LINE


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


def test_epochs_rise() -> None:
    events = [{"kind": "epoch_finished", "step": 10 * epoch, "epoch": epoch} for epoch in range(1, 10_001)]
    assert epochs(events) == [(10 * epoch, epoch) for epoch in range(1, 10_001)]


def test_a_resume_takes_back_the_epochs_and_marks_beyond_it() -> None:
    saved = [{"kind": "checkpoint_saved", "step": step, "name": f"step-{step}"} for step in (10, 20, 30)]
    ended = [{"kind": "epoch_finished", "step": step, "epoch": step // 10} for step in (10, 20, 30)]
    resumed = {"kind": "resumed", "step": 20, "attempt": 2}
    again = {"kind": "epoch_finished", "step": 28, "epoch": 3}
    assert epochs([*ended, resumed, again]) == [(10, 1), (20, 2), (28, 3)]
    assert [(mark.step, mark.kind) for mark in marks([*saved, resumed], [])] == [
        (10, "checkpoint"),
        (20, "checkpoint"),
        (20, "resume"),
    ]
