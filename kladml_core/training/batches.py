"""Cuts an epoch into windows of micro-batches: a window is one optimizer step, its sizes known before backward."""

from __future__ import annotations

import itertools
import random
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from kladml_core.data.datamodule import Split
from kladml_core.errors import UnusableError
from kladml_core.training.checkpoint_generators import capture_generators, restore_generators
from kladml_core.training.device import batch_samples, to_device
from kladml_core.training.sampling import batch_count, batch_length, epoch_order, micro_seed
from kladml_core.training.signals import STOPPING


@dataclass(frozen=True, slots=True)
class Window:
    """The micro-batches of one optimizer step on this rank."""

    batches: Iterator[Any]
    """Gives the micro-batches one after the other, on the training device; take `len(sizes)` of them."""
    sizes: tuple[int, ...]
    """Samples of each that count; 0 where this rank has none left and the batch only keeps the ranks in step."""
    total: int
    """Samples of the whole window over all ranks."""
    end: int
    """Micro-batches of the epoch that are done after this window."""
    last: bool
    """Whether the epoch ends with it."""


class TrainingBatches:
    """The training split as windows, the same for every number of workers and after every resume.

    Args:
        split: the training data.
        batch_size: samples in a micro-batch of one rank; a given DataLoader's own size goes first.
        accumulation: micro-batches in a window.
        seed: the run's seed, which with the epoch decides the order.
        workers: processes that load; a given DataLoader's own number goes first.

    Raises:
        UnusableError: several ranks cannot share a loader that is read as it is.
    """

    def __init__(
        self,
        split: Split,
        *,
        batch_size: int,
        accumulation: int,
        seed: int,
        rank: int,
        world_size: int,
        device: torch.device,
        workers: int = 0,
    ) -> None:
        self._split = split
        self._size = split.batch_size or batch_size
        self._accumulation = accumulation
        self._seed, self._rank, self._world = seed, rank, world_size
        self._device = device
        self._workers = workers if split.num_workers is None else split.num_workers
        if split.loader is not None and world_size > 1:
            raise UnusableError(
                f"several processes cannot share the data: {split.inexact_reason}", hint="give a plain Dataset"
            )
        self.micro_batches = self._count()
        """Micro-batches in an epoch, or None where nobody knows before reading."""

    @property
    def steps(self) -> int | None:
        """Optimizer steps in an epoch, or None where nobody knows before reading."""
        return None if self.micro_batches is None else -(-self.micro_batches // self._accumulation)

    def windows(self, epoch: int, done: int = 0) -> Iterator[Window]:
        """The windows of an epoch, counted from 0, after its first `done` micro-batches."""
        if self._split.loader is not None:
            return self._as_given(self._split.loader, done)
        return self._own_order(epoch, done)

    def first(self) -> Any:
        """The first micro-batch of the first epoch, for a look at it; draws nothing from any generator."""
        before = capture_generators()
        try:
            return next(iter(self.windows(0).__next__().batches))
        except StopIteration:
            raise UnusableError("the train split is empty") from None
        finally:
            restore_generators(before)

    def _own_order(self, epoch: int, done: int) -> Iterator[Window]:
        count = batch_count(self._length, self._size, self._world)
        batches = self._micro_batches(epoch, done, count)
        full = (self._size,) * self._accumulation
        full_total = self._size * self._accumulation * self._world
        # Every micro-batch but the last is full on every rank.
        plain = (count - 1) // self._accumulation * self._accumulation
        for end in range(done + self._accumulation, plain + 1, self._accumulation):
            yield Window(batches, full, full_total, end, False)
        first = max(done, plain)
        if first < count:
            places = range(first, count)
            sizes = tuple(batch_length(self._length, self._size, place, self._rank, self._world) for place in places)
            ranks = itertools.product(places, range(self._world))
            total = sum(batch_length(self._length, self._size, place, rank, self._world) for place, rank in ranks)
            yield Window(batches, sizes, total, count, True)

    def _micro_batches(self, epoch: int, done: int, count: int) -> Iterator[Any]:
        order = epoch_order(self._length, self._seed, epoch, self._rank, self._world)
        places = list(order.split(self._size)) if len(order) else []
        # A rank without samples in the last micro-batch takes part with one that counts nothing: two samples, for a
        # BatchNorm refuses a batch of one.
        places += [torch.zeros(2, dtype=torch.int64)] * (count - len(places))
        on_host = self._device.type == "cpu"
        for batch in self._fetched(places, epoch, done):
            yield batch if on_host else to_device(batch, self._device)

    def _fetched(self, places: list[Tensor], epoch: int, done: int) -> Iterator[Any]:
        draws = self._split.draws_randomness
        if self._workers:
            source = _MicroBatches(self._split, places, (self._seed, epoch, self._rank) if draws else None)
            # A generator of its own: without one a DataLoader draws from the generator that the model's dropout uses.
            yield from DataLoader(
                source,
                batch_size=None,
                sampler=range(done, len(places)),
                num_workers=self._workers,
                generator=torch.Generator(),
                pin_memory=self._device.type == "cuda",
                worker_init_fn=_leave_signals_to_the_rank,
            )
            return
        for place in range(done, len(places)):
            if draws:
                before = capture_generators()
                _seed_data(micro_seed(self._seed, epoch, place, self._rank))
                batch = self._split.fetch(places[place])
                restore_generators(before)
                yield batch
            else:
                yield self._split.fetch(places[place])

    def _as_given(self, loader: DataLoader[Any], done: int) -> Iterator[Window]:
        given = iter(loader)
        for _ in itertools.islice(given, done):
            pass  # what was trained on before; whether it is the same again only the loader knows
        end = done
        pending = list(itertools.islice(given, self._accumulation))
        while pending:
            following = list(itertools.islice(given, self._accumulation))
            end += len(pending)
            sizes = tuple(batch_samples(batch) or 1 for batch in pending)
            batches = (to_device(batch, self._device) for batch in pending)
            yield Window(batches, sizes, sum(sizes), end, not following)
            pending = following

    @property
    def _length(self) -> int:
        return int(self._split.length or 0)

    def _count(self) -> int | None:
        if self._split.loader is None:
            return batch_count(self._length, self._size, self._world)
        try:
            return len(self._split.loader)
        except TypeError:
            return None


class _MicroBatches(Dataset[Any]):
    """The micro-batches of one epoch, by their number, for a DataLoader's workers."""

    def __init__(self, split: Split, places: list[Tensor], seeds: tuple[int, int, int] | None) -> None:
        self._split, self._places, self._seeds = split, places, seeds

    def __getitem__(self, place: int) -> Any:
        if self._seeds is not None:
            seed, epoch, rank = self._seeds
            _seed_data(micro_seed(seed, epoch, place, rank))
        return self._split.fetch(self._places[place])


def _leave_signals_to_the_rank(_: int) -> None:
    """A signal to the whole process group must not take the data away from the rank that is to save a checkpoint."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


def _seed_data(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
