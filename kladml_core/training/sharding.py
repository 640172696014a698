"""A model in pieces (FSDP): each process holds a share of every weight, and the whole only while it is needed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from kladml_core.config.names import OPTIMIZERS
from kladml_core.errors import UnusableError
from kladml_core.training.ranks import Ranks

_ENVIRONMENT = "ACCELERATE_USE_FSDP"
_ELEMENTWISE = tuple(getattr(torch.optim, name) for name in OPTIMIZERS.values())


def make_plugin(arguments: Mapping[str, Any]) -> FullyShardedDataParallelPlugin:
    """Accelerate's plugin for `launch.fsdp`.

    Raises:
        UnusableError: Accelerate does not take these arguments.
    """
    # The weights stay as they are, also in mixed precision, where autocast decides what is computed how, as under DDP.
    fixed = {"fsdp_version": 2, "mixed_precision_policy": MixedPrecisionPolicy()}
    try:
        return FullyShardedDataParallelPlugin(**fixed, **arguments)
    except (TypeError, ValueError) as error:
        raise UnusableError(f"launch.fsdp: {error}") from error


@contextmanager
def environment_kept() -> Iterator[None]:
    """Accelerate notes in the environment that it was given a plugin, and the next Accelerator would take one too."""
    before = os.environ.get(_ENVIRONMENT)
    try:
        yield
    finally:
        os.environ.pop(_ENVIRONMENT, None)
        if before is not None:
            os.environ[_ENVIRONMENT] = before


def use_plugin(accelerator: Accelerator, plugin: FullyShardedDataParallelPlugin) -> None:
    """Gives an Accelerator the plugin, on a CPU too, where it would pass over it without a word.

    Raises:
        UnusableError: there is one process, or a device on which models cannot be cut.
    """
    if accelerator.num_processes == 1:
        raise UnusableError(
            "launch.fsdp cuts the model over several processes, and there is one",
            hint="write processes: 2 below launch:, or remove fsdp",
        )
    if accelerator.device.type not in ("cpu", "cuda"):
        raise UnusableError(
            f"launch.fsdp does not work on {accelerator.device.type}", hint="remove it, or train on CUDA devices"
        )
    accelerator.state.fsdp_plugin = plugin


def is_sharded(module: nn.Module) -> bool:
    """Whether this module's weights are in pieces."""
    return isinstance(module, FSDPModule)


def require_shardable(accelerator: Accelerator, module: nn.Module, optimizer: Optimizer) -> None:
    """Refuses what would train wrongly, or not at all, in pieces.

    Raises:
        UnusableError: the optimizer looks at more than one element at a time, weights are tied across the pieces, or
            they are of a type that Accelerate would change.
    """
    if type(optimizer) not in _ELEMENTWISE:
        raise UnusableError(
            f"launch.fsdp: {type(optimizer).__name__} may need whole weights, of which each process has a piece",
            hint=f"write optimizer: adamw, or one of {', '.join(OPTIMIZERS)}; or remove launch.fsdp",
        )
    first: dict[int, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        own = first.setdefault(id(parameter), name)
        if accelerator.mixed_precision != "no" and parameter.requires_grad and parameter.dtype != torch.float32:
            kind = str(parameter.dtype).removeprefix("torch.")
            raise UnusableError(
                f"launch.fsdp computes in {accelerator.mixed_precision} from float32 weights, and {name} is {kind}",
                hint="build the model in float32, or write mixed_precision: no",
            )
        if own != name and accelerator.state.fsdp_plugin.auto_wrap_policy is not None:
            raise UnusableError(
                f"launch.fsdp: {name} is the same weight as {own}, which auto_wrap_policy may cut apart",
                hint="write auto_wrap_policy: no_wrap, or untie them",
            )


def shard(accelerator: Accelerator, module: nn.Module, optimizer: Optimizer, ranks: Ranks) -> tuple[nn.Module, Any]:
    """Cuts a module and its optimizer's state, in place, beginning from rank 0's weights; every rank must call it.

    Args:
        module: whole, on its device, and its optimizer; both as they are to go on, restored or new.

    Returns:
        What Accelerate made of the two; the module is the same object.

    Raises:
        UnusableError: this module cannot be cut.
    """
    require_shardable(accelerator, module, optimizer)
    ranks.take_from_main([value for value in module.state_dict().values() if isinstance(value, Tensor)])
    before = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    states = [optimizer.state.pop(parameter, None) for parameter in before]
    try:
        # All is where it belongs: Accelerate would move the optimizer by load_state_dict, which makes new groups.
        accelerator.device_placement = False
        # Told here, for any look at its state (autocast's, say) sets this back to what it found by itself.
        accelerator.state.distributed_type = DistributedType.FSDP
        wrapped, prepared = accelerator.prepare(module, optimizer)
    except (ValueError, KeyError, NotImplementedError, AssertionError) as error:
        raise UnusableError(
            f"launch.fsdp cannot cut this model: {error}", hint="remove launch.fsdp; DDP trains it whole"
        ) from error
    if not is_sharded(wrapped):
        raise UnusableError("launch.fsdp: Accelerate has left the model whole", hint="remove launch.fsdp")
    after = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for parameter, state in zip(after, states, strict=True):
        if state is not None:
            optimizer.state[parameter] = {key: _piece(value, parameter) for key, value in state.items()}
    return wrapped, prepared


def rest(module: nn.Module) -> None:
    """Puts every weight back into pieces after a forward without a backward, which leaves some whole."""
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()


def whole(tensor: Tensor) -> Tensor:
    """The tensor itself, or all its pieces put together; of one in pieces every rank must call it, in one order."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _piece(value: Any, parameter: Tensor) -> Any:
    """Of state that goes with each element of a weight, this rank's share."""
    if not isinstance(parameter, DTensor) or not isinstance(value, Tensor) or value.shape != parameter.shape:
        return value
    # Every rank has the same whole, so nothing needs to be sent.
    return distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)
