"""Fills an index in a process of its own, so that a screen keeps its processor: python -m … ROOT reads what is missing.

Nobody has to wait for it or tell it anything: what it has read is in the index, a slice at a time, for whoever has that
open; killed half-way, it has done half of the work.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

from kladml_core.errors import KladMLError

_NICE = 5


def start(root: Path) -> subprocess.Popen[bytes]:
    """Starts the process.

    Args:
        root: the workspace's.

    Raises:
        OSError: it cannot be started.
    """
    # -P: the workspace may hold files named like standard modules.
    command = [sys.executable, "-P", "-m", "kladml_core.workspace.index_process", str(root)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)


def main() -> int:
    """Reads the runs that the index does not know."""
    from kladml_core.workspace.index import Index
    from kladml_core.workspace.workspace import Workspace

    os.nice(_NICE)
    gc.disable()  # what is read makes no cycles, and there is very much of it
    try:
        index = Index(Workspace.open(Path(sys.argv[1])))
    except KladMLError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    index.look(index.tree(), everything=False)
    index.close()
    return int(bool(index.fault))


if __name__ == "__main__":
    sys.exit(main())
