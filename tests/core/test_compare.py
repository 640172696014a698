"""In what runs differ: configs, provenance, metrics; and the tables that say it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kladml_core.errors import ConfigError
from kladml_core.runs.compare import compare, value_text
from kladml_core.runs.consoles import json_line
from kladml_core.runs.files import write_json
from kladml_core.runs.rundir import RunDirectory
from kladml_tui.compare_text import BEST, names, plain_text, tables


def a_run(
    workspace: Path, *, rate: float = 0.1, loss: float = 0.5, sha: str = "a" * 40, experiment: str = "e", more: str = ""
) -> RunDirectory:
    run = RunDirectory.create(workspace / "data", "p", "f", experiment, seed=0)
    attempt = run.claim_attempt()
    run.config.write_text(f"training: {{learning_rate: {rate}, early_stopping: {{monitor: val/loss}}}}\n{more}")
    record = {"v": 1, "git": {"sha": sha, "dirty": False, "left_out": []}, "host": "here"}
    write_json(run.attempt_dir(attempt) / "attempt.json", record)
    write_json(run.state_json, {"v": 1, "status": "finished", "attempt": 1, "step": 9})
    figures = {"last": 0.9, "last_step": 9, "min": loss, "min_step": 4, "max": 2.0, "max_step": 1}
    write_json(run.summary, {"val/loss": {**figures, "count": 9, "non_finite": 0}})
    return run


def test_only_what_differs_is_told(workspace: Path) -> None:
    found = compare([a_run(workspace), a_run(workspace, rate=0.2, sha="b" * 40, more="seed: 3\n")])
    assert dict(found.config).keys() == {"training.learning_rate", "seed"}
    assert dict(found.config)["training.learning_rate"] == (0.1, 0.2)
    assert dict(found.provenance) == {"code.sha": ("a" * 40, "b" * 40)}


def test_how_far_runs_came_is_told_where_it_differs_and_how_they_stand_always(workspace: Path) -> None:
    first, second = a_run(workspace), a_run(workspace)

    def facts(everything: bool = False) -> dict[str, tuple[str, ...]]:
        return {row[0]: row[1:] for row in tables(compare([first, second]), everything=everything)[0].rows}

    assert facts()["status"] == ("finished", "finished")
    assert "step" not in facts() and facts(everything=True)["step"] == ("9", "9")
    write_json(second.state_json, {"v": 1, "status": "finished", "attempt": 1, "step": 5})
    assert facts()["step"] == ("9", "5")


def test_the_best_of_the_monitored_metric_is_marked(workspace: Path) -> None:
    worse, better = a_run(workspace, loss=0.5), a_run(workspace, loss=0.4)
    rows = {
        row[0]: row[1:] for row in next(one for one in tables(compare([worse, better])) if one.title == "Metrics").rows
    }
    assert rows["val/loss last"] == ("0.9 @9", "0.9 @9")
    assert rows["val/loss best"] == ("0.5 @4", f"0.4 @4 {BEST}")


def test_the_greatest_is_best_where_the_config_says_so(workspace: Path) -> None:
    runs = [a_run(workspace), a_run(workspace)]
    runs[0].config.write_text("training: {early_stopping: {monitor: val/loss, mode: max}}\n")
    rows = {row[0]: row[1:] for table in tables(compare(runs)) for row in table.rows}
    assert rows["val/loss best"] == (f"2 @1 {BEST}", f"2 @1 {BEST}")


def test_in_json_what_a_run_lacks_is_missing(workspace: Path) -> None:
    first, second = a_run(workspace), a_run(workspace, more="seed: 3\n")
    second.summary.unlink()
    printed = json.loads(json_line(compare([first, second]).to_json()))
    assert printed["config"]["seed"] == {"p/f/e/run_0002": 3}
    assert printed["metrics"]["val/loss"].keys() == {"p/f/e/run_0001"}
    assert [row["run"] for row in printed["runs"]] == ["p/f/e/run_0001", "p/f/e/run_0002"]


def test_a_run_without_a_config_is_compared_and_named(workspace: Path) -> None:
    first, second = a_run(workspace), a_run(workspace)
    second.config.unlink()
    found = compare([first, second])
    assert [reference for reference, _ in found.unread] == ["p/f/e/run_0002"]
    assert value_text(dict(found.config)["training.learning_rate"][1]) == "–"


def test_too_few_too_many_or_the_same_run_is_refused(workspace: Path) -> None:
    runs = [a_run(workspace) for _ in range(30)]
    for wrong in (runs[:1], runs * 7, [runs[0], runs[0]]):
        with pytest.raises(ConfigError):
            compare(wrong)
    assert len(compare(runs).runs) == 30


def test_runs_that_differ_in_their_seed_alone_are_one_column_with_mean_and_deviation(workspace: Path) -> None:
    runs = [a_run(workspace, loss=loss, more=f"seed: {seed}\n") for seed, loss in enumerate((0.2, 0.4, 0.6))]
    found = compare([*runs, a_run(workspace, rate=0.3, more="seed: 0\n")])
    rows = {row[0]: row[1:] for table in tables(found, seeds=True) for row in table.rows}
    assert rows["n"] == ("3", "1") and rows["seeds"] == ("0, 1, 2", "0")
    assert rows["val/loss best"] == ("0.4 ± 0.2", "0.5")
    assert rows["training.learning_rate"] == ("0.1", "0.3") and "seed" not in rows
    spread = json.loads(json_line(found.groups_json()[0]))["metrics"]["val/loss"]["best"]
    assert spread["count"] == 3 and abs(spread["deviation"] - 0.2) < 1e-12


def test_what_runs_have_in_common_is_told_where_it_is_asked_for(workspace: Path) -> None:
    found = compare([a_run(workspace), a_run(workspace, rate=0.2)])
    assert "early_stopping" not in plain_text(found)
    told = plain_text(found, everything=True)
    assert "training.early_stopping.monitor\tval/loss" in told and "host\there" in told


def test_runs_of_several_experiments_keep_their_whole_names(workspace: Path) -> None:
    found = compare([a_run(workspace), a_run(workspace, experiment="other")])
    assert names(found) == ("p/f/e/run_0001", "p/f/other/run_0001")
    assert names(compare([a_run(workspace), a_run(workspace)])) == ("run_0002", "run_0003")


def test_the_text_to_copy_has_a_cell_for_each_run(workspace: Path) -> None:
    text = plain_text(compare([a_run(workspace), a_run(workspace, rate=0.2)]))
    assert "Config\trun_0001\trun_0002\ntraining.learning_rate\t0.1\t0.2\n" in text
