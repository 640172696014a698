"""The core by itself, in an environment where the cli extra was never installed: a config and a script train there."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status
from kladml_core.workspace.init import init_workspace
from tests.system.core_venv import core_environment, make_core_venv
from tests.system.readme import runner_snippet
from tests.system.same_numbers import assert_same_numbers

HIDDEN = ("textual", "rich", "typer", "watchfiles", "plotext", "boto3", "pytest")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter without the extras."""
    return make_core_venv(tmp_path_factory.mktemp("core") / "venv")


def in_venv(python: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = core_environment()
    return subprocess.run([str(python), *words], cwd=folder, env=environ, capture_output=True, text=True, timeout=110)


def launch(python: Path, workspace: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return in_venv(python, workspace, "-m", "kladml_core.runs.launch", *words)


def test_no_extra_is_there_and_the_command_says_so_in_one_line(python: Path, tmp_path: Path) -> None:
    code = f"from importlib.util import find_spec; print([name for name in {HIDDEN} if find_spec(name)])"
    assert in_venv(python, tmp_path, "-c", code).stdout == "[]\n"
    done = in_venv(python, tmp_path, "-m", "kladml_tui", "themes")
    assert done.returncode == 3
    [line] = done.stderr.splitlines()
    assert "pip install 'kladml-tui[cli]'" in line and "python -m kladml_core.runs.launch CONFIG" in line


def test_digits_train_in_a_plain_script(python: Path, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(runner_snippet())
    done = in_venv(python, tmp_path, "train.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "default/default/notebook/run_0001" in done.stdout
    path = tmp_path / "data/projects/default/default/notebook/run_0001"
    assert read_status(RunDirectory(path)).status == "finished"
    assert_same_numbers(path, f"sqlite:///{tmp_path}/data/mlflow.sqlite", "notebook")


def test_a_config_trains_to_its_end_with_json_lines(python: Path, tmp_path: Path) -> None:
    init_workspace(tmp_path, "digits")
    done = launch(python, tmp_path, "data/configs/digits.yaml", "--json", "--set", "training.max_epochs=1")
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1]["kind"] == "run_finished"
    assert "val/accuracy" in events[-1]["metrics"]
    assert {"run_started", "validation", "metrics", "checkpoint_saved"} <= {event["kind"] for event in events}


def test_a_config_trains_to_its_end_with_plain_lines(python: Path, tmp_path: Path) -> None:
    init_workspace(tmp_path, "diabetes")
    done = launch(python, tmp_path, "data/configs/diabetes.yaml", "--set", "training.max_epochs=2")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "run finished" in done.stdout.splitlines()[-1]


def test_a_mistake_is_one_error_with_its_place_and_exit_code(python: Path, tmp_path: Path) -> None:
    init_workspace(tmp_path, "diabetes")
    done = launch(python, tmp_path, "data/configs/diabetes.yaml", "--json", "--set", "training.max_epoch=2")
    assert done.returncode == 2
    error = json.loads(done.stdout)
    assert (error["kind"], error["exit_code"]) == ("error", 2)
    assert "max_epochs" in error["message"] + error.get("hint", "")
    assert not (tmp_path / "data" / "projects").exists()
