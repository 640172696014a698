"""Uploading a run: whole or not named, in whatever order servers, retention and kill -9 come in between."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from kladml_core.errors import UnusableError
from kladml_core.runs.checkpoint_list import MANIFEST, verify
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.stored import STORED, DamagedManifest, Store, every_file, manifest_text, parse_manifest
from kladml_core.runs.upload import Vanished, Wanted
from kladml_core.runs.upload_files import STAGING
from kladml_core.runs.upload_manifest import Refused
from tests.core.pruned_runs import a_checkpoint, a_run, name, set_status
from tests.core.stored_runs import BUCKET, Counting, ThreeMethods, names, stored, upload_of, whole, write_event


@pytest.fixture
def storage(tmp_path: Path) -> Counting:
    return Counting(tmp_path / "storage")


@pytest.fixture
def store(storage: Counting) -> Store:
    return Store(storage, BUCKET, "lab/")


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = a_run(tmp_path / "data", status="running", steps=(10, 20), best=10)
    write_event(run, "run_started")
    (run.metrics / "train%2Floss.bin").write_bytes(bytes(48))
    return run


def test_an_ended_run_is_stored_with_everything_that_another_machine_needs(run: RunDirectory, store: Store) -> None:
    (run.artifacts / "best_model").mkdir()
    (run.artifacts / "best_model" / "model.json").write_text("{}")
    (run.artifacts / "link").symlink_to("/etc/passwd")
    run.notes.write_text("tags: [good]\n")
    set_status(run, "finished")
    assert upload_of(run, store).turn()
    found = stored(store, run)
    wanted = {"run.json", "state.json", "events.jsonl", "notes.yaml", "console.log", "metrics/train%2Floss.bin"}
    assert wanted | {"artifacts/best_model/model.json", "attempts/001/attempt.json"} <= found.files.keys()
    assert "artifacts/link" not in found.files
    assert names(found) == [10, 20] and found.best is found.checkpoints[0]
    assert (found.status, found.live, found.attempt) == ("finished", False, 1)
    assert "lab/vision/digits/cnn/run_0001/checkpoints/step-0000000010/MANIFEST.json" in store.storage.list_files(
        BUCKET
    )
    assert not (run.path / STAGING).exists()


def test_only_what_kladml_yaml_wants_is_stored(run: RunDirectory, store: Store) -> None:
    (run.artifacts / "model").write_text("weights")
    set_status(run, "finished")
    assert upload_of(run, store, Wanted(artifacts=True)).turn()
    assert not stored(store, run).checkpoints and "artifacts/model" in stored(store, run).files


def test_a_live_run_has_its_checkpoints_stored_as_they_come_and_its_artifacts_at_the_end(
    run: RunDirectory, store: Store, storage: Counting
) -> None:
    (run.artifacts / "half").write_text("still being written")
    upload = upload_of(run, store)
    assert not upload.turn()
    assert stored(store, run).live and names(stored(store, run)) == [10, 20]
    before = len(storage.stored)
    assert not upload.turn() and len(storage.stored) == before, "nothing is new, and yet something was stored"
    a_checkpoint(run, 30)
    upload.turn()
    assert names(stored(store, run)) == [10, 20, 30]
    assert "artifacts/half" not in stored(store, run).files
    set_status(run, "stopped")
    assert upload.turn()
    assert "artifacts/half" in stored(store, run).files and stored(store, run).status == "stopped"


def test_what_is_named_is_there_whenever_the_server_goes_away(
    run: RunDirectory, store: Store, storage: Counting
) -> None:
    upload = upload_of(run, store)
    upload.turn()
    sent = len(storage.stored)
    write_event(run, "validation", step=30)
    a_checkpoint(run, 30)
    set_status(run, "finished")
    (run.artifacts / "model").write_text("weights")
    for extra in range(1000):
        storage.away_from = sent + extra
        try:
            done = upload_of(run, store).turn()  # a new one each time: the process was killed too
        except UnusableError:
            done = False
        found = stored(store, run)
        for file in every_file(found):
            content = (storage.root / BUCKET / store.key(run.reference, file.key)).read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (file.size, file.sha256), (extra, file)
        if done:
            break
    assert done and names(stored(store, run)) == [10, 20, 30] and "artifacts/model" in stored(store, run).files
    assert extra > 5, "the server was never away in the middle"


def test_a_killed_upload_goes_on_from_the_file_it_was_at(run: RunDirectory, store: Store, storage: Counting) -> None:
    storage.away_from = 1
    with pytest.raises(UnusableError):
        upload_of(run, store).turn()
    assert storage.stored == [store.key(run.reference, f"checkpoints/{name(20)}/model.safetensors")]
    with pytest.raises(UnusableError):
        upload_of(run, store).turn()
    storage.away_from = None
    upload_of(run, store).turn()
    twice = {key for key in storage.stored if storage.stored.count(key) > 1 and not key.endswith(STORED)}
    assert not {key for key in twice if "/checkpoints/" in key}
    assert names(stored(store, run)) == [10, 20]


def test_the_newest_checkpoint_goes_first_then_the_best(run: RunDirectory, store: Store, storage: Counting) -> None:
    for step in (30, 40):
        a_checkpoint(run, step)
    upload_of(run, store).turn()
    order = [key.split("/")[-2] for key in storage.stored if key.endswith(f"/{MANIFEST}")]
    assert order == [name(40), name(10), name(30), name(20)]


def test_a_checkpoint_that_retention_takes_while_it_is_uploaded_is_uploaded_whole(
    run: RunDirectory, store: Store, storage: Counting
) -> None:
    def take(key: str) -> None:
        if name(20) in key:
            shutil.rmtree(run.checkpoints / name(20), ignore_errors=True)

    storage.before = take
    upload_of(run, store).turn()
    assert not (run.checkpoints / name(20)).exists()
    assert names(stored(store, run)) == [10, 20]


def test_a_checkpoint_that_is_gone_before_its_upload_is_skipped(
    run: RunDirectory, store: Store, storage: Counting
) -> None:
    storage.before = lambda key: shutil.rmtree(run.checkpoints / name(10), ignore_errors=True)
    upload_of(run, store).turn()
    assert names(stored(store, run)) == [20]


def test_a_damaged_checkpoint_is_never_stored(run: RunDirectory, store: Store) -> None:
    weights = run.checkpoints / name(20) / "model.safetensors"
    weights.write_bytes(b"\1" + weights.read_bytes()[1:])
    assert verify(run.checkpoints / name(20)) is not None
    upload = upload_of(run, store)
    upload.turn()
    assert names(stored(store, run)) == [10]
    set_status(run, "finished")
    assert upload.turn()


def test_retention_in_the_storage_follows_that_of_the_training_but_for_the_best_and_the_last(
    run: RunDirectory, store: Store, storage: Counting
) -> None:
    upload = upload_of(run, store)
    upload.turn()
    for step in (30, 40):
        a_checkpoint(run, step)
        upload.turn()
    for step in (20, 30):
        shutil.rmtree(run.checkpoints / name(step))
        write_event(run, "checkpoint_removed", name=name(step))
    shutil.rmtree(run.checkpoints / name(40))  # a person's prune: no event, and the storage keeps it
    a_checkpoint(run, 50)
    upload.turn()
    assert names(stored(store, run)) == [10, 40, 50]
    assert not {key for key in whole(store, run) if name(20) in key or name(30) in key}


def test_a_storage_that_cannot_delete_keeps_naming_what_it_holds(run: RunDirectory, tmp_path: Path) -> None:
    store = Store(ThreeMethods(tmp_path / "three"), BUCKET)
    upload = upload_of(run, store)
    upload.turn()
    a_checkpoint(run, 30)
    shutil.rmtree(run.checkpoints / name(20))
    write_event(run, "checkpoint_removed", name=name(20))
    set_status(run, "finished")
    assert upload.turn()
    assert names(stored(store, run)) == [10, 20, 30]


def test_after_the_end_nothing_lies_in_the_storage_that_no_manifest_names(run: RunDirectory, store: Store) -> None:
    upload = upload_of(run, store)
    for step in (30, 40, 50):
        upload.turn()
        write_event(run, "validation", step=step)
        a_checkpoint(run, step)
    upload.turn()
    set_status(run, "finished")
    assert upload.turn()
    found = stored(store, run)
    named = {file.key for file in every_file(found)}
    assert whole(store, run) == named | {STORED}


def test_checkpoints_that_a_resume_gave_up_are_not_named_any_more(run: RunDirectory, store: Store) -> None:
    upload = upload_of(run, store)
    upload.turn()
    shutil.rmtree(run.checkpoints / name(20))
    write_event(run, "resumed", step=10)
    a_checkpoint(run, 15)
    upload.turn()
    assert names(stored(store, run)) == [10, 15]


def test_a_step_that_is_passed_again_has_its_new_checkpoint_stored(run: RunDirectory, store: Store) -> None:
    upload = upload_of(run, store)
    upload.turn()
    shutil.rmtree(run.checkpoints / name(20))
    write_event(run, "resumed", step=10)
    a_checkpoint(run, 20, written=4e9)
    upload.turn()
    new = hashlib.sha256((run.checkpoints / name(20) / MANIFEST).read_bytes()).hexdigest()
    assert stored(store, run).checkpoints[-1].files[MANIFEST].sha256 == new


def test_another_workspaces_run_of_the_same_name_is_left_alone(
    run: RunDirectory, store: Store, storage: Counting, tmp_path: Path
) -> None:
    upload_of(run, store).turn()
    other = a_run(tmp_path / "other", status="finished")
    before = list(storage.stored)
    with pytest.raises(Refused, match=r"is another run.*storage\.prefix"):
        upload_of(other, store).turn()
    assert storage.stored == before


def test_a_run_that_went_on_elsewhere_is_not_written_over(run: RunDirectory, store: Store, tmp_path: Path) -> None:
    upload_of(run, store).turn()
    twin = RunDirectory(tmp_path / "twin" / run.path.relative_to(tmp_path / "data"))
    shutil.copytree(run.path, twin.path)
    write_event(twin, "resumed", step=20)
    set_status(twin, "running", 2)
    upload_of(twin, store).turn()
    write_event(run, "resumed", step=20)
    set_status(run, "running", 2)
    with pytest.raises(Refused, match="went on elsewhere"):
        upload_of(run, store).turn()
    assert stored(store, run).attempt == 2


def test_an_emptied_storage_gets_everything_anew(run: RunDirectory, store: Store, storage: Counting) -> None:
    upload_of(run, store).turn()
    shutil.rmtree(storage.root)
    upload_of(run, store).turn()
    assert names(stored(store, run)) == [10, 20]


def test_a_run_that_is_gone_is_told_apart_from_a_server_that_is_away(run: RunDirectory, store: Store) -> None:
    upload = upload_of(run, store)
    shutil.rmtree(run.path)
    with pytest.raises(Vanished):
        upload.turn()


@pytest.mark.parametrize("path", ["../../evil", "/etc/passwd", "attempts/../../x", "unknown.txt", "artifacts/\0"])
def test_a_manifest_that_leads_out_of_the_run_is_refused(run: RunDirectory, store: Store, path: str) -> None:
    upload_of(run, store).turn()
    found = stored(store, run)
    forged = {**found.files, path: next(iter(found.files.values()))}
    with pytest.raises(ValueError, match="it names"):
        parse_manifest(manifest_text(type(found)(**{**vars(found), "files": forged})), run.reference)


def test_a_torn_manifest_is_told_and_stored_anew_by_whoever_was_storing_it(
    run: RunDirectory, store: Store, storage: Counting, tmp_path: Path
) -> None:
    upload_of(run, store).turn()
    file = storage.root / BUCKET / store.key(run.reference, STORED)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DamagedManifest):
        store.read(run.reference)
    with pytest.raises(Refused):
        upload_of(a_run(tmp_path / "other"), store).turn()
    upload_of(run, store).turn()
    assert names(stored(store, run)) == [10, 20]


def test_names_that_no_key_can_hold_are_encoded(tmp_path: Path) -> None:
    store = Store(ThreeMethods(tmp_path / "three"), BUCKET)
    run = a_run(tmp_path / "data", experiment="vision/50%/a\\b")
    (run.artifacts / "two\nlines").write_text("x")
    assert upload_of(run, store).turn()
    assert store.references() == [run.reference]
    assert store.references("vision/50%") == [run.reference]
    assert "artifacts/two\nlines" in stored(store, run).files
