"""The whole story of a run, played by story.sh in a real terminal; `story.sh 10` plays it ten times in a row."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.command import COMMAND, environment

STORY = Path(__file__).with_name("story.sh")


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
@pytest.mark.timeout(600)
def test_a_run_lives_through_closed_terminals_killed_apps_stops_and_resumes() -> None:
    played = subprocess.run(
        ["bash", str(STORY)],
        env=environment(KLADML=shlex.join(COMMAND), PYTHON=sys.executable),
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert played.returncode == 0, played.stdout + played.stderr
    assert "the curve is whole" in played.stdout
