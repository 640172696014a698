"""A run as one line says it, from its files or from what is followed live; and the words and figures of that line."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kladml_core.runs.checkpoint_list import list_checkpoints

if TYPE_CHECKING:
    from kladml_core.runs.follow import RunSnapshot
    from kladml_core.runs.rundir import RunDirectory
    from kladml_core.runs.status import RunStatus
    from kladml_core.workspace.rows import RunRow

GLYPHS: Mapping[str, str] = {
    "queued": "○",
    "starting": "◐",
    "running": "●",
    "stalled": "●",
    "silent": "◌",
    "stopping": "◑",
    "stopped": "■",
    "finished": "✓",
    "failed": "✗",
    "lost": "!",
    "damaged": "?",
}
PACE_SECONDS = 60.0
"""The stretch of time over which the pace, and from it the time left, is measured."""
_PREFERRED = ("val/loss", "train/loss", "loss")


@dataclass(frozen=True)
class Figure:
    """The newest value of a metric."""

    metric: str
    value: float
    step: int


@dataclass(frozen=True)
class RunLine:
    """What a list says of a run."""

    reference: str
    status: RunStatus
    figure: Figure | None = None
    """The metric that says most: the validation loss where there is one."""
    pace: float | None = None
    """Steps a second of late."""
    star: bool = False
    resumable: bool = False
    """Whether it has ended before its time, and a checkpoint to go on from."""
    row: RunRow | None = None
    """All that its files said when they were last read, the newest values of a followed run put in."""

    @property
    def word(self) -> str:
        """The status in one word, see `RunStatus.word`."""
        return self.status.word

    @property
    def took(self) -> float | None:
        """Seconds of all attempts so far."""
        return self.status.total_seconds

    @property
    def left(self) -> float | None:
        """Seconds that the rest will take at the present pace; None where that is not known."""
        status = self.status
        if status.status != "running" or not status.total_steps or not self.pace:
            return None
        return max(0, status.total_steps - status.step) / self.pace

    @property
    def share(self) -> float | None:
        """How much is done, 0 to 1."""
        status = self.status
        if status.total_steps:
            return min(1.0, status.step / status.total_steps)
        if status.total_epochs:
            return min(1.0, status.epoch / status.total_epochs)
        return None


def from_row(row: RunRow) -> RunLine:
    """The line of a run that was read once. For threads: it may look for checkpoints."""
    name = preferred(row.metrics)
    figures = row.metrics.get(name or "")
    figure = Figure(name, figures.last, figures.last_step) if name and figures else None
    return RunLine(
        row.reference, row.status, figure, _average_pace(row.status), row.star, _resumable(row.status, row.run), row
    )


def from_snapshot(snapshot: RunSnapshot, known: RunLine | None = None) -> RunLine:
    """The line of a run that is followed; what is not in its series is as it was known."""
    name = preferred(snapshot.last)
    point = snapshot.last.get(name or "")
    figure = Figure(name, point.value, point.step) if name and point else (known.figure if known else None)
    star = known is not None and known.star
    resumable = _resumable(snapshot.status) or (known is not None and known.resumable and not snapshot.status.live)
    row = None if known is None or known.row is None else _brought_up(known.row, snapshot)
    return RunLine(snapshot.reference, snapshot.status, figure, _pace(snapshot), star, resumable, row)


def _brought_up(row: RunRow, snapshot: RunSnapshot) -> RunRow:
    """The row with the newest status and values; least and greatest are as the files said, which see every value."""
    metrics = dict(row.metrics)
    for name, point in snapshot.last.items():
        known = metrics.get(name)
        if known is not None and known.last_step <= point.step:
            metrics[name] = replace(known, last=point.value, last_step=point.step)
    return replace(row, status=snapshot.status, metrics=metrics)


def preferred(metrics: Mapping[str, object]) -> str | None:
    """The metric that says most of a run: validation loss, another validation metric, training loss, any."""
    for name in _PREFERRED[:1]:
        if name in metrics:
            return name
    validation = sorted(name for name in metrics if name.startswith("val/"))
    if validation:
        return validation[0]
    return next((name for name in (*_PREFERRED, *sorted(metrics)) if name in metrics), None)


def _resumable(status: RunStatus, run: RunDirectory | None = None) -> bool:
    """Whether there is a checkpoint to go on from: by the run's state, else among the files where `run` is given."""
    if status.live or status.status in ("finished", "damaged"):
        return False
    if status.last_checkpoint is not None or run is None:
        return status.last_checkpoint is not None
    return any(checkpoint.valid for checkpoint in list_checkpoints(run))


def _average_pace(status: RunStatus) -> float | None:
    seconds = status.seconds
    # A resumed attempt did not make the steps before it.
    return status.step / seconds if seconds and status.attempt == 1 and status.step else None


def _pace(snapshot: RunSnapshot) -> float | None:
    status = snapshot.status
    if not status.live:
        return None
    series = snapshot.series.get("train/loss")
    if series is None or series.last_time is None or series.last_step is None:
        return _average_pace(status)
    past = series.at(max(series.last_time - PACE_SECONDS, status.started or 0.0), "time")
    if past is None or past.step >= series.last_step or past.time >= series.last_time:
        return _average_pace(status)
    return (series.last_step - past.step) / (series.last_time - past.time)


def duration(seconds: float | None) -> str:
    """A time span in its two greatest units, whole seconds: 42s, 2m11s, 1h05m, 3d04h."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return ""
    whole = int(seconds)
    days, hours, minutes, rest = whole // 86400, whole // 3600 % 24, whole // 60 % 60, whole % 60
    if days:
        return f"{days}d{hours:02d}h"
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def number(value: float) -> str:
    """A value in four significant digits; NaN and the infinities by name."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value and not 1e-4 <= abs(value) < 1e6:
        mantissa, _, exponent = f"{value:.3e}".partition("e")
        return f"{mantissa}e{int(exponent)}"
    text = f"{value:.4g}"
    return text if "e" not in text else f"{value:.0f}"


def size(count: float) -> str:
    """Bytes in the unit that fits: 812 B, 1.2 MB."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB", "TB"):
        count /= 1000
        if count < 999.5 or unit == "TB":
            return f"{count:.{0 if count >= 99.5 else 1}f} {unit}"
    raise AssertionError  # the last unit takes everything


def moment(at: float | None) -> str:
    """A unix time as the clock today, else as a date and time."""
    if at is None or not 0 < at < 1e11:
        return ""
    then = time.localtime(at)
    today = time.localtime()
    same_day = then[:3] == today[:3]
    return time.strftime("%H:%M:%S" if same_day else "%Y-%m-%d %H:%M", then)


def progress(done: int, total: int | None) -> str:
    """`12/50`, or `12` where no end is known."""
    return f"{done}/{total}" if total else str(done)
