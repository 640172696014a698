"""`kladml-tui prune` from outside, and what pruning and pins mean to real workers."""

from __future__ import annotations

import json
from pathlib import Path

from kladml_core.runs.event_text import size_text
from kladml_core.runs.pins import pin
from kladml_core.runs.prune import propose, prune
from tests.core.pruned_runs import a_run, name, tree
from tests.core.trainer_workspace import add_attempt, make_workspace, new_run, work
from tests.system.command import json_lines, kladml


def test_a_dry_run_then_the_trash_then_back(workspace: Path) -> None:
    run = a_run(workspace / "data")
    a_run(workspace / "data", status="running")
    before = tree(workspace / "data" / "projects")
    dry = kladml("prune", cwd=workspace)
    assert dry.returncode == 0, dry.stderr
    heads, first, second, total = dry.stdout.splitlines()
    assert heads.split() == ["run", "what", "size", "why"] and name(10) in first and name(30) in second
    assert total.startswith("2 things, ")
    assert "vision/digits/cnn/run_0002 stays: it is live" in dry.stderr and "--yes" in dry.stderr
    assert tree(workspace / "data" / "projects") == before
    done = kladml("prune", "--yes", cwd=workspace)
    assert done.returncode == 0 and "prune --undo" in done.stderr and "frees the" in done.stderr, done.stderr
    assert not (run.checkpoints / name(10)).exists()
    listed = kladml("prune", "--list", cwd=workspace).stdout
    assert "2 checkpoints of vision/digits/cnn/run_0001" in listed
    assert "nothing was deleted" in kladml("prune", "--empty", cwd=workspace).stderr
    back = kladml("prune", "--undo", cwd=workspace)
    assert (back.returncode, back.stdout.count("run_0001")) == (0, 2), back.stderr
    assert tree(workspace / "data" / "projects") == before
    again = kladml("prune", "--undo", cwd=workspace)
    assert again.returncode == 3 and "the trash is empty" in again.stderr


def test_a_named_run_goes_whole_and_comes_back_and_one_that_has_to_stay_is_exit_3(workspace: Path) -> None:
    run, live = a_run(workspace / "data"), a_run(workspace / "data", status="running", steps=())
    before = tree(run.path)
    done = kladml("prune", "--runs", "1", "--yes", cwd=workspace)
    assert done.returncode == 0 and not run.path.exists(), done.stderr
    assert kladml("prune", "--undo", cwd=workspace).returncode == 0
    assert tree(run.path) == before
    done = kladml("prune", "--runs", "2", "--yes", cwd=workspace)
    assert done.returncode == 3 and "run_0002 stays: it is live" in done.stderr and live.path.is_dir()
    assert kladml("prune", "--runs", "2", "--yes", "--older-than", "1d", cwd=workspace).returncode == 0


def test_everything_has_its_json(workspace: Path) -> None:
    a_run(workspace / "data", status="failed")
    pinned = json.loads(kladml("prune", "--pin", "1", "10", "--json", cwd=workspace).stdout)
    assert pinned == {"run": "vision/digits/cnn/run_0001", "checkpoint": name(10), "pinned": True}
    (shown,) = json_lines(kladml("show", "1", "--json", cwd=workspace).stdout)
    assert [row["name"] for row in shown["checkpoints"] if row["pinned"]] == [name(10)]
    assert shown["disk"]["bytes"] > sum(shown["disk"]["checkpoints"].values()) > 80_000
    held = size_text(sum(shown["disk"]["checkpoints"].values()))
    assert f"{size_text(shown['disk']['bytes'])}, checkpoints {held}" in kladml("show", "1", cwd=workspace).stdout
    proposed = json.loads(kladml("prune", "--json", cwd=workspace).stdout)
    assert (proposed["done"], [line["what"] for line in proposed["lines"]]) == (False, [name(30)])
    done = json.loads(kladml("prune", "--yes", "--json", cwd=workspace).stdout)
    assert done["done"] and done["bytes"] == proposed["bytes"] and done["left"] == []
    listed = json.loads(kladml("prune", "--empty", "--older-than", "1d", "--yes", "--json", cwd=workspace).stdout)
    assert listed["entries"] == []
    emptied = json.loads(kladml("prune", "--empty", "--yes", "--json", cwd=workspace).stdout)
    assert [entry["entry"] for entry in emptied["entries"]] == [done["entry"]]
    assert list((workspace / "data" / ".trash").iterdir()) == []


def test_what_does_not_go_together_is_said(workspace: Path) -> None:
    for words, told in (
        (["--undo", "--list"], "--undo and --list do not go together"),
        (["--undo", "--yes"], "--undo takes no --yes"),
        (["--pin", "1"], "--pin takes RUN CHECKPOINT"),
        (["--empty", "vision"], "--empty takes no references"),
        (["--older-than", "a week"], "--older-than must be a time such as 12h or 7d"),
    ):
        done = kladml("prune", *words, cwd=workspace)
        assert done.returncode == 2 and told in done.stderr, done.stderr
    empty = kladml("prune", cwd=workspace)
    assert (empty.returncode, empty.stdout) == (0, "nothing to prune\n")


def test_a_pruned_run_goes_on_from_its_newest_and_retention_keeps_what_is_pinned(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    run = new_run(workspace, {"training": {"checkpoint": {"keep_last": 3}}})
    stopped = work(run, workspace, TEST_AT="26", TEST_WHAT="SIGTERM")
    assert stopped.status == "stopped", stopped.output
    assert sorted(path.name for path in run.checkpoints.glob("step-*")) == [name(10), name(20), name(25)]
    pin(run, "10")
    done = prune(propose(workspace / "data"))
    assert {line.what for line in done.lines} <= {name(20)} and done.left == ()
    add_attempt(run)
    ended = work(run, workspace)
    assert (ended.code, ended.status) == (0, "finished"), ended.output
    (resumed,) = ended.of_kind("resumed")
    assert (resumed["step"], resumed["exact"]) == (25, True)
    assert ended.terminal["best"]["checkpoint"] != name(10), "it would stay without its pin"
    assert (run.checkpoints / name(10)).is_dir()
    assert name(10) not in {event["name"] for event in ended.of_kind("checkpoint_removed")}
