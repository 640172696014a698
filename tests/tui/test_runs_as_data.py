"""The list of runs as data: the filter as it is typed, order and columns, saved views, notes, export; at any number."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from textual.widgets import Input, TextArea

from kladml_core.backends.run_log import RunLog
from kladml_core.config.load import dump, read
from kladml_core.runs.notes import Notes, edit_notes, read_notes
from kladml_core.runs.pins import read_pins
from kladml_core.runs.rundir import RunDirectory
from kladml_core.workspace.views import View, read_views, save_view
from kladml_tui.app import KladMLApp
from tests.tui.shell import ROOMY, SMALL, a_run, many_runs, screen_text, shows, until, workspace_in

CNN = "vision/digits/cnn"


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Four runs that differ in width and seed: the first and the last finished."""
    root = workspace_in(tmp_path / "lab")
    for number, status in enumerate(("finished", "failed", "stopped", "finished")):
        run = RunDirectory(a_run(root, status=status, steps=10 * (number + 1)))
        config = {**read(run.config).data, "seed": number}
        run.config.write_text(dump({**config, "model": {**config["model"], "params": {"width": 64 - number}}}))
    return root


def shown(app: KladMLApp) -> list[int]:
    return [int(key.rpartition("_")[2]) for key in app.workbench.runs.keys]


async def test_each_letter_of_a_filter_narrows_and_a_slip_is_told_below_it(lab: Path) -> None:
    app = KladMLApp(lab)
    async with app.run_test(size=SMALL) as pilot:
        await shows(pilot, "run_0004", "nothing running")
        await pilot.press("tab", "slash")
        app.workbench.filter_field.insert_text_at_cursor("train/loss<0.15")
        await until(pilot, lambda: shown(app) == [4, 3, 2] or shown(app) == [4, 3])
        await until(pilot, lambda: shown(app) == [4, 3])
        app.workbench.filter_field.insert_text_at_cursor(" stauts:x")
        await shows(pilot, "there is no field 'stauts'", "at character 17")
        assert shown(app) == [4, 3]
        await pilot.press("enter")
        assert app.focused is app.workbench.filter_field
        for _ in " stauts:x":
            await pilot.press("backspace")
        app.workbench.filter_field.insert_text_at_cursor(" -status:stopped")
        await until(pilot, lambda: shown(app) == [4] and "no field" not in screen_text(app))
        await pilot.press("enter")
        assert app.focused is app.workbench.runs
        await pilot.press("escape")
        await until(pilot, lambda: shown(app) == [4, 3, 2, 1])


async def test_columns_and_order_are_chosen_and_the_cursor_and_marks_stay_on_their_runs(lab: Path) -> None:
    app = KladMLApp(lab)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "run_0004", "space mark")
        await pilot.press("tab", "down", "space", "o")
        await shows(pilot, "How the runs are shown", "best:val/loss")
        await until(pilot, lambda: isinstance(app.focused, Input))
        app.screen.query_one("#form-columns", Input).value = "status, min:train/loss, params"
        app.screen.query_one("#form-sort", Input).value = "last:train/los"
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is app.workbench)
        assert app.workbench.runs.cursor_key == f"{CNN}/run_0002"
        await shows(pilot, "min train/loss", "model.params.width", "seed", "0.05 @40", "by last:train/los")
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.focused, Input))
        app.screen.query_one("#form-sort", Input).value = "model.params.width"
        await pilot.press("enter")
        await until(pilot, lambda: shown(app) == [4, 3, 2, 1])
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.focused, Input))
        await pilot.press("tab", "tab", "space", "enter")
        await until(pilot, lambda: shown(app) == [1, 2, 3, 4])
        assert app.workbench.runs.cursor_key == f"{CNN}/run_0002"
        assert app.workbench.runs.marked == (f"{CNN}/run_0003",)
        await pilot.press("q")
    app = KladMLApp(lab)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "by model.params.width ↓", "0.05 @40")
        assert shown(app) == [1, 2, 3, 4]


async def test_a_column_that_cannot_be_is_told_in_the_dialog(lab: Path) -> None:
    app = KladMLApp(lab)
    async with app.run_test(size=SMALL) as pilot:
        await shows(pilot, "run_0004")
        await until(pilot, lambda: app.workbench.ready and app.workbench.runs.display)
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.focused, Input))
        app.screen.query_one("#form-columns", Input).value = "status, durtion"
        await pilot.press("enter")
        await shows(pilot, "Did you mean duration?", "How the runs are shown")
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.workbench)
        assert app.workbench.state.columns == ()


@pytest.mark.parametrize("size", [ROOMY, SMALL])
async def test_note_tags_and_star_are_written_while_others_and_pins_stay(lab: Path, size: tuple[int, int]) -> None:
    run = RunDirectory(lab / "data/projects" / CNN / "run_0004")
    run.notes.write_text("# mine\nowner: ada\npinned: [step-0000000040]\n")
    edit_notes(run, tag=["old"])
    app = KladMLApp(lab)
    async with app.run_test(size=size) as pilot:
        await shows(pilot, "run_0004")
        await until(pilot, lambda: app.workbench.ready and app.workbench.runs.current is not None)
        await pilot.press("tab", "i")
        await until(pilot, lambda: isinstance(app.focused, TextArea))
        await pilot.press(*"[/x]", "enter", *"two", "escape")
        await shows(pilot, "esc again throws it away")
        edit_notes(run, tag=["meanwhile"])
        await pilot.press("tab", *", best ones", "tab", "space", "enter")
        await until(pilot, lambda: read_notes(run) == Notes(("old", "meanwhile", "best ones"), "[/x]\ntwo", star=True))
        await shows(pilot, "★")
        assert run.notes.read_text().startswith("# mine\nowner: ada\n")
        await pilot.press("asterisk")
        await until(pilot, lambda: not read_notes(run).star)
    assert read_pins(run) == {"step-0000000040"}


