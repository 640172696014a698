"""Signals of a worker: the first asks it to stop at the next step, a second ends it at once. Imports no torch."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name))


class Interrupted(BaseException):
    """Raised in the main thread by a signal, while `StopSignals.raising` holds."""


class StopSignals:
    """Listens for TERM, INT and HUP while installed.

    Python runs a handler only between two bytecodes of the main thread, which may be inside one long call of the
    device's library. The second signal must not wait for that: the operating system's handler also writes the
    signal's number into a socket, and a thread reads it there.

    Attributes:
        number: the first signal that came, 0 before one has.
        grace: seconds after the first signal until it counts as a second one; None waits for ever.
        launcher: pid of the process that started this one and its like, where one did.
    """

    def __init__(self) -> None:
        self.number = 0
        self.grace: float | None = None
        self.launcher: int | None = None
        self._before: dict[int, object] = {}
        self._wakeup_before = -1
        self._ends: tuple[socket.socket, socket.socket] | None = None
        self._on_second: Callable[[int], None] = os._exit
        self._raise = False

    def install(self) -> bool:
        """Starts listening; False where that is impossible, which is anywhere but in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            return False
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        self._ends = (reader, writer)
        for number in STOPPING:
            self._before[number] = signal.signal(number, self._came)
        self._wakeup_before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(reader,), name="stop-signals", daemon=True).start()
        return True

    def on_second(self, act: Callable[[int], None]) -> None:
        """What to do, with the exit code 128 + N, when a second signal comes; it runs in a thread of its own."""
        self._on_second = act

    def restore(self) -> None:
        """Puts the handlers back that were there before."""
        if self._ends is None:
            return
        signal.set_wakeup_fd(self._wakeup_before)
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]
        reader, writer = self._ends
        self._ends = None
        writer.close()  # the thread reads the end and closes its own side
        del reader

    @property
    def name(self) -> str:
        """`SIGTERM`, or an empty string before a signal has come."""
        return signal.Signals(self.number).name if self.number else ""

    @property
    def orphaned(self) -> bool:
        """Whether the launcher is gone: then this process is another one's child."""
        return self.launcher is not None and os.getppid() != self.launcher

    @property
    def reason(self) -> str:
        """Why a signal came, in words."""
        return f"its launcher (process {self.launcher}) was killed" if self.orphaned else f"signal {self.name}"

    @contextmanager
    def raising(self) -> Iterator[None]:
        """Inside, a signal raises `Interrupted` in the main thread: for code that has no steps to stop between."""
        if self.number:
            raise Interrupted
        self._raise = True
        try:
            yield
        finally:
            self._raise = False

    def _came(self, number: int, _frame: FrameType | None) -> None:
        self.number = self.number or number
        if self._raise:
            self._raise = False
            raise Interrupted

    def _watch(self, reader: socket.socket) -> None:
        seen = 0
        with reader:
            while data := reader.recv(64):
                for number in data:
                    if number not in STOPPING:
                        continue
                    seen += 1
                    self.number = self.number or number
                    if seen > 1:
                        self._on_second(128 + number)
                    elif self.grace is not None:
                        timer = threading.Timer(self.grace, self._on_second, (128 + number,))
                        timer.daemon = True
                        timer.start()
