"""Runs the person's command for a notice: the event on its standard input, its output in the log, an end in sight."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kladml_core.runs.files import strict_dumps

PATIENCE_SECONDS = 60.0
"""How long a command may take; then it and what it has started are killed."""


@dataclass(frozen=True)
class Ran:
    """How a command went."""

    exit_code: int | None
    """None when it was killed after `PATIENCE_SECONDS`."""
    output: str
    """What it wrote to stdout and stderr."""

    def __str__(self) -> str:
        end = "was killed: it took too long" if self.exit_code is None else f"exit code {self.exit_code}"
        return f"{end}\n{self.output}".rstrip()


def run_command(command: str, event: Mapping[str, Any], directory: Path, patience: float = PATIENCE_SECONDS) -> Ran:
    """Runs a command by the shell, in a session of its own, and waits for its end.

    Args:
        command: for `/bin/sh -c`.
        event: its standard input, as one line of strict JSON; KLADML_EVENT and KLADML_RUN name its kind and its run.
        directory: where it is run.
        patience: seconds after which it is killed, with its process group.
    """
    environ = {**os.environ, "KLADML_EVENT": str(event.get("kind")), "KLADML_RUN": str(event.get("run"))}
    process = subprocess.Popen(
        ["/bin/sh", "-c", command],
        cwd=directory,
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    text = f"{strict_dumps(event)}\n".encode()
    try:
        output, _ = process.communicate(text, timeout=patience)
        return Ran(process.returncode, output.decode(errors="replace"))
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return Ran(None, output.decode(errors="replace"))
