"""Exact means over a split: sums and counts, every item once, on the unwrapped module in eval mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from kladml_core.data.datamodule import Split
from kladml_core.training.checkpoint_generators import capture_generators, restore_generators
from kladml_core.training.device import batch_samples, to_device
from kladml_core.training.means import Means
from kladml_core.training.outputs import LOSS, read_output
from kladml_core.training.ranks import Ranks
from kladml_core.training.sampling import epoch_order
from kladml_core.training.watchdog import Pulse


def validate(
    validation_step: Callable[[nn.Module, Any], Any],
    module: nn.Module,
    split: Split,
    *,
    batch_size: int,
    device: torch.device,
    ranks: Ranks,
    stopping: Callable[[], bool] = lambda: False,
    pulse: Pulse | None = None,
) -> dict[str, float] | None:
    """The mean of every value that `validation_step` gives, over all items of all ranks.

    Each rank takes its own items, none padded and none twice; sums and weights are added up once at the end. The
    module's train or eval modes and all generators are afterwards as they were before.

    Args:
        validation_step: returns what `training_step` may return.
        module: not wrapped: a rank without an item would wait for ever inside DDP.
        batch_size: items in a batch; a given DataLoader's own goes first.
        stopping: asked between two batches; a rank that hears yes breaks off.
        pulse: is told of each batch.

    Returns:
        Name (`loss` among them) to mean, or None when any rank broke off.
    """
    modes = {part: part.training for part in module.modules()}
    generators = capture_generators()
    means = Means(device)
    broke_off = False
    pulse = pulse if pulse is not None else Pulse()
    module.eval()
    try:
        with torch.no_grad():
            for batch, size in _batches(split, batch_size, ranks):
                if stopping():
                    broke_off = True
                    break
                pulse.beats += 1
                loss, weight, values = read_output(validation_step(module, to_device(batch, device)))
                for name, (mean, own) in {LOSS: (loss, weight), **values}.items():
                    means.add(name, mean, size if own is None else own)
    finally:
        for part, mode in modes.items():
            part.training = mode
        restore_generators(generators)
    if ranks.maximum([int(broke_off)]) == [1]:
        return None
    return means.read(ranks)


def _batches(split: Split, batch_size: int, ranks: Ranks) -> Any:
    if split.loader is not None:
        for number, batch in enumerate(split.loader):
            if number % ranks.world_size == ranks.rank:
                yield batch, batch_samples(batch) or 1
        return
    order = epoch_order(int(split.length or 0), 0, 0, ranks.rank, ranks.world_size, shuffle=False)
    for indices in order.split(split.batch_size or batch_size) if len(order) else ():
        yield split.fetch(indices), len(indices)
