"""New runs from what an earlier one recorded: clones, reruns, and copies of configs."""

from __future__ import annotations

from pathlib import Path

import pytest

from kladml_core.config.load import dump, parse, read
from kladml_core.errors import ConfigError, UnusableError
from kladml_core.runs.clone import copy_path, copy_text, failed_runs, prepare_clone, prepare_rerun, rerun, write_copy
from kladml_core.runs.files import write_json
from kladml_core.runs.processes import identity
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status
from tests.waiting import wait_for

CONFIG = """\
project: p
family: f
experiment: e
model: {target: "kladml_core.examples.diabetes:DiabetesMLP"}
data: {target: "kladml_core.examples.diabetes:load"}
training: {max_epochs: 3}
"""


def ended(workspace: Path, status: str = "failed", *, experiment: str = "e", code: int = 1) -> RunDirectory:
    run = RunDirectory.create(workspace / "data", "p", "f", experiment, seed=0)
    run.claim_attempt()
    run.config.write_text(CONFIG)
    write_json(run.state_json, {"v": 1, "status": status, "attempt": 1, "exit_code": code})
    return run


def recorded_origin(run: RunDirectory) -> object:
    return (run.read_attempt(1) or {}).get("cloned_from")


def made_of(workspace: Path, origin: RunDirectory, status: str = "finished") -> RunDirectory:
    run = ended(workspace, status)
    uid = (origin.read_run() or {})["uid"]
    record = {"v": 1, "cloned_from": {"reference": origin.reference, "uid": uid}}
    write_json(run.attempt_dir(1) / "attempt.json", record)
    return run


def test_a_clone_is_the_recorded_config_with_any_key_changed(workspace: Path) -> None:
    run = ended(workspace)
    plan = prepare_clone(run, workspace=workspace, overrides=["seed=7", "training.batch_size=8", "experiment=other"])
    assert (plan.config.seed, plan.config.training.batch_size, plan.config.experiment) == (7, 8, "other")
    assert plan.config.training.max_epochs == 3
    assert plan.cloned_from == {"reference": "p/f/e/run_0001", "uid": (run.read_run() or {})["uid"]}
    assert [path.name for path in run.path.parent.iterdir()] == ["run_0001"]


def test_a_clone_with_a_wrong_key_names_it(workspace: Path) -> None:
    with pytest.raises(ConfigError, match="trainig"):
        prepare_clone(ended(workspace), workspace=workspace, overrides=["trainig.max_epochs=1"])


def test_a_run_whose_data_was_given_in_memory_cannot_be_cloned(workspace: Path) -> None:
    run = ended(workspace)
    data = {**parse(CONFIG, "").data, "data": {"target": "kladml_core.runner:given_data", "params": {}}}
    run.config.write_text(dump(data))
    with pytest.raises(UnusableError, match="given in memory"):
        prepare_clone(run, workspace=workspace)
    other = "data.target=kladml_core.examples.diabetes:load"
    assert prepare_clone(run, workspace=workspace, overrides=[other]).config.data.target is not None


def test_a_run_again_is_a_new_run_that_knows_of_which_it_is(workspace: Path) -> None:
    run = ended(workspace)
    again = rerun(run, workspace=workspace)
    assert again.reference == "p/f/e/run_0002"
    assert recorded_origin(again) == {"reference": run.reference, "uid": (run.read_run() or {})["uid"]}
    assert read(again.config).data["training"]["max_epochs"] == 3
    wait_for(lambda: not read_status(again).live, 90.0)
    assert read_status(again).status == "finished", again.console_log.read_text()
    assert failed_runs(workspace / "data").waiting == ()


def test_a_live_run_is_not_run_again(workspace: Path) -> None:
    run = ended(workspace)
    write_json(run.state_json, {"v": 1, "status": "running", "attempt": 1, **identity().to_json()})
    with pytest.raises(UnusableError, match="is running still"):
        prepare_rerun(run, workspace=workspace)


def test_failed_runs_are_those_that_nobody_ran_again(workspace: Path) -> None:
    done, first, lost = ended(workspace, "finished"), ended(workspace), ended(workspace, "lost")
    other = ended(workspace, experiment="e2")
    stopped = ended(workspace, "stopped", code=75)
    assert failed_runs(workspace / "data").waiting == (first, lost, other)
    made_of(workspace, first)
    found = failed_runs(workspace / "data", ["p/f/e"])
    assert (found.waiting, found.run_again) == ((lost,), (first,))
    assert failed_runs(workspace / "data", [stopped.reference, done.reference]).waiting == ()
    with pytest.raises(UnusableError, match="no run below"):
        failed_runs(workspace / "data", ["p/f/e3"])


def test_a_copy_is_made_only_when_it_is_written_and_never_over_another(workspace: Path) -> None:
    run = ended(workspace)
    path = copy_path(run, workspace)
    assert path == workspace / "data/configs/e-0001.yaml" and not path.exists()
    assert write_copy(run, path.parent, workspace=workspace) == path
    assert path.read_text() == f"# Copied from p/f/e/run_0001\n{CONFIG}"
    assert copy_path(run, workspace).name == "e-0001-2.yaml"
    with pytest.raises(UnusableError, match="is there already"):
        write_copy(run, path, workspace=workspace)


def test_a_copy_with_changes_holds_them_and_is_checked(workspace: Path, tmp_path: Path) -> None:
    run = ended(workspace)
    path = write_copy(run, tmp_path / "new" / "mine.yaml", workspace=workspace, overrides=["seed=3"])
    assert read(path).data["seed"] == 3
    with pytest.raises(ConfigError):
        write_copy(run, tmp_path / "wrong.yaml", workspace=workspace, overrides=["sed=3"])
    assert not (tmp_path / "wrong.yaml").exists()


def test_a_copy_of_nothing_says_so(workspace: Path) -> None:
    run = ended(workspace)
    run.config.unlink()
    with pytest.raises(UnusableError, match="has no config to copy"):
        copy_text(run)
