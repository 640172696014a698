"""Ends a run that no longer moves: counts the time without a beat, shows every thread's stack, tells whoever must know.

A beat is one addition per micro-batch. The time is counted in the watchdog's own ticks, so that a process that was
itself held (SIGSTOP, a suspended machine) is not taken for one that hangs.
"""

from __future__ import annotations

import faulthandler
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

LONGEST_TICK = 5.0
_COMPILERS = ("/torch/_dynamo/convert_frame.py", "/torch/_inductor/compile_fx.py", "/torch/_inductor/codecache.py")


@dataclass
class Pulse:
    """What moves adds to `beats`; what may rightly take long holds `paused`."""

    beats: int = 0
    paused: bool = False


class Watchdog:
    """Watches a pulse in a thread of its own.

    Args:
        timeout: seconds without a beat after which the run hangs; None never says so.
        on_hang: called once, in the watchdog's thread, with the seconds that were waited; it may end the process.
    """

    def __init__(self, pulse: Pulse, timeout: float | None, on_hang: Callable[[float], None]) -> None:
        self._pulse = pulse
        self._timeout = timeout
        self._on_hang = on_hang
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to count."""
        if self._timeout is not None:
            self._thread = threading.Thread(target=self._watch, args=(self._timeout,), name="watchdog", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ends the counting; what has been called may still run."""
        self._done.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _watch(self, timeout: float) -> None:
        tick = min(LONGEST_TICK, timeout / 4)
        waited, seen, before = 0.0, -1, time.monotonic()
        while not self._done.wait(tick):
            now = time.monotonic()
            passed, before = min(now - before, 2 * tick), now
            if self._pulse.beats != seen or self._pulse.paused or _compiling():
                waited, seen = 0.0, self._pulse.beats
                continue
            waited += passed
            if waited >= timeout:
                show_stacks()
                self._on_hang(waited)
                return


def show_stacks() -> None:
    """The stacks of all threads to stderr, which is the run's console.log."""
    sys.stdout.flush()
    if sys.__stderr__ is not None:
        faulthandler.dump_traceback(file=sys.__stderr__, all_threads=True)


def _compiling() -> bool:
    """Whether any thread is inside torch's compilers: a new shape may start them at any step."""
    for frame in sys._current_frames().values():
        place = frame
        while place is not None:
            if place.f_code.co_filename.endswith(_COMPILERS):
                return True
            place = place.f_back  # type: ignore[assignment]
    return False
