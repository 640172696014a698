"""Uploads with every screen closed, into a real S3 server that comes and goes, and a run that goes on elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from kladml_core.runs import uploads
from kladml_core.runs.background import holder, log_file
from kladml_core.runs.fetch import fetch
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status
from kladml_core.runs.stored import STORED, Store
from kladml_core.runs.upload_files import FILE
from kladml_core.settings import Settings, load_settings
from tests.core.pruned_runs import a_checkpoint, a_run, name, set_status
from tests.core.stored_runs import names, stored, write_event
from tests.core.trainer_workspace import add_attempt, assert_same_end, make_workspace, new_run, work
from tests.system.command import json_lines, kladml
from tests.system.mlflow_server import free_port
from tests.system.s3_server import ACCESS_KEY, SECRET_KEY, s3_server
from tests.system.training import write_config
from tests.waiting import wait_for

SECONDS = 90.0
_SETTINGS = """\
workspace: {{name: test}}
storage:
  backend: s3
  bucket: runs
  prefix: lab
  options: {{endpoint_url: "http://127.0.0.1:{port}", retries: 1, timeout: 5}}
  upload: {{checkpoints: true}}
"""
_MINE = """\
import shutil
from pathlib import Path

from kladml_core.interfaces import StorageInterface


class Mine(StorageInterface):
    def __init__(self, folder):
        self.folder = Path(folder)

    def upload_file(self, local_path, bucket, key):
        target = self.folder / bucket / key
        target.parent.mkdir(parents=True, exist_ok=True)
        return str(shutil.copyfile(local_path, target))

    def download_file(self, bucket, key, local_path):
        return str(shutil.copyfile(self.folder / bucket / key, local_path))

    def list_files(self, bucket, prefix=""):
        root = self.folder / bucket
        keys = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        return sorted(key for key in keys if key.startswith(prefix))
