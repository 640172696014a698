"""The optimizer that a config names, or that a model brings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from kladml_core.config.names import OPTIMIZERS
from kladml_core.errors import ConfigError, UnusableError, kind_of


def make_optimizer(
    name: str | Callable[..., Optimizer], arguments: Mapping[str, Any], module: nn.Module, *, learning_rate: float
) -> Optimizer:
    """An optimizer over the parameters that want gradients.

    Args:
        name: a key of OPTIMIZERS, or a callable `f(parameters, lr=…, **arguments)`.
        arguments: those of the torch class; `betas` may be a list.
        learning_rate: the peak rate.

    Raises:
        ConfigError: the name or an argument is wrong.
        UnusableError: nothing can be trained.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not parameters:
        raise UnusableError("the model has no parameter that wants a gradient", hint="is everything frozen?")
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
    if callable(name):
        return _checked(name(parameters, lr=learning_rate, **options))
    if name not in OPTIMIZERS:
        raise ConfigError(f"optimizer {name!r} is not known", hint=f"one of {', '.join(OPTIMIZERS)}")
    kind: Any = getattr(torch.optim, OPTIMIZERS[name])
    if "fused" in inspect.signature(kind).parameters and not {"fused", "foreach", "differentiable"} & options.keys():
        # One kernel for all parameters, and one that can leave a step out without the host asking why.
        options["fused"] = all(parameter.device.type == "cuda" for parameter in parameters) or None
    try:
        return _checked(kind(parameters, lr=learning_rate, **options))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"optimizer {name}: {error}") from error


def _checked(optimizer: Any) -> Optimizer:
    if not isinstance(optimizer, Optimizer):
        raise UnusableError(f"the optimizer is {kind_of(optimizer)}, not a torch.optim.Optimizer")
    return optimizer


class LearningRate:
    """Sets the rate of every parameter group to its peak times the schedule's factor.

    Args:
        optimizer: its groups' rates as they are now are the peaks.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._groups = optimizer.param_groups
        self._peaks = [float(group["lr"]) for group in self._groups]
        self._factor: float | None = None

    @property
    def value(self) -> float:
        """The rate of the first group."""
        return float(self._groups[0]["lr"])

    def set(self, factor: float) -> None:
        """Takes a factor; costs nothing when it is the one already set."""
        if factor == self._factor:
            return
        self._factor = factor
        for group, peak in zip(self._groups, self._peaks, strict=True):
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(peak * factor)
            else:
                group["lr"] = peak * factor
