"""Weighted means, and plain sums, gathered over many micro-batches without reading anything back from the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from kladml_core.errors import TrainingFailedError
from kladml_core.runs.files import number, to_jsonable
from kladml_core.training.ranks import Ranks


class Means:
    """Sums of value × weight and of weight, by name; beside them what is added up as it is.

    Args:
        device: on a CPU values are read at once, which costs nothing there, and summed as Python floats. Elsewhere
            sums stay on the device, in float64 where it has that, until `read`.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_host = device.type == "cpu"
        self._wide = device.type != "mps"
        self._sums: dict[str, Any] = {}
        self._weights: dict[str, Any] = {}
        self._totals: dict[str, Tensor] = {}

    def add(self, name: str, mean: Any, weight: Any) -> None:
        """Takes the mean over `weight` samples (or tokens)."""
        if isinstance(mean, Tensor):
            mean = mean.item() if self._on_host else (mean.detach().double() if self._wide else mean.detach())
        if isinstance(weight, Tensor):
            weight = weight.item() if self._on_host else (weight.detach().double() if self._wide else weight.detach())
        if name in self._sums:
            self._sums[name] = self._sums[name] + mean * weight
            self._weights[name] = self._weights[name] + weight
        else:
            self._sums[name] = mean * weight
            self._weights[name] = weight

    def add_up(self, name: str, value: Any) -> None:
        """Takes a tensor, or a number, to be added to what came before under this name.

        Raises:
            TrainingFailedError: it has another shape than before.
        """
        value = torch.as_tensor(value).detach()
        whole = not (value.is_floating_point() or value.is_complex())
        value = value.to(torch.int64 if whole else torch.float64 if self._wide else torch.float32)
        before = self._totals.get(name)
        if before is not None and before.shape != value.shape:
            raise _other_shape(name, before, value)
        self._totals[name] = value.clone() if before is None else before + value

    def sums(self) -> dict[str, tuple[float, float]]:
        """(sum, weight) by name; reads everything back."""
        return {name: (float(total), float(self._weights[name])) for name, total in self._sums.items()}

    def read(self, ranks: Ranks) -> dict[str, float]:
        """The means over all ranks; every rank must call it."""
        return {name: mean for name, (mean, _) in self.read_weighted(ranks).items()}

    def read_weighted(self, ranks: Ranks) -> dict[str, tuple[float, float]]:
        """As `read`, each mean with the sum of its weights over all ranks."""
        if ranks.world_size == 1:
            every = [self.sums()]
        else:
            every = ranks.gather(self.sums())
        names = dict.fromkeys(name for sums in every for name in sums)
        return {name: _mean([sums[name] for sums in every if name in sums]) for name in names}

    def read_totals(self, ranks: Ranks) -> dict[str, Tensor]:
        """What was added up, over all ranks, on the CPU; every rank must call it."""
        every = ranks.gather({name: total.cpu() for name, total in self._totals.items()})
        found: dict[str, Tensor] = {}
        for totals in every:
            for name, total in totals.items():
                if name in found and found[name].shape != total.shape:
                    raise _other_shape(name, found[name], total)
                found[name] = found[name] + total if name in found else total
        return found

    def mark(self) -> Callable[[], None]:
        """A function that forgets the means which are taken from now on."""
        sums, weights = dict(self._sums), dict(self._weights)

        def rewind() -> None:
            self._sums, self._weights = dict(sums), dict(weights)

        return rewind

    def clear(self) -> None:
        """Begins anew."""
        self._sums.clear()
        self._weights.clear()
        self._totals.clear()

    def state_dict(self) -> dict[str, list[Any]]:
        """The sums as JSON values, so that a resumed run's next log point has the same mean."""
        return {name: [to_jsonable(total), to_jsonable(weight)] for name, (total, weight) in self.sums().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        self.clear()
        for name, (total, weight) in state.items():
            self._sums[name], self._weights[name] = number(total), number(weight)


def _other_shape(name: str, one: Tensor, other: Tensor) -> TrainingFailedError:
    return TrainingFailedError(
        f"the Sum {name} has the shape {list(one.shape)} in one batch and {list(other.shape)} in another",
        hint="give it one shape in every batch, a row for each class that there may be say",
    )


def _mean(parts: list[tuple[float, float]]) -> tuple[float, float]:
    total, weight = sum(part[0] for part in parts), sum(part[1] for part in parts)
    return total / weight if weight else float("nan"), weight
