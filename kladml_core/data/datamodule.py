"""The data of a run: its train, val and test splits, each able to hand out a batch for a set of indices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    default_collate,
)

from kladml_core.errors import UnusableError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """One split of a run's data."""

    name: str
    """train, val or test."""
    dataset: Dataset[Any]
    length: int | None
    """Samples, or None where nobody knows before reading (an iterable data set)."""
    collate: Callable[[list[Any]], Any] = default_collate
    """Makes a batch of a list of samples; unused where `tensors` is set."""
    tensors: tuple[Tensor, ...] | None = None
    """Set where the data is plain tensors: a batch is then one indexing of each instead of a call a sample."""
    subset: Tensor | None = None
    """Where the split is a part of `tensors`: the int64 rows of it, in order."""
    batch_size: int | None = None
    """From a DataLoader that was given; the config's applies where it is None."""
    num_workers: int | None = None
    loader: DataLoader[Any] | None = None
    """Set where the data must be read as it was given: an iterable data set, or a custom sampler."""

    @property
    def inexact_reason(self) -> str | None:
        """Why a resume in the middle of an epoch cannot be exact here, or None where it can."""
        if self.loader is None:
            return None
        if self.length is None:
            return f"{self.name} is an iterable data set, whose order only it knows"
        return f"{self.name} comes with a sampler of its own ({type(self.loader.sampler).__name__})"

    @property
    def draws_randomness(self) -> bool:
        """See `draws_randomness`."""
        return self.tensors is None and draws_randomness(self.dataset)

    def fetch(self, indices: Tensor) -> Any:
        """The batch of the samples at `indices`, on the CPU.

        Args:
            indices: int64 [n], each in 0 … length - 1.

        Returns:
            For tensor data a tuple of tensors, each [n, …]; otherwise whatever `collate` makes of the samples.
        """
        if self.tensors is not None:
            rows = indices if self.subset is None else self.subset[indices]
            return tuple(tensor[rows] for tensor in self.tensors)
        places = indices.tolist()
        many = getattr(self.dataset, "__getitems__", None)
        samples = many(places) if many is not None else [self.dataset[place] for place in places]
        return self.collate(samples)

    def arrays(self) -> tuple[Any, Any]:
        """Inputs and targets (or None) of the whole split as numpy arrays, for a model that takes all at once.

        Raises:
            UnusableError: the split has no length, or more than two parts.
        """
        if self.length is None:
            raise UnusableError(f"a model that trains itself needs the whole {self.name} split, which has no length")
        batch = self.fetch(torch.arange(self.length))
        parts = [np.asarray(part) for part in (batch if isinstance(batch, tuple | list) else (batch,))]
        if len(parts) > 2:
            raise UnusableError(f"the {self.name} split has {len(parts)} parts", hint="give x, or x and y")
        return parts[0], (parts[1] if len(parts) == 2 else None)


class DataModule:
    """The splits a run trains on, validates on and, at the end, may be tested on.

    Args:
        train: a tuple of tensors or numpy arrays with one row a sample (batches are tuples in the same order), one
            such tensor alone, a torch Dataset, or a DataLoader, of which data set, batch size, collate and workers
            are taken. A DataLoader with a sampler of its own, or over an iterable data set, is read as it is.
        val, test: the same, or None.

    Raises:
        UnusableError: a split is empty, its tensors have different lengths, or it is nothing of the above.
    """

    train: Split
    val: Split | None
    test: Split | None

    def __init__(self, train: Any, val: Any = None, test: Any = None) -> None:
        self.train = as_split(train, "train")
        self.val = None if val is None else as_split(val, "val")
        self.test = None if test is None else as_split(test, "test")

    @property
    def splits(self) -> dict[str, Split]:
        """The splits that exist, by name, train first."""
        found = {name: getattr(self, name) for name in SPLITS}
        return {name: split for name, split in found.items() if split is not None}

    @classmethod
    def of(cls, value: Any, source: str = "the data") -> DataModule:
        """What a data target returned, as a DataModule.

        Args:
            value: a DataModule, or a mapping with train and, where they exist, val and test.
            source: named in the error.

        Raises:
            UnusableError: the value is neither, or one of its splits cannot be used.
        """
        if isinstance(value, DataModule):
            return value
        if not isinstance(value, Mapping):
            raise UnusableError(
                f"{source} gave {_kind(value)}",
                hint="return a DataModule, or a dict with train, val and test",
            )
        unknown = sorted(str(key) for key in value if key not in SPLITS)
        if unknown:
            raise UnusableError(
                f"{source} gave a split named {unknown[0]!r}", hint="the splits are train, val and test"
            )
        if value.get("train") is None:
            raise UnusableError(f"{source} gave no train split", hint="the key train is needed, val and test are not")
        return cls(**value)


