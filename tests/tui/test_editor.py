"""The config editor by its keys: typing is checked, commands save, launch, undo and close, nothing is lost."""

from __future__ import annotations

from pathlib import Path

from kladml_tui import themes
from kladml_tui.screens.editor_help import EditorHelp
from kladml_tui.widgets.editor_bar import EditorBar
from kladml_tui.widgets.key_line import KeyLine
from kladml_tui.widgets.problem_list import ProblemList
from kladml_tui.widgets.yaml_area import HIGHLIGHT_LINES, YamlArea
from tests.tui.editing import GOOD, EditorApp, checked, opened, until, workspace

WIDE = (120, 36)


def messages(app: EditorApp) -> list[str]:
    return [finding.message for finding in app.editor.query_one(ProblemList).findings]


def area(app: EditorApp) -> YamlArea:
    return app.editor.query_one(YamlArea)


def bar(app: EditorApp) -> str:
    return " ".join(str(part.render()) for part in app.editor.query_one(EditorBar).query("Static"))


def drawn(app: EditorApp) -> str:
    return "\n".join("".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips())


async def test_a_good_config_is_said_to_be_valid_and_is_coloured(tmp_path: Path) -> None:
    app = EditorApp(workspace(tmp_path))
    async with app.run_test(size=WIDE) as pilot:
        await checked(pilot)
        assert not messages(app)
        assert "valid" in bar(app)
        assert area(app).language == "yaml"
        assert not app.editor.query_one(ProblemList).display


async def test_a_typo_is_told_with_its_line_and_what_was_meant_while_typing(tmp_path: Path) -> None:
    app = EditorApp(workspace(tmp_path))
    async with app.run_test(size=WIDE) as pilot:
        await checked(pilot)
        area(app).move_cursor((6, 7))
        await pilot.press("x")
        await checked(pilot)
        (finding,) = app.editor.query_one(ProblemList).findings
        assert (finding.line, finding.column) == (7, 3)
        assert finding.hint is not None and "batch_size" in finding.hint
        assert set(area(app).marks.columns) == {6}
        assert "1 problem" in bar(app)
        await until(pilot, lambda: "7▌" in drawn(app) and "7:3" in drawn(app))
        await pilot.press("backspace")
        await checked(pilot)
        assert not messages(app)
        assert not area(app).marks.columns


async def test_broken_yaml_is_told_and_never_closes_the_editor(tmp_path: Path) -> None:
    app = EditorApp(workspace(tmp_path))
    async with app.run_test(size=WIDE) as pilot:
        await checked(pilot)
        area(app).move_cursor((1, 6))
        await pilot.press("[", "{", '"')
        await checked(pilot)
        assert len(messages(app)) == 1


async def test_letters_are_text_until_esc_and_commands_after_it(tmp_path: Path) -> None:
    config = workspace(tmp_path)
    app = EditorApp(config)
    async with app.run_test(size=WIDE) as pilot:
        await checked(pilot)
        await pilot.press("w", "t", "u", "q", "n")
        assert area(app).text.startswith("wtuqn# ours")
        await pilot.press("escape")
        assert "commands" in bar(app)
        text = area(app).text
        await pilot.press("x", "y", "z", "1", "backspace", "delete")
        assert area(app).text == text
        await pilot.press("i", "Z")
        assert "typing" in bar(app)
        assert area(app).text.startswith("wtuqnZ# ours")
        await pilot.press("escape", "enter", "Y")
        assert area(app).text.startswith("wtuqnZY# ours")


async def test_w_saves_and_the_file_holds_what_was_typed(tmp_path: Path) -> None:
    config = workspace(tmp_path)
    app = EditorApp(config)
    async with app.run_test(size=WIDE) as pilot:
        await checked(pilot)
        await pilot.press("#", "a", "escape")
        assert app.editor.unsaved
        assert "unsaved" in bar(app)
        await pilot.press("w")
        await until(pilot, lambda: config.read_text() == "#a" + GOOD)
        await until(pilot, lambda: "unsaved" not in bar(app))


async def test_ctrl_s_saves_while_typing(tmp_path: Path) -> None:
    config = workspace(tmp_path)
    app = EditorApp(config)
    async with app.run_test(size=WIDE) as pilot:
        await checked(pilot)
        await pilot.press("#", "ctrl+s")
        await until(pilot, lambda: config.read_text() == "#" + GOOD)
        assert app.editor.typing


async def test_u_takes_back_and_both_redo_keys_bring_again(tmp_path: Path) -> None:
    app = EditorApp(workspace(tmp_path))
    async with app.run_test(size=WIDE) as pilot:
        await checked(pilot)
        await pilot.press("a", "b", "escape", "u")
        assert area(app).text == GOOD
        await pilot.press("U")
        assert area(app).text == "ab" + GOOD
        await pilot.press("u", "ctrl+r")
        assert area(app).text == "ab" + GOOD
        await pilot.press("u")
        assert not app.editor.unsaved


