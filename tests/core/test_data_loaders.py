"""Data files, registered datasets and targets become splits; what cannot be used is said with its place."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from kladml_core.data.loaders import load_arrays, load_data
from kladml_core.errors import ConfigError, UnusableError
from kladml_core.workspace.dataset_register import register
from kladml_core.workspace.fingerprints import read_fingerprint

X, Y = np.arange(12.0).reshape(6, 2), np.arange(6)


def no_target(target: str) -> Any:
    raise AssertionError(f"{target} must not be imported")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "kladml.yaml").write_text("workspace: {name: test}\n")
    np.savez(tmp_path / "train.npz", x=X, y=Y)
    save_file({"x": torch.from_numpy(X).float(), "y": torch.from_numpy(Y)}, tmp_path / "val.safetensors")
    (tmp_path / "test.csv").write_text("a,b,label\n1,2.5,0\n\n3,4,1\n")
    return tmp_path


def test_paths_of_every_format(workspace: Path) -> None:
    data = {"train": "train.npz", "val": "val.safetensors", "test": "test.csv", "target": None, "params": {}}
    module = load_data(data, workspace, no_target)
    x, y = module.train.fetch(torch.arange(6))
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
    assert x.tolist() == X.tolist()
    assert module.val is not None
    assert module.val.fetch(torch.tensor([5]))[1].tolist() == [5]
    assert module.test is not None
    x, y = module.test.fetch(torch.arange(2))
    assert (x.tolist(), y.tolist()) == ([[1.0, 2.5], [3.0, 4.0]], [0, 1])


def test_a_csv_target_that_is_no_whole_number_is_a_column_of_floats(workspace: Path) -> None:
    x, y = load_arrays(workspace / "test.csv", {"target_column": "b"})
    assert (tuple(x.shape), tuple(y.shape), y.dtype) == ((2, 2), (2, 1), torch.float32)
    assert x.tolist() == [[1.0, 0.0], [3.0, 1.0]]


def test_registered_datasets(workspace: Path) -> None:
    register(workspace, "numbers", path="train.npz", split="train")
    register(workspace, "made", target="somewhere:load", params={"rows": 4}, split="val")
    asked: list[str] = []

    def resolve(target: str) -> Any:
        asked.append(target)
        return lambda rows: {"train": torch.zeros(rows), "val": torch.ones(rows)}

    module = load_data({"train": "numbers", "val": "made"}, workspace, resolve)
    assert asked == ["somewhere:load"]
    assert (module.train.length, module.train.name) == (6, "train")
    assert module.val is not None
    assert module.val.fetch(torch.arange(4))[0].tolist() == [1.0] * 4
    with pytest.raises(ConfigError, match="'number'"):
        load_data({"train": "number"}, workspace, no_target)


def test_a_target_is_called_with_its_params(workspace: Path) -> None:
    module = load_data(
        {"target": "m:load", "params": {"rows": 3}}, workspace, lambda _: lambda rows: {"train": torch.zeros(rows, 1)}
    )
    assert module.train.length == 3
    with pytest.raises(UnusableError, match="m:load gave None"):
        load_data({"target": "m:load", "params": {}}, workspace, lambda _: lambda: None)


def test_a_pickle_in_an_npz_is_never_loaded(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "trapped",))

    np.savez(tmp_path / "bad.npz", x=np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(UnusableError, match="cannot be read"):
        load_arrays(tmp_path / "bad.npz")
    (tmp_path / "raw.npz").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(UnusableError, match="cannot be read"):
        load_arrays(tmp_path / "raw.npz")
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("gone.npz", None, "there is no data file"),
        ("a.txt", b"", "is no data file"),
        ("torn.npz", b"PK\x03\x04", "cannot be read"),
        ("torn.safetensors", b"\xff" * 20, "cannot be read"),
        ("keys.npz", {"a": X, "b": Y}, "holds a, b"),
        ("words.npz", {"x": np.array(["a"])}, "not a number"),
        ("rows.npz", {"x": X, "y": Y[:2]}, r"one row a sample: x \[6, 2\], y \[2\]"),
        ("one.npz", {"x": np.array(3.0)}, "one row a sample"),
        ("none.csv", b"a,b\n", "no rows"),
        ("head.csv", b"", "needs a header"),
        ("cell.csv", b"a,b\n1,2\n1,x\n", "cell.csv:3: 'x' in column 'b' is not a number"),
        ("nan.csv", b"a,b\n1,nan\n", "nan.csv:2: 'nan' in column 'b' is not a finite number"),
        ("ragged.csv", b"a,b\n1,2,3\n", "ragged.csv:2: 3 cells in a table of 2 columns"),
        ("binary.csv", b"\xff\xfe,b\n", "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_named(name: str, write: Any, message: str, tmp_path: Path) -> None:
    if isinstance(write, dict):
        np.savez(tmp_path / name, **write)
    elif write is not None:
        (tmp_path / name).write_bytes(write)
    with pytest.raises(UnusableError, match=message) as caught:
        load_arrays(tmp_path / name)
    assert caught.value.exit_code == 3


def test_a_data_section_without_training_data_is_wrong_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no training data"):
        load_data({"val": "val.npz"}, tmp_path, no_target)


def test_a_files_fingerprint_is_its_registrations(workspace: Path) -> None:
    registered = register(workspace, "numbers", path="train.npz")
    assert read_fingerprint(workspace / "train.npz") == registered.fingerprint
