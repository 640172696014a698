"""Fetching a run: whole and verified or not seen at all, never over what is here, and told of a life elsewhere."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from kladml_core.errors import ConfigError, UnusableError
from kladml_core.runs import elsewhere
from kladml_core.runs.checkpoint_list import list_checkpoints, verify
from kladml_core.runs.fetch import fetch, find_stored, parse_name, stored_runs
from kladml_core.runs.files import read_object, write_json
from kladml_core.runs.ref import all_runs
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status
from kladml_core.runs.stored import FETCHED, LIVE_SECONDS, STORED, Store, manifest_text
from tests.core.pruned_runs import a_checkpoint, a_run, name, set_status, tree
from tests.core.stored_runs import BUCKET, Counting, ThreeMethods, stored, upload_of, write_event

REFERENCE = "vision/digits/cnn/run_0001"


@pytest.fixture(params=["local", "three methods"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store((Counting if request.param == "local" else ThreeMethods)(tmp_path / "storage"), BUCKET, "lab")


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = a_run(tmp_path / "there", status="running", steps=(10, 20, 30), best=10)
    write_event(run, "run_started")
    (run.metrics / "train%2Floss.bin").write_bytes(bytes(48))
    run.artifacts.joinpath("model").write_text("weights")
    return run


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path / "here"


def finished(run: RunDirectory, store: Store) -> RunDirectory:
    set_status(run, "finished")
    assert upload_of(run, store).turn()
    return run


def steps(run: RunDirectory) -> list[int]:
    return sorted(row.step for row in list_checkpoints(run) if row.valid)


def test_a_fetched_run_is_the_run_itself(run: RunDirectory, store: Store, here: Path) -> None:
    finished(run, store)
    found = fetch(here, store, "run_0001", checkpoints="all")
    assert (found.how, found.run, found.status, found.live) == ("new", REFERENCE, "finished", False)
    copy = RunDirectory(found.path)
    fetched, original = tree(copy.path), tree(run.path)
    assert fetched.pop(FETCHED)
    original.pop("uploads.json")
    assert fetched == original
    assert read_status(copy).status == "finished"
    assert list(all_runs(here)) == [copy.path]


@pytest.mark.parametrize(
    ("wanted", "choice", "there"),
    [
        ("run_0001", None, [10, 30]),
        ("1", "best", [10]),
        ("run_0001", "last", [30]),
        ("run_0001", "none", []),
        ("cnn/run_0001@20", None, [20]),
        ("run_0001@best", None, [10]),
        ("run_0001@step-0000000030", None, [30]),
    ],
)
def test_which_checkpoints_are_fetched(
    run: RunDirectory, store: Store, here: Path, wanted: str, choice: str | None, there: list[int]
) -> None:
    finished(run, store)
    assert steps(RunDirectory(fetch(here, store, wanted, checkpoints=choice).path)) == there


def test_a_checkpoint_that_was_pruned_here_is_fetched_back(run: RunDirectory, store: Store, tmp_path: Path) -> None:
    finished(run, store)
    run.notes.write_text("note: mine\n")
    shutil.rmtree(run.checkpoints / name(20))
    found = fetch(tmp_path / "there", store, "run_0001@20")
    assert (found.how, found.files) == ("added", 2)
    assert steps(run) == [10, 20, 30] and verify(run.checkpoints / name(20)) is None
    assert run.notes.read_text() == "note: mine\n"
    assert fetch(tmp_path / "there", store, "run_0001@20").files == 0


def test_a_damaged_checkpoint_here_is_replaced_and_kept(run: RunDirectory, store: Store, tmp_path: Path) -> None:
    finished(run, store)
    (run.checkpoints / name(20) / "model.safetensors").write_bytes(b"short")
    fetch(tmp_path / "there", store, "run_0001@20")
    assert verify(run.checkpoints / name(20)) is None
    assert len(list(run.checkpoints.glob(f"{name(20)}.rejected-*"))) == 1


def test_half_a_checkpoint_in_the_storage_is_never_fetched(run: RunDirectory, tmp_path: Path, here: Path) -> None:
    storage = Counting(tmp_path / "storage")
    store = Store(storage, BUCKET)
    upload_of(run, store).turn()
    a_checkpoint(run, 40)
    storage.away_from = len(storage.stored) + 1
    with pytest.raises(UnusableError, match="away"):
        upload_of(run, store).turn()
    assert any(name(40) in key for key in storage.list_files(BUCKET))
    assert steps(RunDirectory(fetch(here, store, REFERENCE, checkpoints="all").path)) == [10, 20, 30]


def test_what_is_damaged_in_the_storage_is_not_fetched_and_not_seen_as_a_run(
    run: RunDirectory, store: Store, here: Path, tmp_path: Path
) -> None:
    finished(run, store)
    file = tmp_path / "storage" / BUCKET / store.key(REFERENCE, f"checkpoints/{name(30)}/model.safetensors")
    good = file.read_bytes()
    file.write_bytes(good[:-1] + b"\1")
    with pytest.raises(UnusableError, match="is not what was stored"):
        fetch(here, store, REFERENCE)
    assert not list(all_runs(here))
    file.write_bytes(good)
    again = fetch(here, store, REFERENCE)
    assert again.files == 1, "the next fetch did not go on from where the first one ended"
    assert steps(RunDirectory(again.path)) == [10, 30]


def test_a_fetch_during_which_the_run_is_stored_anew_gets_one_state_of_it(
    run: RunDirectory, tmp_path: Path, here: Path
) -> None:
    storage = Counting(tmp_path / "storage")
    store = Store(storage, BUCKET)
    upload = upload_of(run, store)
    upload.turn()
    stored_anew = []

    def meanwhile(_: object) -> None:
        if len(stored_anew) < 2:  # twice, so that the slot of what is being fetched is written over
            stored_anew.append(1)
            write_event(run, "validation", step=30 + len(stored_anew))
            a_checkpoint(run, 40 + len(stored_anew))
            upload.turn()

    found = fetch(here, store, REFERENCE, progress=meanwhile)
    assert RunDirectory(found.path).events.read_bytes() == run.events.read_bytes()
    assert found.checkpoints[-1] == name(42)


def test_another_run_here_and_a_live_one_are_never_touched(
    run: RunDirectory, store: Store, here: Path, tmp_path: Path
) -> None:
    upload_of(run, store).turn()
    a_run(here)
    before = tree(here)
    with pytest.raises(UnusableError, match="another run here"):
        fetch(here, store, REFERENCE)
    assert tree(here) == before
    with pytest.raises(UnusableError, match="is running here"):
        fetch(tmp_path / "there", store, REFERENCE)


def test_a_run_that_went_on_elsewhere_is_brought_up_to_date_here(
    run: RunDirectory, store: Store, here: Path, tmp_path: Path
) -> None:
    finished(run, store)
    copy = RunDirectory(fetch(here, store, REFERENCE).path)
    write_event(copy, "resumed", step=30)
    set_status(copy, "finished", 2)
    (copy.attempts / "002").mkdir()
    a_checkpoint(copy, 50)
    assert upload_of(copy, store).turn()
    run.notes.write_text("note: mine\n")
    found = fetch(tmp_path / "there", store, REFERENCE)
    assert found.how == "replaced"
    assert run.events.read_bytes() == copy.events.read_bytes()
    assert steps(run) == [10, 20, 30, 50] and run.notes.read_text() == "note: mine\n"
    assert [path.name for path in run.path.parent.iterdir()] == ["run_0001"]


def test_a_run_that_went_on_here_and_elsewhere_is_left_alone(
    run: RunDirectory, store: Store, here: Path, tmp_path: Path
) -> None:
    finished(run, store)
    copy = RunDirectory(fetch(here, store, REFERENCE).path)
    write_event(copy, "resumed", step=30)
    assert upload_of(copy, store).turn()
    write_event(run, "resumed", step=20)
    before = tree(run.path)
    with pytest.raises(UnusableError, match="went on here and on"):
        fetch(tmp_path / "there", store, REFERENCE)
    assert tree(run.path) == before


def test_a_fetch_killed_between_its_two_renames_loses_nothing(run: RunDirectory, store: Store, tmp_path: Path) -> None:
    finished(run, store)
    uid = stored(store, run).uid
    run.path.rename(run.path.with_name(f".fetching-{uid}.old.tmp"))
    assert fetch(tmp_path / "there", store, REFERENCE).how == "added"
    assert steps(run) == [10, 20, 30]


def test_a_run_fetched_while_it_lived_never_reads_running_and_says_where_it_lives(
    run: RunDirectory, store: Store, here: Path
) -> None:
    upload_of(run, store).turn()
    found = fetch(here, store, REFERENCE)
    status = read_status(RunDirectory(found.path))
    assert found.live and status.status == "lost" and "fetched while it was running on" in str(status.reason)


def test_a_run_that_may_live_elsewhere_does_not_go_on_here(run: RunDirectory, store: Store, here: Path) -> None:
    upload_of(run, store).turn()
    copy = RunDirectory(fetch(here, store, REFERENCE).path)
    with pytest.raises(UnusableError, match="was live on"):
        elsewhere.refuse_if_live_elsewhere(copy, lambda: store)
    with pytest.raises(UnusableError, match="was live on"):
        elsewhere.refuse_if_live_elsewhere(copy, lambda: None)  # the storage cannot be asked
    set_status(run, "stopped")
    upload_of(run, store).turn()
    elsewhere.refuse_if_live_elsewhere(copy, lambda: store)


def test_a_run_whose_machine_is_silent_for_long_goes_on_here(
    run: RunDirectory, store: Store, here: Path, tmp_path: Path
) -> None:
    upload_of(run, store).turn()
    old = stored(store, run)
    text = manifest_text(type(old)(**{**vars(old), "time": time.time() - LIVE_SECONDS - 1}))
    (tmp_path / "storage" / BUCKET / store.key(REFERENCE, STORED)).write_bytes(text)
    elsewhere.refuse_if_live_elsewhere(RunDirectory(fetch(here, store, REFERENCE).path), lambda: store)


def test_a_run_that_went_on_there_since_it_was_fetched_does_not_go_on_here(
    run: RunDirectory, store: Store, here: Path
) -> None:
    finished(run, store)
    copy = RunDirectory(fetch(here, store, REFERENCE).path)
    write_event(run, "resumed", step=30)
    set_status(run, "stopped", 2)
    upload_of(run, store).turn()
    with pytest.raises(UnusableError, match="went on on"):
        elsewhere.refuse_if_live_elsewhere(copy, lambda: store)
    write_json(copy.state_json, {**(read_object(copy.state_json) or {}), "attempt": 2})
    elsewhere.refuse_if_live_elsewhere(copy, lambda: store)  # it has gone on here already; nobody is asked


def test_what_the_storage_holds_is_listed(run: RunDirectory, store: Store, tmp_path: Path) -> None:
    finished(run, store)
    other = a_run(tmp_path / "there", experiment="text/gpt/tiny")
    upload_of(other, store).turn()
    manifest = tmp_path / "storage" / BUCKET / store.key(other.reference, STORED)
    manifest.write_bytes(b"{}")
    listed = list(stored_runs(store))
    assert isinstance(listed[0], tuple) and listed[0][0] == other.reference
    assert [one.reference for one in stored_runs(store, "vision") if not isinstance(one, tuple)] == [REFERENCE]
    with pytest.raises(UnusableError, match="names 2 runs"):
        find_stored(store, "run_0001")
    with pytest.raises(UnusableError, match="no run named"):
        find_stored(store, "run_0009")


def test_a_name_is_a_run_and_perhaps_a_checkpoint() -> None:
    assert parse_name("a/b/c/run_0001@best") == ("a/b/c/run_0001", "best")
    assert parse_name("me@home/b/c/run_0001") == ("me@home/b/c/run_0001", None)
    assert parse_name("me@home/b/c/run_0001@40") == ("me@home/b/c/run_0001", "40")
    assert parse_name("7@last") == ("7", "last")


def test_what_cannot_be_asked_for_is_told(run: RunDirectory, store: Store, here: Path) -> None:
    finished(run, store)
    with pytest.raises(UnusableError, match="no checkpoint '99'"):
        fetch(here, store, "run_0001@99")
    with pytest.raises(ConfigError, match="do not go together"):
        fetch(here, store, "run_0001@10", checkpoints="all")
    with pytest.raises(ConfigError, match="one of best, last"):
        fetch(here, store, "run_0001", checkpoints="some")
