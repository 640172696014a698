"""What a step of a person's model may return, made uniform."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from kladml_core.errors import TrainingFailedError, kind_of
from kladml_core.models.sums import Sum

LOSS = "loss"


def read_output(output: Any) -> tuple[Tensor, Any, dict[str, tuple[Any, Any]]]:
    """Loss, its weight (None: the samples of the batch), and the further values as (mean, weight).

    Args:
        output: a scalar loss; `(loss, weight)`; or a mapping with `loss` whose values may be `(mean, weight)` too.

    Raises:
        TrainingFailedError: it is nothing of these, or it holds a `Sum`, which `split_sums` takes out.
    """
    if isinstance(output, Tensor):
        return _scalar(output), None, {}
    if isinstance(output, tuple) and len(output) == 2:
        return _scalar(output[0]), output[1], {}
    if isinstance(output, Mapping) and LOSS in output:
        values = {str(name): value if isinstance(value, tuple) else (value, None) for name, value in output.items()}
        loss, weight = values.pop(LOSS)
        for name, (value, _) in values.items():
            if isinstance(value, Sum):
                raise TrainingFailedError(
                    f"{name} is a Sum, and training adds nothing up", hint="give it from validation_step alone"
                )
        return _scalar(loss), weight, values
    kind = "a mapping without loss" if isinstance(output, Mapping) else kind_of(output)
    raise TrainingFailedError(
        f"the model's step returned {kind}", hint="return a loss, (loss, weight), or a dict with the key loss"
    )


def split_sums(output: Any) -> tuple[Any, dict[str, Any]]:
    """What a validation step returned without its `Sum`s, and their values by name."""
    if not isinstance(output, Mapping):
        return output, {}
    sums = {str(name): value.value for name, value in output.items() if isinstance(value, Sum)}
    return ({name: value for name, value in output.items() if not isinstance(value, Sum)} if sums else output), sums


def _scalar(loss: Any) -> Tensor:
    if not isinstance(loss, Tensor):
        raise TrainingFailedError(f"the loss is {kind_of(loss)}, not a tensor")
    if loss.ndim and loss.numel() != 1:
        raise TrainingFailedError(f"the loss has the shape {list(loss.shape)}", hint="return its mean, one number")
    return loss.reshape(()) if loss.ndim else loss
