"""The raster: every value that counts leaves a dot where it belongs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kladml_core.metrics.columns import RECORD
from kladml_core.metrics.raster import DOTS, NO_COLOUR, Cells, Layer, Style, draw, fraction
from kladml_core.metrics.reduce import SeriesBuffer
from kladml_core.metrics.series import Series

STYLES: tuple[Style, ...] = ("braille", "block", "ascii")


def series(values: list[float], steps: list[int] | None = None) -> Series:
    made = np.empty(len(values), RECORD)
    made["step"] = range(len(values)) if steps is None else steps
    made["time"], made["value"] = 1.0, values
    buffer = SeriesBuffer()
    buffer.append(made)
    return buffer.snapshot()


def drawn(
    curve: Series, limits: tuple[float, float], y: tuple[float, float], style: Style = "braille",
    *, width: int = 20, height: int = 8, log_y: bool = False,
) -> Cells:  # fmt: skip
    window = curve.window(*limits, width * DOTS[style][0], positive=log_y)
    return draw([Layer(window, 3)], width, height, y, log_y=log_y, style=style)


def text(cells: Cells) -> list[str]:
    return ["".join(row) for row in cells.chars]


@pytest.mark.parametrize("style", STYLES)
def test_a_rising_line_goes_from_the_lower_left_to_the_upper_right(style: Style) -> None:
    cells = drawn(series([0.0, 1.0]), (0, 1), (0.0, 1.0), style)
    assert cells.chars[-1, 0] != " " and cells.chars[0, -1] != " "
    assert cells.chars[0, 0] == " " and cells.chars[-1, -1] == " "
    touched = (cells.chars != " ").any(axis=0)
    assert touched.all(), "a line between two points leaves no column out"
    assert ((cells.chars == " ") == (cells.colours == NO_COLOUR)).all()


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_single_point_is_visible(style: Style, value: float) -> None:
    cells = drawn(series([value], [5]), (4, 6), (0.0, 1.0), style)
    assert (cells.colours == 3).sum() == 1
    assert "".join(text(cells)).strip() in {"•", "■", "o"}


@pytest.mark.parametrize("style", STYLES)
def test_a_gap_parts_the_line_and_a_missing_step_does_not(style: Style) -> None:
    whole = drawn(series([0.5, 0.5, 0.5], [0, 10, 40]), (0, 40), (0.0, 1.0), style)
    assert (whole.chars != " ").any(axis=0).all()
    parted = drawn(series([0.5, 0.5, math.nan, 0.5, 0.5], [0, 10, 20, 30, 40]), (0, 40), (0.0, 1.0), style)
    touched = (parted.chars != " ").any(axis=0)
    assert touched[0] and touched[-1] and not touched[8:12].any()


@pytest.mark.parametrize("style", STYLES)
def test_a_spike_of_one_step_in_a_million_is_drawn_to_its_top(style: Style) -> None:
    values = [0.0] * 1_000_000
    values[654_321] = 1.0
    cells = drawn(series(values), (0, 1_000_000), (0.0, 1.0), style, width=50, height=10)
    assert (cells.chars[0] != " ").sum() == 1
    assert cells.chars[0, int(0.654321 * 50)] != " "
    assert (cells.chars[:, int(0.654321 * 50)] != " ").all()


def test_a_zoomed_line_enters_and_leaves_through_the_edges() -> None:
    cells = drawn(series([0.0, 10.0], [0, 1000]), (400, 600), (4.0, 6.0))
    assert cells.chars[-1, 0] != " " and cells.chars[0, -1] != " "
    assert (cells.chars != " ").any(axis=0).all()


def test_what_lies_outside_of_the_limits_is_cut_off() -> None:
    cells = drawn(series([-5.0, -5.0, 0.5, 20.0, 20.0]), (0, 4), (0.0, 1.0))
    touched = (cells.chars != " ").any(axis=0)
    assert touched[10] and not touched[:4].any() and not touched[-4:].any()
    assert all(row == " " * 20 for row in text(drawn(series([7.0, 8.0]), (0, 1), (0.0, 1.0))))


def test_a_logarithmic_axis_places_by_magnitude_and_leaves_out_what_it_cannot_show() -> None:
    cells = drawn(series([1.0, 10.0, 100.0, 0.0, -3.0]), (0, 4), (1.0, 100.0), log_y=True, width=20, height=9)
    assert cells.chars[-1, 0] != " " and cells.chars[4, 5] != " " and cells.chars[0, 10] != " "
    assert not (cells.chars[:, 12:] != " ").any()


@pytest.mark.parametrize("limits", [(-1e308, 1e308), (0.0, 1e-300), (1e300, 1.1e300), (-1.7e308, 1.7e308)])
def test_huge_and_tiny_limits_are_no_trouble(limits: tuple[float, float]) -> None:
    low, high = limits
    cells = drawn(series([low, low / 2 + high / 2, high]), (0, 2), limits)
    assert cells.chars[-1, 0] != " " and cells.chars[0, -1] != " "
    assert fraction(low, limits) == 0.0 and fraction(high, limits) == 1.0


def test_steps_beyond_two_to_the_53_are_told_apart() -> None:
    base = 2**53
    cells = drawn(series([0.0, 1.0], [base + 1, base + 3]), (base, base + 4), (0.0, 1.0), "ascii", width=4, height=3)
    assert text(cells) == ["   *", "  * ", " *  "]


def test_a_firm_curve_takes_the_cell_of_a_faint_one_and_keeps_its_dots_clean() -> None:
    low, high = series([0.5, 0.5]), series([0.5, 0.56])
    layers = [Layer(low.window(0, 1, 40), 1), Layer(high.window(0, 1, 40), 2, faint=True)]
    alone = draw(layers[:1], 20, 8, (0.0, 1.0))
    both = draw(layers, 20, 8, (0.0, 1.0))
    firm = alone.colours == 1
    assert (both.colours[firm] == 1).all() and (both.chars[firm] == alone.chars[firm]).all()
    assert (both.colours == 2).any()


def test_two_firm_curves_in_one_braille_cell_keep_all_their_dots() -> None:
    one, two = series([0.02, 0.02]).window(0, 1, 4), series([0.2, 0.2]).window(0, 1, 4)
    cells = draw([Layer(one, 1), Layer(two, 2)], 2, 1, (0.0, 0.25))
    assert text(cells) == ["⣉⣉"] and (cells.colours == 2).all()


def test_half_blocks_show_two_colours_in_one_cell() -> None:
    upper, lower = series([0.9, 0.9]).window(0, 1, 2), series([0.1, 0.1]).window(0, 1, 2)
    cells = draw([Layer(upper, 1), Layer(lower, 2)], 2, 1, (0.0, 1.0), style="block")
    assert text(cells) == ["▀▀"] and (cells.colours == 1).all() and (cells.backgrounds == 2).all()


@pytest.mark.parametrize("style", STYLES)
def test_ascii_is_ascii_and_nothing_to_draw_is_blank(style: Style) -> None:
    assert set("".join(text(drawn(series([]), (0, 1), (0.0, 1.0), style)))) == {" "}
    only_gaps = drawn(series([math.nan, math.inf]), (0, 1), (0.0, 1.0), style)
    assert (only_gaps.colours == NO_COLOUR).all()
    if style == "ascii":
        assert "".join(text(drawn(series([0.1, 0.9, 0.2]), (0, 2), (0.0, 1.0), style))).isascii()


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=40),
    st.sampled_from(STYLES),
    st.booleans(),
)
def test_anything_that_can_be_logged_can_be_drawn(values: list[float], style: Style, log_y: bool) -> None:
    curve = series(values)
    low, high = (1e-300, 1e300) if log_y else (-1e308, 1e308)
    cells = drawn(curve, (0, len(values)), (low, high), style, log_y=log_y)
    shown = [v for v in values if math.isfinite(v) and low <= v <= high]
    assert (cells.colours == 3).any() or not shown
