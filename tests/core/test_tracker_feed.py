"""What a tracker gets of a run in this process: a given one in a thread, kladml.yaml's from the background process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kladml_core import ExperimentRunner
from kladml_core.backends import EnvConfig
from kladml_core.runner import RunResult
from kladml_core.runs import background
from kladml_core.runs.events import read_events
from kladml_core.runs.rundir import RunDirectory
from kladml_core.tracking.outbox import PROCESS, listed
from kladml_core.tracking.state import FILE, read_sent, uid_of
from tests.core.file_tracker import calls
from tests.core.replayed_runs import FourMethods, Kept, Store, counted
from tests.core.runner_workspace import TRAINING, Heard, Net, table
from tests.system.command import ROOT
from tests.waiting import wait_for

FILE_TRACKER = "tests.core.file_tracker:FileTracker"


@pytest.fixture(autouse=True)
def inside(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(workspace)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    yield workspace
    holding = background.holder(workspace / "data", PROCESS)
    if holding is not None:
        os.kill(holding["pid"], signal.SIGKILL)


def train(runner: ExperimentRunner, **arguments: Any) -> RunResult:
    given = {"training_config": TRAINING, "device": "cpu", "experiment_name": "mine", **arguments}
    return runner.run(model_class=Net, train_data=table(), val_data=table(20), **given)


def given(tracker: Any, config: Any = None) -> ExperimentRunner:
    return ExperimentRunner(config=config, publisher=Heard(), tracker=tracker)


def told(result: RunResult) -> list[str]:
    return [event["message"] for event in read_events(result.path / "events.jsonl")[0] if event["kind"] == "log"]


def test_a_given_tracker_has_all_of_the_run_when_it_returns(workspace: Path) -> None:
    store = Store()
    result = train(given(Kept(store)), project="vision")
    run = RunDirectory(result.path)
    stored = store.only()
    assert list(store.runs) == [uid_of(run)]
    assert (stored.experiment, stored.name, stored.status) == ("mine", "vision/default/mine/run_0001", "FINISHED")
    assert stored.values == counted(run), "each value with its step and its own time"
    assert stored.params["training.max_epochs"] == 4
    assert (stored.tags["kladml.uid"], stored.tags["kladml.status"]) == (uid_of(run), "finished")
    best = "artifacts/best_model/model.safetensors"
    assert stored.files[best] == (run.path / best).read_bytes()
    assert {"config.yaml", "console.log"} < stored.files.keys()
    assert told(result) == []
    assert listed(workspace / "data") == []


def test_the_same_tracker_serves_run_after_run_and_finds_a_resumed_one_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = Store()
    runner = given(Kept(store))
    stopped = train(runner, model_config={"at": {"14": "SIGINT"}})
    assert (stopped.status, store.only().status) == ("stopped", "KILLED")
    monkeypatch.setenv("TEST_CALM", "1")
    train(runner, experiment_name="another")
    resumed = train(runner, model_config={"at": {"14": "SIGINT"}}, resume="mine/run_0001")
    first = store.runs[str(uid_of(RunDirectory(resumed.path)))]
    assert (resumed.status, first.status, len(store.runs)) == ("finished", "FINISHED", 2)
    assert first.values == counted(RunDirectory(resumed.path))


def test_what_a_tracker_of_four_methods_has_no_place_for_is_told() -> None:
    store = Store()
    result = train(given(FourMethods(store)))
    assert told(result) == ["the tracker FourMethods has no place for times and tags and files"]
    assert store.only().status == "FINISHED"
    values = {(name, step): value for name, step, _, value in store.only().values}
    assert values == {(name, step): value for name, step, _, value in counted(RunDirectory(result.path))}


def test_a_tracker_that_was_away_at_first_gets_everything_all_the_same() -> None:
    store = Store(away=True)

    class Back(Heard):
        """The server comes back once its absence has been told."""

        def publish(self, channel: str, message: dict[str, Any]) -> None:
            super().publish(channel, message)
            if message.get("kind") == "log":
                store.away = False

    result = train(ExperimentRunner(publisher=Back(), tracker=Kept(store)))
    assert told(result) == ["the tracker fails: ConnectionError: the server is away"]
    assert store.only().values == counted(RunDirectory(result.path))
    assert store.only().status == "FINISHED"


def test_what_it_refuses_is_a_warning_after_the_end() -> None:
    store = Store(refuses=("train/loss",))
    with pytest.warns(RuntimeWarning, match=r"refused \d+ records, which tracking.json lists; the first is train/loss"):
        result = train(given(Kept(store)))
    assert {value for value in counted(RunDirectory(result.path)) if value[0] != "train/loss"} == set(
        store.only().values
    )


def test_a_tracker_that_stays_away_ends_with_the_run_and_the_background_goes_on(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{Kept.__module__}:{Kept.__qualname__}"
    (workspace / "kladml.yaml").write_text(f"tracker: {{backend: '{name}'}}\n")
    monkeypatch.delenv("KLADML_TRACKER__BACKEND")
    with pytest.warns(RuntimeWarning, match="not all of the run by its end; the background goes on with it"):
        result = train(given(Kept(Store(away=True))))
    assert result.status == "finished"
    run = RunDirectory(result.path)
    assert told(result) == ["the tracker fails: ConnectionError: the server is away"]
    assert [entry.run for entry in listed(workspace / "data")] == [run]
    assert read_sent(run, str(uid_of(run)), name).error is not None


def test_without_a_tracker_kladml_yamls_gets_the_run_in_the_background_under_the_given_name(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = workspace / "store"
    store.mkdir()
    (workspace / "kladml.yaml").write_text(f"tracker: {{backend: '{FILE_TRACKER}', uri: '{store}'}}\n")
    monkeypatch.delenv("KLADML_TRACKER__BACKEND")
    result = train(ExperimentRunner(publisher=Heard()))
    wait_for(lambda: not listed(workspace / "data"), 60)
    values = {(one["key"], one["step"], one["time"], one["value"]) for one in calls(store, "mine", "metric")}
    assert values == set(counted(RunDirectory(result.path)))
    assert calls(store, "mine", "start")[0] == {"call": "start", "experiment": "mine", "run": result.reference}
    assert [one["status"] for one in calls(store, "mine", "end")] == ["FINISHED"]


def test_a_given_config_that_names_another_tracker_is_obeyed(workspace: Path) -> None:
    store = workspace / "store"
    store.mkdir()
    config = EnvConfig(environ={"KLADML_TRACKER__BACKEND": FILE_TRACKER, "KLADML_TRACKER__URI": str(store)})
    result = train(given(None, config))
    values = {(one["key"], one["step"], one["time"], one["value"]) for one in calls(store, "mine", "metric")}
    assert values == set(counted(RunDirectory(result.path)))
    assert listed(workspace / "data") == []


def test_where_nothing_is_tracked_nothing_is_begun(workspace: Path) -> None:
    result = train(given(None))
    assert not (result.path / FILE).exists()
    assert listed(workspace / "data") == []
