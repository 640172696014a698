"""Projects, families, experiments and configs by keys: made, renamed, described, archived, deleted, checked."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import Input, TextArea

from kladml_core.config.load import read
from kladml_core.workspace.hierarchy import archive, create
from kladml_core.workspace.places import listing
from kladml_core.workspace.views import View, save_view
from kladml_tui.app import KladMLApp
from kladml_tui.screens.form import Form
from kladml_tui.widgets.workspace_tree import config_key
from tests.tui.shell import CONFIG, ROOMY, SMALL, a_run, screen_text, shows, until, workspace_in

HOSTILE = "ho[red]st[@click=x]漢"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with a config and no run."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return workspace_in(tmp_path / "w")


def keys(workspace: Path) -> list[str]:
    return [row.place.key for row in listing(workspace / "data")]


def fill(app: KladMLApp, **texts: str) -> None:
    for name, text in texts.items():
        field = app.screen.query_one(f"#form-{name}")
        if isinstance(field, TextArea):
            field.text = text
        elif isinstance(field, Input):
            field.value = text


@pytest.mark.parametrize("size", [ROOMY, SMALL])
async def test_an_experiment_is_made_and_stands_in_the_tree(workspace: Path, size: tuple[int, int]) -> None:
    app = KladMLApp(workspace)
    async with app.run_test(size=size) as pilot:
        await shows(pilot, "digits.yaml")
        await pilot.press("g", "plus")
        await shows(pilot, "project/family/experiment")
        fill(app, name="vision/.x")
        form = app.screen
        await pilot.press("enter")
        await shows(pilot, "must not begin with a dot")
        assert app.screen is form, "keys typed meanwhile went to the screen below"
        fill(app, name=f"vision/{HOSTILE}/cnn", heading="First [/x]")
        await pilot.press("enter")
        await until(pilot, lambda: keys(workspace) == ["vision", f"vision/{HOSTILE}", f"vision/{HOSTILE}/cnn"])
        await until(pilot, lambda: app.workbench.nodes.cursor_key == f"runs:vision/{HOSTILE}/cnn")
        if size == ROOMY:
            await shows(pilot, f"vision/{HOSTILE}/cnn · First [/x]")


async def test_a_rename_offers_to_change_the_configs_that_name_the_old_one_and_tells_of_views(workspace: Path) -> None:
    a_run(workspace)
    save_view(workspace / "data", "mine", View("family:digits"))
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY, notifications=True) as pilot:
        await until(pilot, lambda: app.workbench.nodes.cursor_key == "runs:vision/digits/cnn")
        await pilot.press("h", "m")
        await shows(pilot, "Rename vision/digits")
        assert app.screen.query_one(Input).value == "vision/digits"
        fill(app, name="vision/letters")
        await pilot.press("enter")
        await shows(pilot, "This config still names vision/digits", "digits.yaml", "the saved view 'mine' still names")
        await pilot.press("w")
        config = workspace / "data" / "configs" / "digits.yaml"
        await until(pilot, lambda: read(config).data["family"] == "letters")
        await until(pilot, lambda: app.workbench.nodes.cursor_key == "runs:vision/letters")
        await shows(pilot, "run_0001")


async def test_what_lives_says_so_in_the_form(workspace: Path) -> None:
    a_run(workspace, status="running")
    app = KladMLApp(workspace)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: app.workbench.nodes.cursor_key == "runs:vision/digits/cnn")
        await pilot.press("m")
        await until(pilot, lambda: isinstance(app.screen, Form))
        fill(app, name="mlp")
        await pilot.press("enter")
        await shows(pilot, "cannot be renamed: run_0001 is running")
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.workbench)
        assert keys(workspace)[-1] == "vision/digits/cnn"


async def test_a_deleted_family_comes_back_by_b(workspace: Path) -> None:
    a_run(workspace)
    create(workspace / "data", "vision/letters")
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await until(pilot, lambda: app.workbench.nodes.cursor_key == "runs:vision/digits/cnn")
        await pilot.press("h", "D")
        await shows(pilot, "Delete the family vision/digits, with its 1 run?")
        await pilot.press("D")
        await until(pilot, lambda: keys(workspace) == ["vision", "vision/letters"])
        await until(pilot, lambda: "digits " not in screen_text(app).split("Configs")[0])
        await pilot.press("b")
        await shows(pilot, "bring it back", "vision/digits")
        await pilot.press("b")
        await until(pilot, lambda: "vision/digits/cnn" in keys(workspace))
        await shows(pilot, "cnn")


async def test_archived_ones_are_hidden_until_asked_for(workspace: Path) -> None:
    a_run(workspace)
    a_run(workspace, "vision/letters/cnn")
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "letters", "digits")
        app.workbench.nodes.move_to("runs:vision/letters")
        await pilot.press("Z")
        await until(pilot, lambda: "runs:vision/letters" not in app.workbench.nodes._by_key)
        await pilot.press("z")
        await until(pilot, lambda: "runs:vision/letters" in app.workbench.nodes._by_key)
        app.workbench.nodes.move_to("runs:vision/letters")
        await shows(pilot, "vision/letters · archived")
        await pilot.press("Z", "z")
        await until(pilot, lambda: not app.workbench.look_whole.archived)
        assert "runs:vision/letters" in app.workbench.nodes._by_key


async def test_an_archived_experiment_with_a_live_run_stays_in_the_tree(workspace: Path) -> None:
    a_run(workspace, status="running")
    archive(workspace / "data", "vision")
    archive(workspace / "data", "vision/digits/cnn")
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY, notifications=True) as pilot:
        await shows(pilot, "1 running", "cnn")
        a_run(workspace, "vision/digits/mlp")
        app.workbench.action_look()
        await until(pilot, lambda: len(app.workbench.look_whole.experiments) == 2)
        await pilot.press("z")
        await shows(pilot, "1 archived is shown too")  # the others were there all the time


async def test_title_and_description_are_written_by_keys(workspace: Path) -> None:
    create(workspace / "data", "vision/digits/cnn", title="First")
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await until(pilot, lambda: app.workbench.nodes.cursor_key == "projects" or bool(app.workbench.nodes._by_key))
        app.workbench.nodes.reveal("runs:vision/digits/cnn")
        await until(pilot, lambda: app.workbench.nodes.cursor_key == "runs:vision/digits/cnn")
        await pilot.press("I")
        await until(pilot, lambda: isinstance(app.screen, Form))
        assert app.screen.query_one("#form-heading", Input).value == "First"
        fill(app, heading="Second", description="8x8 images")
        await pilot.press("enter")
        file = workspace / "data" / "projects" / "vision/digits/cnn" / "experiment.yaml"
        await until(pilot, lambda: read(file).data == {"title": "Second", "description": "8x8 images"})
        await shows(pilot, "vision/digits/cnn · Second")


# Configs


async def test_a_config_is_copied_renamed_and_checked_by_keys(workspace: Path) -> None:
    app = KladMLApp(workspace)
    folder = workspace / "data" / "configs"
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "digits.yaml")
        await pilot.press("G", "C")
        await shows(pilot, "Copy digits.yaml")
        fill(app, name=HOSTILE)
        await pilot.press("enter")
        await until(pilot, lambda: app.workbench.nodes.cursor_key == f"config:{folder / HOSTILE}.yaml")
        await pilot.press("m")
        await shows(pilot, "Rename")
        fill(app, name="digits")
        await pilot.press("enter")
        await shows(pilot, "is there already")
        fill(app, name="second")
        await pilot.press("enter")
        await until(pilot, lambda: sorted(path.name for path in folder.iterdir()) == ["digits.yaml", "second.yaml"])
        (folder / "second.yaml").write_text(CONFIG.replace("max_epochs", "max_epoch"))
        await pilot.press("V")
        await shows(pilot, "2 configs, 1 with problems", "second.yaml", "max_epoch", "no problems")


async def test_a_copy_of_a_config_is_offered_a_name_that_is_free(workspace: Path) -> None:
    app = KladMLApp(workspace)
    folder = workspace / "data" / "configs"
    (folder / "digits-2.yaml").symlink_to("nowhere")
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "digits.yaml")
        app.workbench.nodes.reveal(config_key(folder / "digits.yaml"))
        await until(pilot, lambda: app.workbench.config_here == folder / "digits.yaml")
        await pilot.press("C")
        await shows(pilot, "Copy digits.yaml", "digits-3.yaml")
        await pilot.press("enter")
        await until(pilot, (folder / "digits-3.yaml").is_file)


async def test_a_new_config_opens_in_the_editor_with_what_its_model_takes(workspace: Path) -> None:
    (workspace / "mine.py").write_text("def make(width: int, depth=2): ...\ndef load(): ...\n")
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY, notifications=True) as pilot:
        await shows(pilot, "digits.yaml")
        await pilot.press("G", "plus")
        await shows(pilot, "New config")
        fill(app, name="own", model="mine.py:mak")
        await pilot.press("enter")
        await shows(pilot, "Did you mean mine.py:make?")
        fill(app, model="mine.py:make")
        await pilot.press("enter")
        await shows(pilot, "width: null", "depth: 2", "target: mine.py:load")
        assert not (workspace / "data" / "configs" / "own.yaml").exists()


async def test_d_on_a_config_holds_it_against_its_newest_run(workspace: Path) -> None:
    run = a_run(workspace)
    (run / "config.yaml").write_text(CONFIG + "seed: 7\n")
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "run_0001")
        await pilot.press("G", "d")
        await shows(pilot, "digits.yaml against vision/digits/cnn/run_0001", "seed", "makes it another run")


async def test_a_config_that_changes_on_the_disk_is_shown_anew(workspace: Path) -> None:
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "digits.yaml")
        await pilot.press("G")
        await shows(pilot, "max_epochs: 1")
        (workspace / "data" / "configs" / "digits.yaml").write_text(CONFIG.replace("max_epochs: 1", "max_epochs: 77"))
        await shows(pilot, "max_epochs: 77")
