"""Secrets that a launch, its tracker and its storage are given reach no file of the workspace and no line of output."""

from __future__ import annotations

from pathlib import Path
from secrets import token_hex

from kladml_core.runs import background
from kladml_core.runs.status import read_status
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
    "KLADML_TRACKER__URI": f"http://me:{HUSH}-6@tracker.example.org/api",
    "KLADML_STORAGE__OPTIONS__SECRET_KEY": f"{HUSH}-7",
    "KLADML_STORAGE__OPTIONS__PROXY": f"http://me:{HUSH}-8@proxy.example.org",
}
BACKENDS = '''
"""A tracker whose server is away at first, and a storage; their errors tell what they were given, as many do."""
from pathlib import Path

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
        self.told = f"{secret_key} is not taken by {proxy}"

    def upload_file(self, local_path, bucket, key):
        (HERE / "stored").touch()
        raise ConnectionError(self.told)

    def download_file(self, bucket, key, local_path):
        raise ConnectionError(self.told)

    def list_files(self, bucket, prefix=""):
        raise ConnectionError(self.told)
'''


def test_no_secret_is_kept_of_a_run(workspace: Path) -> None:
    (workspace / "mine.py").write_text(BACKENDS)
    (workspace / "kladml.yaml").write_text("tracker: {backend: mine:Tracker}\nstorage: {backend: mine:Storage}\n")
    config = write_config(workspace, epochs=1)
    environ = {**SECRETS, "KLADML_TRACKER__BACKEND": "mine:Tracker"}
    done = kladml("--run", config, cwd=workspace, **environ)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    run = only_run(workspace)
    assert read_status(run).status == "finished"
    wait_for((workspace / "ended").exists, 60, "the tracker has not got the run")
    for kind in ("sync", "uploads"):
        wait_for(lambda kind=kind: background.holder(workspace / "data", kind) is None, 60, f"{kind} does not end")
    assert int((workspace / "reached").read_text()) == len(SECRETS["KLADML_TRACKER__URI"])

    for words in (("config", "show"), ("config", "show", "--json"), ("sync",), ("show", run.reference)):
        said += kladml(*words, cwd=workspace, **environ).stdout
    found = [path for path in workspace.rglob("*") if path.is_file() and HUSH.encode() in path.read_bytes()]
    assert found == [] and not (workspace / "leaked").exists()
    assert HUSH not in said and "***" in said
    # The grep looks at what a run records: it is there, without the secrets.
    assert b"MLFLOW_TRACKING_TOKEN" in (run.path / "attempts" / "001" / "attempt.json").read_bytes()
