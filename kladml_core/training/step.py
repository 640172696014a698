"""One optimizer step: forward and backward over a window, clipping, the guard against NaN, the update."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from kladml_core.errors import TrainingFailedError
from kladml_core.training.averaging import Averages
from kladml_core.training.batches import Window
from kladml_core.training.guard import DeviceGuard, HostGuard
from kladml_core.training.means import Means
from kladml_core.training.optimizers import LearningRate
from kladml_core.training.outputs import LOSS, read_output
from kladml_core.training.ranks import Ranks
from kladml_core.training.schedules import Schedule
from kladml_core.training.sharding import is_sharded, whole
from kladml_core.training.watchdog import Pulse


class Step:
    """Makes the updates of a run.

    The gradient of a window is that of one large batch: where a loss is the mean over a micro-batch's samples, it is
    weighted by its share of the window's samples, over all ranks, before backward; where the model gives a weight,
    loss × weight is back-propagated and all gradients are divided by the sum of the weights after the window.

    Args:
        training_step: the model's; called with the wrapped module.
        wrapped: what Accelerate's `prepare` returned, and `optimizer` too.
        clipping: the greatest norm of all gradients, None for no clipping.
        means: takes loss and further values of each micro-batch.
        pulse: is told that something moves, at each micro-batch.
        averages: of the weights, updated with them; None where none are kept.
        keep_buffers: puts buffers back when an update is left out, for NaN in a running mean stays there for ever.
    """

    def __init__(
        self,
        training_step: Callable[[nn.Module, Any], Any],
        wrapped: nn.Module,
        optimizer: Any,
        accelerator: Accelerator,
        schedule: Schedule,
        rate: LearningRate,
        guard: HostGuard | DeviceGuard,
        ranks: Ranks,
        means: Means,
        *,
        pulse: Pulse,
        clipping: float | None,
        keep_buffers: bool,
        averages: Averages | None = None,
    ) -> None:
        self._training_step = training_step
        self._wrapped = wrapped
        self._optimizer = optimizer
        self._accelerator = accelerator
        self._schedule = schedule
        self._rate = rate
        self._guard = guard
        self._ranks = ranks
        self._world = ranks.world_size
        self._means = means
        self._pulse = pulse
        self._averages = averages
        # An infinite limit multiplies every gradient by exactly one, so that the norm is known without clipping.
        self._limit = math.inf if clipping is None else clipping
        self._parameters = [
            parameter for group in optimizer.param_groups for parameter in group["params"] if parameter.requires_grad
        ]
        self._sharded = is_sharded(wrapped)
        self._every_buffer = list(wrapped.buffers())
        buffers = [buffer for buffer in self._every_buffer if keep_buffers]
        self._buffers = [(buffer, buffer.clone()) for buffer in buffers]
        self._on_host = next(iter(self._parameters)).device.type == "cpu"
        self.norm: Any = math.nan
        """The norm of the last step's gradients before clipping, a tensor."""
        self.weighted = False
        """Whether the model gives its losses weights."""
        self.waited = 0.0
        """Seconds of waiting for data; whoever reads it sets it back."""

    def __call__(self, window: Window, step: int) -> bool:
        """Makes update number `step` + 1; False when it was left out because something was not finite."""
        self._rate.set(self._schedule.factor(step))
        if self._sharded:
            self._ranks.take_from_main(self._every_buffer)  # as DDP does
        for buffer, kept in self._buffers:
            kept.copy_(buffer)
        loss, weights = self._backward(window)
        if weights is not None:
            self.weighted = True
            self._divide(weights)
        self.norm = norm = self._clip()
        # With an fp16 scaler an infinite norm is no fault: the scaler leaves the update out and scales less.
        judged = norm if self._accelerator.scaler is None else torch.zeros((), device=norm.device)
        admitted = self._guard.admits(loss, judged)
        if admitted:
            self._optimizer.step()
            if self._buffers and self._guard.flag is not None:
                for buffer, kept in self._buffers:
                    buffer.copy_(torch.where(self._guard.flag == 0, buffer, kept))
        else:
            for buffer, kept in self._buffers:
                buffer.copy_(kept)
            if self._accelerator.scaler is not None:
                self._accelerator.scaler.update()  # it has unscaled these gradients and waits for the end of the step
        for parameter in self._parameters:
            parameter.grad = None
        if self._averages is not None and admitted:
            # An fp16 scaler leaves an update out where a gradient is not finite, which makes their norm so too.
            left_out = self._guard.flag if self._accelerator.scaler is None else ~torch.isfinite(norm)
            self._averages.update(left_out)
        return admitted

    def _backward(self, window: Window) -> tuple[Any, Any]:
        """Runs the window's micro-batches; returns the sum of their losses and, if the model gives any, of weights."""
        wrapped, training_step, means = self._wrapped, self._training_step, self._means
        backward, world = self._accelerator.backward, self._world
        last = len(window.sizes) - 1
        # In pieces gradients are added up at once: to wait would keep the whole of them.
        at_once = world == 1 or self._sharded
        losses: Any = 0.0
        weights: Any = None
        for place, size in enumerate(window.sizes):
            asked = time.perf_counter()
            batch = next(window.batches)
            self.waited += time.perf_counter() - asked
            self._pulse.beats += 1
            with nullcontext() if at_once or place == last else self._accelerator.no_sync(wrapped):
                output = training_step(wrapped, batch)
                if type(output) is Tensor and output.ndim == 0:
                    loss, weight = output, None
                else:
                    loss, weight, values = read_output(output)
                    for name, (mean, own) in values.items():
                        means.add(name, mean, size if own is None else own)
                if weight is None:
                    share = size * world / window.total
                    backward(loss if share == 1.0 else loss * share)
                    count: Any = size
                else:
                    count = weight if size else weight * 0
                    weights = count if weights is None else weights + count
                    backward(loss * count)
            value = loss.item() if self._on_host else loss.detach()
            losses = losses + value
            if size:
                means.add(LOSS, value, count)
        return losses, weights

    def _clip(self) -> Tensor:
        """The norm of all gradients, which are scaled down to the limit where it is greater."""
        if not self._sharded:
            norm: Tensor = self._accelerator.clip_grad_norm_(self._parameters, self._limit)
            return norm
        # Accelerate's own compares lists of parameters, which fails where some are frozen.
        return whole(nn.utils.clip_grad_norm_(self._parameters, self._limit))

    def _divide(self, weights: Any) -> None:
        total = weights
        if self._world > 1:
            total = sum(self._ranks.gather(float(weights)))
        elif isinstance(weights, Tensor):
            total = weights.detach()
        elif not weights:
            raise TrainingFailedError("the weights of a step's losses add up to nothing")
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        torch._foreach_mul_(gradients, self._world / total)
