"""What a run has been asked to do, agreed on by all ranks: a signal, a stop, a checkpoint, or the end of its time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from kladml_core.errors import ExitCode
from kladml_core.training import control
from kladml_core.training.ranks import Ranks
from kladml_core.training.signals import StopSignals

LOOK_SECONDS = 0.2
"""How often the control folder is looked at: a look costs a few microseconds here and milliseconds on a network."""


@dataclass(frozen=True)
class Asked:
    """What all ranks have agreed on at one step."""

    signal: int = 0
    stop: bool = False
    checkpoint: bool = False
    out_of_time: bool = False
    checkpoint_due: bool = False
    """The last checkpoint is as old as checkpoint.every_seconds says."""

    @property
    def stops(self) -> bool:
        """Whether the run is to end here."""
        return bool(self.signal) or self.stop or self.out_of_time

    @property
    def exit_code(self) -> ExitCode:
        """The worker's exit code when it ends for this."""
        return ExitCode(128 + self.signal) if self.signal else ExitCode.STOPPED


NOTHING = Asked()


class Requests:
    """Looks for requests between two steps.

    Args:
        signals: the process's stop signals.
        ranks: all ranks take part in every `poll`.
        folder: the run's control folder, looked at by rank 0; None for a run without a directory.
        attempt: requests for other attempts are not ours.
        max_time: seconds from now after which the run is to end.
        checkpoint_every: seconds after which a checkpoint is due; rank 0's clock decides for all.
    """

    def __init__(
        self,
        signals: StopSignals,
        ranks: Ranks,
        *,
        folder: Path | None = None,
        attempt: int = 0,
        max_time: float | None = None,
        checkpoint_every: float | None = None,
    ) -> None:
        self._signals = signals
        self._ranks = ranks
        self._folder = folder if ranks.is_main else None
        self._attempt = attempt
        self._deadline = float("inf") if max_time is None else time.monotonic() + max_time
        self._every = checkpoint_every if ranks.is_main else None
        self._save_at = float("inf")
        self.saved()
        self._look_at = 0.0
        self._alone = ranks.world_size == 1
        self.stop_request: dict[str, object] | None = None
        """The stop request as it was found."""

    def poll(self) -> Asked:
        """What has been asked for since the last step; the same answer on every rank."""
        if self._alone and time.monotonic() < self._look_at and not self._signals.number and not self.stop_request:
            return NOTHING
        mine = self._look()
        if self._alone:
            return mine
        flags = [mine.stop, mine.checkpoint, mine.out_of_time, mine.checkpoint_due]
        signal, *agreed = self._ranks.maximum([mine.signal, *map(int, flags)])
        return Asked(signal, *map(bool, agreed))

    def stopping(self) -> bool:
        """Whether this rank alone knows of a reason to stop; for leaving a validation early."""
        return self._look().stops

    def _look(self) -> Asked:
        now = time.monotonic()
        stop = self.stop_request is not None
        checkpoint = False
        if now >= self._look_at:
            self._look_at = min(now + LOOK_SECONDS, max(now, self._deadline))
            if self._folder is not None:
                self.stop_request = self.stop_request or control.pending(self._folder, control.STOP, self._attempt)
                stop = self.stop_request is not None
                checkpoint = control.pending(self._folder, control.CHECKPOINT, self._attempt) is not None
        return Asked(self._signals.number, stop, checkpoint, now >= self._deadline, now >= self._save_at)

    def reason(self, asked: Asked) -> str:
        """Why the run ends, in words."""
        if asked.signal:
            return self._signals.reason if self._signals.orphaned else f"signal {Signals(asked.signal).name}"
        return "stop requested" if asked.stop else "max_time"

    def saved(self) -> None:
        """Told of each checkpoint: the next one is due by the clock that much later."""
        if self._every is not None:
            self._save_at = time.monotonic() + self._every

    def honoured(self, kind: str) -> None:
        """Removes the file of a request that has been carried out."""
        if self._folder is not None:
            try:
                control.remove(self._folder, kind)
            except OSError:
                pass  # the folder has become read-only; the attempt it names ends with this process
