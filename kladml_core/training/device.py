"""Where a run computes: the Accelerator for a device choice, and the seeds of every generator."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import convert_outputs_to_fp32, is_torch_xla_available
from torch import nn

from kladml_core.errors import UnusableError
from kladml_core.training.sharding import environment_kept, make_plugin, use_plugin


def make_accelerator(device: str, mixed_precision: str, fsdp: Mapping[str, Any] | None = None) -> Accelerator:
    """An Accelerator for one of auto, cpu, mps, cuda, cuda:N.

    The processes and their ranks are taken from the environment that torch.distributed.run sets.

    Args:
        fsdp: `launch.fsdp`, or None to hold the whole model in each process.

    Raises:
        UnusableError: this machine has no such device, or it cannot compute in that precision or cut models.
    """
    _require(device, mixed_precision)
    # Accelerate keeps one state for a process and refuses to change it; in a notebook the next run may differ.
    AcceleratorState._reset_state(reset_partial_state=True)
    named = os.environ.pop("ACCELERATE_TORCH_DEVICE", None)
    if device.startswith("cuda:"):
        os.environ["ACCELERATE_TORCH_DEVICE"] = device
    plugin = None if fsdp is None else make_plugin(fsdp)
    try:
        with environment_kept():
            accelerator = Accelerator(
                mixed_precision=mixed_precision,
                cpu=device == "cpu" or (device == "auto" and not has_accelerator()),
                step_scheduler_with_optimizer=False,
                fsdp_plugin=plugin,
            )
    except ValueError as error:
        raise UnusableError(f"launch.device {device} with mixed_precision {mixed_precision}: {error}") from error
    finally:
        if named is None:
            os.environ.pop("ACCELERATE_TORCH_DEVICE", None)
        else:
            os.environ["ACCELERATE_TORCH_DEVICE"] = named
    if plugin is not None:
        use_plugin(accelerator, plugin)
    return accelerator


def has_accelerator() -> bool:
    """Whether this machine has any device but its CPU."""
    return torch.cuda.is_available() or torch.backends.mps.is_available() or has_tpu()


def has_tpu() -> bool:
    """Whether this machine has a TPU, and torch_xla to reach it."""
    return bool(is_torch_xla_available(check_is_tpu=True))


def _require(device: str, mixed_precision: str) -> None:
    kind, _, index = device.partition(":")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UnusableError("launch.device is cuda, but torch sees no CUDA device", hint="write auto or cpu")
    if kind == "cuda" and index and int(index) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise UnusableError(f"launch.device is {device}, but there are {count} CUDA devices", hint="they count from 0")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UnusableError("launch.device is mps, but torch sees no Apple GPU", hint="write auto or cpu")
    if kind == "auto" and has_tpu() and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # Each would find itself alone there, and write the run as if it were.
        raise UnusableError(
            "launch.device auto is a TPU here, on which one process trains", hint="write processes: 1, or device: cpu"
        )
    on_cpu = kind == "cpu" or (kind == "auto" and not has_accelerator())
    if mixed_precision == "fp16" and on_cpu:
        raise UnusableError("mixed_precision fp16 does not work on a CPU", hint="write bf16 or no")


def seed_everything(seed: int) -> None:
    """Seeds Python's, numpy's and torch's generators, on every device."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def set_deterministic() -> None:
    """Only deterministic algorithms from here on; an operation that has none raises when it is reached."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


def compile_in_place(module: nn.Module) -> None:
    """Has every later call of the module run what torch.compile makes of it; its names and its class stay.

    `Module.compile` does the same, but leaves a module whose forward is torch's own (an nn.Sequential, a transformer
    of torch.nn) uncompiled without a word: the compiler passes over frames that are torch's. So the frame is ours.
    """
    call = module._call_impl

    def compiled(*inputs: Any, **named: Any) -> Any:
        return call(*inputs, **named)

    module._compiled_call_impl = torch.compile(compiled)


@contextmanager
def in_precision(module: nn.Module, accelerator: Accelerator) -> Iterator[None]:
    """Inside, the module's forward computes as it will once Accelerate has prepared it, its outputs being float32."""
    own = module.__dict__.get("forward")
    set_precision(module, accelerator)
    try:
        yield
    finally:
        module.__dict__.pop("forward", None)
        if own is not None:
            module.forward = own


def set_precision(module: nn.Module, accelerator: Accelerator) -> None:
    """Has the module's forward compute in the accelerator's precision from here on, as `in_precision` does."""
    if not accelerator.native_amp:
        return
    forward = module.forward

    def cast(*inputs: Any, **named: Any) -> Any:
        with accelerator.autocast():
            return forward(*inputs, **named)

    module.forward = convert_outputs_to_fp32(cast)


def to_device(batch: Any, device: torch.device) -> Any:
    """A batch with every tensor in it on the device; tuples, lists and mappings are gone through."""
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(item, device) for item in batch))
    if isinstance(batch, tuple | list):
        return type(batch)(to_device(item, device) for item in batch)
    if isinstance(batch, dict):
        return {key: to_device(item, device) for key, item in batch.items()}
    return batch.to(device) if hasattr(batch, "to") else batch


def batch_samples(batch: Any) -> int:
    """Samples in a batch: the first dimension of the first tensor found in it."""
    if isinstance(batch, torch.Tensor):
        return batch.shape[0] if batch.ndim else 1
    items = batch.values() if isinstance(batch, dict) else batch if isinstance(batch, tuple | list) else ()
    for item in items:
        found = batch_samples(item)
        if found:
            return found
    return len(batch) if isinstance(batch, tuple | list) and not any(items) else 0
