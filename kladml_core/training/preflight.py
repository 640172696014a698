"""Before anything is trained: one micro-batch forward and backward, then everything is put back bit for bit."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import release_memory
from torch import nn
from torch.optim import Optimizer

from kladml_core.config.schema import TrainingConfig
from kladml_core.data.datamodule import Split
from kladml_core.errors import KladMLError, NonFiniteError, TrainingFailedError, UnusableError
from kladml_core.models.torch_model import TorchModel
from kladml_core.training.batch_pieces import cut
from kladml_core.training.checkpoint_generators import capture_generators, restore_generators
from kladml_core.training.checkpoints import unsupported_reason
from kladml_core.training.device import batch_samples, in_precision, to_device
from kladml_core.training.failures import is_out_of_memory, told_with_place, user_place
from kladml_core.training.halving import halves, require_company
from kladml_core.training.means import Means
from kladml_core.training.outputs import LOSS, read_output
from kladml_core.training.ranks import Ranks
from kladml_core.training.validation import metrics, take

_NAMED = 5


@dataclass(frozen=True)
class Findings:
    """What a preflight saw."""

    warnings: tuple[str, ...]
    train_names: tuple[str, ...]
    """Values that `training_step` gives, with `train/`."""
    val_names: tuple[str, ...]
    """Metrics of a validation, with `val/`."""


@contextmanager
def person_code(what: str) -> Iterator[None]:
    """Inside, what a person's code raises becomes an UnusableError that names its file and line."""
    try:
        yield
    except KladMLError:
        raise
    except Exception as error:
        # A person's code may raise anything; out of memory keeps its own exit code.
        if is_out_of_memory(error):
            raise
        file, line = user_place(error) or (None, None)
        hint = "the traceback is in the run's console.log"
        raise UnusableError(f"{what}: {told_with_place(error)}", hint=hint, file=file, line=line) from error


def preflight(
    model: TorchModel,
    module: nn.Module,
    optimizer: Optimizer,
    accelerator: Accelerator,
    batch: Any,
    val: Split | None,
    config: TrainingConfig,
    *,
    distributed: bool,
    checkpoints: Path | None,
    place: Callable[[str], Mapping[str, Any]],
) -> Findings:
    """Tries one step without making it.

    Args:
        module: on its device, not yet wrapped.
        batch: a micro-batch on the device.
        checkpoints: where checkpoints will be written.
        place: where a dotted key stands in the person's config, as the arguments of an error.

    Raises:
        UnusableError: the optimizer cannot be saved, a step returned something else than a loss, the monitored
            metric does not exist, a parameter without a gradient in distributed training, or the disk is too small.
        NonFiniteError: the loss of the first batch is not finite.
    """
    reason = unsupported_reason(optimizer)
    if reason is not None:
        raise UnusableError(reason, hint="choose an optimizer such as adamw or sgd")
    generators = capture_generators()
    kept = [(tensor, tensor.detach().clone()) for tensor in (*module.parameters(), *module.buffers())]
    modes = {part: part.training for part in module.modules()}
    try:
        train_names, idle, strange = _try_what_fits(model, module, accelerator, batch, config)
        val_names = _try_validation(model, module, accelerator, val)
    except TrainingFailedError as error:
        # The same mistake later in training is a failure of training; found here, it is one of the model.
        raise UnusableError(error.message, hint=error.hint, **place("model.target")) from error.__cause__
    finally:
        with torch.no_grad():
            for tensor, before in kept:
                tensor.copy_(before)
        for parameter in module.parameters():
            parameter.grad = None
        for part, mode in modes.items():
            part.training = mode
        restore_generators(generators)
    if idle and distributed:
        raise UnusableError(
            f"no gradient reaches {_listed(idle)}, which several processes cannot wait for",
            hint="freeze them with requires_grad_(False), or use them in the loss",
        )
    warnings = strange + [f"no gradient reaches {_listed(idle)}: they will not be trained"] * bool(idle)
    _require_monitor(config, (*train_names, *val_names), val is not None, place("training.early_stopping.monitor"))
    if checkpoints is not None:
        warnings += _require_space(module, checkpoints, config)
    return Findings(tuple(warnings), train_names, val_names)


