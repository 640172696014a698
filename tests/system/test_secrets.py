"""Secrets that a launch, its tracker and its storage are given reach no file of the workspace and no line of output."""

from __future__ import annotations

from pathlib import Path
from secrets import token_hex

import pytest

from kladml_core import ExperimentRunner
from kladml_core.backends import ConsolePublisher, LocalStorage
from kladml_core.runs import background
from kladml_core.runs.status import read_status
from tests.core.runner_workspace import TRAINING, Net, table
from tests.system.command import kladml
from tests.system.training import only_run, write_config
from tests.waiting import wait_for

# Made anew each time: this very file may be in a run's patch.
HUSH = f"hush-{token_hex(8)}"
SECRETS = {
    "AWS_ACCESS_KEY_ID": f"{HUSH}-0",
    "AWS_SECRET_ACCESS_KEY": f"{HUSH}-1",
    "AWS_SESSION_TOKEN": f"{HUSH}-2",
    "MLFLOW_TRACKING_USERNAME": f"{HUSH}-3",
    "MLFLOW_TRACKING_PASSWORD": f"{HUSH}-4",
    "MLFLOW_TRACKING_TOKEN": f"{HUSH}-5",
    "KLADML_TRACKER__BACKEND": "mine:Tracker",
    "KLADML_TRACKER__URI": f"http://me:{HUSH}-6@tracker.example.org/api",
    "KLADML_STORAGE__OPTIONS__SECRET_KEY": f"{HUSH}-7",
    "KLADML_STORAGE__OPTIONS__PROXY": f"http://me:{HUSH}-8@proxy.example.org",
}
BACKENDS = '''
"""A tracker whose server is away at first, and a storage; their errors tell what they were given, as many do."""
import os
from pathlib import Path

from kladml_core.backends import LocalStorage
from kladml_core.interfaces import StorageInterface, TrackerInterface

HERE = Path(__file__).parent


class Tracker(TrackerInterface):
    def __init__(self, uri):
        self.uri = uri

    def start_run(self, experiment_name, run_name=None):
        if not (HERE / "failed").exists():
            (HERE / "failed").touch()
            raise ConnectionError(f"cannot reach {self.uri}")
        (HERE / "reached").write_text(str(len(self.uri)))
        return "1"

    def log_params(self, params):
        if any("hush" in str(value) for value in params.values()):
            (HERE / "leaked").touch()

    def log_metric(self, key, value, step=None):
        pass

    def end_run(self, status="FINISHED"):
        (HERE / "ended").touch()


class Storage(StorageInterface):
    def __init__(self, secret_key, proxy):
        self.files = LocalStorage(HERE / "stored")
        self.told = f"{secret_key} is not taken by {proxy}"

    def upload_file(self, local_path, bucket, key):
        if not (HERE / "stored").exists():
            (HERE / "stored").mkdir()
            raise ConnectionError(self.told)
        return self.files.upload_file(local_path, bucket, key)

    def download_file(self, bucket, key, local_path):
        return self.files.download_file(bucket, key, local_path)

    def list_files(self, bucket, prefix=""):
        return self.files.list_files(bucket, prefix)


def load():
    raise ConnectionError(f"{os.environ['AWS_SECRET_ACCESS_KEY']} is not taken by {os.environ['KLADML_TRACKER__URI']}")
'''


def test_no_secret_is_kept_of_a_run(workspace: Path) -> None:
    config = _lab(workspace)
    done = kladml("--run", config, cwd=workspace, **SECRETS)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    run = only_run(workspace)
    assert read_status(run).status == "finished"
    wait_for((workspace / "ended").exists, 60, "the tracker has not got the run")
    wait_for(lambda: background.holder(workspace / "data", "sync") is None, 60, "sync does not end")
    wait_for(lambda: background.holder(workspace / "data", "uploads") is None, 60, "the upload does not end")
    assert int((workspace / "reached").read_text()) == len(SECRETS["KLADML_TRACKER__URI"])
    assert list((workspace / "stored").rglob("run.json"))

    for words in (("config", "show"), ("config", "show", "--json"), ("sync",), ("show", run.reference)):
        said += kladml(*words, cwd=workspace, **SECRETS).stdout
    assert _with_secrets(workspace) == [] and not (workspace / "leaked").exists()
    assert HUSH not in said and "***" in said
    # The grep looks at what tells of them: the names of the variables, and the errors without the secrets.
    assert b"MLFLOW_TRACKING_TOKEN" in (run.path / "attempts" / "001" / "attempt.json").read_bytes()
    for kind in ("sync", "uploads"):
        assert "***" in background.log_file(workspace / "data", kind).read_text()


def test_no_secret_is_kept_of_a_failure(workspace: Path) -> None:
    config = _lab(workspace)
    environ = {**SECRETS, "KLADML_TRACKER__BACKEND": "none", "KLADML_STORAGE__UPLOAD__ARTIFACTS": "false"}
    done = kladml("--run", config, "--set", "data.target=mine:load", cwd=workspace, **environ)
    assert done.returncode == 3
    told = done.stdout + done.stderr + only_run(workspace).console_log.read_text()
    assert "*** is not taken by" in told and "Traceback" in told
    assert HUSH not in told and _with_secrets(workspace) == []


def test_no_secret_is_kept_of_a_run_in_process(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _lab(workspace)
    monkeypatch.chdir(workspace)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)

    class RefusingPublisher(ConsolePublisher):
        def publish(self, channel: str, message: object) -> None:
            raise ConnectionError(f"{SECRETS['KLADML_TRACKER__URI']} does not answer")

    class RefusingStorage(LocalStorage):
        def upload_file(self, local_path: str, bucket: str, key: str) -> str:
            raise ConnectionError(f"{SECRETS['AWS_SECRET_ACCESS_KEY']} is not taken")

    monkeypatch.setenv("KLADML_TRACKER__BACKEND", "none")
    result = ExperimentRunner(publisher=RefusingPublisher(), storage=RefusingStorage()).run(
        model_class=Net, train_data=table(), experiment_name="short", training_config={**TRAINING, "max_epochs": 1}
    )
    assert result.status == "finished"
    run = only_run(workspace)
    assert "does not answer" in run.events.read_text()
    assert "*** is not taken" in (run.path / "uploads.json").read_text()
    assert _with_secrets(workspace) == []


def _lab(workspace: Path) -> Path:
    (workspace / "mine.py").write_text(BACKENDS)
    (workspace / "kladml.yaml").write_text("tracker: {backend: mine:Tracker}\nstorage: {backend: mine:Storage}\n")
    return write_config(workspace, epochs=1)


def _with_secrets(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and HUSH.encode() in path.read_bytes()]
