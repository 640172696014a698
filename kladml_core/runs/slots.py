"""What a queued run needs of this machine, and which of its slots are free: GPUs by UUID, or places on the CPU."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from kladml_core.errors import UnusableError
from kladml_core.runs.gpus import Gpu, visible

if TYPE_CHECKING:
    from kladml_core.config.schema import RunConfig

HELD_BYTES = 2 << 30
"""Memory in use that somebody must hold, where the driver names nobody (in a container); less is the driver's own."""

PCI_ORDER = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
"""Numbers of devices mean the same to CUDA and to the driver."""


@dataclass(frozen=True)
class Need:
    """What one run takes while it trains."""

    kind: Literal["cpu", "gpu"]
    count: int = 1
    """GPUs, one for each of its processes; on the CPU always 1, the run itself."""
    number: int | None = None
    """The one GPU that `launch.device: cuda:N` names, among those that are visible here."""

    @property
    def text(self) -> str:
        """`CPU`, `2 GPUs`, `cuda:1`."""
        if self.kind == "cpu":
            return "CPU"
        if self.number is not None:
            return f"cuda:{self.number}"
        return f"{self.count} GPU{'s' if self.count > 1 else ''}"

    def to_json(self) -> dict[str, Any]:
        """As it stands in an item's file."""
        return asdict(self)


def need_of(config: RunConfig, slots: int | tuple[str, ...] | None, machine: Sequence[Gpu]) -> Need:
    """What a run of this config needs.

    Args:
        slots: as `queue.slots`.
        machine: the GPUs of this machine.

    Raises:
        UnusableError: this machine can never give it.
    """
    place = config.launch
    if place.machines > 1:
        raise UnusableError(
            "a run over several machines cannot wait in the queue of one", hint="launch it on each of them at once"
        )
    device, _, number = place.device.partition(":")
    shown = seen(machine)
    if device in ("cpu", "mps") or (device == "auto" and not shown):
        return Need("cpu")
    usable = allowed(machine, slots)
    if number and int(number) < len(shown) and shown[int(number)] in usable:
        return Need("gpu", 1, int(number))
    count = max(place.processes, len(usable)) if place.distributed else place.processes
    most = min(len(usable), slots) if isinstance(slots, int) else len(usable)
    if number or count > most:
        wanted = f"cuda:{number}" if number else Need("gpu", count).text
        there = "no GPU" if not shown else f"{most} of its {len(shown)} visible GPUs"
        raise UnusableError(
            f"the run needs {wanted}, and the queue of this machine has {there}",
            hint="change launch.processes or launch.device, or queue.slots in kladml.yaml",
        )
    return Need("gpu", count)


def free_devices(
    need: Need,
    slots: int | tuple[str, ...] | None,
    machine: Sequence[Gpu],
    *,
    runs: int,
    taken: Collection[str],
) -> tuple[str, ...] | None:
    """The devices that a run can have now; None while it must wait.

    Args:
        machine: the GPUs as they are now.
        runs: runs that take a place on the CPU now.
        taken: UUIDs of the GPUs that the queue's own runs have, whether they hold memory yet or not.

    Returns:
        UUIDs; nothing in it for a run on the CPU.
    """
    if need.kind == "cpu":
        return () if runs < (slots if isinstance(slots, int) else 1) else None
    usable = allowed(machine, slots)
    if need.number is not None:
        shown = seen(machine)
        usable = tuple(one for one in shown[need.number : need.number + 1] if one in usable)
    room = slots - len(taken) if isinstance(slots, int) else len(usable)
    idle = [one.uuid for one in usable if one.uuid not in taken and not _held(one)]
    return tuple(idle[: need.count]) if need.count <= min(room, len(idle)) else None


def seen(machine: Sequence[Gpu], environ: Mapping[str, str] = os.environ) -> tuple[Gpu, ...]:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves to this process, numbers taken in the order of the PCI bus."""
    return visible(machine, {**environ, **PCI_ORDER})


def allowed(machine: Sequence[Gpu], slots: int | tuple[str, ...] | None) -> tuple[Gpu, ...]:
    """Those of them that `queue.slots` leaves to the queue."""
    shown = seen(machine)
    return tuple(one for one in shown if one.uuid in slots) if isinstance(slots, tuple) else shown


def _held(gpu: Gpu) -> bool:
    return bool(gpu.pids) or gpu.total - gpu.free > HELD_BYTES
