"""The process that tracks: started by what has something to send, held up by nothing, and gone when all is sent."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from kladml_core.runs import background
from kladml_core.runs.launch import launch, prepare
from kladml_core.runs.rundir import RunDirectory
from kladml_core.settings import load_settings
from kladml_core.tracking import outbox
from kladml_core.tracking.outbox import PROCESS, enlist, listed
from kladml_core.tracking.overview import look, send, wait_until_sent
from kladml_core.tracking.state import FILE, read_sent, uid_of
from tests.core.file_tracker import calls
from tests.core.replayed_runs import began, counted, ended, new_run
from tests.system.command import ROOT, json_lines, kladml, start
from tests.system.training import write_config
from tests.waiting import wait_for

SECONDS = 110.0


@pytest.fixture
def store(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that the workspace's tracker writes into."""
    monkeypatch.delenv("KLADML_TRACKER__BACKEND", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    folder = workspace / "store"
    folder.mkdir()
    track(workspace, folder)
    yield folder
    for hanging in folder.glob("hang-*"):
        hanging.unlink()
    kill(workspace)


def track(workspace: Path, folder: Path, target: str = "tests.core.file_tracker:FileTracker") -> None:
    settings = {"tracker": {"backend": target, "uri": str(folder)}}
    (workspace / "kladml.yaml").write_text(json.dumps(settings))


def kill(workspace: Path) -> None:
    """Ends the process at once, where there is one."""
    holding = background.holder(workspace / "data", PROCESS)
    if holding is not None:
        os.kill(holding["pid"], signal.SIGKILL)
        wait_for(lambda: background.holder(workspace / "data", PROCESS) is None, SECONDS)


def idle(workspace: Path) -> bool:
    data = workspace / "data"
    return not listed(data) and background.holder(data, PROCESS) is None


def finished(workspace: Path, name: str, steps: int = 20) -> RunDirectory:
    run = new_run(workspace / "data", name)
    log = began(run)
    for step in range(steps):
        log.log_metrics({"loss": 1 / (step + 1)}, step)
    ended(log)
    return run


def test_a_launched_run_is_tracked_while_it_trains_and_the_process_ends(workspace: Path, store: Path) -> None:
    run = launch(prepare(write_config(workspace, epochs=2), workspace=workspace))
    assert [entry.run for entry in listed(workspace / "data")] == [run]
    wait_for(lambda: idle(workspace), SECONDS, "the process goes on")
    values = {(one["key"], one["step"], one["time"], one["value"]) for one in calls(store, "short", "metric")}
    assert values == set(counted(run))
    assert len(values) > 20
    assert [one["status"] for one in calls(store, "short", "end")] == ["FINISHED"]
    assert calls(store, "short", "start")[0]["run"] == run.reference
    assert calls(store, "short", "params")[0]["params"]["model.params.width"] == "8"


def test_a_killed_process_is_followed_by_the_next_and_a_hanging_run_holds_up_no_other(
    workspace: Path, store: Path
) -> None:
    (store / "hang-slow").touch()
    slow = finished(workspace, "slow")
    enlist(slow, 1, workspace)
    wait_for(lambda: background.holder(workspace / "data", PROCESS), SECONDS)
    quick = finished(workspace, "quick")
    enlist(quick, 1, workspace)
    assert wait_until_sent(workspace / "data", [str(uid_of(quick))], SECONDS) == []
    assert [entry.run for entry in listed(workspace / "data")] == [slow]
    kill(workspace)
    (store / "hang-slow").unlink()
    assert look(load_settings(workspace)).runs[0].state == "pending"
    send(load_settings(workspace), ())
    wait_for(lambda: idle(workspace), SECONDS)
    assert len(calls(store, "slow", "metric")) == len(calls(store, "quick", "metric")) == 20


def test_deleted_and_moved_runs_stop_nothing(workspace: Path, store: Path) -> None:
    (store / "away").touch()
    deleted, moved, kept = (finished(workspace, name) for name in ("deleted", "moved", "kept"))
    for run in (deleted, moved, kept):
        enlist(run, 1, workspace)
    wait_for(lambda: all((run.path / FILE).exists() for run in (deleted, moved, kept)), SECONDS)
    shutil.rmtree(deleted.path)
    place = moved.path.parents[1] / "renamed" / moved.path.name
    place.parent.mkdir()
    moved.path.rename(place)
    (store / "away").unlink()
    wait_for(lambda: idle(workspace), SECONDS)
    assert len(calls(store, "kept", "metric")) == 20
    assert len(calls(store, "renamed", "metric")) == 20
    assert not calls(store, "deleted", "metric")
    log = background.log_file(workspace / "data", PROCESS).read_text()
    assert f"{deleted.reference} is gone" in log
    assert f"is {RunDirectory(place).reference} now" in log
    assert "the server is away" in log


def test_another_tracker_in_kladml_yaml_one_of_the_workspace_gets_all_of_it(workspace: Path, store: Path) -> None:
    run = new_run(workspace / "data", "moving")
    log = began(run)
    log.log_metrics({"loss": 1.0}, 1, 1000.0)
    enlist(run, 1, workspace)
    wait_for(lambda: calls(store, "moving", "metric"), SECONDS)
    other = workspace / "other"
    other.mkdir()
    (workspace / "trackers.py").write_text("from tests.core.file_tracker import FileTracker as Mine\n")
    track(workspace, other, "trackers.py:Mine")
    log.log_metrics({"loss": 0.5}, 2, 1001.0)
    ended(log)
    wait_for(lambda: idle(workspace), SECONDS)
    assert [one["step"] for one in calls(other, "moving", "metric")] == [1, 2]
    assert json.loads((run.path / FILE).read_text())["target"].endswith(str(other))


def test_nothing_is_started_where_nothing_is_tracked(workspace: Path, store: Path) -> None:
    run = finished(workspace, "none")
    (workspace / "kladml.yaml").write_text("tracker: {backend: none}\n")
    enlist(run, 1, workspace)
    assert not (workspace / "data" / ".background").exists()
    done = kladml("sync", "1", cwd=workspace)
    assert done.returncode == 3
    assert "nothing is tracked" in done.stderr
    shown = kladml("sync", "--json", cwd=workspace)
    assert shown.returncode == 0, shown.stderr
    assert json_lines(shown.stdout)[0]["target"] is None


def test_a_network_file_system_is_refused_and_told_in_the_run(
    workspace: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workspace / "kladml.yaml").write_text("tracker: {backend: local}\n")
    monkeypatch.setattr(outbox, "network_file_system", lambda path: "nfs4")
    run = launch(prepare(write_config(workspace, epochs=1), workspace=workspace))
    (warning,) = [text for text in run.warnings(1) if "tracked" in text]
    assert "nfs4" in warning
    assert "tracker.uri" in warning
    assert not listed(workspace / "data")


def test_the_command_tells_what_waits_and_sends_it(workspace: Path, store: Path) -> None:
    track(workspace, store, "tests.core.file_tracker:FourMethodFile")
    (store / "away").touch()
    run = finished(workspace, "old")
    before = kladml("sync", "--json", cwd=workspace)
    assert json_lines(before.stdout)[0]["runs"] == [], "it was never listed"
    assert kladml("sync", "--all", "--json", "--wait", "0", cwd=workspace).returncode == 3
    wait_for(lambda: read_sent(run, str(uid_of(run))).error, SECONDS, "nobody says that the server is away")
    waiting = kladml("sync", "--json", "--wait", "1", cwd=workspace)
    assert waiting.returncode == 3
    (told,) = json_lines(waiting.stdout)[0]["runs"]
    assert (told["run"], told["state"], told["records"]) == (run.reference, "failing", 20)
    assert "the server is away" in told["error"]
    assert told["since"] is not None
    (store / "away").unlink()
    done = kladml("sync", "old/run_0001", "--wait", "60", cwd=workspace)
    assert done.returncode == 0, done.stderr
    assert "at least once" in done.stdout
    assert "no times, tags, files there" in done.stdout
    assert f"{run.reference}  sent" in done.stdout
    assert len(calls(store, "old", "metric")) == 20


def test_what_fails_gets_the_environment_of_the_sync_and_nothing_is_stored_twice_for_it(
    workspace: Path, store: Path
) -> None:
    (workspace / "trackers.py").write_text(
        "import os\n"
        "from tests.core.file_tracker import FileTracker, FourMethodFile\n"
        "class Mine(FileTracker):\n"
        "    def __init__(self, folder):\n"
        "        super().__init__(folder)\n"
        "        os.environ['THE_TOKEN']\n"
    )
    track(workspace, store, "trackers.py:Mine")
    run = finished(workspace, "old")
    enlist(run, 1, workspace)
    wait_for(lambda: read_sent(run, str(uid_of(run))).error, SECONDS, "nobody says what lacks")
    assert kladml("sync", "--wait", "60", cwd=workspace, THE_TOKEN="t").returncode == 0
    assert len(calls(store, "old", "metric")) == 20


def test_a_sync_leaves_a_process_alone_that_would_begin_a_run_twice(workspace: Path, store: Path) -> None:
    track(workspace, store, "tests.core.file_tracker:FourMethodFile")
    live = new_run(workspace / "data", "live")
    log = began(live)
    log.log_metrics({"loss": 1.0}, 1)
    enlist(live, 1, workspace)
    wait_for(lambda: calls(store, "live", "metric"), SECONDS)
    gone = finished(workspace, "gone")
    (store / "gone.jsonl").mkdir()  # a tracker that cannot store this one run
    enlist(gone, 1, workspace)
    wait_for(lambda: read_sent(gone, str(uid_of(gone))).error, SECONDS, "nobody says that it fails")
    before = background.holder(workspace / "data", PROCESS)
    kladml("sync", cwd=workspace)
    assert background.holder(workspace / "data", PROCESS) == before
    ended(log)
    (store / "gone.jsonl").rmdir()
    wait_for(lambda: idle(workspace), SECONDS)
    assert len(calls(store, "live", "start")) == 1


def test_a_following_command_waits_for_the_tracking_until_it_is_interrupted(workspace: Path, store: Path) -> None:
    write_config(workspace, epochs=1)
    (store / "hang-short").touch()
    process = start("--run", "data/configs/short.yaml", cwd=workspace)
    assert process.stderr is not None
    said = process.stderr.readline()
    assert said.startswith("tracking: ")
    assert "pending" in said
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) == 0, "the exit code is the run's"
    assert "goes on in the background" in process.stderr.read()
    (store / "hang-short").unlink()
    wait_for(lambda: idle(workspace), SECONDS)
    assert calls(store, "short", "end")
