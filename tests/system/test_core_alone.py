"""The core by itself: a config is trained and followed where textual, rich and typer are not installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from kladml_core.workspace.init import init_workspace

WITHOUT_THE_CLI_EXTRA = """
import sys
for name in ("textual", "rich", "typer", "watchfiles", "plotext"):
    sys.modules[name] = None  # importing it raises, as if it were not installed
from kladml_core.runs.launch_command import main
raise SystemExit(main(sys.argv[1:]))
"""


def launch(workspace: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_THE_CLI_EXTRA, *words]
    return subprocess.run(command, cwd=workspace, capture_output=True, text=True, timeout=110)


def test_a_config_trains_to_its_end_with_json_lines(tmp_path: Path) -> None:
    init_workspace(tmp_path, "diabetes")
    done = launch(tmp_path, "data/configs/diabetes.yaml", "--json", "--set", "training.max_epochs=3")
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1]["kind"] == "run_finished"
    assert "val/r2" in events[-1]["metrics"]
    assert {"run_started", "validation", "metrics", "checkpoint_saved"} <= {event["kind"] for event in events}


def test_a_config_trains_to_its_end_with_plain_lines(tmp_path: Path) -> None:
    init_workspace(tmp_path, "diabetes")
    done = launch(tmp_path, "data/configs/diabetes.yaml", "--set", "training.max_epochs=2")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "run finished" in done.stdout.splitlines()[-1]


def test_a_mistake_is_one_error_with_its_place_and_exit_code(tmp_path: Path) -> None:
    init_workspace(tmp_path, "diabetes")
    done = launch(tmp_path, "data/configs/diabetes.yaml", "--json", "--set", "training.max_epoch=2")
    assert done.returncode == 2
    error = json.loads(done.stdout)
    assert (error["kind"], error["exit_code"]) == ("error", 2)
    assert "max_epochs" in error["message"] + error.get("hint", "")
    assert not (tmp_path / "data" / "projects").exists()
