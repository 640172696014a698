"""The chart on the screen: what it shows, how its keys move it, and that nothing of what it is fed can break it."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.style import Style
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from kladml_core.metrics.columns import RECORD
from kladml_core.metrics.reduce import SeriesBuffer
from kladml_core.metrics.series import Series
from kladml_tui.widgets.chart import Chart, Curve, Drawing, Mark
from kladml_tui.widgets.chart_compose import Composer
from kladml_tui.widgets.chart_scale import duration, epoch_at, epoch_ticks, number, step_ticks, y_ticks
from kladml_tui.widgets.chart_scene import Scene
from kladml_tui.widgets.chart_view import View, y_limits

STYLES = [Style(color=f"color({i})") for i in range(30)]


def series(values: Sequence[float], steps: Sequence[int] | None = None, smoothing: float = 0.6) -> Series:
    made = np.empty(len(values), RECORD)
    made["step"] = range(1, len(values) + 1) if steps is None else steps
    made["time"] = 1.7e9 + np.arange(len(values))
    made["value"] = values
    buffer = SeriesBuffer(smoothing)
    buffer.append(made)
    return buffer.snapshot()


def falling(count: int = 200) -> Series:
    return series([math.exp(-i / 40) for i in range(count)])


def lines(scene: Scene, width: int = 80, height: int = 20) -> list[str]:
    return [strip.text for strip in Composer().compose(scene, width, height, STYLES)]


class ChartApp(App[None]):
    def __init__(self, drawing: Drawing = "braille") -> None:
        super().__init__()
        self.chart = Chart(drawing=drawing)

    def compose(self) -> ComposeResult:
        yield self.chart

    def on_mount(self) -> None:
        self.chart.focus()

    def text(self) -> str:
        return "\n".join(self.chart.render_line(y).text for y in range(self.chart.size.height))


async def until(pilot: Pilot[None], condition: Callable[[], bool], message: str) -> None:
    deadline = time.monotonic() + 8
    while not condition():
        assert time.monotonic() < deadline, message
        await pilot.pause(0.02)


async def shown(pilot: Pilot[None], text: str, *, gone: bool = False) -> str:
    app = pilot.app
    assert isinstance(app, ChartApp)
    await until(pilot, lambda: (text in app.text()) is not gone, f"{text!r} {'still ' if gone else 'not '}in the chart")
    return app.text()


async def test_an_empty_chart_says_that_there_is_nothing_yet() -> None:
    async with ChartApp().run_test() as pilot:
        await shown(pilot, "no values yet")


async def test_curves_appear_with_their_last_values_and_how_they_are_drawn() -> None:
    app = ChartApp()
    async with app.run_test(size=(100, 24)) as pilot:
        app.chart.show([Curve("train/loss", falling(), 0), Curve("val/loss", series([0.5, 0.25], [50, 100]), 1, False)])
        text = await shown(pilot, "train/loss")
        assert "val/loss 0.25 @100" in text and "smoothing 0.6" in text and "step" in text
        assert any(0x2800 <= ord(character) <= 0x28FF for character in text)


def test_epochs_between_those_that_are_known_have_ticks_too() -> None:
    known = [(10 * epoch, epoch) for epoch in range(1, 1000, 3)]
    assert epoch_ticks((0, 9970), known, 80)[:3] == [(0.0, "0"), (1000 / 9970, "100"), (2000 / 9970, "200")]


async def test_the_keys_change_axes_smoothing_and_zoom() -> None:
    app = ChartApp()
    async with app.run_test(size=(100, 24)) as pilot:
        app.chart.show([Curve("loss", falling())], epochs=[(i * 20, i) for i in range(1, 11)])
        await shown(pilot, "loss")
        await pilot.press("l")
        assert "log y" in await shown(pilot, "log y")
        await pilot.press("m")
        await shown(pilot, "smoothing 0.9")
        await pilot.press("m", "m")
        await shown(pilot, "smoothing", gone=True)
        await pilot.press("x")
        await shown(pilot, "by epoch")
        await pilot.press("x")
        await shown(pilot, "by time")
        await pilot.press("x", "plus")
        await shown(pilot, "zoomed")
        assert app.chart.view.span == 100
        await pilot.press("left", "left")
        assert app.chart.view.fixed is not None
        await pilot.press("minus", "minus")
        await shown(pilot, "zoomed", gone=True)


async def test_the_cursor_reads_out_what_the_curves_say_there() -> None:
    app = ChartApp()
    async with app.run_test(size=(100, 24)) as pilot:
        values = [float(i) for i in range(1, 101)]
        app.chart.show([Curve("loss", series(values), 0, False)], [Mark(100, "checkpoint", "step-100 [red]")])
        await shown(pilot, "loss 100")
        await pilot.press("left_square_bracket")
        text = await shown(pilot, "step 100")
        assert "step-100 [red]" in text and "●" in text
        await pilot.press("left_curly_bracket")
        cursor = app.chart.view.cursor
        assert cursor is not None and 80 < cursor < 100
        await shown(pilot, f"loss {cursor:.0f}")
        await pilot.press("0")
        await shown(pilot, "●", gone=True)


async def test_a_live_run_redraws_only_the_lines_that_changed() -> None:
    app = ChartApp()
    async with app.run_test(size=(100, 24)) as pilot:
        values = [2.0, 1.0, *([0.5] * 61)]
        app.chart.show([Curve("loss", series(values), 0, False)])
        await shown(pilot, "loss")
        before = [app.chart.render_line(y) for y in range(24)]
        app.chart.show([Curve("loss", series([*values, 0.6]), 0, False)])
        await shown(pilot, "loss 0.6")
        after = [app.chart.render_line(y) for y in range(24)]
        same = sum(old is new for old, new in zip(before, after, strict=True))
        assert 15 <= same < 24


async def test_many_snapshots_in_a_row_are_drawn_a_few_times_and_the_last_one_wins() -> None:
    app = ChartApp()
    async with app.run_test(size=(100, 24)) as pilot:
        app.chart.show([Curve("loss", series([1.0]))])
        await shown(pilot, "loss 1")
        for i in range(2, 60):
            app.chart.show([Curve("loss", series([1.0] * i))])
        app.chart.show([Curve("loss", series([1.0, 7.5]))])
        await shown(pilot, "loss 7.5")


async def test_another_theme_recolours_the_chart_at_once() -> None:
    app = ChartApp()
    async with app.run_test(size=(100, 24)) as pilot:
        app.chart.show([Curve("loss", falling())])
        await shown(pilot, "loss")

        def ground() -> object:
            style = next(iter(app.chart.render_line(5))).style
            return style.bgcolor if style else None

        before = ground()
        app.theme = "textual-light"
        await until(pilot, lambda: ground() != before, "the ground has kept its colour")


async def test_what_came_while_the_chart_was_hidden_is_there_when_it_is_shown() -> None:
    app = ChartApp()
    async with app.run_test(size=(100, 24)) as pilot:
        app.chart.show([Curve("loss", series([1.0]))])
        await shown(pilot, "loss 1")
        app.chart.display = False
        await until(pilot, lambda: not app.chart.is_on_screen, "still there")
        app.chart.show([Curve("loss", series([1.0, 7.5]))])
        app.chart.display = True
        await until(pilot, lambda: app.chart.is_on_screen, "not back")
        await shown(pilot, "loss 7.5")


async def test_labels_are_shown_as_they_are_and_never_obeyed() -> None:
    app = ChartApp()
    async with app.run_test(size=(140, 24)) as pilot:
        app.chart.show([Curve("[red]a[/]", falling(), 0), Curve("b\x1b[2Jc\x07\nd", falling(), 1)])
        text = await shown(pilot, "[red]a[/]")
        assert "\x1b" not in text and "\x07" not in text and "\\x07" in text


@pytest.mark.parametrize("size", [(160, 48), (80, 24), (60, 12), (30, 8), (12, 4), (5, 2), (1, 1)])
async def test_it_fits_any_size(size: tuple[int, int]) -> None:
    app = ChartApp()
    async with app.run_test(size=size) as pilot:
        app.chart.show([Curve(f"metric number {i}", falling(), i) for i in range(4)], [Mark(50, "best", value=0.3)])
        await until(pilot, lambda: app.chart._composer is not None, "the chart has not loaded")
        await pilot.pause()
        assert [app.chart.render_line(y).cell_length for y in range(size[1])] == [size[0]] * size[1]
        await pilot.resize_terminal(90, 20)
        await shown(pilot, "smoothing")


@pytest.mark.parametrize("drawing", ["braille", "block", "ascii"])
def test_every_style_draws_and_ascii_stays_ascii(drawing: Drawing) -> None:
    marks = (Mark(50, "best", "b", 0.3), Mark(80, "resume"), Mark(90, "checkpoint"))
    view = View(log_y=True, cursor=60)
    scene = Scene((Curve("loss", falling()), Curve("val", falling(90), 1, False)), marks, (), view, drawing)
    text = "\n".join(lines(scene))
    assert "loss" in text
    assert text.isascii() is (drawing == "ascii")


def test_marks_stand_on_the_axis_and_non_finite_values_are_marked_by_themselves() -> None:
    values = [1.0] * 100
    values[49] = math.nan
    values[69] = math.inf
    marks = (Mark(20, "checkpoint"), Mark(30, "resume"), Mark(40, "best", value=1.0))
    text = lines(Scene((Curve("loss", series(values)),), marks))
    axis = next(line for line in text if "◇" in line)
    assert "↻" in axis and "◆" in axis and axis.count("×") == 2
    assert sum("┊" in line for line in text) > 10
    assert any("best" in line for line in text)
    assert "2 non-finite" in text[0]


def test_a_last_value_that_is_not_finite_is_said_and_not_hidden() -> None:
    assert "loss NaN" in lines(Scene((Curve("loss", series([1.0, math.nan])),)))[0]
    assert "loss ∞" in lines(Scene((Curve("loss", series([1.0, math.inf])),)))[0]


def test_a_logarithmic_axis_says_how_many_values_it_hides() -> None:
    scene = Scene((Curve("loss", series([1.0, 0.1, 0.0, -1.0, 0.5]), 0, False),), view=View(log_y=True))
    assert "2 ≤ 0 hidden" in lines(scene)[0]


def test_a_decimated_curve_says_so() -> None:
    buffer = SeriesBuffer(raw_limit=1000, piece_limit=400)
    made = np.empty(10_000, RECORD)
    made["step"], made["time"], made["value"] = np.arange(10_000), 1.0, 1.0
    buffer.append(made)
    assert "decimated" in lines(Scene((Curve("loss", buffer.snapshot()),)))[0]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2**62), st.floats()), min_size=1, max_size=12, unique_by=lambda row: row[0]),
    st.booleans(), st.sampled_from(["step", "time"]), st.sampled_from([0.5, 0.01]),
)  # fmt: skip
def test_anything_can_be_charted(rows: list[tuple[int, float]], log_y: bool, axis: str, zoom: float) -> None:
    scene = Scene((Curve("x", series([value for _, value in rows], [step for step, _ in rows])),))
    view = View(axis="time" if axis == "time" else "step", log_y=log_y)
    scene = Scene(scene.curves, view=view)
    data = scene.data_limits()
    assert data is not None
    for looked in (view, view.zoomed(zoom, data), view.zoomed(zoom, data).panned(-0.25, data)):
        assert len(lines(Scene(scene.curves, view=looked))) == 20


@given(st.floats(1e-300, 1e300), st.floats(1e-12, 1e6), st.booleans())
def test_limits_hold_the_data_and_stay_while_they_fit(low: float, stretch: float, log_y: bool) -> None:
    high = min(low * (1 + stretch), 1e301)
    limits = y_limits((low, high), None, log_y)
    assert limits[0] <= low <= high <= limits[1] and limits[0] < limits[1]
    assert y_limits((low, high), limits, log_y) in (limits, y_limits((low, high), None, log_y))
    ticks = y_ticks(limits, 20, log_y)
    assert len(ticks) <= 40 and all(-0.01 <= at <= 1.01 for at, _ in ticks)


def test_a_growing_run_changes_its_limits_seldom() -> None:
    ends = [View().limits((0, step))[1] for step in range(1000, 2000)]
    assert len(set(ends)) < 30
    following = View(span=500)
    assert len({following.limits((0, step)) for step in range(1000, 2000)}) < 40


def test_ticks_of_steps_differ_where_floats_do_not() -> None:
    labels = [label for _, label in step_ticks((2**60, 2**60 + 1000), 120)]
    assert len(labels) > 3
    assert len(set(labels)) == len(labels)


@given(st.integers(0, 2**62), st.integers(1, 10**9), st.integers(10, 200))
def test_ticks_of_steps_are_on_the_axis_and_do_not_touch(low: int, span: int, width: int) -> None:
    ticks = step_ticks((low, low + span), width)
    assert all(0.0 <= at <= 1.0 for at, _ in ticks)
    assert len({label for _, label in ticks}) == len(ticks)


def test_numbers_and_spans_of_time_are_short() -> None:
    shown = [number(value) for value in (0.0411234, 1234.5678, 1e-9, 123456789.0, math.nan, -math.inf, 0.0, None)]
    assert shown == ["0.04112", "1235", "1.000e-9", "1.235e8", "NaN", "-∞", "0", "–"]
    assert [duration(s) for s in (0, 0.5, 42, 131, 3900, 273_600)] == ["0s", "0.5s", "42s", "2m11s", "1h05m", "3d4h"]
    assert epoch_at(150, [(100, 1), (200, 2)]) == 1.5


def test_the_chart_is_imported_without_what_it_draws_with() -> None:
    code = "import sys, kladml_tui.widgets.chart; sys.exit(bool({'numpy', 'plotext', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
