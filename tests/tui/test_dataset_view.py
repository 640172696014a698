"""Datasets on the screen: their pages, what changed on the disk, and registering, removing and bringing back."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
from sklearn.datasets import load_iris
from textual.pilot import Pilot

from kladml_core.workspace.dataset_register import add
from kladml_core.workspace.datasets import find_registration
from kladml_tui.app import KladMLApp
from kladml_tui.screens import dataset_keys
from kladml_tui.screens.ask import Ask
from kladml_tui.screens.form import Form
from tests.tui.shell import CONFIG, ROOMY, SMALL, screen_text, shows, until, workspace_in

HOSTILE = "[/x]\x1b[2J\u202e日本"
WRONG_MODEL = CONFIG.replace("DigitsCNN", "NoSuchModel").replace(
    '{target: "kladml_core.examples.digits:load"}', "{train: iris}"
)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_keys, "MARK_SECONDS", 0.2)


def iris(path: Path, last: str = HOSTILE, rows: int = 150) -> Path:
    data = load_iris()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["sepal length", "sepal width", "petal length", last, "species"])
        writer.writerows([*row, data.target_names[y]] for row, y in zip(data.data[:rows], data.target, strict=False))
    return path


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    workspace = workspace_in(tmp_path / "w", config=WRONG_MODEL)
    iris(workspace / "iris.csv")
    add(workspace, "iris.csv", split="train", description="three [bold]kinds")
    return workspace


async def at_iris(pilot: Pilot[None], app: KladMLApp) -> None:
    await shows(pilot, "iris", "150")
    app.workbench.nodes.reveal(f"dataset:{app.settings.data / 'datasets' / 'iris.yaml'}")
    await shows(pilot, "1 Overview", "used by")


async def test_the_pages_tell_what_the_data_holds(flowers: Path) -> None:
    app = KladMLApp(flowers)
    async with app.run_test(size=ROOMY) as pilot:
        await at_iris(pilot, app)
        await shows(pilot, "three [bold]kinds", "unchanged", "sepal width", "0 runs")
        await pilot.press("2")
        await shows(pilot, "5.1", "3.5", "1.4", "setosa", "[/x]")
        await pilot.press("3")
        await shows(pilot, "5.843", "histogram", "[/x]", "setosa 50")
        assert "\u202e" not in screen_text(app)
        await pilot.press("4")
        await shows(pilot, "3 classes, 150 rows", "versicolor", "33.3%", "█")
        await pilot.press("5")
        await shows(pilot, "150 rows", "on the disk")
        await pilot.press("6")
        await shows(pilot, "no run was launched on it")


async def test_a_small_screen_has_every_page_and_the_columns_move(flowers: Path) -> None:
    app = KladMLApp(flowers)
    async with app.run_test(size=SMALL) as pilot:
        await at_iris(pilot, app)
        await pilot.press("tab", "2")
        await shows(pilot, "sepal length", "1–4 of 5")
        await pilot.press("l", "l", "l")
        await until(pilot, lambda: "sepal length" not in screen_text(app))
        await shows(pilot, "species")
        await pilot.press("3", "j")
        await shows(pilot, "· mean 3.057 ·")
        await pilot.press("question_mark")
        await shows(pilot, "Compare the dataset with the disk")


async def test_a_change_on_the_disk_is_seen_and_asked_about_before_a_launch(flowers: Path) -> None:
    app = KladMLApp(flowers)
    async with app.run_test(size=ROOMY, notifications=True) as pilot:
        await at_iris(pilot, app)
        iris(flowers / "iris.csv", rows=140)
        await shows(pilot, "changed 150", "iris has changed on the disk", "changed on the disk since it was registered")
        app.workbench.nodes.reveal(f"config:{flowers / 'data/configs/digits.yaml'}")
        await shows(pilot, "train: iris")
        await pilot.press("t")
        await shows(pilot, "Data has changed on the disk", "record it as a new version")
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.workbench)
        assert len(find_registration(flowers, "iris").versions) == 1
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        await pilot.press("v")
        # The model does not exist, which is told once the data is settled.
        await shows(pilot, "Not launched", "NoSuchModel")
        assert [version["rows"] for version in find_registration(flowers, "iris").versions] == [150, 140]
        await pilot.press("escape")
        await until(pilot, lambda: "changed" not in screen_text(app).partition("Configs")[0])


async def test_a_dataset_is_registered_removed_and_brought_back(flowers: Path) -> None:
    iris(flowers / "more.csv", rows=60)
    app = KladMLApp(flowers)
    async with app.run_test(size=ROOMY, notifications=True) as pilot:
        await at_iris(pilot, app)
        await pilot.press("A")
        await until(pilot, lambda: isinstance(app.screen, Form))
        await pilot.press(*["backspace"] * 8, *"gone.csv", "tab", *["backspace"] * 4, "enter")
        await shows(pilot, "Not registered", "there is no file")
        await pilot.press("A")
        await until(pilot, lambda: isinstance(app.screen, Form))
        await pilot.press(*["backspace"] * 8, *"more.csv", "tab", *["backspace"] * 4, "enter")
        await shows(pilot, "more: new, 60 rows", "more.csv", "used by")
        await until(pilot, lambda: app.workbench.dataset_here == flowers / "data/datasets/more.yaml")
        await pilot.press("X")
        await shows(pilot, "Remove more from the registry?")
        await pilot.press("X")
        await until(pilot, lambda: "more.yaml" not in os.listdir(flowers / "data/datasets"))
        await shows(pilot, "more is in the trash")
        await pilot.press("b")
        await shows(pilot, "dataset more")
        await pilot.press("b")
        await until(pilot, lambda: "more.yaml" in os.listdir(flowers / "data/datasets"))


async def test_a_function_is_called_by_a_key_alone(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    (workspace / "made.py").write_text(
        "import numpy as np\ndef load():\n    open('called', 'a').write('x')\n"
        "    return {'train': (np.arange(8.0).reshape(4, 2), np.array([0, 1, 1, 1]))}\n"
    )
    folder = workspace / "data/datasets"
    folder.mkdir()
    (folder / "made.yaml").write_text("name: made\ntarget: made:load\n")
    (folder / "broken.yaml").write_text("paht: x\n")
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "made", "broken", "wrong")
        app.workbench.nodes.reveal(f"dataset:{folder / 'made.yaml'}")
        await shows(pilot, "K calls the function", "used by")
        assert not (workspace / "called").exists()
        await pilot.press("4", "K")
        await shows(pilot, "2 classes, 4 rows", "75.0%")
        assert (workspace / "called").read_text() == "x"
        app.workbench.nodes.reveal(f"dataset:{folder / 'broken.yaml'}")
        await pilot.press("1")
        await shows(pilot, "unknown key 'paht'")


async def test_what_takes_long_is_given_up_when_another_is_shown(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path / "w")
    (workspace / "slow.py").write_text(
        "import os, time\ndef load():\n    open('pid', 'w').write(str(os.getpid()))\n    time.sleep(600)\n"
    )
    (workspace / "data/datasets").mkdir()
    (workspace / "data/datasets/slow.yaml").write_text("name: slow\ntarget: slow:load\n")
    app = KladMLApp(workspace)
    async with app.run_test(size=ROOMY) as pilot:
        await shows(pilot, "slow")
        app.workbench.nodes.reveal(f"dataset:{workspace / 'data/datasets/slow.yaml'}")
        await shows(pilot, "K calls the function")
        await pilot.press("K")
        await until(pilot, lambda: (workspace / "pid").exists() and (workspace / "pid").read_text())
        pid = int((workspace / "pid").read_text())
        app.workbench.nodes.reveal(f"config:{workspace / 'data/configs/digits.yaml'}")
        await until(pilot, lambda: not Path(f"/proc/{pid}").exists())
