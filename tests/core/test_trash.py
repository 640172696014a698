"""The trash: putting back, what stands in the way of it, and emptying."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kladml_core.errors import UnusableError
from kladml_core.runs import trash
from kladml_core.runs.prune import propose, prune
from kladml_core.runs.trash import Entry, empty, entries, restore
from tests.core.pruned_runs import a_checkpoint, a_run, name, set_status, tree


def test_each_pruning_is_put_back_by_itself_the_newest_first(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    prune(propose(tmp_path))
    a_checkpoint(run, 50)
    second = prune(propose(tmp_path))
    assert [line.what for line in second.lines] == [name(40)]
    assert restore(tmp_path).entry == second.entry
    (first,) = entries(tmp_path)
    assert restore(tmp_path, first.name[-4:]).entry == first.name
    assert len(list(run.checkpoints.glob("step-*"))) == 5
    for wanted in (None, "nothing"):
        with pytest.raises(UnusableError, match="trash is empty"):
            restore(tmp_path, wanted)


def test_what_is_in_the_way_is_never_written_over(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    prune(propose(tmp_path))
    there = a_checkpoint(run, 10)
    before = tree(there)
    restored = restore(tmp_path)
    assert [thing.what for thing in restored.things] == [name(30)]
    (left,) = restored.left
    assert left[0].what == name(10) and "there is something at" in left[1]
    assert tree(there) == before
    there.rename(tmp_path / "aside")
    assert [thing.what for thing in restore(tmp_path).things] == [name(10)]
    assert entries(tmp_path) == []


def test_nothing_is_put_back_into_a_live_run_nor_into_one_that_is_gone(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    first = prune(propose(tmp_path)).entry
    set_status(run, "running", 1)
    assert all("is running" in reason for _, reason in restore(tmp_path).left)
    set_status(run, "stopped", 1)
    second = prune(propose(tmp_path, [run.reference], runs=True)).entry
    assert all("put it back first" in reason for _, reason in restore(tmp_path, first).left)
    restore(tmp_path, second)
    assert restore(tmp_path, first).left == ()


def test_a_run_comes_back_where_its_experiment_is_gone_too(tmp_path: Path) -> None:
    run = a_run(tmp_path, status="failed", steps=())
    prune(propose(tmp_path, runs=True))
    (run.path.parent / "experiment.yaml").unlink()
    run.path.parent.rmdir()
    assert restore(tmp_path).left == () and run.read_run() is not None


def test_emptying_frees_for_good_and_an_interrupted_one_is_finished_by_the_next(tmp_path: Path) -> None:
    a_run(tmp_path)
    prune(propose(tmp_path))
    (entry,) = entries(tmp_path)
    entry.path.rename(entry.path.with_name(f".{entry.name}.emptied"))  # as far as one came that was killed
    assert entries(tmp_path) == []
    assert empty(tmp_path, []) == []
    assert list(trash.folder(tmp_path).iterdir()) == []


def test_what_cannot_be_deleted_is_named_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_run(tmp_path)
    prune(propose(tmp_path))
    (entry,) = entries(tmp_path)

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", f"{path}/0001")

    monkeypatch.setattr(trash.shutil, "rmtree", refuse)
    ((named, reason),) = empty(tmp_path, [entry.name])
    assert named == entry.name and reason.endswith("0001: Permission denied")
    monkeypatch.undo()
    assert empty(tmp_path, []) == [] and list(trash.folder(tmp_path).iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"origin": "../../outside"},
        {"origin": "projects/a/b/c/../../../../../outside"},
        {"origin": "/tmp/outside"},
        {"origin": "projects/a"},
        {"number": 1},
        {"more": 1},
        None,
    ],
)
def test_a_damaged_record_puts_nothing_anywhere(tmp_path: Path, change: dict[str, object] | None) -> None:
    a_run(tmp_path)
    prune(propose(tmp_path))
    (entry,) = entries(tmp_path)
    record = json.loads((entry.path / "record.json").read_text())
    record["things"][0].update(change or {})
    (entry.path / "record.json").write_text(json.dumps(record) if change else "{torn")
    before = tree(tmp_path)
    with pytest.raises(UnusableError, match="missing or damaged"):
        restore(tmp_path)
    assert tree(tmp_path) == before
    (damaged,) = entries(tmp_path)
    assert isinstance(damaged, Entry) and damaged.bytes > 0 and damaged.problem
