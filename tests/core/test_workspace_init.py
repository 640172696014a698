"""Making a workspace: what is written, and that nothing is ever written over."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from kladml_core.config.load import read
from kladml_core.config.schema import problems
from kladml_core.errors import ConfigError, UnusableError
from kladml_core.settings import load_settings
from kladml_core.workspace.datasets import find_dataset
from kladml_core.workspace.init import EXAMPLES, digits_splits, init_workspace


def test_the_digits_are_real_and_split_the_same_way_every_time() -> None:
    splits = digits_splits()
    (train_x, train_y), (val_x, val_y) = splits["train"], splits["val"]
    assert (len(train_x), len(val_x)) == (1437, 360)
    assert train_x.shape[1:] == (1, 8, 8) and train_x.dtype == np.float32 and train_y.dtype == np.int64
    assert 0.0 <= train_x.min() < train_x.max() <= 1.0
    assert sorted(set(val_y.tolist())) == list(range(10))
    assert all(np.array_equal(splits[name][0], digits_splits()[name][0]) for name in splits)


def test_no_validation_digit_is_trained_on() -> None:
    from sklearn.datasets import load_digits

    splits = digits_splits()
    rows = sorted(np.concatenate([x.reshape(len(x), -1) for x, _ in splits.values()]).tolist())
    assert rows == sorted((load_digits().data / 16).astype(np.float32).tolist())


def test_the_registered_digits_are_those_of_the_example() -> None:
    from kladml_core.examples.digits import load

    for name, (images, labels) in load().items():
        assert np.array_equal(images.numpy(), digits_splits()[name][0])
        assert np.array_equal(labels.numpy(), digits_splits()[name][1])


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_example_is_a_workspace_whose_config_has_no_problem(tmp_path: Path, example: str) -> None:
    made = init_workspace(tmp_path / "w", example)
    config = tmp_path / "w/data/configs" / f"{example}.yaml"
    assert made[0].name == "kladml.yaml" and made[-1] == config and all(path.is_file() for path in made)
    settings = load_settings(tmp_path / "w")
    assert problems(read(config), workspace=tmp_path / "w", settings=settings) == []


def test_the_digits_are_registered_and_the_config_names_them(tmp_path: Path) -> None:
    init_workspace(tmp_path, "digits")
    assert read(tmp_path / "data/configs/digits.yaml").data["data"] == {"train": "digits-train", "val": "digits-val"}
    train = find_dataset(tmp_path, "digits-train")
    location = train.location(tmp_path)
    assert train.rows == 1437 and location is not None
    with np.load(location, allow_pickle=False) as arrays:
        assert np.array_equal(arrays["y"], digits_splits()["train"][1])


def test_what_is_there_is_never_written_over(tmp_path: Path) -> None:
    made = init_workspace(tmp_path, "digits")
    for path in made:
        path.write_bytes(path.read_bytes() + b"\n")
    before = {path: path.read_bytes() for path in made if path.suffix != ".npz"}
    assert init_workspace(tmp_path, "digits") == []
    assert {path: path.read_bytes() for path in before} == before


def test_a_workspace_that_keeps_its_data_elsewhere_gets_it_there(tmp_path: Path) -> None:
    (tmp_path / "kladml.yaml").write_text("workspace: {data_dir: store, configs: [conf]}\n")
    init_workspace(tmp_path, "digits")
    assert (tmp_path / "conf/digits.yaml").is_file() and not (tmp_path / "data").exists()
    assert find_dataset(tmp_path, "digits-val").rows == 360


@pytest.mark.parametrize("name", ["my lab", "x: y", "#1", "null", "[red]", "1e3"])
def test_a_directory_may_have_any_name(tmp_path: Path, name: str) -> None:
    init_workspace(tmp_path / name)
    assert load_settings(tmp_path / name).workspace.name == name


def test_an_unknown_example_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean digits"):
        init_workspace(tmp_path / "w", "digit")
    assert not (tmp_path / "w").exists()


def test_a_place_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnusableError):
        init_workspace(tmp_path / "file" / "w")


def test_a_directory_whose_name_is_no_text_gives_the_workspace_no_name(tmp_path: Path) -> None:
    root = tmp_path / os.fsdecode(b"lab\xff")
    try:
        init_workspace(root, "diabetes")
    except UnusableError:
        pytest.skip("this file system takes no such name")
    assert load_settings(root).workspace.name is None
    assert load_settings(root).config_dirs[0].is_dir()


def test_what_was_made_is_told_by_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = init_workspace(Path("lab"), "digits")
    assert len(made) == 6 and all(path.is_absolute() and path.is_file() for path in made)
