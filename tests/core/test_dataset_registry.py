"""The registry: adding, versions, noticing what changed on the disk, who uses what, removing and bringing back."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.datasets import load_diabetes

from kladml_core.config.load import dump, parse, read
from kladml_core.config.problems import problems
from kladml_core.data.loaders import load_arrays, load_data
from kladml_core.errors import ConfigError, KladMLError, UnusableError
from kladml_core.runs import trash
from kladml_core.runs.launch import launch, prepare, prepare_resume
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status
from kladml_core.user_folders import user_folder
from kladml_core.workspace import dataset_uses, fingerprints
from kladml_core.workspace.dataset_examine import examine_file
from kladml_core.workspace.dataset_register import add, record_whole, register, remove
from kladml_core.workspace.dataset_state import check, state_of
from kladml_core.workspace.dataset_uses import datasets_of, runs_using
from kladml_core.workspace.datasets import Column, find_registration, read_dataset
from tests.waiting import wait_for


def write_csv(path: Path, rows: int = 60, factor: float = 1.0) -> Path:
    data = load_diabetes(scaled=False)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *data.feature_names, "progression"])
        for number, (row, y) in enumerate(zip(data.data[:rows], data.target[:rows], strict=True)):
            writer.writerow([f"patient {number}", *(factor * row / 100), y / 100])
    return path


def states(workspace: Path, *names: str, verify: bool = False) -> list[str]:
    return [one.state for one in check(workspace, workspace / "data", list(names), verify=verify)]


def test_a_table_is_registered_with_what_its_columns_hold(workspace: Path) -> None:
    write_csv(workspace / "diabetes.csv")
    done = add(workspace, "diabetes.csv", split="train", description="sixty patients")
    made = done.registration
    assert (done.what, made.name, made.format, made.rows, made.split) == ("new", "diabetes", "csv", 60, "train")
    assert made.columns["id"] == Column("text", ())
    assert made.columns["progression"] == Column("float64", ())
    assert made.bytes == (workspace / "diabetes.csv").stat().st_size


def test_a_changed_file_is_another_version_and_other_data_needs_a_word(workspace: Path) -> None:
    path = write_csv(workspace / "a.csv")
    add(workspace, "a.csv", split="val", description="first")
    assert add(workspace, "a.csv").what == "unchanged"
    write_csv(path, factor=2.0)
    again = add(workspace, str(path))
    assert (again.what, len(again.registration.versions)) == ("new version", 2)
    assert (again.registration.split, again.registration.description) == ("val", "first")
    write_csv(workspace / "b.csv", rows=9)
    with pytest.raises(ConfigError, match=r"registered already, from a\.csv"):
        add(workspace, "b.csv", name="a")
    assert add(workspace, "b.csv", name="a", update=True).registration.versions[-1]["rows"] == 9


def test_what_cannot_be_registered_leaves_nothing_behind(workspace: Path) -> None:
    (workspace / "a.txt").write_text("1")
    (workspace / "folder.csv").mkdir()
    write_csv(workspace / "good.csv")
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("a.txt", {}),
        ("gone.csv", {}),
        ("folder.csv", {}),
        ("no_such_module:load", {}),
        ("good.csv", {"params": {"target_colunm": "id"}}),
        ("good.csv", {"split": "training"}),
        ("good.csv", {"name": "a/b"}),
        ("good.csv", {"name": "x.parquet"}),
        ("good.csv", {"name": "ü" * 100 + "é" * 100}),
    ]
    for source, options in wrong:
        with pytest.raises(KladMLError):
            add(workspace, source, **options)
    assert list((workspace / "data").glob("datasets/*")) == []


def test_a_very_wide_table_is_registered_in_a_file_that_can_be_read(workspace: Path) -> None:
    with (workspace / "wide.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["[/x]" + "\x1b" * 300 + str(number) for number in range(1000)])
        writer.writerow(range(1000))
    made = add(workspace, "wide.csv").registration
    assert 10 < len(made.columns) < 1000 == made.column_count
    assert find_registration(workspace, "wide") == made
    assert made.file.stat().st_size < 1 << 20


def test_an_edit_on_the_disk_is_noticed_and_a_mere_touch_is_none(workspace: Path) -> None:
    path = write_csv(workspace / "a.csv")
    add(workspace, "a.csv")
    assert states(workspace) == ["unchanged"]
    os.utime(path, (1, 1))
    assert states(workspace, "a") == ["unchanged"]
    text = path.read_bytes()
    path.write_bytes(text[:-4] + b"9" + text[-3:])  # of the same size
    os.utime(path, (1, 1))
    assert states(workspace) == ["changed"]
    path.unlink()
    assert states(workspace) == ["gone"]
    (workspace / "data/datasets/a.yaml").write_text("paht: a.csv\n")
    assert states(workspace) == ["wrong"]


def test_unchanged_files_are_not_read_again(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_csv(workspace / "a.csv")
    add(workspace, "a.csv")
    # Who has just written a file may write again within the same tick of its clock.
    assert fingerprints.fingerprint(path).read
    monkeypatch.setattr(fingerprints, "_SETTLED_SECONDS", -1.0)
    assert fingerprints.fingerprint(path).read
    assert not fingerprints.fingerprint(path).read
    assert state_of(workspace / "data/datasets/a.yaml", workspace).how == "size and time as when it was read last"
    assert states(workspace, verify=True) == ["unchanged"]
    (user_folder("CACHE") / "fingerprints.json").write_text("{torn")
    assert fingerprints.fingerprint(path).read


def test_a_large_file_is_sampled_and_verified_when_that_is_asked_for(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "WHOLE_BYTES", 1 << 10)
    monkeypatch.setattr(fingerprints, "BLOCK", 16)
    monkeypatch.setattr(fingerprints, "BLOCKS", 4)
    path = workspace / "large.npz"
    np.savez(path, x=np.arange(1000.0))
    made = register(workspace, "large", path="large.npz")
    assert made.fingerprint is not None and made.fingerprint.startswith("sha256-sampled:")
    assert made.sha256 is None
    whole = fingerprints.read_whole(path)
    assert states(workspace, verify=True) == ["unchanged"]
    assert find_registration(workspace, "large").sha256 == whole == record_whole(workspace, "large")
    content = bytearray(path.read_bytes())
    content[2000] ^= 1  # between the blocks, with the same size
    path.write_bytes(content)
    assert states(workspace) == ["unchanged"]
    assert states(workspace, verify=True) == ["changed"]


def test_removing_touches_no_data_and_can_be_taken_back(workspace: Path) -> None:
    path = write_csv(workspace / "a.csv")
    before = add(workspace, "a.csv").registration
    _, entry = remove(workspace, "a")
    assert path.exists()
    assert not before.file.exists()
    with pytest.raises(ConfigError, match="no dataset named 'a'"):
        remove(workspace, "a")
    assert [thing.what for thing in trash.restore(workspace / "data", entry).things] == ["a"]
    assert find_registration(workspace, "a") == before


def test_columns_are_chosen_and_texts_become_classes(workspace: Path) -> None:
    path = write_csv(workspace / "a.csv", rows=5)
    with pytest.raises(UnusableError, match=r"a\.csv:2: 'patient 0' in column 'id' is not a number"):
        load_arrays(path)
    x, y = load_arrays(path, {"target_column": "sex", "columns": ["bmi", "age"]})
    data = load_diabetes(scaled=False)
    assert torch.allclose(x, torch.tensor(data.data[:5, [2, 0]] / 100).float())
    assert (tuple(y.shape), y.dtype) == ((5, 1), torch.float32)
    x, y = load_arrays(path, {"target_column": ["sex", "bp"], "columns": ["bmi"]})
    assert tuple(y.shape) == (5, 2)
    flowers = workspace / "flowers.csv"
    flowers.write_text("a;kind;n\n1;setosa;3\n2;virginica;4\n3; setosa;5\n")
    chosen = {"delimiter": ";", "target_column": "kind", "classes": ["setosa", "virginica"]}
    assert load_arrays(flowers, chosen)[1].tolist() == [0, 1, 0]
    with pytest.raises(UnusableError, match=r"flowers\.csv:3: 'virginica' in column 'kind' is none of the classes"):
        load_arrays(flowers, {**chosen, "classes": ["setosa"]})
    whole = load_arrays(flowers, {"delimiter": ";", "columns": ["a"], "target_type": "number"})
    assert (whole[1].dtype, whole[1].tolist()) == (torch.float32, [[3.0], [4.0], [5.0]])
    for wrong in ({"target_colunm": "n"}, {"target_type": "text"}, {"columns": ["n"], "target_column": "n"}):
        with pytest.raises(ConfigError):
            load_arrays(flowers, wrong)
    with pytest.raises(UnusableError, match="Did you mean 'kind'"):
        load_arrays(flowers, {"delimiter": ";", "target_column": "knd"})


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_what_parts_the_cells_of_a_csv_file_is_found_recorded_and_used(workspace: Path, delimiter: str) -> None:
    path = workspace / "flowers.csv"
    rows = ["\ufeff'a, b' c kind", '"1" 2 3', "", "4 5.5 6", *["7 8 9"] * 95, "7 '8\n' 9"]
    path.write_text("\r\n".join(rows).replace(" ", delimiter).replace("'", '"'), newline="")
    done = add(workspace, "flowers.csv", split="train")
    assert (done.registration.params, done.registration.rows) == ({"delimiter": delimiter}, 98)
    assert list(done.registration.columns) == [f"a,{delimiter}b", "c", "kind"]
    assert [note for note in done.notes if repr(delimiter) in note] == list(done.notes)
    assert examine_file(path, done.registration.params, None, workspace).preview[:2] == (
        ("1", "2", "3"),
        ("4", "5.5", "6"),
    )
    x, y = load_data({"train": "flowers"}, workspace, str).train.fetch(torch.arange(2))
    assert (x.tolist(), y.tolist()) == ([[1, 2], [4, 5.5]], [3, 6])
    assert add(workspace, "flowers.csv").what == "unchanged"
    assert find_registration(workspace, "flowers").params == {"delimiter": delimiter}


@pytest.mark.parametrize(
    ("text", "params", "columns"),
    [
        ("a,b;c\n1,2\n", {}, ["a", "b;c"]),
        ("text\none; two\nthree\n", {}, ["text"]),
        ("a|b\nc\n", {}, ["a|b"]),
        ('"a;b"\n1\n', {}, ["a;b"]),
        ("a;b\n1;2\n", {"delimiter": ","}, ["a;b"]),
    ],
)
def test_a_csv_file_is_parted_by_commas_where_that_may_be_or_is_said(
    workspace: Path, text: str, params: dict[str, Any], columns: list[str]
) -> None:
    (workspace / "t.csv").write_text(text)
    done = add(workspace, "t.csv", params=params)
    assert (list(done.registration.columns), done.registration.params) == (columns, params)
    assert not done.notes


def test_parquet_gives_what_its_columns_hold(workspace: Path) -> None:
    images = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(12, dtype=np.float32)), 4)
    labels = pa.array(["b", "a", "b"]).dictionary_encode()
    pq.write_table(pa.table({"image": images, "extra": [1, 2, 3], "label": labels}), workspace / "t.parquet")
    x, y = load_arrays(workspace / "t.parquet", {"classes": ["a", "b"]})
    assert x.tolist() == [[0, 1, 2, 3, 1], [4, 5, 6, 7, 2], [8, 9, 10, 11, 3]]
    assert y.tolist() == [1, 0, 1]
    x, y = load_arrays(workspace / "t.parquet", {"columns": ["image"], "target_column": "extra"})
    assert (tuple(x.shape), y.dtype, y.tolist()) == ((3, 4), torch.int64, [1, 2, 3])
    with pytest.raises(UnusableError, match="'label' holds string, which is no number"):
        load_arrays(workspace / "t.parquet")
    pq.write_table(pa.table({"a": [1.0, None], "y": [0, 1]}), workspace / "hole.parquet")
    with pytest.raises(UnusableError, match="row 2 has no value in column 'a'"):
        load_arrays(workspace / "hole.parquet")
    pq.write_table(pa.table({"a": [1.0, np.inf], "y": [0, 1]}), workspace / "inf.parquet")
    with pytest.raises(UnusableError, match="row 2 of column 'a' is not finite"):
        load_arrays(workspace / "inf.parquet")


def test_arrays_of_other_names_are_chosen_by_theirs(workspace: Path) -> None:
    np.savez(workspace / "a.npz", images=np.zeros((3, 2)), labels=np.arange(3))
    data = {"train": "a.npz", "params": {"columns": ["images"], "target_column": "labels"}}
    module = load_data(data, workspace, lambda target: None)
    assert module.train.fetch(torch.arange(3))[1].tolist() == [0, 1, 2]


MODEL = "import torch\ndef Model(): return torch.nn.Linear(9, 1)\n"
CONFIG = """
experiment: tables
model: {target: "tables.py:Model"}
data:
  train: patients
  val: checked
  params: {columns: [age, sex, bmi, bp, s1, s2, s3, s4, s5], target_column: progression}