def _try_what_fits(
    model: TorchModel, module: nn.Module, accelerator: Accelerator, batch: Any, config: TrainingConfig
) -> tuple[tuple[str, ...], list[str], list[str]]:
    """Tries the batch, or with `oom: halve` as much of it as fits into memory; training finds that out for itself."""
    size = batch_samples(batch) or 1
    sizes: tuple[int, ...] = (size,)
    while True:
        try:
            return _try_step(model, module, accelerator, batch, config)
        except Exception as error:
            if config.oom == "fail" or not is_out_of_memory(error):
                require_company(sizes, error)
                raise
            sizes = halves(batch, size, size, error)
        # Outside of the handler, whose error holds the memory of the failed step.
        for parameter in module.parameters():
            parameter.grad = None
        release_memory()
        batch, size = next(cut(batch, sizes)), sizes[0]


def _try_step(
    model: TorchModel, module: nn.Module, accelerator: Accelerator, batch: Any, config: TrainingConfig
) -> tuple[tuple[str, ...], list[str], list[str]]:
    with in_precision(module, accelerator):
        loss, _, values = read_output(model.training_step(module, batch))
    strange = []
    if not torch.isfinite(loss.detach()).item():
        message = f"the loss of the first batch is {loss.item()}"
        if config.non_finite == "stop":
            raise NonFiniteError(message, hint="look at the data and at the model's initial weights")
        strange.append(message)
    if not loss.requires_grad:
        raise TrainingFailedError(
            "the loss has no gradient", hint="training_step must call the module, and not under torch.no_grad()"
        )
    loss.backward()
    idle = [name for name, parameter in module.named_parameters() if parameter.requires_grad and parameter.grad is None]
    return tuple(f"train/{name}" for name in (LOSS, *values)), idle, strange


def _try_validation(
    model: TorchModel, module: nn.Module, accelerator: Accelerator, val: Split | None
) -> tuple[str, ...]:
    if val is None or val.loader is not None:
        return ()
    batch = to_device(val.fetch(torch.zeros(1, dtype=torch.int64)), accelerator.device)
    module.eval()
    with torch.no_grad(), in_precision(module, accelerator):
        means = Means(accelerator.device)
        take(model.validation_step(module, batch), 1, means)
    return tuple(f"val/{name}" for name in metrics(model, means, Ranks()))


def _require_monitor(config: TrainingConfig, names: tuple[str, ...], validates: bool, place: Mapping[str, Any]) -> None:
    monitor = config.early_stopping.monitor
    if not config.early_stopping.enabled or not names:
        return
    if monitor.startswith("val/") and not validates:
        raise UnusableError(f"early_stopping waits for {monitor}, but there is no validation data", **place)
    known = [name for name in names if name.startswith("val/")]
    if known and monitor not in known:
        raise UnusableError(
            f"early_stopping.monitor is {monitor}, which no validation gives",
            hint=f"it may be {', '.join(known)}",
            **place,
        )


def _require_space(module: nn.Module, checkpoints: Path, config: TrainingConfig) -> list[str]:
    weights = sum(tensor.numel() * tensor.element_size() for tensor in (*module.parameters(), *module.buffers()))
    # An Adam keeps two numbers for each weight, a moving average one.
    one = (3 if config.ema_decay is None else 4) * weights
    free = shutil.disk_usage(checkpoints).free
    if free < one:
        raise UnusableError(
            f"a checkpoint takes about {_size(one)}, and {checkpoints} has {_size(free)} free", hint="free some space"
        )
    # One more than are kept, for a new checkpoint is written before an old one is removed.
    count = config.checkpoint.keep_last + config.checkpoint.keep_best + 1
    if free < one * count:
        return [f"{count} checkpoints will take about {_size(one * count)}, and {_size(free)} are free"]
    return []


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
