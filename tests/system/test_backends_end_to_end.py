"""The same digits run on files and SQLite, and on S3 and an MLflow server on PostgreSQL, by kladml.yaml alone."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pgserver
import pytest
import yaml
from mlflow.tracking import MlflowClient

from kladml_core.backends.s3_storage import S3Storage
from kladml_core.runs import background, uploads
from kladml_core.runs.rundir import RunDirectory
from kladml_core.tracking import outbox
from kladml_core.workspace.init import init_workspace
from tests.system.command import json_lines, kladml
from tests.system.mlflow_server import mlflow_server
from tests.system.s3_server import ACCESS_KEY, SECRET_KEY, s3_server
from tests.system.same_numbers import assert_same_numbers, curves_of, tracked_curves
from tests.waiting import wait_for

SECONDS = 300.0
CLOCKS = ("train/samples_per_second", "train/data_wait")
EXPERIMENT = "vision/digits/cnn-baseline"
BEST = "artifacts/best_model/model.safetensors"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A workspace as `init` makes it; its background processes end with the test."""
    monkeypatch.delenv("KLADML_TRACKER__BACKEND")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    workspace = tmp_path / "lab"
    init_workspace(workspace, "digits")
    yield workspace
    for kind in (outbox.PROCESS, uploads.PROCESS):
        holding = background.holder(workspace / "data", kind)
        if holding is not None:
            os.kill(holding["pid"], signal.SIGKILL)


def use(root: Path, **settings: object) -> None:
    (root / "kladml.yaml").write_text(yaml.safe_dump({"workspace": {"name": "lab"}, **settings}))


def run_digits(root: Path) -> Path:
    """Launches the config and waits until nothing is left to be sent."""
    done = kladml(
        "--run", "data/configs/digits.yaml", "--json", "--set", "training.max_epochs=1", cwd=root, timeout=SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    data = root / "data"
    wait_for(lambda: not outbox.listed(data) and not uploads.listed(data), SECONDS, "not everything is sent")
    return data / "projects" / str(json_lines(done.stdout)[-1]["run"])


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def downloaded(uri: str, run_id: str, name: str, folder: Path) -> Path:
    folder.mkdir()
    return Path(MlflowClient(uri).download_artifacts(run_id, name, str(folder)))


@pytest.mark.timeout(900)
def test_two_runs_of_one_config_show_the_same_numbers_here_and_on_servers(root: Path, tmp_path: Path) -> None:
    use(root, storage={"backend": "local", "options": {"root": "copies"}})
    here = run_digits(root)
    with ExitStack() as servers:
        database = pgserver.get_server(tmp_path / "postgres", cleanup_mode="delete")
        servers.callback(database.cleanup)
        (tmp_path / "buckets" / "team").mkdir(parents=True)
        s3 = servers.enter_context(s3_server(tmp_path / "buckets"))
        mlflow = servers.enter_context(mlflow_server(database.get_uri(), tmp_path / "mlflow-files"))
        use(
            root,
            storage={"backend": "s3", "bucket": "team", "prefix": "lab", "options": {"endpoint_url": s3}},
            tracker={"backend": "mlflow", "uri": mlflow},
        )
        there = run_digits(root)
        assert (here.name, there.name) == ("run_0001", "run_0002")

        # Each store shows what its run directory holds, every value with its step and time.
        sqlite = f"sqlite:///{root}/data/mlflow.sqlite"
        on_sqlite = assert_same_numbers(here, sqlite, EXPERIMENT)
        on_postgres = assert_same_numbers(there, mlflow, EXPERIMENT)

        # And both show the same numbers, step by step.
        one, other = (
            {
                name: [(step, value) for step, _, value in curve]
                for name, curve in tracked_curves(uri, run).items()
                if name not in CLOCKS
            }
            for uri, run in ((sqlite, on_sqlite), (mlflow, on_postgres))
        )
        assert one == other
        assert {"train/loss", "val/loss", "val/accuracy"} <= one.keys()
        assert curves_of(here).keys() == curves_of(there).keys()
        assert on_sqlite.data.params == on_postgres.data.params
        assert (on_sqlite.info.status, on_postgres.info.status) == ("FINISHED", "FINISHED")

        # The best model is the same file in every place.
        expected = digest(here / BEST)
        assert digest(there / BEST) == expected
        assert digest(downloaded(sqlite, on_sqlite.info.run_id, BEST, tmp_path / "one")) == expected
        assert digest(downloaded(mlflow, on_postgres.info.run_id, BEST, tmp_path / "other")) == expected
        assert digest(root / "copies" / "kladml" / RunDirectory(here).reference / BEST) == expected

        # S3 has every artifact of its run, byte by byte, and nothing of the other one.
        storage = S3Storage(endpoint_url=s3)
        place = f"lab/{RunDirectory(there).reference}/"
        keys = storage.list_files("team", f"{place}artifacts/")
        artifacts = sorted(path.relative_to(there).as_posix() for path in (there / "artifacts").rglob("*.*"))
        assert [key.removeprefix(place) for key in keys] == artifacts
        for name in artifacts:
            fetched = storage.download_file("team", f"{place}{name}", str(tmp_path / "fetched" / name))
            assert digest(Path(fetched)) == digest(there / name), name
        assert all(key.startswith(place) for key in storage.list_files("team"))
