"""Callbacks: a person's own code at fixed places of the loop, on every rank, its state saved in checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer

from kladml_core.training.progress import Progress
from kladml_core.training.run_writer import RunWriter


@dataclass(frozen=True)
class Context:
    """What a callback sees of the run."""

    module: nn.Module
    """The unwrapped module."""
    optimizer: Optimizer
    progress: Progress
    """The live counters; read them, do not set them."""
    writer: RunWriter
    """Writes on rank 0 and nowhere else."""
    is_main: bool
    """Whether this is rank 0."""


class Callback:
    """Override what is needed. An exception from a callback fails the run."""

    def on_fit_start(self, context: Context) -> None:
        """Before the first step of this attempt."""

    def on_step_end(self, context: Context) -> None:
        """After each optimizer step. Costs the others nothing where it is not overridden."""

    def on_validation_end(self, context: Context, metrics: Mapping[str, float]) -> None:
        """After a validation; `metrics` are named `val/…`."""

    def on_epoch_end(self, context: Context) -> None:
        """After an epoch's validation and before its checkpoint."""

    def on_checkpoint(self, context: Context, name: str) -> None:
        """After a checkpoint has been written."""

    def on_fit_end(self, context: Context) -> None:
        """After the last checkpoint, not when the run fails."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must remember: numbers, texts, lists, dicts, tensors."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave."""


class Callbacks:
    """All callbacks of a run, called in the order in which they were given."""

    def __init__(self, callbacks: Sequence[Callback], context: Context) -> None:
        self._all = list(callbacks)
        self._context = context
        self._each_step = [it for it in self._all if type(it).on_step_end is not Callback.on_step_end]
        self.each_step = bool(self._each_step)
        """Whether any callback wants to be called after each step."""

    def fit_start(self) -> None:
        """Calls `on_fit_start`."""
        for callback in self._all:
            callback.on_fit_start(self._context)

    def step_end(self) -> None:
        """Calls `on_step_end`."""
        for callback in self._each_step:
            callback.on_step_end(self._context)

    def validation_end(self, metrics: Mapping[str, float]) -> None:
        """Calls `on_validation_end`."""
        for callback in self._all:
            callback.on_validation_end(self._context, metrics)

    def epoch_end(self) -> None:
        """Calls `on_epoch_end`."""
        for callback in self._all:
            callback.on_epoch_end(self._context)

    def checkpoint(self, name: str) -> None:
        """Calls `on_checkpoint`."""
        for callback in self._all:
            callback.on_checkpoint(self._context, name)

    def fit_end(self) -> None:
        """Calls `on_fit_end`."""
        for callback in self._all:
            callback.on_fit_end(self._context)

    def state_dict(self) -> list[dict[str, Any]]:
        """The state of each, in order."""
        return [{"class": type(callback).__qualname__, "state": callback.state_dict()} for callback in self._all]

    def load_state_dict(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Gives each its state back; one that was not there before keeps its own."""
        for callback, saved in zip(self._all, states, strict=False):
            if saved["class"] == type(callback).__qualname__:
                callback.load_state_dict(saved["state"])