"""


@pytest.fixture(autouse=True)
def s3_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    for variable in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def buckets(tmp_path: Path) -> Path:
    (tmp_path / "buckets" / "runs").mkdir(parents=True)
    return tmp_path / "buckets"


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def uploading(workspace: Path, port: int) -> Iterator[Settings]:
    """A workspace that uploads into an S3 server; the process that does it is killed after the test."""
    (workspace / "kladml.yaml").write_text(_SETTINGS.format(port=port))
    settings = load_settings(workspace)
    yield settings
    kill_process(settings)


def kill_process(settings: Settings) -> None:
    holding = holder(settings.data, uploads.PROCESS)
    if holding is not None:
        os.kill(holding["pid"], signal.SIGKILL)
        wait_for(lambda: holder(settings.data, uploads.PROCESS) is None, SECONDS, "the process outlives kill -9")


def store_of(settings: Settings) -> Store:
    store = uploads.store_of(settings)
    assert store is not None
    return store


def only_pending(settings: Settings) -> uploads.PendingUpload | None:
    found = uploads.pending(settings.data)
    assert len(found) < 2
    return found[0] if found else None


def test_a_run_goes_on_elsewhere_as_if_nothing_had_happened(tmp_path: Path, buckets: Path, port: int) -> None:
    here, there = make_workspace(tmp_path / "here"), make_workspace(tmp_path / "there")
    undisturbed = work(new_run(here), here)
    (there / "kladml.yaml").write_text(_SETTINGS.format(port=port))
    run = new_run(there)
    assert work(run, there, TEST_AT="18", TEST_WHAT="SIGTERM").status == "stopped"
    settings = load_settings(there)
    with s3_server(buckets, port=port):
        uploads.enlist(run, 1, there)
        try:
            wait_for(lambda: not uploads.listed(settings.data), SECONDS, "it is not uploaded")
        finally:
            kill_process(settings)
        shutil.rmtree(there / "data" / "projects")  # the machine is gone, and another one takes its place
        found = fetch(tmp_path / "elsewhere" / "data", store_of(settings), "run_0001")
    elsewhere = make_workspace(tmp_path / "elsewhere")
    copy = RunDirectory(found.path)
    add_attempt(copy)
    assert_same_end(work(copy, elsewhere), undisturbed)
    assert read_status(copy).attempt == 2


def test_the_server_stops_and_comes_back_and_the_process_is_killed(
    uploading: Settings, buckets: Path, port: int
) -> None:
    run = a_run(uploading.data, status="running", steps=(10, 20, 30), best=10)
    write_event(run, "run_started")
    uploads.enlist(run, 1, uploading.root)

    def failing() -> bool:
        left = only_pending(uploading)
        return left is not None and left.error is not None and "cannot be reached" in left.error and left.files == 6

    wait_for(failing, SECONDS, "it is not told that there is no server")
    with s3_server(buckets, port=port):
        store = store_of(uploading)
        wait_for(lambda: store.read(run.reference) is not None, SECONDS, "it does not go on once there is a server")
    a_checkpoint(run, 40)
    wait_for(lambda: (only_pending(uploading) or left_none()).error is not None, SECONDS, "it notices no outage")
    kill_process(uploading)
    before = json.loads((run.path / FILE).read_text())["files"]
    with s3_server(buckets, port=port):
        uploads.go_on(uploading)
        wait_for(lambda: names(stored(store, run)) == [10, 20, 30, 40], SECONDS, "the next process does not go on")
        set_status(run, "finished")
        wait_for(lambda: not uploads.listed(uploading.data), SECONDS, "the end is not uploaded")
        wait_for(lambda: holder(uploading.data, uploads.PROCESS) is None, SECONDS, "the process does not end")
        assert stored(store, run).status == "finished"
    after = json.loads((run.path / FILE).read_text())["files"]
    again = [key for key in before if key.startswith("checkpoints/") and after[key]["time"] != before[key]["time"]]
    assert before and not again, "what was there was uploaded once more"


def left_none() -> uploads.PendingUpload:
    return uploads.PendingUpload("", "", 0, 0, False, None, None, False)


def test_what_another_workspace_stored_under_the_same_name_is_told_and_not_touched(
    uploading: Settings, buckets: Path, port: int, tmp_path: Path
) -> None:
    with s3_server(buckets, port=port):
        store = store_of(uploading)
        other = tmp_path / "other"
        other.mkdir()
        (other / "kladml.yaml").write_text(_SETTINGS.format(port=port))
        theirs, mine = a_run(other / "data"), a_run(uploading.data)
        for run, workspace in ((theirs, other), (mine, uploading.root)):
            uploads.enlist(run, 1, workspace)
            wait_for(
                lambda data=workspace / "data": (
                    holder(data, uploads.PROCESS) is None and (log_file(data, uploads.PROCESS).read_text() != "")
                ),
                SECONDS,
                "the process does not end",
            )
        left = only_pending(uploading)
        assert left is not None and left.refused and "is another run" in str(left.error)
        assert stored(store, theirs).uid == (theirs.read_run() or {})["uid"]


def test_a_storage_of_three_methods_does(workspace: Path, tmp_path: Path) -> None:
    (workspace / "mine.py").write_text(_MINE)
    (workspace / "kladml.yaml").write_text(
        "workspace: {name: test}\n"
        "storage: {backend: 'mine:Mine', upload: {checkpoints: true}, "
        f"options: {{folder: {tmp_path / 'folder'}}}}}\n"
    )
    run = a_run(workspace / "data")
    uploads.enlist(run, 1, workspace)
    wait_for(lambda: not uploads.listed(workspace / "data"), SECONDS, "it is not uploaded")
    store = store_of(load_settings(workspace))
    assert fetch(tmp_path / "other", store, run.reference, checkpoints="all").checkpoints == tuple(
        name(step) for step in (10, 20, 30, 40)
    )


def test_the_commands_train_without_a_server_and_fetch_and_resume_with_one(
    uploading: Settings, buckets: Path, port: int, tmp_path: Path
) -> None:
    root = uploading.root
    trained = kladml("--run", write_config(root, epochs=1), "--json", cwd=root)
    assert trained.returncode == 0 and json_lines(trained.stdout)[-1]["kind"] == "run_finished", trained.stderr
    (waiting,) = json.loads(kladml("sync", "--json", cwd=root).stdout)["uploads"]
    assert waiting["files"] > 5 and "cannot be reached" in waiting["error"]
    assert "failing" in kladml("sync", cwd=root).stdout
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(root / "kladml.yaml", other)
    away = kladml("fetch", "--list", "--json", cwd=other)
    assert away.returncode == 3 and "cannot be reached" in away.stderr
    with s3_server(buckets, port=port):
        assert kladml("sync", "--wait", str(SECONDS), cwd=root).returncode == 0
        assert not uploads.listed(uploading.data), "it is not uploaded once there is a server"
        assert (buckets / "runs/lab/vision/digits/short/run_0001" / STORED).is_file()
        assert list((buckets / "runs/lab/vision/digits/short/run_0001/artifacts/best_model").iterdir())
        (listed,) = json.loads(kladml("fetch", "--list", "vision", "--json", cwd=other).stdout)
        assert (listed["status"], len(listed["checkpoints"])) == ("finished", 1)
        fetched = json.loads(kladml("fetch", "run_0001", "--json", cwd=other).stdout)
        assert fetched["how"] == "new" and Path(fetched["path"]).is_relative_to(other)
        resumed = kladml("resume", "1", "--set", "training.max_epochs=2", "--json", cwd=other)
        assert resumed.returncode == 0, resumed.stderr
        there = load_settings(other)
        try:
            wait_for(lambda: not uploads.listed(there.data), SECONDS, "the resumed run is not uploaded")
        finally:
            kill_process(there)
        back = kladml("fetch", "run_0001", cwd=root)
        assert back.returncode == 0 and "brought to where it has gone on" in back.stdout
    assert read_status(RunDirectory(root / "data/projects/vision/digits/short/run_0001")).attempt == 2


def test_keys_that_were_forgotten_at_the_launch_count_once_sync_has_them(
    uploading: Settings, buckets: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    run = a_run(uploading.data)
    with s3_server(buckets, port=port):
        uploads.enlist(run, 1, uploading.root)
        wait_for(lambda: (left := only_pending(uploading)) and left.error, SECONDS, "nobody says what lacks")
        done = kladml("sync", "--wait", "60", cwd=uploading.root, AWS_SECRET_ACCESS_KEY=SECRET_KEY)
        assert done.returncode == 0, done.stdout
        assert not uploads.listed(uploading.data)


def test_what_fetch_cannot_do_is_told(workspace: Path) -> None:
    without = kladml("fetch", "run_0001", cwd=workspace)
    assert without.returncode == 3 and "there is no storage" in without.stderr
    assert kladml("fetch", cwd=workspace).returncode == 2


def test_nothing_is_started_where_nothing_is_uploaded(workspace: Path) -> None:
    run = a_run(workspace / "data")
    uploads.enlist(run, 1, workspace)
    assert not uploads.folder(workspace / "data").exists()
    (workspace / "kladml.yaml").write_text("storage: {backend: s3, upload: {artifacts: false}}\n")
    uploads.enlist(run, 1, workspace)
    assert not uploads.folder(workspace / "data").exists()
