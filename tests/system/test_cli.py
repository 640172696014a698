"""The command line from outside: usage, choice of the workspace, and commands that need no training."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kladml_core.backends.run_log import RunLog
from kladml_core.runs.checkpoint_list import MANIFEST, seal
from kladml_core.runs.rundir import RunDirectory
from tests.system.command import COMMAND, ROOT, environment, json_lines, kladml


@pytest.mark.parametrize(
    "arguments",
    [
        ["--no-such-option"],
        ["no-such-command"],
        ["--run"],
        ["runs", "--limit", "many"],
        ["--detach"],
        ["--json"],
        ["--set", "a=1", "runs"],
        ["--run", "x.yaml", "runs"],
        ["--run", "x.yaml", "--processes", "0"],
        ["show"],
        ["runs", "--status", "sleeping"],
        ["config", "no-such-command"],
        ["\x1b[31m[/red]"],
    ],
)
def test_wrong_usage_is_one_error_with_exit_code_2(workspace: Path, arguments: list[str]) -> None:
    done = kladml(*arguments, cwd=workspace)
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("kladml-tui: ") and "\x1b" not in done.stderr and "Traceback" not in done.stderr


def test_wrong_usage_is_told_in_json_too(workspace: Path) -> None:
    done = kladml("runs", "--limit", "many", "--json", cwd=workspace)
    (line,) = json_lines(done.stdout)
    assert (line["kind"], line["exit_code"], done.returncode) == ("error", 2, 2)


def test_the_version_is_the_packages(tmp_path: Path) -> None:
    from kladml_core import __version__

    assert kladml("--version", cwd=tmp_path).stdout == f"kladml-tui {__version__}\n"
    assert kladml("--workspace", tmp_path, "--version", cwd=tmp_path).stdout == f"kladml-tui {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["runs"], ["--run", "x.yaml"], ["config", "check", "x.yaml"]])
def test_without_a_workspace_it_says_how_to_make_one(tmp_path: Path, arguments: list[str]) -> None:
    done = kladml(*arguments, cwd=tmp_path)
    assert done.returncode == 3 and "kladml-tui init" in done.stderr


def test_a_directory_that_is_no_workspace_is_refused(tmp_path: Path) -> None:
    done = kladml("runs", "--workspace", tmp_path, cwd=tmp_path)
    assert done.returncode == 3 and "is no workspace" in done.stderr


def test_the_app_without_a_terminal_names_the_way_that_works(workspace: Path) -> None:
    done = kladml(cwd=workspace)
    assert done.returncode == 3 and "--run CONFIG" in done.stderr


def test_without_the_cli_extra_one_line_says_what_to_install(tmp_path: Path) -> None:
    hidden = "import sys\nfor name in ('typer', 'rich', 'textual'):\n    sys.modules[name] = None\n"
    code = f"{hidden}sys.argv = ['kladml-tui', 'runs']\nfrom kladml_tui.cli import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 3 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "pip install 'kladml-tui[cli]'" in line and "python -m kladml_core.runs.launch" in line


def test_the_workspace_is_found_from_below_it_and_from_the_config(workspace: Path, tmp_path: Path) -> None:
    below = workspace / "data" / "configs"
    (below / "broken.yaml").write_text("model: [\n")
    assert kladml("runs", cwd=below).stdout == "no runs\n"
    from_elsewhere = kladml("config", "check", below / "broken.yaml", cwd=tmp_path)
    assert from_elsewhere.returncode == 2 and "broken.yaml:" in from_elsewhere.stderr


def test_a_config_is_looked_for_here_and_then_in_the_workspace(workspace: Path) -> None:
    (workspace / "data" / "configs" / "a.yaml").write_text("model: [\n")
    elsewhere = workspace / "data"
    done = kladml("config", "check", "data/configs/a.yaml", cwd=elsewhere)
    assert done.returncode == 2 and "a.yaml:" in done.stderr


def test_a_config_is_looked_for_in_the_folders_of_configs_too(workspace: Path) -> None:
    (workspace / "data" / "configs" / "deep.yaml").write_text("model: [\n")
    done = kladml("config", "check", "deep.yaml", cwd=workspace)
    assert done.returncode == 2 and "data/configs/deep.yaml:1:8" in done.stderr
    missing = kladml("--run", "dep.yaml", cwd=workspace)
    assert missing.returncode == 3
    assert f"dep.yaml: there is no such file. Did you mean {workspace}/data/configs/deep.yaml?" in missing.stderr
    unlike = kladml("--run", "qqqqqqq.yaml", "--json", cwd=workspace)
    assert unlike.returncode == 3 and "data/configs" in json_lines(unlike.stdout)[0]["hint"]


def test_a_group_of_commands_alone_shows_its_help_and_nothing_else(workspace: Path) -> None:
    done = kladml("config", cwd=workspace)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: kladml-tui config") and "check" in done.stderr
    assert "kladml-tui: " not in done.stderr


def test_a_suggestion_ends_its_sentence_itself(workspace: Path) -> None:
    done = kladml("config", "chek", cwd=workspace)
    assert done.returncode == 2 and "?. " not in done.stderr


def test_small_checkpoints_have_a_size(workspace: Path) -> None:
    run = _ended_run(workspace, "good", "finished", 0)
    checkpoint = run.checkpoints / "step-0000000001"
    checkpoint.mkdir(parents=True)
    (checkpoint / "model.safetensors").write_bytes(bytes(20_000))
    known = {"step": 1, "epoch": 0, "time": 1.0, "seconds": 0.1, "metrics": {}, "best": True, "world_size": 1}
    files = {"model.safetensors": {"size": 20_000, "sha256": ""}}
    (checkpoint / MANIFEST).write_bytes(seal({"v": 1, **known, "config_hash": "", "versions": {}, "files": files}))
    shown = kladml("show", "1", cwd=workspace).stdout
    assert "step-0000000001  1     20.3 kB" in shown, shown


def test_runs_are_listed_with_what_they_did(workspace: Path) -> None:
    finished = _ended_run(workspace, "good", "finished", 0)
    failed = _ended_run(workspace, "bad [/red] \x1b[31m", "failed", 70)
    plain = kladml("runs", cwd=workspace)
    assert plain.returncode == 0 and "\x1b" not in plain.stdout
    assert finished.reference in plain.stdout and "failed 70" in plain.stdout and "val/loss 0.5" in plain.stdout
    rows = json.loads(kladml("runs", "--json", cwd=workspace).stdout)
    assert [row["run"] for row in rows] == [failed.reference, finished.reference]
    only = json.loads(kladml("runs", "--json", "--status", "finished", cwd=workspace).stdout)
    assert [row["status"] for row in only] == ["finished"]


def test_show_tells_metrics_and_json_is_strict(workspace: Path) -> None:
    run = _ended_run(workspace, "good", "finished", 0)
    assert "train/loss" in kladml("show", "good/run_0001", cwd=workspace).stdout
    (shown,) = json_lines(kladml("show", "1", "--json", cwd=workspace).stdout)
    assert shown["run"] == run.reference and shown["metrics"]["train/loss"]["last"] == "NaN"


def test_a_run_that_nobody_knows_is_told_so(workspace: Path) -> None:
    for command in ("show", "watch", "stop", "resume"):
        done = kladml(command, "7", cwd=workspace)
        assert done.returncode == 3 and "no run named '7'" in done.stderr


def test_what_has_ended_cannot_be_stopped(workspace: Path) -> None:
    _ended_run(workspace, "good", "finished", 0)
    done = kladml("stop", "1", cwd=workspace)
    assert done.returncode == 3 and "finished" in done.stderr


def test_themes_are_listed(workspace: Path) -> None:
    names = {row["name"] for row in json.loads(kladml("themes", "--json", cwd=workspace).stdout)}
    assert {"kladml-dark", "kladml-light"} <= names


def test_a_closed_standard_stream_is_no_error(workspace: Path) -> None:
    words = " ".join([*COMMAND, "runs"])
    for redirect in (">&-", "2>&-", "<&-", ">&- 2>&- <&-"):
        done = subprocess.run(
            ["bash", "-c", f"{words} {redirect}"], cwd=workspace, env=environment(), capture_output=True, check=False
        )
        assert done.returncode == 0, (redirect, done.stderr)


def test_a_reader_that_leaves_is_no_error(workspace: Path) -> None:
    script = f"{' '.join([*COMMAND, '--help'])} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=workspace, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() in ("0", "141") and "Traceback" not in done.stderr and "Exception" not in done.stderr


def test_init_says_what_it_made_and_what_comes_next(tmp_path: Path) -> None:
    done = kladml("init", "my lab", "--example", "digits", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "my lab/kladml.yaml" in done.stdout
    assert done.stdout.splitlines()[-1] == "next: cd 'my lab' && kladml-tui --run data/configs/digits.yaml"
    again = json.loads(kladml("init", "my lab", "--json", cwd=tmp_path).stdout)
    assert again["made"] == []
    made = json.loads(kladml("init", "other", "--example", "digits", "--json", cwd=tmp_path).stdout)["made"]
    assert len(made) == 6 and all(path.startswith(f"{tmp_path}/other/") for path in made)
    dashed = kladml("init", "--", "-lab", cwd=tmp_path)
    assert dashed.stdout.splitlines()[-1] == "next: cd -- -lab && kladml-tui"


def test_a_config_without_a_problem_says_so(tmp_path: Path) -> None:
    kladml("init", "lab", "--example", "digits", cwd=tmp_path)
    done = kladml("config", "check", "data/configs/digits.yaml", cwd=tmp_path / "lab")
    assert (done.returncode, done.stdout) == (0, "no problems\n"), done.stderr


def test_the_repository_is_a_workspace_with_the_examples(tmp_path: Path) -> None:
    for name in ("digits", "tiny_gpt", "diabetes"):
        config = ROOT / "kladml_core" / "examples" / f"{name}.yaml"
        done = kladml("config", "check", config, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr


def _ended_run(workspace: Path, experiment: str, status: str, exit_code: int) -> RunDirectory:
    run = RunDirectory.create(workspace / "data", "project", "family", experiment.replace("/", "|"), seed=0)
    log = RunLog(run, run.claim_attempt())
    log.status("running")
    log.log_metrics({"train/loss": float("nan"), "val/loss": 0.5}, step=3)
    kind = "run_finished" if status == "finished" else "run_failed"
    log.event(kind, step=3, exit_code=exit_code, metrics={}, best=None, resumable=False)
    log.status(status, exit_code=exit_code)
    log.close()
    return run


@pytest.mark.parametrize("group", [(), ("config",), ("queue",), ("datasets",), ("projects",), ("views",)])
def test_help_cuts_no_summary_off(group: tuple[str, ...], tmp_path: Path) -> None:
    told = kladml(*group, "--help", cwd=tmp_path, COLUMNS="80").stdout
    assert "Commands:" in told
    assert "..." not in told.partition("Commands:")[2]
