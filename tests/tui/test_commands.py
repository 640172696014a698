"""Commands, a person's own keys, help, palette and the last line, all from one declaration."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from textual.widgets import Input

from kladml_tui import keymap
from kladml_tui.app import KladMLApp
from kladml_tui.commands import BY_ID, COMMANDS, SCOPES, TABS
from kladml_tui.key_names import key_name
from tests.tui.shell import ROOMY, SMALL, a_run, screen_text, shows, until, workspace_in


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_no_two_commands_share_an_id_or_a_key() -> None:
    assert len(BY_ID) == len(COMMANDS)
    keys = Counter(key for command in COMMANDS for key in command.keys.split(","))
    assert {key for key, count in keys.items() if count > 1} == set()


def test_every_command_is_declared_whole() -> None:
    for command in COMMANDS:
        assert command.scope in SCOPES
        assert command.help.endswith(".")
        assert command.title and command.action and command.keys


def test_nothing_is_reachable_only_by_keys_that_terminals_swallow() -> None:
    for command in COMMANDS:
        assert any(not key.startswith(("ctrl+", "alt+", "f1")) for key in command.keys.split(",")), command.id


def test_keys_are_shown_as_they_are_on_the_keyboard() -> None:
    shown = [key_name(key) for command in COMMANDS for key in command.keys.split(",")]
    assert {"*", "?", "/", "+"} <= set(shown) and key_name("ctrl+p") == "^p"
    assert not [name for name in shown if "_" in name or name == "asterisk"]


def test_own_keys_are_checked() -> None:
    checked = keymap.check({"run.stop": "W", "run.stp": "y", "config.train": "ctrl+nonsense", "quit": "?"})
    assert dict(checked.keys) == {"run.stop": "W"}
    told = "\n".join(checked.problems)
    assert "'run.stp' is no command. Did you mean run.stop?" in told
    assert "config.train: 'ctrl+nonsense' is no key" in told
    assert "quit: question_mark is the key of help already" in told


def test_two_commands_may_change_places() -> None:
    checked = keymap.check({"config.train": "e", "config.edit": "t"})
    assert checked.problems == ()
    assert dict(checked.keys) == {"config.train": "e", "config.edit": "t"}


def test_two_commands_may_not_take_one_key() -> None:
    checked = keymap.check({"config.train": "W", "config.edit": "W"})
    assert dict(checked.keys) == {"config.edit": "W"}
    assert len(checked.problems) == 1


async def test_own_keys_work_and_what_is_wrong_is_one_notice(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    (workspace / "kladml.yaml").write_text("ui: {keymap: {tab.events: E, help: H, tab.evnts: z, config.external: J}}\n")
    a_run(workspace)
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY, notifications=True) as pilot:
        await shows(pilot, "run_0001", "'tab.evnts' is no command. Did you mean tab.events?", "H help")
        assert len(app._notifications) == 1
        await pilot.press("E")
        await shows(pilot, "run started")
        await pilot.press("H")
        await shows(pilot, "esc closes", "Show the run's events.")


async def test_help_shows_the_keys_of_where_one_is(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    a_run(workspace)
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "run_0001", "train/loss")
        await pilot.press("tab", "tab", "question_mark")
        await shows(pilot, "Here: the run's curves", "Log y", "Zoom in", "The run under the cursor")
        await pilot.press("escape", "shift+tab", "question_mark")
        await shows(pilot, "the list of runs")
        assert "Log y" not in screen_text(app)
        await pilot.press("G")
        await shows(pilot, "In the editor esc leaves typing")


async def test_help_is_usable_on_a_small_screen(tmp_path: Path) -> None:
    app = KladMLApp(workspace_in(tmp_path / "w"))
    async with app.run_test(size=SMALL) as pilot:
        await shows(pilot, "experiment: cnn")
        await pilot.press("question_mark")
        await shows(pilot, "Check the config and start a run of it.")
        await pilot.press("q")
        await until(pilot, lambda: app.screen is app.workbench)


async def test_the_palette_finds_commands_and_themes(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    a_run(workspace)
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "run_0001", "train/loss")
        await pilot.press("colon")
        await until(pilot, lambda: app.screen is not app.workbench)
        await pilot.press(*"checkpoints")
        await shows(pilot, "Show the run's checkpoints.")
        await pilot.press("enter")
        await pilot.pause(0.2)
        if app.screen is not app.workbench:
            await pilot.press("enter")
        await until(pilot, lambda: app.workbench.view.tab == "checkpoints")
        await pilot.press("ctrl+p")
        await until(pilot, lambda: app.screen is not app.workbench)
        await pilot.press(*"kladml-light")
        await shows(pilot, "theme kladml-light")
        await pilot.press("enter")
        await pilot.pause(0.2)
        if app.screen is not app.workbench:
            await pilot.press("enter")
        await until(pilot, lambda: app.theme == "kladml-light")


async def test_keys_that_would_do_nothing_are_not_offered(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    a_run(workspace, status="stopped")
    a_run(workspace, status="running")
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:

        def last() -> str:
            return screen_text(app).splitlines()[-1]

        await until(pilot, lambda: "s stop" in last())
        assert "r resume" not in last() and "t train" not in last()
        await pilot.press("tab", "down")
        await until(pilot, lambda: "r resume" in last())
        assert "s stop" not in last()
        await pilot.press("shift+tab", "G")
        await until(pilot, lambda: "t train" in last() and "r resume" not in last())


async def test_letters_typed_into_the_filter_are_no_commands(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    a_run(workspace)
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "run_0001", "train/loss")
        await pilot.press("slash", *"q1ts?:")
        assert app.is_running
        assert app.workbench.query_one("#filter", Input).value == "q1ts?:"
        await pilot.press("escape")
        assert app.workbench.view.tab == TABS[0]


async def test_the_mouse_does_what_the_keys_do(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    a_run(workspace)
    a_run(workspace)
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "run_0002", "train/loss")
        await pilot.click("#runs", offset=(5, 2))
        await until(pilot, lambda: (app.workbench.runs.cursor_key or "").endswith("run_0001"))
        await pilot.click("#tabs", offset=(14, 0))
        await until(pilot, lambda: app.workbench.view.tab == "events")
