"""What every MetadataInterface does: our index, and a backend that a third party wrote with the obligatory methods."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kladml_core.backends.sqlite_metadata import SqliteMetadata
from kladml_core.interfaces import DatasetRecord, MetadataInterface, MetricRecord, RunRecord
from kladml_core.runs.notes import edit_notes
from kladml_core.runs.rundir import RunDirectory
from kladml_core.workspace.datasets import read_dataset
from kladml_core.workspace.rows import run_row, with_params
from kladml_core.workspace.workspace import Workspace
from tests.core.indexed_workspace import a_run, a_workspace


class FilesMetadata(MetadataInterface):
    """Keeps nothing: it reads the files each time."""

    def __init__(self, root: Path) -> None:
        self._workspace = Workspace.open(root)

    def projects(self) -> list[str]:
        return self._workspace.projects()

    def families(self, project: str) -> list[str]:
        return self._workspace.families(project)

    def experiments(self, project: str, family: str) -> list[str]:
        return self._workspace.experiments(project, family)

    def runs(self, prefix: str = "") -> list[str]:
        runs = [run.reference for run in self._workspace.all_runs()]
        return [run for run in runs if not prefix or run.startswith(f"{prefix}/")]

    def run(self, reference: str) -> RunRecord:
        directory = RunDirectory(self._workspace.data / "projects" / reference)
        if not directory.path.is_dir():
            raise KeyError(reference)
        row = with_params(run_row(directory))
        status = row.status
        metrics = {name: MetricRecord(*(getattr(one, key) for key in _KEYS)) for name, one in row.metrics.items()}
        return RunRecord(
            reference, (directory.read_run() or {}).get("uid"), status.status, status.created, status.started,
            status.ended, status.attempt, status.epoch, status.step, status.exit_code, status.reason, metrics,
            row.params, row.tags, row.note, row.star,
        )  # fmt: skip

    def datasets(self) -> list[DatasetRecord]:
        found = map(read_dataset, self._workspace.datasets())
        return [
            DatasetRecord(one.name, one.path, one.target, one.split, one.description, one.rows, one.fingerprint)
            for one in found
        ]


_KEYS = ("last", "last_step", "minimum", "minimum_step", "maximum", "maximum_step", "count", "non_finite")
Make = Callable[[Path], MetadataInterface]


@pytest.fixture(params=["index", "files"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes the backend for a workspace."""
    if request.param == "files":
        return FilesMetadata
    return lambda root: SqliteMetadata(root, file=tmp_path / "index.sqlite")


def full(root: Path) -> Path:
    """A workspace with something of everything."""
    a_workspace(root)
    for experiment in ("vision/digits/cnn", "vision/digits/cnn", "vision/letters/cnn", "text/gpt/tiny"):
        a_run(root, experiment, metrics={"val/loss": 0.25, "acc": 0.75})
    failed = a_run(root, "text/gpt/tiny", status="failed", exit_code=70, reason="train/loss is NaN")
    edit_notes(failed, tag=["b", "a"], note="[/x]", star=True)
    (root / "data" / "projects" / "empty").mkdir()
    (root / "data" / "datasets").mkdir()
    (root / "data" / "datasets" / "set.yaml").write_text("name: set\npath: x.npz\nrows: 7\ndescription: d\n")
    return root


def test_it_tells_the_hierarchy(tmp_path: Path, make: Make) -> None:
    metadata = make(full(tmp_path / "w"))
    metadata.refresh()
    assert metadata.projects() == ["empty", "text", "vision"]
    assert metadata.families("vision") == ["digits", "letters"]
    assert metadata.families("empty") == metadata.families("missing") == []
    assert metadata.experiments("vision", "digits") == ["cnn"], "the same name under two families is two experiments"
    assert metadata.runs("vision") == [f"vision/{one}" for one in _CNN]
    assert metadata.runs("vision/digits/cnn") == [f"vision/{one}" for one in _CNN[:2]]
    assert metadata.runs() == [*metadata.runs("text"), *metadata.runs("vision")]


_CNN = ("digits/cnn/run_0002", "digits/cnn/run_0001", "letters/cnn/run_0001")


def test_it_tells_of_a_run_and_of_none_that_is_not_there(tmp_path: Path, make: Make) -> None:
    metadata = make(full(tmp_path / "w"))
    metadata.refresh()
    found = metadata.run("text/gpt/tiny/run_0002")
    assert (found.status, found.exit_code, found.reason) == ("failed", 70, "train/loss is NaN")
    assert (found.tags, found.note, found.star, found.problem) == (("b", "a"), "[/x]", True, "")
    assert found.params == {"model.params.width": 32, "seed": 0}
    assert metadata.run("vision/digits/cnn/run_0001").metrics["acc"] == MetricRecord(0.75, 2, 0.75, 2, 1.5, 1, 2, 0)
    with pytest.raises(KeyError):
        metadata.run("text/gpt/tiny/run_0009")


def test_it_tells_of_datasets(tmp_path: Path, make: Make) -> None:
    metadata = make(full(tmp_path / "w"))
    metadata.refresh()
    assert metadata.datasets() == [DatasetRecord("set", "x.npz", description="d", rows=7)]


def test_what_is_there_after_a_refresh_is_what_is_told(tmp_path: Path, make: Make) -> None:
    root = full(tmp_path / "w")
    metadata = make(root)
    metadata.refresh()
    run = a_run(root, "new/one/here")
    edit_notes(RunDirectory(root / "data" / "projects" / "vision/digits/cnn/run_0001"), star=True)
    metadata.refresh()
    assert metadata.runs("new") == [run.reference]
    assert metadata.run("vision/digits/cnn/run_0001").star
    assert [one.reference for one in metadata.records()] == metadata.runs()


def test_the_index_says_the_same_as_the_files(tmp_path: Path) -> None:
    root = full(tmp_path / "w")
    index, files = SqliteMetadata(root, file=tmp_path / "index.sqlite"), FilesMetadata(root)
    index.refresh()
    assert list(index.records()) == list(files.records())
