"""The processes of one run: which one this is, and the few things they must agree on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from kladml_core.errors import TrainingFailedError


class Ranks:
    """This process among those that train one model.

    Agreement goes over a group of its own on the CPU, so that it costs no synchronisation with a device.

    Args:
        rank: this process, 0 the one that writes.
        world_size: how many there are.
    """

    def __init__(self, rank: int = 0, world_size: int = 1) -> None:
        self.rank = rank
        self.world_size = world_size
        self.is_main = rank == 0
        self._group: Any = dist.new_group(backend="gloo") if world_size > 1 else None

    def maximum(self, values: Sequence[int]) -> list[int]:
        """The greatest value at each place over all ranks."""
        if self.world_size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.int64)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX, group=self._group)
        return [int(value) for value in tensor.tolist()]

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, in the order of the ranks; plain Python values."""
        if self.world_size == 1:
            return [value]
        found: list[Any] = [None] * self.world_size
        dist.all_gather_object(found, value, group=self._group)
        return found

    def take_from_main(self, tensors: Sequence[Tensor]) -> None:
        """Gives each of these tensors, on the training device, the values that it has on rank 0."""
        for tensor in tensors if self.world_size > 1 else ():
            dist.broadcast(tensor, src=0)

    def require_equal_weights(self, module: nn.Module) -> None:
        """Compares a hash of all parameters and buffers.

        Raises:
            TrainingFailedError: the ranks do not hold the same weights.
        """
        if self.world_size == 1:
            return
        digest = hashlib.sha256()
        for name, value in sorted(module.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        if len(set(self.gather(digest.hexdigest()))) > 1:
            raise TrainingFailedError("the processes do not start from the same weights")
