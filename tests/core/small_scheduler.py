"""`python -m tests.core.small_scheduler WORKSPACE`: the scheduler of the queue, whose workers are small ones."""

from __future__ import annotations

import sys

from kladml_core.runs import start
from kladml_core.runs.queue_scheduler import main

if __name__ == "__main__":
    start._WORKER = "tests.core.small_worker"
    sys.exit(main(sys.argv[1:]))
