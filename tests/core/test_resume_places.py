"""A run goes on wherever its directory lies by now, and in whatever state its state.json is."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from kladml_core.config.load import dump
from kladml_core.errors import ConfigError, UnusableError
from kladml_core.metrics.columns import Cut, read, visible
from kladml_core.metrics.names import file_name
from kladml_core.runs.events import read_events, resume_cuts
from kladml_core.runs.files import read_json, write_json
from kladml_core.runs.launch import prepare, prepare_resume
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.start import worker_environment, write_attempt
from kladml_core.runs.status import SILENT_SECONDS, reconcile
from tests.core.trainer_workspace import CONFIG, Ended, assert_same_end, make_workspace, merged, new_run, work


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("places"))


@pytest.fixture(scope="module")
def undisturbed(workspace: Path) -> Ended:
    return work(new_run(workspace, EVERY_STEP), workspace)


EVERY_STEP = {"training": {"log_every": 1}}


def killed_run(workspace: Path) -> RunDirectory:
    """A run as a launch makes it, whose worker was killed in its 25th step: its state says `running`."""
    source = workspace / "source.yaml"
    source.write_text(dump({"project": "p", "family": "f", "experiment": "e", **merged(CONFIG, EVERY_STEP)}))
    plan = prepare(source, workspace=workspace)
    run = RunDirectory.create(workspace / "data", "p", "f", "e", seed=plan.config.seed)
    write_attempt(run, run.claim_attempt(0), plan, worker_environment(plan))
    assert work(run, workspace, TEST_AT="26", TEST_WHAT="SIGKILL").code == -9
    assert (run.read_state() or {})["status"] == "running"
    return run


def resumed(run: RunDirectory, workspace: Path) -> Ended:
    """What `resume` does, with a worker that is forked."""
    plan, ended = prepare_resume(run, workspace=workspace)
    write_attempt(run, run.claim_attempt(ended), plan, worker_environment(plan))
    return work(run, workspace)


def steps(run: RunDirectory) -> list[int]:
    cuts = resume_cuts(read_events(run.events)[0])
    records, _ = read(run.metrics / file_name("train/loss"))
    return visible(records, 0, [Cut(*cut) for cut in cuts["train/loss"]])["step"].tolist()


def test_a_copy_of_a_run_from_another_machine_goes_on_in_another_workspace(
    workspace: Path, undisturbed: Ended, tmp_path: Path
) -> None:
    run = killed_run(workspace)
    state = read_json(run.state_json)
    elsewhere = {**state, "host": "elsewhere", "heartbeat": time.time() - SILENT_SECONDS - 1}
    write_json(run.state_json, elsewhere)
    status = reconcile(run)
    assert (status.status, status.live) == ("running", True), "where it was trained it may be alive"
    other = make_workspace(tmp_path / "other")
    path = other / "data" / "projects" / "q" / "g" / "copied" / "run_0009"
    copy = RunDirectory(Path(shutil.copytree(run.path, path)))
    status = reconcile(copy)
    assert status.status == "lost" and "a copy of a run" in str(status.reason) and "elsewhere" in str(status.reason)
    ended = resumed(copy, other)
    assert (ended.code, ended.status) == (0, "finished"), ended.output
    assert copy.reference == "q/g/copied/run_0009" and copy.read_run() == run.read_run()
    assert_same_end(undisturbed, ended)
    assert steps(copy) == list(range(1, 41))
    assert str(workspace) not in str(read_json(copy.attempt_dir(2) / "attempt.json")["command"])


def test_a_copy_is_not_given_up_while_its_state_is_young(workspace: Path, tmp_path: Path) -> None:
    run = killed_run(workspace)
    write_json(run.state_json, {**read_json(run.state_json), "host": "elsewhere", "heartbeat": time.time()})
    copy = RunDirectory(Path(shutil.copytree(run.path, tmp_path / "p" / "f" / "e" / "run_0001")))
    assert reconcile(copy).status == "running", "an inode alone is no proof: some file systems change them"
    with pytest.raises(UnusableError, match="is running already"):
        prepare_resume(copy, workspace=workspace)


def test_a_moved_run_with_a_damaged_state_goes_on(workspace: Path, undisturbed: Ended) -> None:
    run = killed_run(workspace)
    target = run.path.parent.with_name("moved")
    target.mkdir()
    moved = RunDirectory(run.path.rename(target / "run_0003"))
    assert reconcile(moved).status == "lost"
    moved.state_json.write_bytes(b'{"v": 1, "status": "runn\x00')
    made = time.time() - 3600
    write_json(moved.run_json, {**read_json(moved.run_json), "created": made})
    os.utime(moved.path, (made, made))
    assert reconcile(moved).status == "damaged"
    ended = resumed(moved, workspace)
    assert (ended.code, ended.status) == (0, "finished"), ended.output
    assert_same_end(undisturbed, ended)
    assert steps(moved) == list(range(1, 41))
    assert reconcile(moved).attempt == 2


@pytest.mark.parametrize(
    "word", ["seed=4", "model.params.width=8", "data.target=models:broken_load", "training.batch_size=2"]
)
def test_what_makes_a_run_what_it_is_cannot_be_set_on_resume(workspace: Path, word: str) -> None:
    run = killed_run(workspace)
    with pytest.raises(ConfigError, match="cannot be resumed with another"):
        prepare_resume(run, workspace=workspace, overrides=[word])


def test_the_schedule_and_free_keys_can_be_set_on_resume(workspace: Path) -> None:
    run = killed_run(workspace)
    words = ["training.max_epochs=6", "training.learning_rate=0.01", "training.log_every=7", "launch.device=auto"]
    plan, ended = prepare_resume(run, workspace=workspace, overrides=words)
    assert (ended, plan.config.training.max_epochs, plan.config.launch.device) == (1, 6, "auto")
