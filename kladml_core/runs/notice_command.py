"""Runs the person's command for a notice: the event on its standard input, its output in the log, an end in sight."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from kladml_core.runs.files import strict_dumps

PATIENCE_SECONDS = 60.0
"""How long a command may take; then it and what it has started are killed."""
OUTPUT_BYTES = 8192
"""How much of its output is kept: the end of it."""
_CHUNK = 65536
_LAST_READS = 16
"""A pipe holds one chunk, or by the system's leave sixteen."""
_LOOK_SECONDS = 0.05
"""Between two looks at whether the shell has ended."""
_BREATH_SECONDS = 0.005
"""Between two reads: a command that never ends to write waits for this process, and not the other way round."""


@dataclass(frozen=True)
class Ran:
    """How a command went."""

    exit_code: int | None
    """As a shell says it, 128+N after signal N; None when it was killed after `PATIENCE_SECONDS`."""
    output: str
    """The end of what it wrote to stdout and stderr."""

    def __str__(self) -> str:
        end = "was killed: it took too long" if self.exit_code is None else f"exit code {self.exit_code}"
        return f"{end}\n{self.output}".rstrip()


def run_command(command: str, event: Mapping[str, Any], directory: Path, patience: float = PATIENCE_SECONDS) -> Ran:
    """Runs a command by the shell, in a session of its own, and waits for the shell's end.

    What the shell leaves in the background lives on, unheard.

    Args:
        command: for `/bin/sh -c`.
        event: its standard input, as one line of strict JSON; KLADML_EVENT and KLADML_RUN name its kind and its run.
        directory: where it is run.
        patience: seconds after which it is killed, with its process group.

    Raises:
        OSError: there is no such directory, or no further process.
    """
    environ = {**os.environ, "KLADML_EVENT": str(event.get("kind")), "KLADML_RUN": str(event.get("run"))}
    process = subprocess.Popen(
        ["/bin/sh", "-c", command],
        cwd=directory,
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None
    with process.stdin as stdin, process.stdout as stdout:
        talk = _Talk(stdin, stdout, f"{strict_dumps(event)}\n".encode())
        # Its end, not that of its output: something left in the background may hold the pipe open for ever.
        deadline = time.monotonic() + patience
        while process.poll() is None:
            if time.monotonic() >= deadline:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return Ran(None, talk.rest())
            talk.go_on()
        code = process.returncode
        return Ran(code if code >= 0 else 128 - code, talk.rest())


class _Talk:
    """Both pipes of a command, without ever waiting for one that it does not read or write."""

    def __init__(self, stdin: IO[bytes], stdout: IO[bytes], text: bytes) -> None:
        self._stdin, self._stdout = stdin, stdout
        self._text = memoryview(text)
        self._output = b""
        self._selector = selectors.DefaultSelector()
        for pipe, events in ((stdin, selectors.EVENT_WRITE), (stdout, selectors.EVENT_READ)):
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, events)

    def go_on(self) -> None:
        """Writes and reads what is possible now; waits a moment where nothing is."""
        for key, _ in self._selector.select(_LOOK_SECONDS):
            if key.fileobj is self._stdin:
                self._write()
            elif not self._read():
                self._selector.unregister(self._stdout)
        time.sleep(_BREATH_SECONDS)

    def rest(self) -> str:
        """The end of the output, once the command is gone."""
        # Bounded, since what it left in the background may go on writing.
        for _ in range(_LAST_READS):
            if not self._read():
                break
        self._selector.close()
        return self._output.decode(errors="replace")

    def _write(self) -> None:
        try:
            self._text = self._text[os.write(self._stdin.fileno(), self._text) :]
        except BrokenPipeError:
            self._text = memoryview(b"")  # it does not want to know
        if not self._text:
            self._selector.unregister(self._stdin)
            self._stdin.close()

    def _read(self) -> bool:
        """Whether there was something to read."""
        try:
            data = os.read(self._stdout.fileno(), _CHUNK)
        except BlockingIOError:
            return False
        self._output = (self._output + data)[-OUTPUT_BYTES:]
        return bool(data)
