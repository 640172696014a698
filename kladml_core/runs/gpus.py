"""The NVIDIA devices of this machine and who holds their memory, asked of the driver: no torch, no device touched."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """One device as the driver sees it, not as CUDA_VISIBLE_DEVICES shows it."""

    index: int
    """Its place in the order of the PCI bus, which is CUDA's own with CUDA_DEVICE_ORDER=PCI_BUS_ID."""
    uuid: str
    """`GPU-…`, the same after a restart of the machine."""
    name: str
    total: int
    """Bytes of memory."""
    free: int
    """Bytes of memory that nobody holds."""
    pids: tuple[int, ...]
    """Processes that hold memory of it, where the driver tells (in a container it may not)."""


def gpus() -> tuple[Gpu, ...]:
    """Every device; none where there is no driver, or where it refuses to say."""
    try:
        import pynvml
    except ImportError:
        return ()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        return tuple(_look(index) for index in range(pynvml.nvmlDeviceGetCount()))
    except pynvml.NVMLError:
        return ()
    finally:
        pynvml.nvmlShutdown()


def visible(devices: Sequence[Gpu], environ: Mapping[str, str] = os.environ) -> tuple[Gpu, ...]:
    """The devices that CUDA shows to a process with this environment, in its order.

    Without CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA puts the fastest device first: where devices differ and are named by
    number, their order cannot be told from here, and none is returned.
    """
    named = environ.get("CUDA_VISIBLE_DEVICES")
    words = None if named is None else [word.strip() for word in named.split(",")]
    by_number = words is None or any(word.isdecimal() for word in words)
    if by_number and environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID" and len({one.name for one in devices}) > 1:
        return ()
    if words is None:
        return tuple(devices)
    found: list[Gpu] = []
    for word in words:
        match = [one for one in devices if str(one.index) == word or (word.startswith("GPU-") and word in one.uuid)]
        if not match:
            break  # as CUDA does: what follows a device that does not exist is not visible
        found.append(match[0])
    return tuple(found)


def _look(index: int) -> Gpu:
    import pynvml

    device = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(device)
    try:
        pids = sorted({process.pid for process in pynvml.nvmlDeviceGetComputeRunningProcesses(device)})
    except pynvml.NVMLError:
        pids = []
    texts = [pynvml.nvmlDeviceGetUUID(device), pynvml.nvmlDeviceGetName(device)]
    uuid, name = (text.decode() if isinstance(text, bytes) else str(text) for text in texts)
    return Gpu(index, uuid, name, int(memory.total), int(memory.free), tuple(pids))
