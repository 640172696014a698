"""Optimizer steps that outlive a lack of memory: a micro-batch that does not fit is trained in smaller pieces."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from accelerate.utils import release_memory
from torch.nn.modules.batchnorm import _BatchNorm

from kladml_core.errors import DeviceMemoryError
from kladml_core.training.batch_pieces import Uncuttable, cut, piece_sizes
from kladml_core.training.batches import Window
from kladml_core.training.checkpoint_generators import capture_generators, restore_generators
from kladml_core.training.failures import is_out_of_memory, user_place
from kladml_core.training.progress import Progress
from kladml_core.training.run_writer import RunWriter
from kladml_core.training.step import Step

_HINT = "take a smaller model, training.mixed_precision: bf16, or a device with more memory"


class HalvingStep(Step):
    """A step that trains a micro-batch in halves, down to single samples, when memory does not suffice for it.

    The pieces are weighted as micro-batches are, so their gradient is that of the whole. What had been done of the
    micro-batch is undone first: generators, buffers, gradients and means are as before it, so that the run goes on as
    if it had been cut from the start; only `training_step` has been called more often. `progress.fits` remembers the
    size that was reached, for the rest of the run and in its checkpoints.

    Until the end of each micro-batch its gradients lie beside those of the window before it, which takes their memory
    once more where gradient_accumulation_steps is more than 1.

    Args:
        arguments, named: those of Step; one process only.
        progress: of the run.
        writer: takes the events.
    """

    def __init__(self, *arguments: Any, progress: Progress, writer: RunWriter, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._progress = progress
        self._writer = writer

    def _backward(self, window: Window) -> tuple[Any, Any]:
        losses: Any = 0.0
        weights: Any = None
        for size in window.sizes:
            asked = time.perf_counter()
            batch = next(window.batches)
            self.waited += time.perf_counter() - asked
            loss, weight = self._micro_batch(batch, size, window.total)
            losses = losses + loss
            if weight is not None:
                weights = weight if weights is None else weights + weight
        return losses, weights

    def _micro_batch(self, batch: Any, size: int, total: int) -> tuple[Any, Any]:
        """Forward and backward over one micro-batch, in as many pieces as it takes."""
        earlier = [parameter.grad for parameter in self._parameters]
        self._drop_gradients()
        undo = self._undo()
        while True:
            sizes = piece_sizes(size, self._progress.fits)
            pieces = _cut(batch, sizes)
            try:
                found = super()._backward(Window(pieces, sizes, total, 0, False))
            except Exception as error:
                if not is_out_of_memory(error):
                    require_company(sizes, error)
                    raise
                smaller = halves(batch, size, max(sizes), error)
            else:
                self._add(earlier)
                return found
            # Outside of the handler: its error holds on to the frames of the failed graph, and these to its memory.
            undo()
            release_memory()
            self._remember(max(sizes), max(smaller))

    def _undo(self) -> Callable[[], None]:
        """A function that puts back what a micro-batch changes from now on."""
        generators = capture_generators()
        buffers = [(buffer, buffer.clone()) for buffer in self._wrapped.buffers()]
        rewind = self._means.mark()

        def undo() -> None:
            self._drop_gradients()
            restore_generators(generators)
            for buffer, kept in buffers:
                buffer.copy_(kept)
            rewind()

        return undo

    def _drop_gradients(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    def _add(self, earlier: list[Any]) -> None:
        """Adds the gradients of a micro-batch to those before it, in the order in which backward itself adds them."""
        both = [
            (before, parameter.grad)
            for parameter, before in zip(self._parameters, earlier, strict=True)
            if before is not None and parameter.grad is not None
        ]
        if both:
            torch._foreach_add_([before for before, _ in both], [new for _, new in both])
        for parameter, before in zip(self._parameters, earlier, strict=True):
            if before is not None:
                parameter.grad = before

    def _remember(self, before: int, after: int) -> None:
        first = not self._progress.fits
        self._progress.fits = after
        at = {"step": self._progress.step + 1, "epoch": self._progress.epoch + 1}
        message = f"{before} samples at once do not fit into memory; from here on it is {after}, with the same gradient"
        self._writer.event("out_of_memory", message=message, before=before, after=after, **at)
        if first and any(isinstance(part, _BatchNorm) for part in self._wrapped.modules()):
            warning = "the model has batch norms, whose statistics are now those of the smaller micro-batches"
            self._writer.event("log", level="warning", message=warning, **at)


def halves(batch: Any, size: int, largest: int, error: Exception) -> tuple[int, ...]:
    """The sizes to cut a batch of `size` samples into when pieces of `largest` were too large for memory.

    Args:
        error: that said so.

    Raises:
        DeviceMemoryError: a single sample was too large, or the batch cannot be cut.
    """
    if largest == 1:
        raise _failure("a single sample does not fit into memory", error) from error
    sizes = piece_sizes(size, (largest + 1) // 2)
    _cut(batch, sizes, error)
    return sizes


def require_company(sizes: Sequence[int], error: Exception) -> None:
    """Tells a batch norm's complaint of a single sample, which only cutting has made single, as a lack of memory.

    Raises:
        DeviceMemoryError: `error` is that complaint, about a piece of one sample.
    """
    if len(sizes) > 1 and min(sizes) == 1 and "more than 1 value per channel" in str(error):
        message = f"no more than {max(sizes)} samples fit into memory at once, and a batch norm refuses a single one"
        raise _failure(message, error) from error


def _cut(batch: Any, sizes: Sequence[int], error: Exception | None = None) -> Iterator[Any]:
    try:
        return cut(batch, sizes)
    except Uncuttable as reason:
        message = f"a batch of {sum(sizes)} samples does not fit into memory and cannot be halved: it holds {reason}"
        raise _failure(message, error) from error


def _failure(message: str, error: Exception | None) -> DeviceMemoryError:
    file, line = (user_place(error) if error is not None else None) or (None, None)
    return DeviceMemoryError(message, hint=_HINT, file=file, line=line)
