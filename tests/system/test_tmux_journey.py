"""The main journey in a real terminal: launch, watch, edit, be told of a typo, leave, come back; and a killed app."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from kladml_core.runs.processes import identity, is_alive
from kladml_core.runs.status import read_status
from tests.system.tmux import Tmux
from tests.system.training import goes_on, only_run, wait_for_step, write_config
from tests.waiting import wait_for

BRAILLE = "[\u2801-\u28ff]"
STEP = r"val/loss \S+ @([\d,]+)"
CURVE_SECONDS = 90.0


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("columns", "rows"), [(160, 48), (80, 24)])
def test_a_person_launches_watches_edits_leaves_and_finds_the_run_again(
    workspace: Path, tmp_path: Path, columns: int, rows: int
) -> None:
    config = write_config(workspace, "long", epochs=100_000)
    with Tmux(tmp_path / "socket", workspace, columns=columns, rows=rows) as terminal:
        terminal.start()
        terminal.expect(r"long\.yaml")
        terminal.expect(r"t train")  # the cursor is on a config: the footer offers to train it
        terminal.press("t")
        run = only_run(workspace)
        terminal.expect(r"run_0001 +running", CURVE_SECONDS)
        _curve_moves(terminal)

        _to_the_tree(terminal)
        terminal.press("G")
        terminal.expect("e edit")
        terminal.press("e")
        terminal.expect("typing")
        terminal.write("x")
        terminal.expect(r"1:1 +'xproject' is no key of a config +Did you mean project\?")
        terminal.expect("unsaved")
        terminal.press("Escape")
        terminal.expect("commands")
        terminal.press("q")
        terminal.expect("is not saved")
        terminal.press("d")
        terminal.expect("e edit")
        assert config.read_text().startswith("project:")

        terminal.press("q")
        terminal.expect(r"^prompt>\s*$")
        assert goes_on(run)

        terminal.start()
        terminal.expect("1 running")
        _show_run(terminal)
        _curve_moves(terminal)

        app = identity(terminal.pid())
        os.kill(app.pid, signal.SIGKILL)
        wait_for(lambda: not is_alive(app.to_json()), message="the app is still there")
        assert goes_on(run)
        assert read_status(run).status == "running"


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
def test_a_lost_terminal_ends_the_app_alone(workspace: Path, tmp_path: Path) -> None:
    write_config(workspace, "long", epochs=100_000)
    with Tmux(tmp_path / "socket", workspace, columns=100, rows=30) as terminal:
        terminal.start()
        terminal.expect(r"t train")
        terminal.press("t")
        run = only_run(workspace)
        wait_for_step(run)
        app = identity(terminal.pid())
    wait_for(lambda: not is_alive(app.to_json()), 20, "the app outlived its terminal")
    assert goes_on(run)


def _to_the_tree(terminal: Tmux) -> None:
    """On a narrow screen the tree makes room for the run that was launched, and comes back with esc."""
    if "Configs" not in terminal.screen():
        terminal.press("Escape")
        terminal.expect("Configs")


def _show_run(terminal: Tmux) -> None:
    """Goes up to the experiment; the app comes back with the cursor where it was, on the config below the runs."""
    terminal.expect(r"^▌ +long\.yaml")
    for above in ("Configs", "Datasets", "long"):
        terminal.press("k")
        terminal.expect(rf"^▌[ ▾▸]*{above}\b")
    terminal.expect("run_0001")


def _curve_moves(terminal: Tmux) -> None:
    """The chart has a curve, and the last step on the screen grows."""
    terminal.expect(BRAILLE, CURVE_SECONDS)
    first = _step(terminal)
    wait_for(lambda: _step(terminal) > first, CURVE_SECONDS, f"nothing moves:\n{terminal.screen()}")


def _step(terminal: Tmux) -> int:
    return int(terminal.expect(STEP, CURVE_SECONDS)[1].replace(",", ""))
