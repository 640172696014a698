"""Signals to a command that follows a run: counted while it follows, and answered by it in its own time."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any

from kladml_core.errors import ExitCode


class Signals:
    """What signals have asked for so far. Installs its handlers on entering and restores the old ones on leaving."""

    def __init__(self) -> None:
        self.stops = 0
        """SIGINTs and SIGTERMs so far."""
        self.last = signal.SIGINT
        """The newest of them."""
        self.hangup = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # nohup has SIGHUP ignored from the start, and is to be obeyed.
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def exit_code(self) -> int:
        """128 and the number of what was asked last."""
        return int(ExitCode.HUP) if self.hangup else 128 + self.last

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.hangup = True
        else:
            self.stops += 1
            self.last = signal.Signals(number)
