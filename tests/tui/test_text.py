"""Untrusted text is inert, fits the room it is given, and keeps its columns in an editor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.widgets import Static

from kladml_tui.text import block, content, lines, notice, one_line, pad, rich_text, same_columns, shorten, width

FAMILY = "👨\u200d👩\u200d👧"


@pytest.mark.parametrize(
    "text", ["run[/red]", "[@click=app.quit]x[/]", "[seed=1]", "[b]bold[/b]", "[", "\\[x]", "$error"]
)
def test_markup_is_shown_as_it_is_written(text: str) -> None:
    assert content(text).plain == text
    assert block(text).plain == text
    assert rich_text(text).plain == text
    assert not content(text).spans
    assert not rich_text(text).spans


def test_no_control_character_is_left() -> None:
    every = "".join(
        map(chr, [*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xDCFF])
    )
    for shown in (one_line(every), content(every).plain, rich_text(every).plain, shorten(every, 500)):
        assert shown.isprintable()
        assert "\\x1b" in shown
        assert "\\udcff" in shown
    assert set(lines(every)) - {"\n"} and lines(every).replace("\n", "").isprintable()


@given(st.text(st.characters(), max_size=60))
def test_whatever_comes_in_what_goes_out_can_be_sent_to_a_terminal(text: str) -> None:
    shown = one_line(text)
    shown.encode("utf-8")
    assert not {character for character in shown if ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0}


@given(st.text(max_size=40), st.integers(0, 30))
def test_a_shortened_text_never_takes_more_room_than_it_is_given(text: str, room: int) -> None:
    assert cell_len(shorten(text, room)) <= room
    assert cell_len(shorten(text, room, keep="end")) <= room


def test_a_text_that_fits_is_left_alone() -> None:
    assert shorten("run_0001", 8) == "run_0001"
    assert shorten("日本", 4) == "日本"


def test_wide_characters_count_two_cells() -> None:
    assert shorten("日本語", 5) == "日本…"
    assert shorten("日本語", 4) == "日…"
    assert width("日本語") == 6


def test_an_emoji_sequence_and_a_combining_mark_are_never_parted() -> None:
    assert shorten(FAMILY + "abc", 4).startswith(FAMILY) or FAMILY[0] not in shorten(FAMILY + "abc", 4)
    assert shorten("e\u0301" * 5, 3) == "e\u0301" * 2 + "…"
    assert shorten("🇮🇹🇫🇷🇩🇪", 5) in ("🇮🇹🇫🇷…", "🇮🇹…")


def test_a_path_can_keep_its_end() -> None:
    assert shorten("/very/long/way/to/run_0001", 9, keep="end") == "…run_0001"


def test_padding_gives_exactly_the_cells_asked_for() -> None:
    for text in ("", "ab", "日本語", FAMILY, "e\u0301", "\x1b[2J"):
        assert cell_len(pad(text, 7)) == 7


def test_an_editor_line_keeps_its_columns() -> None:
    text = "a\x1b[31m\u202eb\tc\x9b\x7f\ud800"
    shown = same_columns(text)
    assert len(shown) == len(text)
    assert shown == "a␛[31m\ufffdb\tc\ufffd␡\ufffd"


async def test_a_notice_shows_its_text_and_its_title_literally() -> None:
    class OneNotice(App[None]):
        def compose(self) -> ComposeResult:
            yield Static(content("[/x] and \x1b[31mred"))

        def on_mount(self) -> None:
            notice(self, "first [/red]\nsecond \x1b]0;title\x07", "error", title="[@click=app.quit]t[/]")

    app = OneNotice()
    async with app.run_test(notifications=True) as pilot:
        await pilot.pause()
        toast = app.screen.query_one("Toast")
        shown = toast.render().plain  # type: ignore[attr-defined]
        assert shown == "[@click=app.quit]t[/]\nfirst [/red]\nsecond \\x1b]0;title\\x07"
