"""The worker's stdout and stderr: on a full disk what a person's code prints is lost, and not the training with it."""

from __future__ import annotations

import errno
import io
import sys
from typing import Any, TextIO

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class _Patient(io.FileIO):
    """A file that drops what the disk has no room for."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            return memoryview(data).nbytes


def outlast_a_full_disk() -> None:
    """Replaces stdout and stderr, whose every print would raise where console.log cannot grow."""
    sys.stdout, sys.stderr = _patient(sys.stdout), _patient(sys.stderr)


def _patient(stream: TextIO) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):
        return stream  # closed, or a person's own
    stream.flush()
    raw = _Patient(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
