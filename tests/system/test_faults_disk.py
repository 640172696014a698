"""A disk that is full, or that may only be read: training goes on, what was written stays, and nobody is lied to."""

from __future__ import annotations

from pathlib import Path

import pytest

from kladml_core.metrics.columns import read
from kladml_core.metrics.names import file_name
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status, reconcile
from tests.core.trainer_workspace import Ended, add_attempt, assert_same_end, make_workspace, merged, new_run, work
from tests.core.worker_forks import fork_workers
from tests.system.faults import fill, small_disk
from tests.system.stepwise import CHANGE, let, reach, write_model

FOR_EVER = 1_000_000
LONG = merged(CHANGE, {"training": {"max_epochs": 20}})
"""200 steps: the records of the first 170 fill the page of 4 KiB that a file has once it has one byte."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    workspace = make_workspace(tmp_path_factory.mktemp("undisturbed"))
    write_model(workspace, until=FOR_EVER)
    return work(new_run(workspace, LONG), workspace)


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    workspace = make_workspace(tmp_path / "lab")
    write_model(workspace, until=150)
    return workspace


def console(run: RunDirectory) -> dict[str, str]:
    """What the model prints goes onto the small disk too."""
    return {"TEST_HOOK": "tests.core.worker_hooks:console_log", "TEST_CONSOLE": str(run.console_log)}


def steps(run: RunDirectory) -> list[int]:
    records, _ = read(run.metrics / file_name("train/loss"))
    return records["step"].tolist()


def test_training_goes_on_while_nothing_can_be_logged_or_saved(lab: Path, undisturbed: Ended) -> None:
    with small_disk(lab / "data", "2m"):
        run = new_run(lab, LONG)
        with fork_workers(run.path, lab, environ=console(run)) as worker:
            reach(lab, 151)
            before = steps(run)
            assert before == list(range(1, 151))
            hog = fill(lab / "data")
            let(lab, 185)
            reach(lab, 186)
            assert read_status(run).status == "running"
            assert steps(run)[:150] == before
            hog.unlink()
            let(lab, FOR_EVER)
            assert worker.wait() == [0], worker.output
        ended = Ended(run, 0, worker.output)
        assert ended.status == "finished" and read_status(run).status == "finished"
        kept = steps(run)
        assert kept[:150] == before and kept[-15:] == list(range(186, 201)) and kept == sorted(set(kept))
        printed = run.console_log.read_text().splitlines()
        assert printed[:150] == [f"step {step:>200}" for step in range(150)] and printed[-1].endswith(" 200")
        assert sum(event["count"] for event in ended.of_kind("dropped")) > 0
        assert_same_end(undisturbed, ended)


def test_a_run_that_ends_on_a_full_disk_never_reads_running_and_goes_on_once_there_is_space(
    lab: Path, undisturbed: Ended
) -> None:
    with small_disk(lab / "data", "2m"):
        run = new_run(lab, LONG)
        with fork_workers(run.path, lab, environ=console(run)) as worker:
            reach(lab, 151)
            hog = fill(lab / "data")
            let(lab, FOR_EVER)
            assert worker.wait() == [73], worker.output
        status = reconcile(run)
        assert (status.status, status.exit_code) == ("failed", 73), status
        assert "checkpoint" in str(status.reason)
        assert steps(run)[:150] == list(range(1, 151))
        hog.unlink()
        add_attempt(run)
        ended = work(run, lab)
        assert (ended.code, ended.status) == (0, "finished"), ended.output
        assert_same_end(undisturbed, ended)