async def test_q_closes_at_once_when_all_is_saved(tmp_path: Path) -> None:
    app = EditorApp(workspace(tmp_path))
    async with app.run_test(size=WIDE) as pilot:
        await checked(pilot)
        await pilot.press("escape", "q")
        await until(pilot, lambda: app.closed)


async def test_q_asks_before_it_loses_anything(tmp_path: Path) -> None:
    config = workspace(tmp_path)
    app = EditorApp(config)
    async with app.run_test(size=WIDE) as pilot:
        await checked(pilot)
        await pilot.press("#", "escape", "q")
        await until(pilot, lambda: app.asking)
        await pilot.press("escape")
        await until(pilot, lambda: not app.asking)
        assert app.editor.unsaved
        await pilot.press("q")
        await until(pilot, lambda: app.asking)
        await pilot.press("d")
        await until(pilot, lambda: app.closed)
    assert config.read_text() == GOOD


async def test_q_can_save_and_close(tmp_path: Path) -> None:
    config = workspace(tmp_path)
    app = EditorApp(config)
    async with app.run_test(size=WIDE) as pilot:
        await checked(pilot)
        await pilot.press("#", "escape", "q")
        await until(pilot, lambda: app.asking)
        await pilot.press("w")
        await until(pilot, lambda: app.closed)
    assert config.read_text() == "#" + GOOD


async def test_t_launches_a_saved_valid_config(tmp_path: Path) -> None:
    config = workspace(tmp_path)
    app = EditorApp(config)
    async with app.run_test(size=WIDE) as pilot:
        await checked(pilot)
        await pilot.press("escape", "t")
        await until(pilot, lambda: app.launched == [config])


async def test_t_asks_to_save_first(tmp_path: Path) -> None:
    config = workspace(tmp_path)
    app = EditorApp(config)
    async with app.run_test(size=WIDE) as pilot:
        await checked(pilot)
        await pilot.press("#", "escape", "t")
        await until(pilot, lambda: app.asking)
        await pilot.press("w")
        await until(pilot, lambda: app.launched == [config])
        assert config.read_text() == "#" + GOOD


async def test_t_refuses_a_config_with_a_problem_and_goes_to_it(tmp_path: Path) -> None:
    app = EditorApp(workspace(tmp_path, GOOD.replace("max_epochs: 3", "max_epochs: three")))
    async with app.run_test(size=WIDE) as pilot:
        await checked(pilot)
        await pilot.press("escape", "t")
        await until(pilot, lambda: any("Not launched" in line for line in app.notices))
        assert not app.launched
        assert area(app).cursor_location == (5, 14)


async def test_n_and_enter_go_to_problems(tmp_path: Path) -> None:
    text = GOOD.replace("max_epochs: 3", "max_epochs: three").replace("batch_size: 8", "batch_size: eight")
    app = EditorApp(workspace(tmp_path, text))
    async with app.run_test(size=WIDE) as pilot:
        await checked(pilot)
        assert len(messages(app)) == 2
        await pilot.press("escape", "n")
        assert area(app).cursor_location[0] == 5
        await pilot.press("n")
        assert area(app).cursor_location[0] == 6
        await pilot.press("n")
        assert area(app).cursor_location[0] == 5
        await pilot.press("N")
        assert area(app).cursor_location[0] == 6
        app.editor.query_one(ProblemList).focus()
        await pilot.press("k", "enter")
        await until(pilot, lambda: area(app).cursor_location[0] == 5)
        assert area(app).has_focus


async def test_a_change_by_another_program_is_never_overwritten_unasked(tmp_path: Path) -> None:
    config = workspace(tmp_path)
    app = EditorApp(config)
    async with app.run_test(size=WIDE) as pilot:
        await checked(pilot)
        await pilot.press("#", "escape")
        config.write_text("# theirs\n" + GOOD)
        await pilot.press("w")
        await until(pilot, lambda: app.asking)
        await pilot.press("escape")
        await until(pilot, lambda: not app.asking)
        assert config.read_text() == "# theirs\n" + GOOD
        assert area(app).text == "#" + GOOD
        await pilot.press("w")
        await until(pilot, lambda: app.asking)
        await pilot.press("o")
        await until(pilot, lambda: config.read_text() == "#" + GOOD)


async def test_the_other_program_s_text_can_be_read_again(tmp_path: Path) -> None:
    config = workspace(tmp_path)
    app = EditorApp(config)
    async with app.run_test(size=WIDE) as pilot:
        await checked(pilot)
        await pilot.press("#", "escape")
        config.write_text("# theirs\n" + GOOD)
        await pilot.press("w")
        await until(pilot, lambda: app.asking)
        await pilot.press("r")
        await until(pilot, lambda: area(app).text == "# theirs\n" + GOOD)
        assert not app.editor.unsaved


