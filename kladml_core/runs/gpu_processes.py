"""Which processes hold memory of an NVIDIA device of this machine; nothing is said where there is no driver."""

from __future__ import annotations


def holders() -> frozenset[int]:
    """Pids of the processes that hold device memory; empty without a driver, or where it does not tell."""
    try:
        import pynvml
    except ImportError:
        return frozenset()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return frozenset()
    try:
        found: set[int] = set()
        for index in range(pynvml.nvmlDeviceGetCount()):
            device = pynvml.nvmlDeviceGetHandleByIndex(index)
            found.update(process.pid for process in pynvml.nvmlDeviceGetComputeRunningProcesses(device))
        return frozenset(found)
    except pynvml.NVMLError:
        return frozenset()
    finally:
        pynvml.nvmlShutdown()
