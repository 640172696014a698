"""`python -m tests.core.small_scheduler WORKSPACE`: the scheduler of the queue, whose workers are small ones."""

from __future__ import annotations

import os
import sys

from kladml_core.runs import queue_scheduler, start
from kladml_core.runs.gpus import Gpu

GPUS = "TEST_GPUS"
"""How many GPUs the machine is to have, in the environment; without it those that it has."""


def pretended_gpus() -> tuple[Gpu, ...]:
    """Idle devices as the driver would tell of them."""
    return tuple(Gpu(index, f"GPU-{index}", "Big One", 1 << 36, 1 << 36, ()) for index in range(int(os.environ[GPUS])))


if __name__ == "__main__":
    start._WORKER = "tests.core.small_worker"
    if GPUS in os.environ:
        queue_scheduler.gpus = pretended_gpus
    sys.exit(queue_scheduler.main(sys.argv[1:]))
