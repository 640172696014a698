"""Themes: the shipped ones are readable, a person's own may be short, a broken one is one notice."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.app import App, ComposeResult
from textual.color import Color
from textual.widgets import Static

from kladml_core.config.load import parse
from kladml_core.errors import ConfigError
from kladml_tui import themes
from kladml_tui.theme_file import APP_COLOURS, EDITOR_COLOURS, MARKS, STATES
from kladml_tui.themes import KladTheme, contrast, load_theme, load_themes, theme_from

SHIPPED = Path(__file__).parents[2] / "themes"
MINE = """
app:
  primary: "#ff8800"
  foreground: white
  background: black
"""
FULL_COLOUR = ("kladml-dark", "kladml-light", "high-contrast", "colour-blind")


def shipped(name: str) -> KladTheme:
    found, notices = load_themes([SHIPPED])
    assert not notices
    return found[name]


def write(directory: Path, name: str, text: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.yaml"
    path.write_text(text)
    return path


def test_every_shipped_theme_loads_and_is_named_after_its_file() -> None:
    found, notices = load_themes([SHIPPED])
    assert not notices
    assert set(found) == {path.stem for path in SHIPPED.glob("*.yaml")} >= {"kladml-dark", "kladml-light"}


@pytest.mark.parametrize("name", FULL_COLOUR)
def test_text_reads_well_on_every_ground_it_stands_on(name: str) -> None:
    theme = shipped(name)
    for ground in ("background", "surface"):
        for colour in ("foreground", "muted", "primary", "secondary", "accent", "success", "warning", "error"):
            assert contrast(theme.app[colour], theme.app[ground]) >= 4.5, (colour, ground)
        for state, colour in theme.states.items():
            assert contrast(colour, theme.app[ground]) >= 4.5, (state, ground)
    assert contrast(theme.app["foreground"], theme.app["panel"]) >= 4.5
    assert contrast(theme.app["foreground"], theme.app["selection"]) >= 4.5
    assert contrast(theme.variables()["block-cursor-foreground"], theme.app["cursor"]) >= 4.5


@pytest.mark.parametrize("name", FULL_COLOUR)
def test_the_text_of_the_editor_reads_well(name: str) -> None:
    theme = shipped(name)
    for key in ("key", "string", "number", "boolean", "null", "comment", "anchor", "punctuation", "error"):
        for ground in (theme.app["background"], theme.editor["cursor_line"]):
            assert contrast(theme.editor[key], ground) >= 4.5, key
    for key in ("key", "string", "number", "error"):
        assert contrast(theme.editor[key], theme.editor["error_line"]) >= 4.5, key


@pytest.mark.parametrize("name", FULL_COLOUR)
def test_eight_curves_show_on_the_ground_and_differ(name: str) -> None:
    theme = shipped(name)
    assert len(theme.chart) >= 8
    assert len(set(theme.chart)) == len(theme.chart)
    for colour in (*theme.chart, *theme.marks.values(), theme.frame["axis"]):
        assert contrast(colour, theme.app["background"]) >= 3, colour


def test_a_theme_of_three_colours_is_completed() -> None:
    theme = theme_from(parse(MINE, "mine.yaml"))
    assert theme.name == "mine"
    assert theme.dark
    assert set(theme.app) == set(APP_COLOURS)
    assert set(theme.states) == set(STATES)
    assert set(theme.marks) == set(MARKS)
    assert set(theme.editor) == set(EDITOR_COLOURS)
    assert len(theme.chart) == 8
    for colour in (*theme.app.values(), *theme.chart, *theme.states.values(), *theme.editor.values()):
        Color.parse(colour)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            MINE.replace("primary", "primry"),
            "mine.yaml:3:3: there is no key app.primry in a theme. Did you mean primary?",
        ),
        (MINE.replace('"#ff8800"', '"#ff880"'), "mine.yaml:3:12: app.primary: '#ff880' is not a colour"),
        (MINE.replace('"#ff8800"', "#ff8800"), 'A # begins a comment: write "#79aef8" in quotes'),
        (MINE.replace("white", "7"), "mine.yaml:4:15: app.foreground: 7 is not a colour"),
        (MINE.replace("  background: black", ""), "app.background is missing"),
        (MINE + "chart: {curves: red}", "mine.yaml:6:17: chart.curves must be a list"),
        (MINE + "chart: {curves: [red, blu]}", "mine.yaml:6:23: chart.curves.1: 'blu' is not a colour"),
        (MINE + "name: a [/b]", "mine.yaml:6:7: a theme's name is letters"),
        (MINE + "dark: maybe", "mine.yaml:6:7: dark must be true or false"),
        (MINE + "states: [red]", "states must hold keys"),
        (MINE + "colours: {}", "there is no key colours in a theme"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        theme_from(parse(text, "mine.yaml"))
    assert says in str(caught.value)


def test_a_broken_file_is_one_notice_and_the_others_load(tmp_path: Path) -> None:
    write(tmp_path, "mine", MINE)
    broken = write(tmp_path, "broken", "app: {primary: nocolour, foreground: neither\n")
    write(tmp_path, "binary", "").write_bytes(b"\xff\xfe\x00")
    found, notices = load_themes([SHIPPED, tmp_path, tmp_path / "is-not-there"])
    assert {"mine", "kladml-dark"} <= set(found)
    assert "broken" not in found
    assert len(notices) == 2
    assert any(line.startswith(f"{broken}:") for line in notices)


def test_a_person_s_file_takes_the_place_of_a_shipped_one(tmp_path: Path) -> None:
    write(tmp_path, "kladml-dark", MINE)
    found, _ = load_themes([SHIPPED, tmp_path])
    assert found["kladml-dark"].app["primary"] == "#ff8800"
    assert load_theme("kladml-dark", [SHIPPED, tmp_path])[0].app["primary"] == "#ff8800"


def test_without_any_file_there_is_still_a_default(tmp_path: Path) -> None:
    found, notices = load_themes([tmp_path])
    assert found[themes.DEFAULT].name == themes.DEFAULT
    assert not notices


def test_the_first_frame_s_theme_is_found_by_file_or_by_the_name_inside(tmp_path: Path) -> None:
    write(tmp_path, "other", MINE + "name: mine")
    assert load_theme("mine", [SHIPPED, tmp_path])[0].name == "mine"
    assert load_theme("kladml-light", [SHIPPED])[0].name == "kladml-light"


def test_a_broken_theme_in_use_is_one_notice_and_the_default(tmp_path: Path) -> None:
    write(tmp_path, "kladml-light", "app: 3")
    theme, notices = load_theme("kladml-light", [SHIPPED, tmp_path])
    assert theme.name == "kladml-light"
    assert theme.app["background"] == shipped("kladml-light").app["background"]
    assert len(notices) == 1
    write(tmp_path, "mine", "app: 3")
    theme, notices = load_theme("mine", [SHIPPED, tmp_path])
    assert theme.name == themes.DEFAULT
    assert [line for line in notices if "mine.yaml:1:6" in line]


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    theme, notices = load_theme("kladml-drak", [SHIPPED])
    assert theme.name == "kladml-dark"
    assert notices == ("there is no theme 'kladml-drak'; kladml-dark is shown. Did you mean kladml-dark?",)
    assert load_theme("../../etc/passwd\x00", [SHIPPED])[0].name == "kladml-dark"


class Painted(App[None]):
    CSS = "Static { color: $state-running; background: $background; border: solid $border; }"

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return themes.variable_defaults()

    def compose(self) -> ComposeResult:
        yield Static("x")


async def test_our_variables_are_known_under_textual_s_own_themes_too() -> None:
    app = Painted()
    async with app.run_test() as pilot:
        await pilot.pause()
        assert app.theme == "textual-dark"
        assert themes.current(app).name == "kladml-dark"


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.yaml")))
async def test_every_shipped_theme_can_be_put_on(name: str) -> None:
    app = Painted()
    async with app.run_test() as pilot:
        themes.install(app, load_themes([SHIPPED])[0])
        app.theme = name
        await pilot.pause()
        assert themes.current(app) == themes.installed(app)[name]
        assert app.query_one(Static).styles.color == Color.parse(shipped(name).states["running"])


async def test_a_theme_in_use_that_changes_is_shown_at_once(tmp_path: Path) -> None:
    write(tmp_path, "mine", MINE)
    app = Painted()
    async with app.run_test() as pilot:
        themes.install(app, load_themes([tmp_path])[0])
        app.theme = "mine"
        await pilot.pause()
        assert app.query_one(Static).styles.color == Color.parse("#ff8800")
        write(tmp_path, "mine", MINE.replace("#ff8800", "#00ff88"))
        themes.install(app, load_themes([tmp_path])[0])
        await pilot.pause()
        assert app.query_one(Static).styles.color == Color.parse("#00ff88")
