"""Turns of what is sent in the background: how long a failed one is put off, and when a run is left alone."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from kladml_core.runs.turns import PATIENCE_SECONDS, CurrentSettings, Turns
from kladml_core.settings import FILE_NAME, load_settings


def test_each_failure_doubles_the_pause_up_to_the_longest() -> None:
    turns = Turns()
    pauses = [turns.failed(longest_wait=60.0) for _ in range(200)]
    for pause, about in zip(pauses, [1, 2, 4, 8, 16, 32, *[60] * 194], strict=True):
        assert about * 0.5 <= pause <= about * 1.5
    assert not turns.parked


def test_a_turn_that_went_well_makes_the_next_failure_the_first_one_again() -> None:
    turns = Turns()
    for _ in range(10):
        turns.failed(longest_wait=60.0)
    turns.went_well(pause=0.0)
    assert turns.due <= time.monotonic()
    assert turns.failed(longest_wait=60.0) <= 1.5


@pytest.mark.parametrize("refused", [True, False])
def test_what_is_refused_or_has_failed_for_a_day_is_left_until_it_is_listed_anew(refused: bool) -> None:
    turns = Turns(since=None if refused else time.time() - PATIENCE_SECONDS - 1)
    turns.failed(longest_wait=60.0, refused=refused)
    assert turns.parked
    turns.at_once()
    assert turns == Turns()


def test_settings_follow_the_file_and_outlast_one_that_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / FILE_NAME

    def write(text: str, at: int) -> None:
        file.write_text(text)
        os.utime(file, ns=(at, at))

    write("workspace: {name: one}\n", 1)
    current = CurrentSettings(load_settings(tmp_path))
    write("workspace: {name: two}\n", 2)
    current.look()
    assert current.now.workspace.name == "two"
    write("workspace: [\n", 3)
    current.look()
    assert current.now.workspace.name == "two"
    assert "kladml.yaml cannot be read, the settings are the earlier ones" in capsys.readouterr().out
