"""ExperimentRunner: what it takes, what it leaves behind, how it ends, and who hears of it."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from kladml_core import BaseModel, ExperimentRunner, TorchModel, TrainingConfig
from kladml_core.backends import EnvConfig
from kladml_core.config.load import read
from kladml_core.data.datamodule import DataModule
from kladml_core.errors import ConfigError, KladMLError, NothingToResumeError, UnusableError
from kladml_core.metrics.columns import read as read_series
from kladml_core.metrics.names import file_name, list_metrics
from kladml_core.runner import RunResult
from kladml_core.runs.checkpoint_list import list_checkpoints
from kladml_core.runs.events import read_events
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status
from kladml_core.runs.stop import request_stop
from kladml_core.runs.stored import Store
from kladml_core.training import checkpoints
from kladml_core.workspace.dataset_register import register
from kladml_core.workspace.descriptions import read_description, write_description
from kladml_core.workspace.fingerprints import read_fingerprint
from kladml_core.workspace.workspace import Workspace
from tests.core import runner_workspace as parts
from tests.core.runner_workspace import TRAINING, Folder, Heard, Net, Plain, Regression, Tracked, table
from tests.waiting import wait_for


@pytest.fixture(autouse=True)
def inside(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (workspace / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(workspace / "deep" / "er")
    return workspace


def run(model: Any = Net, data: Any = None, runner: ExperimentRunner | None = None, **arguments: Any) -> RunResult:
    given = {"training_config": TRAINING, "device": "cpu", **arguments}
    runner = runner or ExperimentRunner(publisher=Heard())
    return runner.run(model_class=model, train_data=table() if data is None else data, **given)


def events(path: Path) -> list[dict[str, Any]]:
    return read_events(path / "events.jsonl")[0]


def kinds(path: Path) -> list[str]:
    return [event["kind"] for event in events(path)]


def weights(result: RunResult) -> dict[str, torch.Tensor]:
    info, rejects = checkpoints.newest(result.path / "checkpoints")
    assert info is not None and not rejects
    return checkpoints.load(info.path).model


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def only_run(workspace: Path) -> RunDirectory:
    [found] = Workspace.open(workspace).all_runs()
    return found


# --- what it takes ----------------------------------------------------------------------------------------------


class Rows(torch.utils.data.Dataset[Any]):
    def __getitem__(self, index: int) -> Any:
        x, y = table()
        return x[index], y[index]

    def __len__(self) -> int:
        return 60


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    root = tmp_path_factory.mktemp("expected")
    (root / "kladml.yaml").touch()
    before = Path.cwd()
    os.chdir(root)
    try:
        return weights(run())
    finally:
        os.chdir(before)


@pytest.mark.parametrize("kind", ["arrays", "list", "dataset", "loader", "rows", "module", "splits", "file", "name"])
def test_the_same_data_in_any_form_gives_the_same_run(
    kind: str, expected: dict[str, torch.Tensor], workspace: Path
) -> None:
    x, y = table()
    file = workspace / "rows.safetensors"
    save_file({"x": x, "y": y}, file)
    data = {
        "arrays": (x.double().numpy(), y.numpy()),
        "list": [x, y],
        "dataset": TensorDataset(x, y),
        "loader": DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True),
        "rows": Rows(),
        "module": DataModule((x, y)),
        "splits": {"train": (x, y)},
        "file": "rows.safetensors",
        "name": "rows",
    }[kind]
    if kind == "name":
        register(workspace, "rows", path="rows.safetensors")
    result = run(data=data)
    assert_equal(weights(result), expected)
    config = read(result.path / "config.yaml").data
    if kind in ("file", "name"):
        assert config["data"]["train"] == data
        identity = RunDirectory(result.path).read_run()
        assert identity is not None and identity["fingerprints"] == {data: read_fingerprint(file)}
    else:
        assert config["data"]["target"] == "kladml_core.runner:given_data"
        assert "60" in config["data"]["params"]["train"]


def test_a_registered_dataset_that_changed_is_told(workspace: Path) -> None:
    x, y = table()
    save_file({"x": x, "y": y}, workspace / "rows.safetensors")
    register(workspace, "rows", path="rows.safetensors")
    save_file({"x": x * 2, "y": y}, workspace / "rows.safetensors")
    result = run(data="rows")
    warnings = [event["message"] for event in events(result.path) if event["kind"] == "log"]
    assert any("dataset 'rows' has changed since it was registered" in warning for warning in warnings), warnings


def test_a_module_with_a_loss_by_name_or_as_a_function(workspace: Path) -> None:
    named = run(Plain, loss="cross_entropy", model_config={"width": 6})
    assert named.load_best().predict(table()[0]).shape == (60, 2)
    half = run(Plain, loss=parts.half_loss, model_config={"width": np.int64(6)})
    assert half.metrics["train/loss"] < named.metrics["train/loss"]
    config = read(half.path / "config.yaml").data
    assert config["loss"] == "tests.core.runner_workspace:half_loss"
    assert config["model"] == {"target": "tests.core.runner_workspace:Plain", "params": {"width": 6}}
    best = ExperimentRunner().load_best(half.reference)
    assert torch.equal(best.predict(table()[0]), half.load_best().predict(table()[0]))


def test_a_scikit_learn_estimator_trains_in_process_and_is_evaluated_on_the_test_data() -> None:
    heard = Heard()
    result = run(
        Regression, parts.digits(), ExperimentRunner(publisher=heard), model_config={"C": 0.5}, training_config=None
    )
    assert result.status == "finished"
    assert result.metrics["val/accuracy"] > 0.9
    x, y = parts.digits()["test"]
    best = result.load_best()
    assert isinstance(best, Regression)
    assert best.estimator.C == 0.5
    assert result.metrics["test/accuracy"] == pytest.approx(float((best.predict(x) == y).mean()), abs=0.02)
    assert np.array_equal(ExperimentRunner().load_best("run_0001").predict(x), best.predict(x))
    assert heard.events()[-1]["metrics"]["test/accuracy"] == result.metrics["test/accuracy"]
    with pytest.raises(NothingToResumeError):
        run(Regression, parts.digits(), model_config={"C": 0.5}, training_config=None, resume="run_0001")


def test_the_test_data_is_seen_by_the_best_model_once() -> None:
    x, y = table(100)
    result = run(data={"train": (x[:60], y[:60]), "val": (x[60:80], y[60:80]), "test": (x[80:], y[80:])})
    best = result.load_best().evaluate(x[80:], y[80:])
    assert {f"test/{name}": pytest.approx(value) for name, value in best.items()} == {
        name: value for name, value in result.metrics.items() if name.startswith("test/")
    }
    assert result.best is not None and result.best["metric"] == "val/loss"
    [record] = read_series(result.path / "metrics" / file_name("test/accuracy"))[0]
    assert record["step"] == result.step


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ({"training_config": {"max_epoch": 3}}, ConfigError, "max_epochs"),
        ({"training_config": {"max_epochs": 3, "seed": 1}}, ConfigError, "top level"),
        ({"training_config": 3}, ConfigError, "training_config is an int"),
        ({"model_config": {"act": nn.ReLU}}, ConfigError, r"model_config\['act'\]"),
        ({"model_config": {"act": nn.ReLU}, "model": Plain}, ConfigError, "act"),
        ({"experiment_name": "a/b"}, ConfigError, "must not hold a /"),
        ({"model": "nowhere:Net"}, UnusableError, "nowhere"),
        ({"model": Net()}, UnusableError, "not a class"),
        ({"model": Plain(3)}, UnusableError, "instance of Plain"),
        ({"model": 3}, UnusableError, "is an int"),
        ({"data": "no-such-data"}, ConfigError, "no-such-data"),
        ({"data": (torch.ones(3), torch.ones(2))}, UnusableError, "different lengths"),
        ({"data": {"train": table()}, "val_data": table()}, ConfigError, "all splits itself"),
        ({"resume": "run_0009"}, UnusableError, "run_0009"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_written(
    arguments: dict[str, Any], kind: type[KladMLError], text: str, workspace: Path
) -> None:
    with pytest.raises(kind, match=text):
        run(**arguments)
    assert not (workspace / "data" / "projects").exists()


def test_outside_of_a_workspace_the_current_directory_becomes_one_which_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "elsewhere"
    place.mkdir()
    monkeypatch.chdir(place)
    with pytest.raises(ConfigError, match="max_epochs"):
        run(training_config={"max_epoch": 3})
    with pytest.raises(UnusableError, match="kladml-tui init"):
        run(resume="run_0001")
    assert list(place.iterdir()) == []
    result = run()
    assert result.path == place / "data/projects/default/default/default/run_0001"
    assert (place / "kladml.yaml").is_file()
    told = [event["message"] for event in events(result.path) if event.get("level") == "warning"]
    assert told == [f"{place} is a workspace from now on: it has a kladml.yaml"]
    again = run()
    assert again.reference == "default/default/default/run_0002"
    assert not [event for event in events(again.path) if event.get("level") == "warning"]


def test_what_trains_is_taken_out_of_the_archive_which_is_told(workspace: Path) -> None:
    first = run(experiment_name="old")
    file = first.path.parent / "experiment.yaml"
    write_description(file, archived=True)
    again = run(experiment_name="old")
    assert not read_description(file).archived
    assert any("'old' was archived" in event.get("message", "") for event in events(again.path))


def test_settings_come_from_kladml_yaml_and_the_given_config_wins(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / "kladml.yaml").write_text("workspace: {data_dir: elsewhere}\nlaunch: {device: 'cuda:77'}\n")
    with pytest.raises(UnusableError, match="CUDA"):
        run(device=None)
    config = EnvConfig(environ={"KLADML_LAUNCH__DEVICE": "cpu", "KLADML_PUBLISHER__BACKEND": "none"})
    result = run(device=None, runner=ExperimentRunner(config=config))
    assert result.path.is_relative_to(workspace / "elsewhere")
    assert read(result.path / "config.yaml").data["launch"]["device"] == "cpu"
    assert capsys.readouterr().out == ""
    with pytest.raises(ConfigError, match=r"launch\.device must be"):
        run(device=None, runner=ExperimentRunner(config=EnvConfig(environ={"KLADML_LAUNCH__DEVICE": "gpu"})))
    run(runner=ExperimentRunner())
    assert "run finished" in capsys.readouterr().out


# --- how it ends ------------------------------------------------------------------------------------------------


def test_a_model_that_raises_leaves_a_failed_run_that_says_where(workspace: Path) -> None:
    heard = Heard()
    with pytest.raises(ValueError, match="unwell"):
        run(runner=ExperimentRunner(publisher=heard), model_config={"at": {"12": "raise"}})
    found = only_run(workspace)
    status = read_status(found)
    assert (status.status, status.exit_code) == ("failed", 1)
    last = heard.events()[-1]
    assert (last["kind"], last["resumable"]) == ("run_failed", True)
    assert last["file"].endswith("runner_workspace.py")
    assert "the model is unwell" in found.console_log.read_text()


def test_ctrl_c_stops_with_a_checkpoint_and_resuming_ends_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments: dict[str, Any] = {"model_config": {"at": {"14": "SIGINT"}}, "experiment_name": "stopped"}
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    stopped = run(**arguments)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    assert (stopped.status, stopped.reason, stopped.step, stopped.resumable) == ("stopped", "signal SIGINT", 13, True)
    state = RunDirectory(stopped.path).read_state() or {}
    assert (state["status"], state["exit_code"], state["pid"]) == ("stopped", 130, os.getpid())
    with pytest.raises(UnusableError, match="no best model"):
        stopped.load_best()

    monkeypatch.setenv("TEST_CALM", "1")
    heard = Heard()
    resumed = run(runner=ExperimentRunner(publisher=heard), resume="stopped/run_0001", **arguments)
    undisturbed = run(experiment_name="undisturbed", model_config=arguments["model_config"])
    assert (resumed.reference, resumed.status, resumed.step) == (stopped.reference, "finished", 32)
    assert_equal(weights(resumed), weights(undisturbed))
    assert {event["attempt"] for event in heard.events()} == {2}
    [event] = [event for event in events(resumed.path) if event["kind"] == "resumed"]
    assert (event["step"], event["exact"]) == (13, True)

    with pytest.raises(NothingToResumeError, match="finished"):
        run(resume="stopped/run_0001", **arguments)
    with pytest.raises(ConfigError, match="batch_size"):
        run(resume="stopped/run_0001", training_config={**TRAINING, "batch_size": 4}, **arguments)
    longer = run(resume="stopped/run_0001", training_config={**TRAINING, "max_epochs": 5}, **arguments)
    assert (longer.step, kinds(longer.path).count("config_changed")) == (40, 1)


def test_a_second_ctrl_c_raises_and_the_run_says_stopped(workspace: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(model_config={"at": {"14": "SIGINT SIGINT"}})
    assert signal.getsignal(signal.SIGINT) is before
    status = read_status(only_run(workspace))
    assert (status.status, status.exit_code, status.reason) == ("stopped", 130, "ended at once")


def test_sigterm_stops_the_run_and_then_reaches_whoever_handled_it_before(workspace: Path) -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        result = run(model_config={"at": {"14": "SIGTERM"}})
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (result.status, result.step) == ("stopped", 13)
    assert came == [signal.SIGTERM]
    assert read_status(RunDirectory(result.path)).exit_code == 143


def test_off_the_main_thread_it_sets_no_handler_and_stops_on_request(workspace: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    results: list[RunResult] = []
    training = {**TRAINING, "max_epochs": 100_000}
    thread = threading.Thread(target=lambda: results.append(run(training_config=training)))
    thread.start()
    runs = Workspace.open(workspace)
    wait_for(lambda: [it for it in runs.all_runs() if read_status(it).status == "running"], 60)
    assert signal.getsignal(signal.SIGINT) is before
    request_stop(only_run(workspace), by="a test")
    thread.join(60)
    assert [(it.status, it.reason) for it in results] == [("stopped", "stop requested")]


def test_deterministic_training_leaves_the_process_as_it_was() -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    run(training_config=TrainingConfig(**{**TRAINING, "deterministic": True}))
    assert not torch.are_deterministic_algorithms_enabled()


# --- who hears of it --------------------------------------------------------------------------------------------


def test_the_publisher_gets_every_message_in_another_thread() -> None:
    heard = Heard()
    result = run(runner=ExperimentRunner(publisher=heard), val_data=table(20))
    assert heard.events() == [{"run": result.reference, **event} for event in events(result.path)]
    assert heard.messages[-1][1]["kind"] == "run_finished"
    steps = [message["step"] for channel, message in heard.messages if channel == "metrics"]
    assert {*range(3, 33, 3), 8, 16, 24, 32} == set(steps)
    assert "finished" in [message["status"] for channel, message in heard.messages if channel == "status"]
    assert heard.threads == {"run-follower"}


def test_a_publisher_that_raises_never_reaches_training_and_is_told_once() -> None:
    heard = Heard(fails=True)
    result = run(runner=ExperimentRunner(publisher=heard))
    assert result.status == "finished"
    assert len(heard.messages) > 10
    warnings = [event for event in events(result.path) if event.get("level") == "warning"]
    assert [event["message"] for event in warnings] == ["the publisher fails: RuntimeError: nobody listens"]


@pytest.mark.parametrize("seconds", [0.0, 0.01])
def test_the_tracker_gets_the_config_every_metric_and_the_end_however_slow_it_is(seconds: float) -> None:
    tracked = Tracked(seconds=seconds)
    result = run(runner=ExperimentRunner(publisher=Heard(), tracker=tracked), val_data=table(20))
    assert [call[0] for call in tracked.calls[:2]] == ["start_run", "log_params"]
    assert tracked.of("start_run") == [("default", result.reference)]
    [(params,)] = tracked.of("log_params")
    assert (params["training.max_epochs"], params["model.target"]) == (4, "tests.core.runner_workspace:Net")
    logged = {(name, step): value for name, value, step in tracked.of("log_metric")}
    written = {
        (metric, int(record["step"])): float(record["value"])
        for metric in list_metrics(result.path / "metrics")
        for record in read_series(result.path / "metrics" / file_name(metric))[0]
    }
    assert logged == written
    assert tracked.calls[-1] == ("end_run", "FINISHED")
    assert tracked.threads == {"tracker"}


@pytest.mark.parametrize("fails_in", ["start_run", "log_params", "log_metric", "end_run"])
def test_a_tracker_that_fails_costs_the_run_nothing(fails_in: str) -> None:
    tracked = Tracked(fails_in=fails_in)
    with pytest.warns(RuntimeWarning, match="the tracker has not all of the run"):
        result = run(runner=ExperimentRunner(publisher=Heard(), tracker=tracked))
    assert result.status == "finished"
    assert bool(tracked.of("end_run")) == (fails_in != "start_run")


@pytest.mark.parametrize(("at", "status"), [("raise", "FAILED"), ("SIGINT", "KILLED")])
def test_the_tracker_is_told_how_it_ended(at: str, status: str) -> None:
    tracked = Tracked()
    runner = ExperimentRunner(publisher=Heard(), tracker=tracked)
    if at == "raise":
        with pytest.raises(ValueError, match="unwell"):
            run(runner=runner, model_config={"at": {"9": at}})
    else:
        run(runner=runner, model_config={"at": {"9": at}})
    assert tracked.of("end_run") == [(status,)]


def test_the_storage_gets_the_artifacts(tmp_path: Path) -> None:
    storage = Folder(tmp_path / "store")
    config = EnvConfig(environ={"KLADML_STORAGE__BUCKET": "mine", "KLADML_STORAGE__PREFIX": "lab"})
    result = run(runner=ExperimentRunner(storage, config, publisher=Heard()))
    folder = f"lab/{result.reference}/artifacts/best_model"
    assert storage.list_files("mine", folder) == [f"{folder}/model.json", f"{folder}/model.safetensors"]
    copied = tmp_path / "store" / "mine" / folder / "model.safetensors"
    assert copied.read_bytes() == (result.path / "artifacts" / "best_model" / "model.safetensors").read_bytes()


def test_the_storage_gets_checkpoints_where_that_is_wanted_and_the_run_can_be_fetched_from_it(tmp_path: Path) -> None:
    storage = Folder(tmp_path / "store")
    config = EnvConfig(environ={"KLADML_STORAGE__UPLOAD": "{checkpoints: true}"})
    result = run(runner=ExperimentRunner(storage, config, publisher=Heard()), model_config={"at": {"14": "SIGINT"}})
    assert result.status == "stopped"
    stored = Store(storage, "kladml").read(result.reference)
    assert stored is not None
    assert (stored.status, stored.step) == ("stopped", 13)
    assert {info.name for info in list_checkpoints(RunDirectory(result.path))} == {
        info.name for info in stored.checkpoints
    }


def test_a_given_config_may_name_the_storage(tmp_path: Path) -> None:
    config = EnvConfig(environ={"KLADML_STORAGE__OPTIONS": f"{{root: {tmp_path}/store}}"})
    result = run(runner=ExperimentRunner(config=config, publisher=Heard()))
    copied = tmp_path / "store" / "kladml" / result.reference / "artifacts/best_model/model.safetensors"
    assert copied.read_bytes() == (result.path / "artifacts/best_model/model.safetensors").read_bytes()


def test_a_storage_that_fails_is_told_and_costs_the_run_nothing(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where a folder must be")
    with pytest.warns(RuntimeWarning, match="the storage has not all of the run"):
        result = run(runner=ExperimentRunner(Folder(tmp_path / "store"), publisher=Heard()))
    assert result.status == "finished"
    assert "the storage fails" in [event for event in events(result.path) if event.get("level")][-1]["message"]


def test_the_public_names_are_there() -> None:
    assert issubclass(Net, TorchModel)
    assert issubclass(TorchModel, BaseModel)