def as_split(value: Any, name: str) -> Split:
    """One split of anything that `DataModule` takes; see there.

    Raises:
        UnusableError: as there.
    """
    if isinstance(value, Split):
        return value
    if isinstance(value, DataLoader):
        return _of_loader(value, name)
    if isinstance(value, Tensor) or hasattr(value, "__array__"):
        value = (value,)
    if isinstance(value, tuple | list):
        value = TensorDataset(*_tensors(value, name))
    return _of_dataset(value, name)


def as_tensor(value: Any, what: str) -> Tensor:
    """A tensor as it is; numbers in an array, a table or a list as one, float64 in torch's default type.

    Args:
        what: named in the error, as in "the train split".

    Raises:
        UnusableError: it holds anything but numbers.
    """
    if isinstance(value, Tensor):
        return value
    # A table (of pandas, polars, …) and a list say how to become an array; a plain object would become one of itself.
    if not isinstance(value, np.ndarray) and (hasattr(value, "__array__") or isinstance(value, list)):
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise UnusableError(f"the {what} holds {_kind(value)} that is no table: {error}") from error
        value = array if array.dtype.kind in "biuf" or hasattr(value, "__array__") else value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        native = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("=")).reshape(value.shape)
        if not native.flags.writeable:
            native = native.copy()
        tensor = torch.from_numpy(native)
        # numpy makes float64 of everything; a model's weights are of the default type, and the two do not mix.
        return tensor.to(torch.get_default_dtype()) if value.dtype == np.float64 else tensor
    kind = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else _kind(value)
    raise UnusableError(f"the {what} holds {kind}", hint="give tensors or numpy arrays of numbers")


def draws_randomness(dataset: Dataset[Any]) -> bool:
    """Whether reading a sample may draw random numbers, so that a generator must be seeded for each micro-batch.

    Tensors draw nothing, nor do parts and joins of them; of any other data set it must be supposed.
    """
    if isinstance(dataset, TensorDataset):
        return False
    if isinstance(dataset, Subset):
        return draws_randomness(dataset.dataset)
    if isinstance(dataset, ConcatDataset):
        return any(draws_randomness(part) for part in dataset.datasets)
    return True


def _of_dataset(dataset: Any, name: str, **fields: Any) -> Split:
    if isinstance(dataset, IterableDataset):
        # It has no indices to hand out, so it is read through a loader whatever the trainer wants.
        return Split(name, dataset, None, loader=DataLoader(dataset, batch_size=None), **fields)
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        raise UnusableError(
            f"the {name} split is {_kind(dataset)}",
            hint="give a tuple of tensors, a torch Dataset with __len__ and __getitem__, or a DataLoader",
        )
    length = len(dataset)
    if length == 0:
        raise UnusableError(f"the {name} split is empty")
    tensors, subset = (None, None) if fields.get("collate", default_collate) is not default_collate else _rows(dataset)
    return Split(name, dataset, length, tensors=tensors, subset=subset, **fields)


def _of_loader(loader: DataLoader[Any], name: str) -> Split:
    fields: dict[str, Any] = {
        "collate": loader.collate_fn,
        "batch_size": loader.batch_size,
        "num_workers": loader.num_workers,
    }
    own_order = not isinstance(loader.sampler, RandomSampler | SequentialSampler) or loader.batch_size is None
    if isinstance(loader.dataset, IterableDataset):
        return Split(name, loader.dataset, None, loader=loader, **fields)
    if own_order or (isinstance(loader.sampler, RandomSampler) and loader.sampler.replacement):
        return Split(name, loader.dataset, _count(loader), loader=loader, **fields)
    return _of_dataset(loader.dataset, name, **fields)


def _count(loader: DataLoader[Any]) -> int | None:
    sampler: Any = loader.sampler
    return len(sampler) if hasattr(sampler, "__len__") else None


def _rows(dataset: Any) -> tuple[tuple[Tensor, ...] | None, Tensor | None]:
    """The tensors behind a data set and which rows of them it is, where there is nothing but tensors behind it."""
    if type(dataset) is TensorDataset:
        return dataset.tensors, None
    if type(dataset) is Subset:
        tensors, outer = _rows(dataset.dataset)
        if tensors is not None:
            rows = torch.as_tensor(dataset.indices, dtype=torch.int64)
            return tensors, rows if outer is None else outer[rows]
    return None, None


def _tensors(values: Sequence[Any], name: str) -> list[Tensor]:
    tensors = [as_tensor(value, f"{name} split") for value in values]
    if not tensors:
        raise UnusableError(f"the {name} split has no tensors")
    for tensor in tensors:
        if tensor.ndim == 0:
            raise UnusableError(f"the {name} split holds a single number", hint="a tensor needs one row a sample")
    lengths = {len(tensor) for tensor in tensors}
    if len(lengths) > 1:
        shapes = " and ".join(str(tuple(tensor.shape)) for tensor in tensors)
        raise UnusableError(f"the tensors of the {name} split have different lengths: {shapes}")
    return tensors


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
