"""The commands about where runs are filed and about their configs, as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kladml_core.runs.ref import find_run
from tests.core.pruned_runs import a_run, set_status
from tests.system.command import kladml

GOOD = 'project: vision\nmodel: {target: "mod:Net"}\ndata: {target: "mod:load"}\ntraining: {max_epochs: 3}\n'
HOSTILE = "ho[red]st[x]漢"


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A workspace with one config."""
    (tmp_path / "kladml.yaml").write_text("")
    (tmp_path / "mod.py").write_text("class Net: ...\ndef load(): ...\n")
    (tmp_path / "data" / "configs").mkdir(parents=True)
    (tmp_path / "data" / "configs" / "a.yaml").write_text(GOOD)
    return tmp_path


def test_a_project_lives_from_create_to_undo(lab: Path) -> None:
    def projects(*words: str, code: int = 0) -> tuple[str, str]:
        done = kladml("projects", *words, cwd=lab)
        assert done.returncode == code, done.stderr
        return done.stdout, done.stderr

    projects("create", "vision/digits", "--title", HOSTILE)
    a_run(lab / "data", experiment="vision/digits/cnn")
    out, _ = projects("list")
    assert HOSTILE in out and "vision/digits/cnn" in out
    out, err = projects("rename", "vision", "sight")
    assert "sight" in out and "still named vision in data/configs/a.yaml" in err
    rows = {row["ref"]: row for row in json.loads(projects("list", "--json")[0])}
    assert rows["sight"]["runs"] == 1 and rows["sight/digits"]["title"] == HOSTILE
    projects("archive", "sight/digits")
    out, err = projects("list")
    assert "digits" not in out and "2 archived; --all shows them" in err
    projects("unarchive", "sight/digits")
    assert "would go" in projects("delete", "sight")[0]
    assert json.loads(projects("delete", "sight", "--yes", "--json")[0])["entry"]
    assert projects("list")[0] == "no projects\n"
    assert kladml("prune", "--undo", cwd=lab).returncode == 0
    assert "sight/digits/cnn" in projects("describe", "sight/digits/cnn")[0]
    assert "no project 'vision'" in projects("describe", "vision", code=3)[1]
    assert "must not begin with a dot" in projects("create", ".x", code=2)[1]


def test_runs_of_what_is_archived_are_listed_with_all(lab: Path) -> None:
    a_run(lab / "data", experiment="vision/digits/cnn")
    a_run(lab / "data", experiment="vision/old/cnn", status="failed")
    assert kladml("projects", "archive", "vision/old", cwd=lab).returncode == 0
    for words in ([], ["--csv"], ["--json"], ["--group-seeds"]):
        done = kladml("runs", *words, cwd=lab)
        assert "vision/digits/cnn" in done.stdout and "old" not in done.stdout
        assert done.stderr == "1 run in archived experiments left out; --all lists them too\n"
    done = kladml("runs", "--all", "--sort", "name", cwd=lab)
    assert "vision/old/cnn" in done.stdout and done.stderr == ""
    assert kladml("show", "vision/old/cnn/run_0001", cwd=lab).returncode == 0
    done = kladml("rerun", "--failed", cwd=lab)
    assert done.stdout == "no failed runs\n" and "1 more failed run in archived" in done.stderr
    assert "old" not in kladml("projects", "list", cwd=lab).stdout
    set_status(find_run(lab / "data", "old/cnn/run_0001"), "running")
    for words in (["projects", "list"], ["runs"]):
        assert "vision/old/cnn" in kladml(*words, cwd=lab).stdout


def test_configs_live_from_new_to_check(lab: Path) -> None:
    def config(*words: str, code: int = 0) -> str:
        done = kladml("config", *words, cwd=lab)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    made = json.loads(config("new", HOSTILE, "--model", "mod:Net", "--json"))
    assert made["config"].endswith(f"{HOSTILE}.yaml") and made["problems"] == [] and made["open"] == []
    config("duplicate", "a", "b")
    assert "its runs go to vision/default/c now" in config("rename", "b", "c")
    assert config("check") == "no problems\n"
    (lab / "data" / "configs" / "c.yaml").write_text("model: [\n")
    assert "c.yaml:1:8" in config("check", code=2)
    listed = config("list")
    assert HOSTILE in listed and "1 problem" in listed
    assert "training" in json.loads(kladml("config", "schema", cwd=lab).stdout)["properties"]
