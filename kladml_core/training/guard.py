"""Keeps a non-finite loss or gradient out of the weights, where possible without reading anything from the device."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from kladml_core.training.ranks import Ranks

_TAKE_FOUND_INF = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD, torch.optim.Adagrad)


class HostGuard:
    """Reads loss and norm at every step: free on a CPU, one synchronisation a step elsewhere."""

    flag: None = None
    """None: whether an update is made is known on the host."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks

    def admits(self, loss: Any, norm: Tensor) -> bool:
        """Whether the update may be made; the same answer on every rank."""
        if isinstance(loss, Tensor):
            finite = bool(torch.isfinite(loss + norm))
        else:
            finite = math.isfinite(loss) and math.isfinite(norm.item())
        if self._ranks.world_size > 1:
            return self._ranks.maximum([int(not finite)]) == [0]
        return finite

    def first_bad(self) -> int | None:
        """Nothing is ever found later: `admits` has said it already."""
        return None

    def skipped(self) -> int:
        """See `first_bad`."""
        return 0


class DeviceGuard:
    """Gives a flag on the device to a fused optimizer, which then leaves the update out itself.

    With `sticky` every later update is left out too, until `first_bad` is asked at the next log point; so the
    weights stay as before the first bad step though the host runs ahead.

    Args:
        optimizer: fused; its kernels take `found_inf`.
        sticky: True where a bad step ends the run, False where only that step is left out.
    """

    def __init__(self, optimizer: Optimizer, device: torch.device, *, sticky: bool) -> None:
        self._sticky = sticky
        self.flag: Tensor = torch.zeros((), device=device)
        """Not 0 where the update is left out."""
        self._since = torch.zeros((), dtype=torch.int64, device=device)
        """Updates left out since the last question."""
        self._steps = 0
        optimizer.found_inf = self.flag  # type: ignore[attr-defined]

    def admits(self, loss: Any, norm: Tensor) -> bool:
        """Always: the optimizer decides on the device."""
        bad = (~torch.isfinite(loss + norm)).to(self.flag.dtype)
        if self._sticky:
            torch.maximum(self.flag, bad, out=self.flag)
        else:
            self.flag.copy_(bad)
        self._since += self.flag.to(self._since.dtype)
        self._steps += 1
        return True

    def first_bad(self) -> int | None:
        """How many steps ago, counted from 0, the first update was left out, or None. Reads from the device."""
        bad = int(self._since.item())
        return bad - 1 if bad and self._sticky else None

    def skipped(self) -> int:
        """Updates left out since the last question. Reads from the device."""
        if self._sticky:
            return 0
        bad = int(self._since.item())
        self._since.zero_()
        return bad


def make_guard(
    optimizer: Optimizer, device: torch.device, ranks: Ranks, *, sticky: bool, scaled: bool, sharded: bool = False
) -> HostGuard | DeviceGuard:
    """The cheapest guard that this optimizer and device allow.

    Args:
        optimizer: the bare torch optimizer.
        sticky: see `DeviceGuard`.
        scaled: whether an fp16 gradient scaler gives the optimizer a flag of its own.
        sharded: whether the weights are in pieces, to which a fused optimizer cannot apply a flag that is whole.
    """
    fused = all(group.get("fused") for group in optimizer.param_groups)
    if device.type == "cuda" and fused and not scaled and not sharded and isinstance(optimizer, _TAKE_FOUND_INF):
        return DeviceGuard(optimizer, device, sticky=sticky)
    return HostGuard(ranks)
