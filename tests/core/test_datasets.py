"""Registered datasets: what a registration says, and what is said when it is wrong or its data is gone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kladml_core.config.load import read
from kladml_core.errors import ConfigError, UnusableError
from kladml_core.workspace.dataset_register import register
from kladml_core.workspace.datasets import Column, find_dataset, read_dataset


@pytest.fixture
def numbers(workspace: Path) -> Path:
    path = workspace / "numbers.npz"
    np.savez(path, x=np.zeros((5, 2), np.float32), y=np.arange(5))
    return path


def test_a_registration_describes_its_file(workspace: Path, numbers: Path) -> None:
    made = register(workspace, "numbers", path="numbers.npz", split="train", description="five rows")
    assert made == find_dataset(workspace, "numbers") == read_dataset(workspace / "data/datasets/numbers.yaml")
    assert (made.rows, made.split, made.description) == (5, "train", "five rows")
    assert made.columns == {"x": Column("float32", (2,)), "y": Column("int64", ())}
    assert made.fingerprint is not None and made.fingerprint.startswith("sha256:")
    assert made.location(workspace) == numbers.resolve()


def test_the_same_data_again_is_the_same_version_and_other_data_a_new_one(workspace: Path, numbers: Path) -> None:
    first = register(workspace, "numbers", path="numbers.npz")
    assert register(workspace, "numbers", path="numbers.npz").versions == first.versions
    np.savez(numbers, x=np.ones((6, 2), np.float32))
    second = register(workspace, "numbers", path="numbers.npz")
    assert [version["rows"] for version in second.versions] == [5, 6]
    assert second.fingerprint == second.versions[-1]["fingerprint"] != first.fingerprint


def test_a_safetensors_file_is_described_from_its_header(workspace: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"x": np.zeros((3, 4), np.float32)}, str(workspace / "some.safetensors"))
    assert register(workspace, "some", path="some.safetensors").columns == {"x": Column("F32", (4,))}


def test_a_target_is_registered_with_its_parameters(workspace: Path) -> None:
    made = register(workspace, "made", target="my_data:load", params={"size": 3, "rate": 1e-3})
    assert (made.path, made.target, made.params, made.location(workspace)) == (
        None,
        "my_data:load",
        {"size": 3, "rate": 1e-3},
        None,
    )


def test_an_unknown_name_is_a_text_error_with_a_suggestion(workspace: Path, numbers: Path) -> None:
    register(workspace, "numbers", path="numbers.npz")
    with pytest.raises(ConfigError, match="Did you mean numbers"):
        find_dataset(workspace, "nubmers")


@pytest.mark.parametrize("name", ["", "../numbers", ".hidden", "a/b", "x\n", "data.npz", "a" * 101])
def test_a_name_that_cannot_be_a_file_is_refused(workspace: Path, numbers: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        register(workspace, name, path="numbers.npz")
    with pytest.raises(ConfigError):
        find_dataset(workspace, name)


def test_a_dataset_whose_file_is_gone_cannot_be_used(workspace: Path, numbers: Path) -> None:
    register(workspace, "numbers", path="numbers.npz")
    numbers.unlink()
    with pytest.raises(UnusableError, match="is gone"):
        find_dataset(workspace, "numbers")


def test_python_objects_are_never_registered(workspace: Path) -> None:
    np.savez(workspace / "objects.npz", x=np.array([{}, []], dtype=object))
    with pytest.raises(UnusableError, match="Python objects"):
        register(workspace, "objects", path="objects.npz")


def test_arrays_of_different_lengths_are_no_dataset(workspace: Path) -> None:
    np.savez(workspace / "odd.npz", x=np.zeros(3), y=np.zeros(4))
    with pytest.raises(UnusableError, match="same number of rows"):
        register(workspace, "odd", path="odd.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x00" * 100])
@pytest.mark.parametrize("name", ["bad.npz", "bad.safetensors"])
def test_a_damaged_file_is_one_error(workspace: Path, name: str, content: bytes) -> None:
    (workspace / name).write_bytes(content)
    with pytest.raises(UnusableError, match="bad"):
        register(workspace, "bad", path=name)


def test_a_wrong_registration_is_told_at_its_line(workspace: Path) -> None:
    file = workspace / "data/datasets/wrong.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("name: wrong\npaht: numbers.npz\n")
    with pytest.raises(ConfigError, match="Did you mean path") as caught:
        read_dataset(file)
    assert (caught.value.line, caught.value.column) == (2, 1)
    file.write_text("")
    with pytest.raises(ConfigError, match=r"the file is empty\. It needs at least name: and path:"):
        read_dataset(file)
    file.write_text("name: wrong\npath: numbers.npz\nrows: many\n")
    with pytest.raises(ConfigError, match="whole number") as caught:
        read_dataset(file)
    assert caught.value.line == 3


def test_registrations_are_yaml_that_a_person_may_edit(workspace: Path, numbers: Path) -> None:
    register(workspace, "numbers", path="numbers.npz", description="a [/b] name: with colons\nand lines")
    assert read(workspace / "data/datasets/numbers.yaml").data["description"].startswith("a [/b] name:")
