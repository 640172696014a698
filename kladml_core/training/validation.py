"""Exact means over a split: sums and counts, every item once, on the unwrapped module in eval mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from kladml_core.data.datamodule import Split
from kladml_core.errors import TrainingFailedError, kind_of
from kladml_core.models.torch_model import TorchModel
from kladml_core.training.checkpoint_generators import capture_generators, restore_generators
from kladml_core.training.device import batch_samples, to_device
from kladml_core.training.means import Means
from kladml_core.training.outputs import LOSS, read_output, split_sums
from kladml_core.training.ranks import Ranks
from kladml_core.training.sampling import epoch_order
from kladml_core.training.sharding import is_sharded, rest
from kladml_core.training.watchdog import Pulse


def validate(
    model: TorchModel,
    module: nn.Module,
    split: Split,
    *,
    batch_size: int,
    device: torch.device,
    ranks: Ranks,
    stopping: Callable[[], bool] = lambda: False,
    pulse: Pulse | None = None,
) -> dict[str, float] | None:
    """The metrics that `validation_step` and `validation_metrics` give over all items of all ranks.

    Each rank takes its own items, none padded and none twice; sums and weights are added up once at the end, and every
    rank makes the same metrics of them. Buffers, such as a batch norm's running means, are rank 0's. The module's train
    or eval modes and all generators are afterwards as they were before.

    Args:
        model: of which `validation_step` is called for each batch, and `validation_metrics` once.
        module: not wrapped: a rank without an item would wait for ever inside DDP. One in pieces is called in step on
            all ranks.
        batch_size: items in a batch; a given DataLoader's own goes first.
        stopping: asked between two batches; a rank that hears yes breaks off.
        pulse: is told of each batch.

    Returns:
        Name (`loss` among them) to number, or None when any rank broke off.

    Raises:
        TrainingFailedError: the model's step or its metrics returned something else than they may.
    """
    modes = {part: part.training for part in module.modules()}
    generators = capture_generators()
    means = Means(device)
    broke_off = False
    pulse = pulse if pulse is not None else Pulse()
    batches, stops = _batches(split, batch_size, ranks), stopping
    if is_sharded(module):
        # Each forward puts weights together from all ranks, so no rank may make one more than another.
        batches, stops = _in_step(batches, split, ranks), lambda: ranks.maximum([int(stopping())]) == [1]
    ranks.take_from_main(list(module.buffers()))
    module.eval()
    try:
        with torch.no_grad():
            for batch, size in batches:
                if stops():
                    broke_off = True
                    break
                pulse.beats += 1
                output = model.validation_step(module, to_device(batch, device))
                if size:
                    take(output, size, means)
    finally:
        rest(module)
        for part, mode in modes.items():
            part.training = mode
        restore_generators(generators)
    if ranks.maximum([int(broke_off)]) == [1]:
        return None
    return metrics(model, means, ranks)


def take(output: Any, size: int, means: Means) -> None:
    """Adds what `validation_step` returned for a batch of `size` items."""
    rest, sums = split_sums(output)
    loss, weight, values = read_output(rest)
    for name, (mean, own) in {LOSS: (loss, weight), **values}.items():
        means.add(name, mean, size if own is None else own)
    for name, value in sums.items():
        means.add_up(name, value)


def metrics(model: TorchModel, means: Means, ranks: Ranks) -> dict[str, float]:
    """What the model makes of everything that was taken; every rank must call it."""
    averages, totals = means.read(ranks), means.read_totals(ranks)
    if not averages:
        return {}  # a split without an item
    found = model.validation_metrics(averages, totals)
    if not isinstance(found, Mapping):
        raise TrainingFailedError(
            f"validation_metrics returned {kind_of(found)}", hint="return a dict of name to number"
        )
    try:
        return {str(name): float(value) for name, value in found.items()}
    except (TypeError, ValueError, RuntimeError) as error:
        raise TrainingFailedError(f"validation_metrics gave no number: {error}") from error


def _in_step(batches: Iterator[tuple[Any, int]], split: Split, ranks: Ranks) -> Iterator[tuple[Any, int]]:
    """The same number of batches on every rank: one that has none left gets some batch and the size 0."""
    spare: Any = None
    while True:
        batch, size = next(batches, (None, 0))
        if ranks.maximum([size]) == [0]:
            return
        if size:
            spare = batch
        elif spare is None:
            spare = split.fetch(torch.zeros(1, dtype=torch.int64)) if split.loader is None else next(iter(split.loader))
        yield spare, size


def _batches(split: Split, batch_size: int, ranks: Ranks) -> Iterator[tuple[Any, int]]:
    if split.loader is not None:
        for number, batch in enumerate(split.loader):
            if number % ranks.world_size == ranks.rank:
                yield batch, batch_samples(batch) or 1
        return
    order = epoch_order(int(split.length or 0), 0, 0, ranks.rank, ranks.world_size, shuffle=False)
    for indices in order.split(split.batch_size or batch_size) if len(order) else ():
        yield split.fetch(indices), len(indices)
