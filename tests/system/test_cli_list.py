"""`runs`, `views` and `note` from outside: what they print, write and exit with."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from kladml_core.config.load import dump, read
from kladml_core.runs.rundir import RunDirectory
from tests.system.command import kladml
from tests.tui.shell import a_run, workspace_in


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Three runs that differ in seed and width; the first is the shortest."""
    root = workspace_in(tmp_path / "lab")
    for number, status in enumerate(("finished", "failed", "finished")):
        run = RunDirectory(a_run(root, status=status, steps=10 * (number + 1)))
        params = {"width": 16 * (number + 1), "act": "[/x]"}
        config = {**read(run.config).data, "seed": number}
        run.config.write_text(dump({**config, "model": {**config["model"], "params": params}}))
    return root


def names(text: str) -> list[str]:
    return [line.split()[0].rpartition("/")[2] for line in text.splitlines()[1:]]


def test_runs_are_filtered_sorted_and_shown_in_columns_of_ones_choice(lab: Path) -> None:
    done = kladml(
        "runs", "status:finished", "model.params.width>=16", "--sort", "min:train/loss",
        "--columns", "status,min:train/loss,params", cwd=lab,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    assert head.split() == ["run", "status", "min", "train/loss", "model.params.width", "seed"]
    assert names(done.stdout) == ["run_0003", "run_0001"]
    assert "0.06667 @30" in lines[0] and "0.2 @10" in lines[1]
    assert names(kladml("runs", "-status:finished", cwd=lab).stdout) == ["run_0002"]


def test_a_slip_in_a_filter_is_exit_2_with_its_place_and_a_suggestion(lab: Path) -> None:
    done = kladml("runs", "tag:a", "stauts:x", cwd=lab)
    assert (done.returncode, done.stdout) == (2, "")
    assert "at character 7" in done.stderr and "Did you mean status?" in done.stderr
    done = kladml("runs", "--srot", "name", cwd=lab)
    assert done.returncode == 2
    assert "no option --srot" in done.stderr


def test_a_metric_or_parameter_that_no_run_has_is_told_from_runs_that_do_not_match(lab: Path) -> None:
    done = kladml(
        "runs", "train/los<5", "--sort", "best:val/losss", "--columns", "model.params.widht,train/loss", cwd=lab
    )
    assert (done.returncode, done.stdout) == (0, "no runs\n")
    assert done.stderr.splitlines() == [
        "no run has a metric or parameter 'train/los'; did you mean train/loss?",
        "no run has a metric 'val/losss'; did you mean val/loss?",
        "no run has a metric or parameter 'model.params.widht'; did you mean model.params.width?",
    ]
    done = kladml("runs", "train/loss<-5", "model.params.width>1", "--sort", "created", "--columns", "params", cwd=lab)
    assert (done.returncode, done.stdout, done.stderr) == (0, "no runs\n", "")


@pytest.mark.parametrize("sort", ["lr", "best:val/losss", "nope", "created"])
def test_saving_a_view_tells_of_names_and_refuses_slips_as_runs_does(lab: Path, sort: str) -> None:
    listed = kladml("runs", "train/los<5", "--sort", sort, cwd=lab)
    saved = kladml("views", "save", "mine", "train/los<5", "--sort", sort, cwd=lab)
    assert (saved.returncode, saved.stderr) == (listed.returncode, listed.stderr)
    assert ("no run has a metric or parameter 'train/los'" in saved.stderr) is (sort != "nope")
    assert (saved.stdout == "saved mine\n") is (sort != "nope")


def test_nothing_is_told_of_names_where_there_is_no_run(tmp_path: Path) -> None:
    done = kladml("runs", "train/loss<5", cwd=workspace_in(tmp_path / "empty"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "no runs\n", "")
    done = kladml("views", "save", "mine", "train/loss<5", cwd=tmp_path / "empty")
    assert (done.returncode, done.stdout, done.stderr) == (0, "saved mine\n", "")


def test_runs_as_csv_and_json_hold_raw_values_and_steps(lab: Path) -> None:
    done = kladml("runs", "--csv", "--sort", "name", cwd=lab)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["name"][-1] for row in rows] == ["1", "2", "3"]
    assert (rows[1]["train/loss"], rows[1]["train/loss step"]) == ("NaN", "20")
    assert float(rows[2]["duration"]) > 90
    assert [row["model.params.width"] for row in rows] == ["16", "32", "48"]
    done = kladml("runs", "--json", "--columns", "max:train/loss,seed", "--sort", "name", "--limit", "1", cwd=lab)
    assert json.loads(done.stdout) == [
        {"name": "vision/digits/cnn/run_0001", "max train/loss": {"value": 2.0, "step": 1}, "seed": 0}
    ]


def test_a_view_is_saved_and_used_under_any_name(lab: Path) -> None:
    name = "[/x] ../no: '#"
    done = kladml("views", "save", name, "status:finished", "--sort", "name", "--columns", "seed", cwd=lab)
    assert done.returncode == 0, done.stderr
    assert json.loads(kladml("views", "list", "--json", cwd=lab).stdout) == [
        {"name": name, "filter": "status:finished", "sort": "name", "reverse": False, "columns": ["seed"]}
    ]
    assert names(kladml("runs", "--view", name, cwd=lab).stdout) == ["run_0001", "run_0003"]
    assert names(kladml("runs", "--view", name, "--reverse", "seed>0", cwd=lab).stdout) == ["run_0003"]
    assert kladml("views", "remove", name, cwd=lab).returncode == 0
    assert kladml("runs", "--view", name, cwd=lab).returncode == 2


def test_notes_are_written_and_told(lab: Path) -> None:
    done = kladml("note", "1", "run_0002", "a [/x] note", "--tag", "base", "--star", "--json", cwd=lab)
    assert done.returncode == 0, done.stderr
    assert [(row["tags"], row["note"], row["star"]) for row in json.loads(done.stdout)] == [
        (["base"], "a [/x] note", True)
    ] * 2
    assert names(kladml("runs", "tag:base", "-name:run_0001", cwd=lab).stdout) == ["run_0002"]
    editor = lab / "editor"
    editor.write_text('#!/bin/sh\necho "by hand" > "$1"\n')
    editor.chmod(0o755)
    done = kladml("note", "1", "--edit", "--untag", "base", "--no-star", cwd=lab, EDITOR=str(editor), VISUAL="")
    assert "by hand" in done.stdout
    assert json.loads(kladml("note", "1", "--json", cwd=lab).stdout) == [
        {"run": "vision/digits/cnn/run_0001", "tags": [], "note": "by hand", "star": False}
    ]


def test_a_slip_in_a_runs_name_does_not_become_a_note(lab: Path) -> None:
    done = kladml("note", "1", "run_0099", cwd=lab)
    assert (done.returncode, done.stdout) == (3, "")
    assert "no run named 'run_0099'" in done.stderr
    assert not list((lab / "data" / "projects").rglob("notes.yaml"))


def test_runs_that_differ_in_their_seed_are_one_line_with_mean_and_deviation(lab: Path) -> None:
    for run in sorted((lab / "data/projects" / "vision/digits/cnn").iterdir()):
        config = read(run / "config.yaml").data
        (run / "config.yaml").write_text(dump({**config, "model": {"target": "a:b"}}))
    done = kladml("runs", "--group-seeds", "--sort", "name", "--columns", "min:train/loss", cwd=lab)
    assert done.returncode == 0, done.stderr
    head, line = done.stdout.splitlines()
    assert head.split() == ["runs", "seeds", "min", "train/loss"]
    assert "run_0001 run_0002 run_0003" in line and "0, 1, 2" in line and "0.124 ± 0.06861" in line
    [group] = json.loads(kladml("runs", "--group-seeds", "--json", "status:finished", cwd=lab).stdout)
    assert (group["seeds"], group["metrics"]["train/loss"]["last"]["count"]) == ([2, 0], 2)