async def test_a_changed_file_is_followed_while_nothing_is_unsaved(tmp_path: Path) -> None:
    config = workspace(tmp_path)
    app = EditorApp(config)
    async with app.run_test(size=WIDE) as pilot:
        await checked(pilot)
        config.write_text("# theirs\n" + GOOD)
        await until(pilot, lambda: area(app).text == "# theirs\n" + GOOD)


async def test_a_file_that_is_not_utf_8_is_left_alone_and_told(tmp_path: Path) -> None:
    config = workspace(tmp_path)
    config.write_bytes(b"a: \xff\n")
    app = EditorApp(config)
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: app.closed)
        assert any("not UTF-8" in line for line in app.notices)
    assert config.read_bytes() == b"a: \xff\n"


async def test_the_key_at_the_cursor_is_explained(tmp_path: Path) -> None:
    app = EditorApp(workspace(tmp_path))
    async with app.run_test(size=WIDE) as pilot:
        await checked(pilot)
        area(app).move_cursor((6, 15))
        await pilot.pause()
        assert "training.batch_size" in str(app.editor.query_one(KeyLine).render())
        await pilot.press("ctrl+@")
        assert "learning_rate" in str(app.editor.query_one(KeyLine).render())


async def test_tab_completes_a_key_and_enter_keeps_the_indentation(tmp_path: Path) -> None:
    app = EditorApp(workspace(tmp_path))
    async with app.run_test(size=WIDE) as pilot:
        await checked(pilot)
        area(app).move_cursor((4, 9))
        await pilot.press("enter", *"learn")
        await pilot.pause()
        await pilot.press("tab", *"1e-3", "enter", *"x")
        assert area(app).text.splitlines()[5:7] == ["  learning_rate: 1e-3", "  x"]
        await pilot.press("shift+tab")
        assert area(app).text.splitlines()[6] == "x"
        await pilot.press("tab", "tab")
        assert area(app).text.splitlines()[6].startswith("x  ")


async def test_question_mark_tells_what_the_keys_do(tmp_path: Path) -> None:
    app = EditorApp(workspace(tmp_path))
    async with app.run_test(size=(80, 24)) as pilot:
        await checked(pilot)
        await pilot.press("escape", "question_mark")
        await until(pilot, lambda: isinstance(app.screen, EditorHelp))
        await pilot.pause()
        assert "asks when something is not saved" in drawn(app) or "to the first, the last line" in drawn(app)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.editor)


async def test_a_long_file_is_shown_without_colours(tmp_path: Path) -> None:
    app = EditorApp(workspace(tmp_path, GOOD + "# comment\n" * HIGHLIGHT_LINES))
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        assert area(app).language is None


async def test_it_can_be_used_on_80_by_24_in_every_theme(tmp_path: Path) -> None:
    app = EditorApp(workspace(tmp_path, GOOD.replace("batch_size", "batch_sise")))
    async with app.run_test(size=(80, 24)) as pilot:
        await checked(pilot)
        await pilot.press("escape")
        for name in themes.installed(app):
            app.theme = name
            await until(pilot, lambda: "Did you mean" in drawn(app) and "Launch" in drawn(app))
            shown = drawn(app)
            assert "mine.yaml" in shown
            assert "Did you mean batch_size?" in shown
            assert "max_epochs" in shown
            for key in ("Save", "Launch", "Undo", "Close"):
                assert key in shown


async def test_hostile_text_in_the_file_reaches_the_screen_inert_and_the_disk_unchanged(tmp_path: Path) -> None:
    text = "# [/red] [@click=app.quit]x[/]\na: \x1b[31m\u202e\x9b\u2028\x0c\x85\rend\n"
    config = workspace(tmp_path, text)
    app = EditorApp(config)
    async with app.run_test(size=WIDE) as pilot:
        await checked(pilot)
        shown = drawn(app)
        assert "[/red] [@click=app.quit]x[/]" in shown
        assert "\x1b" not in shown
        assert "\u202e" not in shown
        assert "␛[31m" in shown
        assert area(app).document.line_count == 3
        await pilot.press("#", "escape", "w")
        await until(pilot, lambda: config.read_bytes() == ("#" + text).encode())


async def test_a_new_file_is_made_when_it_is_saved(tmp_path: Path) -> None:
    config = workspace(tmp_path).with_name("new.yaml")
    app = EditorApp(config)
    async with app.run_test(size=WIDE) as pilot:
        await checked(pilot)
        assert messages(app)
        await pilot.press("a", "escape")
        assert "new" in bar(app)
        await pilot.press("w")
        await until(pilot, lambda: config.exists() and config.read_text() == "a")
