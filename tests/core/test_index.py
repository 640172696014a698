"""The index says what the files say, keeps in step with them, and can be thrown away at any time."""

from __future__ import annotations

import math
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kladml_core.backends import sqlite_metadata
from kladml_core.backends.index_file import index_file
from kladml_core.backends.sqlite_metadata import SqliteMetadata
from kladml_core.errors import UnusableError
from kladml_core.runs.files import write_json
from kladml_core.runs.notes import edit_notes
from kladml_core.runs.rundir import RunDirectory
from kladml_core.settings import load_settings
from kladml_core.user_folders import user_folder
from kladml_core.workspace import index as index_module
from kladml_core.workspace.choose_runs import choose_runs, fresh_index
from kladml_core.workspace.doctor import examine
from kladml_core.workspace.index import Index
from kladml_core.workspace.workspace import Workspace
from tests.core.indexed_workspace import a_run, a_workspace, age


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return a_workspace(tmp_path / "w")


@pytest.fixture
def metadata(workspace: Path, tmp_path: Path) -> SqliteMetadata:
    return SqliteMetadata(workspace, file=tmp_path / "index.sqlite")


def reads_of(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The references of the runs whose files are read from now on."""
    read: list[str] = []
    real = index_module.read_entry

    def noticed(path: str, reference: str):  # type: ignore[no-untyped-def]
        read.append(reference)
        return real(path, reference)

    monkeypatch.setattr(index_module, "read_entry", noticed)
    return read


def test_it_says_of_a_run_what_its_files_say(workspace: Path, metadata: SqliteMetadata) -> None:
    config = {"training": {"learning_rate": 1e-3, "betas": [0.9, 0.999], "mixed_precision": "no"}}
    run = a_run(workspace, metrics={"val/loss": 0.25, "odd": math.nan, "up": math.inf}, config=config, reason="max")
    edit_notes(run, tag=["baseline", "b"], note="[/x] 漢字", star=True)
    metadata.refresh()
    found = metadata.run("vision/digits/cnn/run_0001")
    assert (found.uid, found.status) == ((run.read_run() or {})["uid"], "finished")
    assert (found.tags, found.note, found.star) == (("baseline", "b"), "[/x] 漢字", True)
    loss = found.metrics["val/loss"]
    assert (loss.last, loss.last_step, loss.minimum, loss.maximum, loss.maximum_step) == (0.25, 2, 0.25, 0.5, 1)
    assert math.isnan(found.metrics["odd"].last)
    assert found.metrics["odd"].minimum is None
    assert found.metrics["up"].last == math.inf
    assert found.params == {
        "model.params.width": 32,
        "seed": 0,
        "training.learning_rate": 1e-3,
        "training.betas": [0.9, 0.999],
        "training.mixed_precision": "no",
    }
    assert next(iter(found.params)) == "model.params.width"


def test_only_what_changed_is_read_again(
    workspace: Path, metadata: SqliteMetadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [a_run(workspace) for _ in range(3)]
    metadata.refresh()
    read = reads_of(monkeypatch)
    metadata.refresh()
    assert read == []
    edit_notes(runs[1], tag=["new"])
    metadata.refresh()
    assert read == [runs[1].reference]
    assert metadata.run(runs[1].reference).tags == ("new",)


def test_notes_that_an_editor_writes_in_place_are_noticed(workspace: Path, metadata: SqliteMetadata) -> None:
    run = a_run(workspace, old=False)
    run.notes.write_text("note: one\n")
    age(run.path)
    metadata.refresh()
    before = run.path.stat().st_mtime_ns
    with run.notes.open("r+") as file:
        file.write("note: two\n")
    assert run.path.stat().st_mtime_ns == before
    metadata.refresh()
    assert metadata.run(run.reference).note == "two"


def test_moved_and_deleted_runs_are_forgotten(workspace: Path, metadata: SqliteMetadata) -> None:
    one, two = a_run(workspace), a_run(workspace)
    metadata.refresh()
    shutil.rmtree(one.path)
    other = workspace / "data" / "projects" / "vision" / "digits" / "mlp"
    other.mkdir()
    two.path.rename(other / "run_0007")
    metadata.refresh()
    assert metadata.runs() == ["vision/digits/mlp/run_0007"]
    assert metadata.run("vision/digits/mlp/run_0007").metrics["val/loss"].last == 0.25
    assert metadata.query("SELECT count(DISTINCT run) FROM run_metrics") == [(1,)]
    assert metadata.query("SELECT count(DISTINCT run) FROM run_params") == [(1,)]
    with pytest.raises(KeyError):
        metadata.run(one.reference)


def test_a_live_run_is_looked_at_each_time_and_its_death_is_told(workspace: Path, metadata: SqliteMetadata) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    from kladml_core.runs.processes import identity

    run = a_run(workspace, status="running", ended=None, exit_code=None, **identity(child.pid).to_json())
    index = Index(Workspace.open(workspace), metadata)
    tree = index.refresh()
    assert index.seen[run.reference].word == "running"
    child.kill()
    child.communicate()
    index.look(tree, everything=False)
    assert index.seen[run.reference].word == "lost"
    assert metadata.run(run.reference).status == "lost"


def test_damaged_runs_are_rows_that_say_why(workspace: Path, metadata: SqliteMetadata) -> None:
    good = a_run(workspace)
    parent = good.path.parent
    empty, file, copy, link = (parent / name for name in ("run_0002", "run_0003", "run_0001 (copy)", "run_0004"))
    empty.mkdir()
    file.write_text("")
    shutil.copytree(good.path, copy)
    link.symlink_to("nowhere")
    torn = a_run(workspace, old=False)
    torn.state_json.write_text("{")
    os.utime(empty, (1, 1))
    write_json(torn.run_json, {**(torn.read_run() or {}), "created": 1.0})
    noisy = a_run(workspace)
    noisy.summary.write_text('{"loss": 3, "acc": {"last": 1')
    noisy.config.write_text("a: 1\na: 2\n")
    noisy.notes.write_bytes(b"\xff")
    metadata.refresh()
    told = {name: metadata.run(f"vision/digits/cnn/{name}") for name in os.listdir(parent) if name.startswith("run_")}
    assert [name for name, one in sorted(told.items()) if one.status == "damaged"] == [
        "run_0001 (copy)", "run_0002", "run_0003", "run_0004", torn.path.name,
    ]  # fmt: skip
    assert told["run_0003"].reason == "there is a file where the run's directory should be"
    assert told["run_0002"].reason == "run.json is missing or damaged"
    assert "its name is not that of a run" in (told["run_0001 (copy)"].reason or "")
    assert "a link to nowhere" in (told["run_0004"].reason or "")
    assert told[torn.path.name].reason == "state.json is damaged"
    noise = told[noisy.path.name]
    assert noise.status == "finished"
    for word in ("summary.json is no JSON", "config.yaml is damaged", "notes.yaml is damaged"):
        assert word in noise.problem


def test_hostile_names_and_values_come_through(workspace: Path, metadata: SqliteMetadata) -> None:
    names = ("[red]x[@click=y]", "漢字 \u202eabc", os.fsdecode(b"bytes\xff\xfe"))
    run = a_run(workspace)
    place = workspace / "data" / "projects" / Path(*names)
    place.mkdir(parents=True)
    run.path.rename(place / "run_0001")
    run = RunDirectory(place / "run_0001")
    figures = '"last": 1.0, "min": 1.0, "min_step": 1, "max": 1.0, "max_step": 1, "count": 1, "non_finite": 0'
    run.summary.write_text(f'{{"\\ud800": {{"last_step": 5, {figures}}}, "big": {{"last_step": {2**70}, {figures}}}}}')
    write_json(run.state_json, {**(run.read_state() or {}), "reason": "x", "step": 2**70})
    run.state_json.write_text(run.state_json.read_text().replace('"x"', '"\\ud800"'))
    metadata.refresh()
    assert metadata.projects() == [names[0], "vision"]
    assert metadata.experiments(*names[:2]) == [names[2]]
    assert metadata.runs("/".join(names)) == ["/".join((*names, "run_0001"))]
    found = metadata.run("/".join((*names, "run_0001")))
    assert found.metrics["big"].last == 1.0
    assert "\\ud800" in found.metrics
    shutil.rmtree(workspace / "data" / "projects" / names[0])
    metadata.refresh()
    assert metadata.runs() == []


def test_an_index_of_another_version_or_a_damaged_one_is_made_anew(workspace: Path, tmp_path: Path) -> None:
    run = a_run(workspace)
    file = tmp_path / "index.sqlite"
    SqliteMetadata(workspace, file=file).refresh()
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA user_version = 999")
    assert SqliteMetadata(workspace, file=file).runs() == []
    for damage in (b"no database at all" * 100, file.read_bytes()[:5000], b""):
        for name in ("", "-wal", "-shm"):
            file.with_name(f"index.sqlite{name}").unlink(missing_ok=True)
        file.write_bytes(damage)
        metadata = SqliteMetadata(workspace, file=file)
        metadata.refresh()
        assert metadata.runs() == [run.reference]
        metadata.close()


def test_an_index_that_is_damaged_while_it_is_open_is_made_anew(workspace: Path, metadata: SqliteMetadata) -> None:
    runs = [a_run(workspace) for _ in range(3)]
    index = Index(Workspace.open(workspace), metadata)
    index.refresh()
    metadata.query("PRAGMA wal_checkpoint(TRUNCATE)")
    size = metadata.file.stat().st_size
    with metadata.file.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    metadata.query("PRAGMA shrink_memory")
    edit_notes(runs[0], tag=["new"])
    index.refresh()
    assert index.fault == ""
    assert metadata.runs() == [run.reference for run in reversed(runs)]
    assert metadata.run(runs[0].reference).tags == ("new",)


def test_one_that_somebody_threw_away_is_opened_anew(workspace: Path, tmp_path: Path) -> None:
    run = a_run(workspace)
    file = tmp_path / "index.sqlite"
    ours, theirs = (SqliteMetadata(workspace, file=file) for _ in range(2))
    index = Index(Workspace.open(workspace), ours)
    index.refresh()
    theirs.begin_anew()
    index.refresh()
    assert theirs.runs() == [run.reference]


def test_two_apps_keep_one_index_and_learn_from_each_other(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_run(workspace)
    file = tmp_path / "index.sqlite"
    one, other = (Index(Workspace.open(workspace), SqliteMetadata(workspace, file=file)) for _ in range(2))
    one.refresh()
    read = reads_of(monkeypatch)
    other.refresh()
    second = a_run(workspace)
    other.refresh()
    one.refresh()
    assert read == [second.reference]
    assert one.seen == other.seen


def test_an_index_that_its_disk_has_no_room_for_is_not_taken_for_the_whole(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [a_run(workspace) for _ in range(3)]
    opened = sqlite_metadata.connect

    def on_a_full_disk(*asked: Any) -> sqlite3.Connection:
        connection = opened(*asked)
        connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")
        return connection

    for run in runs:  # more than the free pages hold
        edit_notes(run, note="x" * 5_000)
        age(run.path)
    monkeypatch.setattr(sqlite_metadata, "connect", on_a_full_disk)
    settings = load_settings(workspace)
    assert fresh_index(settings) is None
    index, read = Index(Workspace.open(workspace)), reads_of(monkeypatch)
    index.refresh()
    index.refresh()
    assert sorted(read) == sorted(run.reference for run in runs), "all that is owed was read again for each look"
    assert {row.reference for row in choose_runs(settings.data).rows} == {run.reference for run in runs}
    with pytest.raises(UnusableError, match="full"):
        SqliteMetadata(workspace).refresh()
    checks = {check.name: check for check in examine(workspace)}
    assert checks["index"].state == "wrong" and "full" in checks["index"].text
    assert checks["runs"].text == "3, none damaged"


def test_without_a_place_for_its_file_the_index_is_kept_in_memory(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(workspace)
    nowhere = tmp_path / "file"
    nowhere.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(nowhere))
    monkeypatch.setattr("tempfile.tempdir", str(nowhere))
    index = Index(Workspace.open(workspace))
    index.refresh()
    assert index.seen[run.reference].word == "finished"
    assert "the index can lie neither" in index.fault


def test_a_relative_cache_folder_counts_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = index_file(tmp_path, {"XDG_CACHE_HOME": "here", "HOME": str(tmp_path / "home")})
    assert found.is_relative_to(tmp_path / "home" / ".cache" / "kladml")
    assert user_folder("STATE", {"XDG_STATE_HOME": "here", "HOME": "/home/ada"}) == Path(
        "/home/ada/.local/state/kladml"
    )
    assert not (tmp_path / "here").exists()