async def test_a_view_is_saved_and_found_among_the_commands(lab: Path) -> None:
    name = "[/x] good: #ones"
    app = KladMLApp(lab)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "run_0004", "nothing running")
        await pilot.press("tab", "slash")
        app.workbench.filter_field.insert_text_at_cursor("status:finished")
        await pilot.press("enter", "v")
        await shows(pilot, "Save the view", "filter: status:finished")
        app.screen.query_one(Input).value = name
        await pilot.press("enter")
        await until(pilot, (lab / "data/views.yaml").exists)
        assert read_views(lab / "data") == {name: View("status:finished")}
        await pilot.press("escape")
        await until(pilot, lambda: len(shown(app)) == 4)
        await pilot.press("colon")
        await until(pilot, lambda: isinstance(app.focused, Input))
        await pilot.press(*"view [/x]")
        await shows(pilot, f"view {name}")
        await pilot.press("down", "enter")
        await until(pilot, lambda: shown(app) == [4, 1])


async def test_what_is_shown_is_written_into_a_file(lab: Path) -> None:
    save_view(lab / "data", "x", View())
    app = KladMLApp(lab)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "run_0004", "nothing running")
        await pilot.press("tab", "slash")
        app.workbench.filter_field.insert_text_at_cursor("train/loss<0.15")
        await until(pilot, lambda: shown(app) == [4, 3])
        await pilot.press("enter", "w")
        await shows(pilot, "Write 2 runs into a file")
        field = app.screen.query_one(Input)
        field.value = "out/runs.txt"
        await pilot.press("enter")
        await shows(pilot, "neither in .csv nor in .json")
        for name in ("runs.csv", "runs.json"):
            field.value = f"out/{name}"
            await pilot.press("enter")
            await until(pilot, lambda name=name: (lab / "out" / name).exists())
            if name == "runs.csv":
                await pilot.press("w")
                await shows(pilot, "Write 2 runs into a file")
                field = app.screen.query_one(Input)
    rows = list(csv.DictReader((lab / "out/runs.csv").open()))
    assert [(row["name"], row["train/loss step"], row["seed"]) for row in rows] == [
        (f"{CNN}/run_0004", "40", "3"),
        (f"{CNN}/run_0003", "30", "2"),
    ]
    assert [row["train/loss"]["value"] for row in json.loads((lab / "out/runs.json").read_text())] == [2 / 40, 2 / 30]


async def test_thousands_of_runs_are_filtered_and_sorted_and_only_rows_in_sight_are_drawn(tmp_path: Path) -> None:
    root = workspace_in(tmp_path / "w")
    many_runs(root, 5_000)
    for number in (77, 4321):
        run = RunDirectory(root / f"data/projects/big/family/experiment/run_{number:04d}")
        figures = {"last": 1 / number, "last_step": 9, "min": 0, "min_step": 1, "max": 1, "max_step": 2}
        run.summary.write_text(json.dumps({"val/loss": {**figures, "count": 9, "non_finite": 0}}))
    app = KladMLApp(root)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "5,000 runs")
        await pilot.press("tab", "slash")
        app.workbench.filter_field.insert_text_at_cursor("val/loss<0.5")
        await until(pilot, lambda: shown(app) == [4321, 77], timeout=120)
        app.workbench.show_as(View(sort="val/loss"))
        await until(pilot, lambda: len(shown(app)) == 5_000 and shown(app)[:3] == [4321, 77, 5_000])
        app.workbench.show_as(View("name:run_49*", sort="name"))
        await until(pilot, lambda: shown(app) == list(range(4900, 5_000)))
        assert len(app.workbench.runs._strips) < 100


async def test_what_another_window_writes_on_a_run_and_new_least_values_of_a_live_one_are_shown(lab: Path) -> None:
    live = RunDirectory(a_run(lab, status="running"))
    app = KladMLApp(lab)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "run_0005", "1 running")
        app.workbench.show_as(View(columns=("status", "min:train/loss", "tags")))
        await shows(pilot, "min train/loss", "0.1 @20")
        edit_notes(RunDirectory(lab / "data/projects" / CNN / "run_0001"), tag=["from-elsewhere"], star=True)
        await shows(pilot, "from-elsewhere", "★")
        log = RunLog(live, 1)
        log.log_metrics({"train/loss": 0.0125}, 21)
        log.progress(step=21)
        log.close()
        await shows(pilot, "0.0125 @21")


async def test_in_another_order_the_run_under_the_cursor_is_still_in_sight(tmp_path: Path) -> None:
    root = workspace_in(tmp_path / "w")
    many_runs(root, 300)
    app = KladMLApp(root)
    async with app.run_test(size=SMALL) as pilot:
        await shows(pilot, "300 runs", "run_0300")
        await pilot.press("tab")
        runs = app.workbench.runs
        await until(pilot, lambda: (runs.cursor_key or "").endswith("run_0300"))
        app.workbench.show_as(View(sort="name"))
        await until(pilot, lambda: shown(app)[0] == 1)
        await until(pilot, lambda: runs.cursor_key in runs.visible_keys() and "run_0300" in screen_text(app))
        app.workbench.show_as(View())
        await until(pilot, lambda: shown(app)[0] == 300 and runs.cursor_key in runs.visible_keys())
