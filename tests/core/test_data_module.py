"""Splits hand out whole batches, from tensors in one indexing and from any data set as its author meant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)

from kladml_core.data.datamodule import DataModule, as_split, draws_randomness
from kladml_core.data.fingerprint import fingerprint_split, fingerprints
from kladml_core.errors import UnusableError

X, Y = torch.arange(20.0).reshape(10, 2), torch.arange(10)


class Squares(Dataset[tuple[Tensor, int]]):
    def __init__(self, length: int = 6) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.tensor([float(index)]), index * index


class Stream(IterableDataset[int]):
    def __iter__(self) -> Any:
        return iter(range(3))


def test_a_batch_of_tensors_is_one_indexing() -> None:
    split = as_split((X, Y), "train")
    batch = split.fetch(torch.tensor([3, 0, 3]))
    assert isinstance(batch, tuple)
    assert batch[0].tolist() == X[[3, 0, 3]].tolist()
    assert batch[1].tolist() == [3, 0, 3]
    assert (split.length, split.draws_randomness, split.inexact_reason) == (10, False, None)


def test_parts_of_tensors_are_indexed_too() -> None:
    inner = Subset(TensorDataset(X, Y), [9, 7, 5, 3])
    split = as_split(Subset(inner, [2, 0]), "val")
    assert split.tensors is not None
    assert split.fetch(torch.tensor([0, 1]))[1].tolist() == [5, 9]
    assert split.length == 2


def test_any_map_style_data_set_is_collated_as_its_author_expects() -> None:
    split = as_split(Squares(), "train")
    indices = torch.tensor([5, 1])
    batch = split.fetch(indices)
    expected = default_collate([Squares()[5], Squares()[1]])
    assert [part.tolist() for part in batch] == [part.tolist() for part in expected]
    assert split.draws_randomness


def test_a_data_set_that_reads_many_samples_at_once_is_let() -> None:
    class Batched(Squares):
        def __getitems__(self, indices: list[int]) -> list[tuple[Tensor, int]]:
            return [(torch.tensor([-1.0]), -index) for index in indices]

    assert as_split(Batched(), "train").fetch(torch.tensor([2, 4]))[1].tolist() == [-2, -4]


def test_from_a_loader_data_set_batch_size_collate_and_workers_are_taken() -> None:
    loader = DataLoader(Squares(), batch_size=3, shuffle=True, collate_fn=len)
    split = as_split(loader, "train")
    assert (split.batch_size, split.num_workers, split.loader) == (3, 0, None)
    assert split.fetch(torch.tensor([0, 1])) == 2
    assert as_split(DataLoader(TensorDataset(X, Y), batch_size=4), "train").tensors is not None


def test_what_has_an_order_of_its_own_is_read_as_it_is_and_says_so() -> None:
    weighted = DataLoader(Squares(), batch_size=2, sampler=WeightedRandomSampler([1.0] * 6, 6))
    split = as_split(weighted, "train")
    assert split.loader is weighted
    assert "WeightedRandomSampler" in str(split.inexact_reason)
    stream = as_split(Stream(), "train")
    assert stream.length is None
    assert "iterable" in str(stream.inexact_reason)
    assert stream.loader is not None
    batched = as_split(DataLoader(Stream(), batch_size=2), "train")
    assert batched.loader is not None
    assert [len(batch) for batch in batched.loader] == [2, 1]


def test_only_tensors_are_known_to_draw_nothing() -> None:
    tensors = TensorDataset(X)
    assert not draws_randomness(tensors)
    assert not draws_randomness(ConcatDataset([tensors, Subset(tensors, [0])]))
    assert draws_randomness(Squares())
    assert draws_randomness(ConcatDataset([tensors, Squares()]))


def test_numpy_arrays_become_tensors_of_the_models_type() -> None:
    split = as_split((np.ones((3, 2)), np.array([1, 2, 3])), "train")
    x, y = split.fetch(torch.tensor([0]))
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
    assert as_split((X.double(),), "train").fetch(torch.tensor([0]))[0].dtype == torch.float64


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((X, Y[:3]), r"different lengths: \(10, 2\) and \(3,\)"),
        ((X[:0],), "the train split is empty"),
        ((torch.tensor(3.0),), "single number"),
        ((), "no tensors"),
        ((["a", "b"],), "the train split holds a list"),
        ((np.array(["a"]),), "an array of <U1"),
        (3, "the train split is an int"),
    ],
)
def test_data_that_is_none_is_refused_in_a_persons_words(value: Any, message: str) -> None:
    with pytest.raises(UnusableError, match=message):
        DataModule(train=value)


def test_what_a_target_returns_is_checked() -> None:
    module = DataModule.of({"train": (X, Y), "val": (X, Y), "test": None})
    assert list(module.splits) == ["train", "val"]
    assert DataModule.of(module) is module
    for value, message in [((X, Y), "gave a tuple"), ({"train": X, "valid": X}, "'valid'"), ({"val": X}, "no train")]:
        with pytest.raises(UnusableError, match=message):
            DataModule.of(value, "my:load")


def test_a_fingerprint_changes_with_every_value_type_and_shape() -> None:
    def of(*tensors: Tensor) -> str:
        return fingerprint_split(as_split(tensors, "train"))

    changed = X.clone()
    changed[7, 1] += 1e-6 * changed[7, 1]
    variants = [of(X), of(changed), of(X.double()), of(X.reshape(10, 1, 2)), of(X, Y), of(Y, X)]
    assert len(set(variants)) == len(variants)
    assert of(X.clone()) == of(X)
    assert of(X.t().contiguous().t()) == of(X), "strides are not content"
    assert of(X).startswith("sha256:")


def test_a_fingerprint_of_overlapping_windows_and_of_parts() -> None:
    text = torch.arange(1000)
    windows = text.unfold(0, 129, 8)
    assert fingerprint_split(as_split(windows, "t")) == fingerprint_split(as_split(windows.contiguous(), "t"))
    whole = TensorDataset(X)
    parts = {fingerprint_split(as_split(Subset(whole, rows), "t")) for rows in ([0, 1], [1, 0], [2, 3])}
    assert len(parts) == 3


def test_a_data_set_that_cannot_be_hashed_says_that_it_was_only_described() -> None:
    found = fingerprints(DataModule(train=Squares(6), val=Squares(5)))
    assert found["train"].startswith("sha256-described:")
    assert found["train"] != found["val"]
    assert found["train"] == fingerprints(DataModule(train=Squares(6)))["train"]
