"""Runs `kladml-tui` on a pseudo-terminal, for what only happens on one."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from pathlib import Path

from tests.system.command import COMMAND, environment


class Terminal:
    """A command on a terminal of its own, of which it is the controlling process.

    Args:
        arguments: words after `kladml-tui`.
        columns, rows: the terminal's size.
    """

    def __init__(self, *arguments: str | Path, cwd: Path, columns: int = 100, rows: int = 30, **more: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            cwd=cwd,
            env=environment(TERM="xterm-256color", **more),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509  one system call, and there is no other way to a controlling terminal
        )
        os.close(slave)
        self.output = b""

    def read_until(self, text: bytes, timeout: float = 60) -> bytes:
        """Reads until `text` has been seen; fails with the output when it does not come."""
        deadline = time.monotonic() + timeout
        while text not in self.output:
            if not self._read(deadline):
                raise AssertionError(f"{text!r} never came; the output ends with {self.output[-2000:]!r}")
        return self.output

    def finish(self, timeout: float = 60) -> int:
        """Reads to the end and returns the exit code."""
        deadline = time.monotonic() + timeout
        while self._read(deadline):
            pass
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def type(self, keys: bytes) -> None:
        """Types on the keyboard; the terminal turns b"\\x03" into SIGINT."""
        os.write(self._master, keys)

    def hang_up(self) -> None:
        """Closes the terminal, as a lost SSH connection does."""
        os.close(self._master)
        self._master = -1

    def _read(self, deadline: float) -> bool:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self._master], [], [], left)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # Linux says EIO when the last process has closed the other side
            return False
        self.output += data
        return bool(data)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
