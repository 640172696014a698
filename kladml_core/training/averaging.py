"""The moving average of the weights: kept beside the training, in their place while a validation looks at them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

from kladml_core.errors import UnusableError
from kladml_core.training.checkpoint_capture import bare_name
from kladml_core.training.ranks import Ranks

_NARROW = (torch.float16, torch.bfloat16)
_FADED = 0.01


class Averages:
    """After each update `average ← decay × average + (1 - decay) × weights`, from the weights of now on.

    Averaged is what the updates change: the parameters that the optimizer holds, and the running means and variances
    of batch and instance norms, which must fit the weights that they are used with. All else (frozen parameters, other
    buffers, counts) is that of the training weights. Averages of parameters in half precision are kept in float32, in
    which a change of a thousandth is not lost.

    torch.optim.swa_utils.AveragedModel would copy a whole module, hooks and all, and look each parameter up at each
    update; its formula is the one used here.

    Args:
        module: unwrapped, as it is after a restore and after DDP has made the ranks equal.
        optimizer: the bare torch optimizer.
        decay: between 0 and 1.
    """

    def __init__(self, module: nn.Module, optimizer: Optimizer, decay: float, ranks: Ranks) -> None:
        self._decay = decay
        self._ranks = ranks
        self._lerp = get_ema_multi_avg_fn(decay)
        trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        weights = {name: value for name, value in module.named_parameters() if id(value) in trained}
        statistics = _statistics(module)
        self._sources = {bare_name(name): value for name, value in (weights | statistics).items()}
        self._averages = {name: _wide(value.detach()).clone() for name, value in self._sources.items()}
        self._statistics = [self._averages[bare_name(name)] for name in statistics]
        self._groups = self._grouped()

    def update(self, left_out: Tensor | None = None) -> None:
        """Takes the weights in after an update.

        Args:
            left_out: a flag on the device, not 0 where the optimizer has left the update out; nothing is read from
                it by the host. None where the update is known to have been made.
        """
        with torch.no_grad():
            for averages, sources in self._groups:
                current = sources if sources[0].dtype == averages[0].dtype else [_wide(it) for it in sources]
                if left_out is None:
                    self._lerp(averages, current, 0)
                else:
                    made = (left_out == 0).to(averages[0].device, averages[0].dtype, non_blocking=True)
                    changes = torch._foreach_sub(current, averages)
                    torch._foreach_mul_(changes, made * (1 - self._decay))
                    torch._foreach_add_(averages, changes)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the module holds the averages, the same on every rank; every rank must enter it."""
        # Each rank's batches give statistics of their own; DDP uses and a checkpoint holds those of rank 0.
        self._ranks.take_from_main(self._statistics)
        # Copied, not swapped: who holds a view of a weight (a flattened RNN, a tied layer) must see the same thing.
        kept = {name: value.detach().clone() for name, value in self._sources.items()}
        self._put(self._averages)
        try:
            yield
        finally:
            self._put(kept)

    def state_dict(self) -> dict[str, Tensor]:
        """The averages by bare name, tied ones once, on their device; not copies."""
        return self._averages

    def load_state_dict(self, saved: Mapping[str, Tensor]) -> None:
        """Takes back what a checkpoint held.

        Raises:
            UnusableError: these are averages of another model.
        """
        odd = sorted(saved.keys() ^ self._averages.keys())
        odd += [
            name for name in saved.keys() & self._averages.keys() if saved[name].shape != self._averages[name].shape
        ]
        if odd:
            raise UnusableError(
                f"the checkpoint's averaged weights belong to another model: {odd[0]} differs",
                hint="was the model's code changed?",
            )
        for name, value in saved.items():
            self._averages[name].copy_(value)

    def _put(self, values: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, source in self._sources.items():
                source.copy_(values[name])

    def _grouped(self) -> list[tuple[list[Tensor], list[Tensor]]]:
        groups: dict[Any, tuple[list[Tensor], list[Tensor]]] = {}
        for name, source in self._sources.items():
            averages, sources = groups.setdefault((source.device, source.dtype), ([], []))
            averages.append(self._averages[name])
            sources.append(source)
        return list(groups.values())


def too_slow_decay(decay: float, steps: int | None) -> str | None:
    """A warning where a run is so short that its averages will still remember the initial weights; None where not."""
    if steps is None or decay**steps <= _FADED:
        return None
    fitting = _FADED ** (1 / steps)
    return (
        f"training.ema_decay {decay:g} leaves {decay**steps:.0%} of the initial weights in the average after "
        f"{steps} steps; {1 - float(f'{1 - fitting:.2g}'):g} would leave about 1%"
    )


def _statistics(module: nn.Module) -> dict[str, Tensor]:
    held = {
        id(value)
        for part in module.modules()
        if isinstance(part, _NormBase)
        for value in (part.running_mean, part.running_var)
        if value is not None
    }
    return {name: value for name, value in module.named_buffers() if id(value) in held}


def _wide(value: Tensor) -> Tensor:
    return value.float() if value.dtype in _NARROW else value