loss: mse
training: {max_epochs: 1, batch_size: 16}
"""


def test_a_run_trains_on_registered_tables_and_is_told_what_changed(workspace: Path) -> None:
    (workspace / "tables.py").write_text(MODEL)
    (workspace / "tables.yaml").write_text(CONFIG)
    path = write_csv(workspace / "patients.csv")
    data = load_diabetes(scaled=False)
    columns = {name: data.data[:40, place] / 100 for place, name in enumerate(data.feature_names)}
    pq.write_table(pa.table({**columns, "progression": data.target[:40] / 100}), workspace / "checked.parquet")
    add(workspace, "patients.csv", split="train")
    add(workspace, "checked.parquet", split="val")
    run = launch(prepare(workspace / "tables.yaml", workspace=workspace))
    with pytest.raises(UnusableError, match="uses 'patients' and is not at its end"):
        remove(workspace, "patients")
    wait_for(lambda: not read_status(run).live, timeout=90, message="the run goes on")
    assert read_status(run).status == "finished", run.console_log.read_text()
    assert run.warnings(1) == ()
    assert _uses(workspace, "patients") == [(run.reference, 1)]
    assert [(use.dataset, use.version) for use in datasets_of(run)] == [("patients", 1), ("checked", 1)]
    write_csv(path, factor=2.0)
    (warning,) = prepare(workspace / "tables.yaml", workspace=workspace).warnings
    assert "'patients' has changed since it was registered" in warning
    plan, _ = prepare_resume(RunDirectory(run.path), workspace=workspace, overrides=["training.max_epochs=2"])
    assert "'patients' is no longer what this run was made with" in plan.warnings[-1]
    add(workspace, "patients.csv")
    assert prepare(workspace / "tables.yaml", workspace=workspace).warnings == ()
    assert _uses(workspace, "patients") == [(run.reference, 1)]


@pytest.mark.parametrize(
    ("section", "found"),
    [
        ("{train: digits, val: other}", True),
        ('{"val":"digits"}', True),
        ("\n  train: other\n  test: 'digits'   # the third\n", True),
        ("{train: digits-train, val: my.digits, test: digits_2}", False),
        ("{target: digits}", False),
    ],
)
def test_a_run_uses_what_its_config_names_and_others_are_not_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str, found: bool
) -> None:
    run = RunDirectory.create(tmp_path, "p", "f", "e", seed=0)
    run.config.write_text(f"data: {section}\n")
    registration = tmp_path / "datasets" / "digits.yaml"
    registration.parent.mkdir()
    registration.write_text("path: digits.csv\n")
    parsed: list[Path] = []
    monkeypatch.setattr(dataset_uses, "read", lambda file: (parsed.append(file), read(file))[1])
    uses = runs_using(tmp_path, read_dataset(registration))
    assert [use.run for use in uses] == ([run.reference] if found else [])
    assert parsed == ([run.config] if found else [])


def _uses(workspace: Path, name: str) -> list[tuple[str, int | None]]:
    return [(use.run, use.version) for use in runs_using(workspace / "data", find_registration(workspace, name))]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("registered", "of_config", "told"),
    [
        ({}, {}, "column 'kind' of dataset 'flowers' holds texts, and no classes say which number each is"),
        ({"target_column": "width"}, {}, "column 'who' of dataset 'flowers' holds texts, and inputs are numbers"),
        ({"columns": ["width"]}, {}, "column 'kind'"),
        ({"columns": ["width"]}, {"classes": ["wild", "garden"]}, None),
        ({"columns": ["width"], "classes": ["wild", "garden"]}, {}, None),
        ({"target_column": "width"}, {"columns": ["height"]}, None),
    ],
)
def test_texts_where_training_takes_numbers_are_told_by_a_check_as_by_loading(
    workspace: Path, ending: str, registered: dict[str, Any], of_config: dict[str, Any], told: str | None
) -> None:
    columns = {"who": ["a", "b"], "width": [1.5, 2.0], "height": [2.0, 3.0], "kind": ["wild", "garden"]}
    table, path = pa.table(columns), workspace / f"flowers.{ending}"
    pa_csv.write_csv(table, path) if ending == "csv" else pq.write_table(table, path)
    add(workspace, path.name, params=registered)
    data = {"train": "flowers", "params": of_config}
    text = dump({"model": {"target": "models:Net"}, "data": data, "training": {"max_epochs": 1}})
    found = [one for one in problems(parse(text, "c.yaml"), workspace=workspace) if one.path[0] == "data"]
    if told is None:
        assert not found
        load_data(data, workspace, str)
        return
    assert [one.message.startswith(told) for one in found] == [True]
    assert (found[0].path, found[0].exit_code) == (("data", "train"), 3)
    with pytest.raises(UnusableError, match="number"):
        load_data(data, workspace, str)
    path.write_bytes(path.read_bytes() + b"\n")  # what is there now may hold anything
    assert not [one for one in problems(parse(text, "c.yaml"), workspace=workspace) if one.path[0] == "data"]
