"""`kladml-tui notices`: what would be told, and a try of the command."""

from __future__ import annotations

import json
from pathlib import Path

from tests.system.command import kladml
from tests.system.terminal import Terminal
from tests.system.training import write_config


def test_a_try_runs_the_command_with_a_marked_event(workspace: Path) -> None:
    (workspace / "kladml.yaml").write_text("notices: {command: 'cat; exit 4'}\n")
    done = kladml("notices", "test", "run_failed", cwd=workspace)
    event = json.loads(done.stdout)
    assert (event["kind"], event["test"]) == ("run_failed", True)
    assert done.returncode == 1
    assert "exit code 4" in done.stderr


def test_a_try_without_a_command_says_where_to_set_it(workspace: Path) -> None:
    done = kladml("notices", "test", cwd=workspace)
    assert done.returncode == 3
    assert "notices.command" in done.stderr
    assert kladml("notices", "test", "validation", cwd=workspace).returncode == 2


def test_lists_what_is_told(workspace: Path) -> None:
    (workspace / "kladml.yaml").write_text("notices: {command: 'true', bell: true}\n")
    told = json.loads(kladml("notices", "--json", cwd=workspace).stdout)
    assert (told["bell"], told["command"], told["listening"]) == (True, "true", [])
    assert "run lost" in kladml("notices", cwd=workspace).stdout


def test_a_followed_run_rings_at_its_end_only_where_it_is_wanted(workspace: Path) -> None:
    config = write_config(workspace, epochs=1)
    (workspace / "kladml.yaml").write_text("notices: {bell: true}\n")
    followed = Terminal("--run", config, cwd=workspace)
    assert followed.finish(100) == 0
    assert b"\a" in followed.output
    (workspace / "kladml.yaml").write_text("notices: {bell: false}\n")
    watched = Terminal("watch", "run_0001", cwd=workspace)
    assert watched.finish(100) == 0
    assert b"\a" not in watched.output
