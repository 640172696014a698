"""One contract for every tracker, run against a SQLite file and real MLflow servers on SQLite and on PostgreSQL."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pgserver
import pytest
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient

from kladml_core.backends.mlflow_names import TAG, encoded, takes
from kladml_core.backends.mlflow_tables import MetricTables
from kladml_core.backends.mlflow_tracker import LocalTracker, MLflowTracker
from kladml_core.backends.network_disks import network_file_system
from kladml_core.errors import UnusableError
from kladml_core.interfaces import Measurement, TrackerInterface, UnsupportedOperation
from tests.system.mlflow_server import free_port, mlflow_server

HOSTILE = ["a%b", "loss[0]", "a/../b", "../up", "/root", "x" * 300, "a//b", "ü/λ", "tab\there", "[/red]", "a/b/"]


@pytest.fixture(scope="module")
def sqlite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("sqlite-server")
    with mlflow_server(f"sqlite:///{folder}/mlflow.sqlite", folder / "artifacts") as url:
        yield url


@pytest.fixture(scope="module")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("postgres")
    database = pgserver.get_server(folder / "pg", cleanup_mode="delete")
    try:
        with mlflow_server(database.get_uri(), folder / "artifacts") as url:
            yield url
    finally:
        database.cleanup()


@pytest.fixture(scope="module")
def local_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("local") / "mlflow.sqlite"


@pytest.fixture(params=["local", "server on SQLite", "server on PostgreSQL"])
def tracker(request: pytest.FixtureRequest) -> MLflowTracker:
    if request.param == "local":
        return LocalTracker(request.getfixturevalue("local_file"))
    name = "sqlite_server" if "SQLite" in request.param else "postgres_server"
    return MLflowTracker(request.getfixturevalue(name))


def stored(tracker: MLflowTracker, run_id: str) -> Any:
    return MlflowClient(tracker.uri).get_run(run_id)


def history(tracker: MLflowTracker, run_id: str, name: str) -> list[tuple[int, float, int]]:
    found = MlflowClient(tracker.uri).get_metric_history(run_id, name)
    return sorted((metric.step, metric.value, metric.timestamp) for metric in found)


def test_a_run_arrives_whole(tracker: MLflowTracker, tmp_path: Path) -> None:
    run_id = tracker.start_run("vision/digits/cnn", "vision/digits/cnn/run_0001")
    tracker.log_params({"model.params.width": 64, "optimizer": "adamw", "long": "x" * 9000})
    for step in range(2500):
        tracker.log_metric("train/loss", 1 / (step + 1), step)
    tracker.log_metric("val/loss", 0.5)
    tracker.set_tags({"kladml.git": "abc"})
    (tmp_path / "model.txt").write_text("weights")
    tracker.log_artifact(str(tmp_path / "model.txt"), "best_model")
    tracker.end_run("FINISHED")
    run = stored(tracker, run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "vision/digits/cnn/run_0001")
    assert run.data.params["model.params.width"] == "64"
    assert run.data.params["long"].endswith("x…")
    assert run.data.tags["kladml.git"] == "abc"
    assert [(step, value) for step, value, _ in history(tracker, run_id, "train/loss")] == [
        (step, 1 / (step + 1)) for step in range(2500)
    ]
    assert history(tracker, run_id, "val/loss")[0][:2] == (0, 0.5)
    (tmp_path / "new").mkdir()
    fetched = MlflowClient(tracker.uri).download_artifacts(run_id, "best_model/model.txt", str(tmp_path / "new"))
    assert Path(fetched).read_text() == "weights"


def test_many_values_keep_their_own_times(tracker: MLflowTracker) -> None:
    run_id = tracker.start_run("times")
    tracker.log_metrics([Measurement("loss", float(step), step, 1_600_000_000.125 + step) for step in range(5)])
    tracker.end_run()
    assert history(tracker, run_id, "loss") == [
        (step, float(step), 1_600_000_000_125 + 1000 * step) for step in range(5)
    ]


def test_what_is_no_number_is_kept(tracker: MLflowTracker) -> None:
    run_id = tracker.start_run("non-finite")
    for step, value in enumerate((math.nan, math.inf, -math.inf)):
        tracker.log_metric("loss", value, step)
    tracker.end_run("FAILED")
    values = [value for _, value, _ in history(tracker, run_id, "loss")]
    assert math.isnan(values[0])
    assert values[1] > 1e308
    assert values[2] < -1e308
    assert stored(tracker, run_id).info.status == "FAILED"


def test_names_that_mlflow_refuses_arrive_encoded_with_the_original_in_a_tag(tracker: MLflowTracker) -> None:
    run_id = tracker.start_run("names")
    for name in HOSTILE:
        tracker.log_metric(name, 1.0, 7)
        tracker.log_params({name: name})
    tracker.end_run()
    run = stored(tracker, run_id)
    for name in HOSTILE:
        assert run.data.metrics[encoded(name)] == 1.0
        assert encoded(name) == name or run.data.tags[f"{TAG}{encoded(name)}"] == name
    assert tracker.refused == ()


def test_the_same_uid_opens_the_same_run_and_sending_again_stores_nothing_twice(tracker: MLflowTracker) -> None:
    odd = [math.nan, math.inf, -math.inf, -0.0, 0.1 + 0.2, 5e-324, 1.7976931348623157e308, 1 / 3]
    values = [Measurement("loss", float(step), step, 1_700_000_000.0 + step / 7) for step in range(50)]
    values += [Measurement("odd", value, step, 1_700_000_000.0005) for step, value in enumerate(odd)]
    first = tracker.resume_run("a-uid-1", "again", "again/run_0001")
    tracker.log_metrics(values[:30])
    tracker.log_metrics(values[55:])
    tracker.log_params({"width": 1})
    tracker.end_run("KILLED")
    for _ in range(2):
        assert tracker.resume_run("a-uid-1", "again", "again/run_0001") == first
        assert stored(tracker, first).info.status == "RUNNING"
        tracker.log_metrics(values)
        tracker.log_params({"width": 1})
        tracker.end_run()
    assert tracker.refused == ()
    assert [step for step, _, _ in history(tracker, first, "loss")] == list(range(50))
    assert [step for step, _, _ in history(tracker, first, "odd")] == list(range(len(odd)))
    assert tracker.resume_run("a-uid-2", "again") != first
    tracker.end_run()


def test_what_is_written_into_the_tables_is_what_mlflow_itself_writes(tmp_path: Path) -> None:
    odd = [0.5, math.nan, math.inf, -math.inf, -0.0, 1e308]
    values = [(name, value, step) for name in ("a", "b/c") for step, value in enumerate(odd)]
    values += [("a", 7.0, 2), ("a", 8.0, 5), ("a", 8.0, 5), ("late", 1.0, 9), ("late", 2.0, 3)]
    metrics = [Metric(name, value, 1_700_000_000_000 + step, step) for name, value, step in values]
    rows = []
    for direct in (True, False):
        tracker = LocalTracker(tmp_path / f"{direct}.sqlite")
        run_id = tracker.start_run("rows")
        for first in range(0, len(metrics), 5):
            page = metrics[first : first + 5]
            if direct:
                MetricTables(tracker.file).write(run_id, page)
            else:
                MlflowClient(tracker.uri).log_batch(run_id, page)
        tracker.end_run()
        with sqlite3.connect(tracker.file) as database:
            chosen = "key, value, timestamp, step, is_nan"
            tables = ("metrics", "latest_metrics")
            rows.append([sorted(database.execute(f"select {chosen} from {table}")) for table in tables])
    assert rows[0] == rows[1]
    assert len(rows[0][0]) == len(metrics) - 1


def test_a_run_that_is_deleted_in_mlflow_is_waited_for_and_refuses_nothing(tracker: MLflowTracker) -> None:
    run_id = tracker.resume_run("a-uid-6", "deleted")
    client = MlflowClient(tracker.uri)
    client.delete_run(run_id)
    tracker.patience = 2.0
    tracker.log_metrics([Measurement("loss", 1.0, step, 1.0 + step) for step in range(20)])
    with pytest.raises(UnusableError, match="deleted in MLflow"):
        tracker.flush()
    client.restore_run(run_id)
    tracker.patience = 60.0
    tracker.end_run()
    assert tracker.refused == ()
    assert len(history(tracker, run_id, "loss")) == 20


def test_a_run_has_the_times_and_the_note_that_it_is_given(tracker: MLflowTracker) -> None:
    tracker.set_times(started=1_700_000_000.25)
    run_id = tracker.resume_run("a-uid-4", "told")
    tracker.set_tags({"kladml.note": "good", "kladml.user": "me", "kladml.git_sha": "abc"})
    tracker.set_times(ended=1_700_000_100.5)
    tracker.end_run()
    run = stored(tracker, run_id)
    assert (run.info.start_time, run.info.end_time) == (1_700_000_000_250, 1_700_000_100_500)
    assert (run.data.tags["mlflow.note.content"], run.data.tags["mlflow.user"]) == ("good", "me")
    assert (run.data.tags["kladml.note"], run.data.tags["mlflow.source.git.commit"]) == ("good", "abc")


def test_a_run_that_is_let_go_stays_open_in_mlflow(tracker: MLflowTracker) -> None:
    run_id = tracker.resume_run("a-uid-5", "let go")
    tracker.close()
    assert stored(tracker, run_id).info.status == "RUNNING"
    assert tracker.resume_run("a-uid-5", "let go") == run_id
    tracker.end_run()


def test_a_record_that_is_refused_for_good_is_listed_and_holds_up_nothing(tracker: MLflowTracker) -> None:
    tracker.resume_run("a-uid-3", "refused")
    tracker.log_params({"width": 1})
    tracker.end_run()
    run_id = tracker.resume_run("a-uid-3", "refused")
    tracker.log_params({"width": 2, "depth": 3})
    tracker.log_metric("loss", 1.0, 1)
    tracker.end_run()
    assert len(tracker.refused) == 1
    assert "width" in tracker.refused[0]
    run = stored(tracker, run_id)
    assert run.data.params == {"width": "1", "depth": "3"}
    assert run.data.metrics == {"loss": 1.0}


def test_nothing_is_logged_without_a_run_and_no_second_run_is_opened(tracker: MLflowTracker) -> None:
    with pytest.raises(UnusableError, match="start_run"):
        tracker.log_metric("loss", 1.0, 1)
    tracker.start_run("one")
    with pytest.raises(UnusableError, match="end_run"):
        tracker.start_run("two")
    with pytest.raises(UnusableError, match="FINISHED"):
        tracker.end_run("DONE")
    tracker.end_run()


def test_a_deleted_experiment_is_told(tracker: MLflowTracker) -> None:
    tracker.start_run("gone")
    tracker.end_run()
    client = MlflowClient(tracker.uri)
    client.delete_experiment(client.get_experiment_by_name("gone").experiment_id)
    with pytest.raises(UnusableError, match="mlflow experiments restore"):
        tracker.start_run("gone")


def test_a_server_that_goes_away_in_the_middle_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # MLflow's own retries would hide the outage for minutes.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    store, artifacts, port = f"sqlite:///{tmp_path}/mlflow.sqlite", tmp_path / "artifacts", free_port()
    with mlflow_server(store, artifacts, port=port) as url:
        tracker = MLflowTracker(url, every=0.1, patience=60)
        run_id = tracker.start_run("outage")
        tracker.log_metric("loss", 1.0, 1)
        tracker.flush()
    for step in range(2, 1000):
        tracker.log_metric("loss", 1.0, step)
    tracker.patience = 1.0
    with pytest.raises(UnusableError, match="have not reached"):
        tracker.end_run()
    tracker.patience = 60.0
    with mlflow_server(store, artifacts, port=port):
        tracker.end_run()
        assert [step for step, _, _ in history(tracker, run_id, "loss")] == list(range(1, 1000))


def test_a_server_that_is_not_there_is_told_without_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracker = MLflowTracker("http://me:my-password@127.0.0.1:1", patience=0.1)
    with pytest.raises(UnusableError, match="no run can be started") as told:
        tracker.start_run("x")
    assert "my-password" not in str(told.value)


@pytest.mark.parametrize("name", ["train/loss", "val/accuracy top-5", "a.b_c:d", "ü"])
def test_a_name_that_mlflow_takes_stays(name: str) -> None:
    assert takes(name)
    assert encoded(name) == name


def test_encoded_names_differ_where_the_names_do() -> None:
    names = [*HOSTILE, "a_b", "a%b", "a[b", "loss_0_", "a/b", "b"]
    assert len({encoded(name) for name in names}) == len(set(names))
    assert all(takes(encoded(name)) for name in names)


def test_sqlite_on_a_network_file_system_is_noticed(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    folder = tmp_path / "a share"
    folder.mkdir()
    escaped = str(folder).replace(" ", "\\040")
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/x {escaped} nfs4 rw 0 0\n")
    assert network_file_system(folder, mounts) == "nfs4"
    assert network_file_system(tmp_path, mounts) is None
    assert network_file_system(tmp_path, tmp_path / "missing") is None


def test_a_tracker_of_four_methods_works_and_says_what_it_lacks() -> None:
    class FourMethods(TrackerInterface):
        def __init__(self) -> None:
            self.logged: list[tuple[str, float, int | None]] = []

        def start_run(self, experiment_name: str, run_name: str | None = None) -> str:
            return "1"

        def log_params(self, params: dict[str, Any]) -> None: ...

        def log_metric(self, key: str, value: float, step: int | None = None) -> None:
            self.logged.append((key, value, step))

        def end_run(self, status: str = "FINISHED") -> None: ...

    tracker = FourMethods()
    tracker.start_run("x")
    tracker.log_metrics([Measurement("loss", 1.0, 1, 5.0), Measurement("loss", 2.0, 2, 6.0)])
    tracker.flush()
    assert tracker.logged == [("loss", 1.0, 1), ("loss", 2.0, 2)]
    for act in (lambda: tracker.resume_run("u", "x"), lambda: tracker.set_tags({}), lambda: tracker.log_artifact("f")):
        with pytest.raises(UnsupportedOperation, match="FourMethods"):
            act()
