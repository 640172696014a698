"""Tracking on real MLflow: what its server answers is what the run directories hold, through outages and kills."""

from __future__ import annotations

import json
import os
import signal
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pgserver
import pytest

from kladml_core.runs import background
from kladml_core.runs.launch import launch, prepare
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status
from kladml_core.settings import load_settings
from kladml_core.tracking.outbox import PROCESS, enlist, listed
from kladml_core.tracking.overview import look, send
from kladml_core.tracking.state import read_sent, uid_of
from tests.core.replayed_runs import began, counted, ended, new_run
from tests.system.faults import gated_target
from tests.system.mlflow_server import free_port, mlflow_server
from tests.system.training import write_config
from tests.waiting import wait_for

SECONDS = 200.0
Stored = Counter[tuple[str, int, int, str]]


@pytest.fixture(autouse=True)
def tracked(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("KLADML_TRACKER__BACKEND", raising=False)
    yield
    holding = background.holder(workspace / "data", PROCESS)
    if holding is not None:
        os.kill(holding["pid"], signal.SIGKILL)


def use(workspace: Path, url: str | None) -> None:
    (workspace / "kladml.yaml").write_text(f"tracker: {{backend: local, uri: {json.dumps(url)}}}\n")


def idle(workspace: Path) -> bool:
    return not listed(workspace / "data") and background.holder(workspace / "data", PROCESS) is None


def ask(url: str, path: str, body: dict[str, Any] | None = None, **query: str) -> dict[str, Any]:
    """What the server's REST interface answers."""
    address = f"{url}/api/2.0/mlflow/{path}?{urllib.parse.urlencode(query)}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def only_run(url: str, experiment: str) -> dict[str, Any]:
    """The one run of an experiment."""
    found = ask(url, "experiments/get-by-name", experiment_name=experiment)["experiment"]["experiment_id"]
    (run,) = ask(url, "runs/search", {"experiment_ids": [found]})["runs"]
    return dict(run)


def stored(url: str, run: dict[str, Any]) -> Stored:
    """Every value that the server has of a run, page by page, as often as it has it."""
    found: Stored = Counter()
    for metric in run["data"].get("metrics", []):
        page: dict[str, str] = {}
        while True:
            names = {"run_id": run["info"]["run_id"], "metric_key": metric["key"], "max_results": "20000"}
            answer = ask(url, "metrics/get-history", **names, **page)
            for one in answer.get("metrics", []):
                value = repr(float(one["value"]))
                found[one["key"], int(one.get("step", 0)), int(one["timestamp"]), value] += 1
            if not answer.get("next_page_token"):
                break
            page = {"page_token": answer["next_page_token"]}
    return found


def of_the_directory(run: RunDirectory) -> Stored:
    """Every value of the run that counts, in the server's words."""
    return Counter((name, step, round(at * 1e3), repr(float(value))) for name, step, at, value in counted(run))


def test_the_default_store_shows_the_curves_params_and_files_of_a_run(workspace: Path, tmp_path: Path) -> None:
    use(workspace, None)
    run = launch(prepare(write_config(workspace, epochs=2), workspace=workspace))
    wait_for(lambda: idle(workspace), SECONDS, "the process goes on")
    # What README says to look with.
    store = workspace / "data" / "mlflow.sqlite"
    with mlflow_server(f"sqlite:///{store}", workspace / "data" / "mlartifacts") as url:
        found = only_run(url, "vision/digits/short")
        assert stored(url, found) == of_the_directory(run)
        info, data = found["info"], found["data"]
        assert (info["run_name"], info["status"]) == (run.reference, "FINISHED")
        assert {one["key"]: one["value"] for one in data["params"]}["model.params.width"] == "8"
        assert {one["key"]: one["value"] for one in data["tags"]}["kladml.uid"] == uid_of(run)
        files = {one["path"] for one in ask(url, "artifacts/list", run_id=info["run_id"])["files"]}
        assert {"artifacts", "config.yaml", "console.log"} <= files
        status = read_status(run)
        assert int(info["end_time"]) == round((status.ended or 0) * 1e3)


@pytest.mark.timeout(600)
def test_a_server_that_stops_in_the_middle_of_a_training_costs_nothing(workspace: Path, tmp_path: Path) -> None:
    store, artifacts, port = f"sqlite:///{tmp_path}/mlflow.sqlite", tmp_path / "artifacts", free_port()
    config = write_config(workspace, "gated", epochs=2, target=gated_target(workspace))
    with mlflow_server(store, artifacts, port=port) as url:
        use(workspace, url)
        run = launch(prepare(config, workspace=workspace, overrides=["training.log_every=1"]))
        uid = str(uid_of(run))
        wait_for(lambda: read_sent(run, uid).records, SECONDS, "nothing was sent while it trains")
    (workspace / "go").touch()
    wait_for(lambda: read_status(run).status == "finished", SECONDS, "training waits for the server")
    wait_for(lambda: read_sent(run, uid).error, SECONDS, "nobody says that the server is away")
    (told,) = look(load_settings(workspace)).runs
    assert (told.state, told.guarantee) == ("failing", "exactly once")
    assert told.records > 0
    with mlflow_server(store, artifacts, port=port) as url:
        wait_for(lambda: idle(workspace), SECONDS, "it is not sent although the server is back")
        found = only_run(url, "vision/digits/gated")
        assert stored(url, found) == of_the_directory(run)
        assert found["info"]["status"] == "FINISHED"


@pytest.mark.timeout(600)
def test_a_sync_killed_half_way_sends_each_value_once(workspace: Path, tmp_path: Path) -> None:
    database = pgserver.get_server(tmp_path / "pg", cleanup_mode="delete")
    try:
        with mlflow_server(database.get_uri(), tmp_path / "artifacts") as url:
            use(workspace, url)
            run = new_run(workspace / "data", "killed")
            log = began(run)
            for step in range(6000):
                log.log_metrics({"train/loss": 1 / (step + 1), "train [%]": step / 3}, step)
            ended(log)
            enlist(run, 1, workspace)
            for least in (1, 5001):
                wait_for(lambda least=least: read_sent(run, str(uid_of(run))).records >= least, SECONDS)
                os.kill(wait_for(lambda: background.holder(workspace / "data", PROCESS))["pid"], signal.SIGKILL)
                wait_for(lambda: background.holder(workspace / "data", PROCESS) is None, SECONDS)
                assert read_sent(run, str(uid_of(run))).records < 12000, "it was not killed half-way"
                send(load_settings(workspace), ())
            wait_for(lambda: idle(workspace), SECONDS)
            found = only_run(url, "vision/digits/killed")
            values = stored(url, found)
            assert sum(values.values()) == 12000
            assert set(values.values()) == {1}
            plain = Counter({one: 1 for one in of_the_directory(run) if one[0] == "train/loss"})
            assert Counter({one: count for one, count in values.items() if one[0] == "train/loss"}) == plain
            assert found["info"]["status"] == "FINISHED"
    finally:
        database.cleanup()
