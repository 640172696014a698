"""The series files of one run, open for appending: one file a metric, 24 bytes a record, and their running summary."""

from __future__ import annotations

import math
import os
import struct
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kladml_core.metrics.names import RECORD_SIZE, RECORD_STRUCT, check_name, file_name, metric_name
from kladml_core.runs.files import write_json

MAX_OPEN = 256
_PACK = struct.Struct(RECORD_STRUCT).pack


@dataclass(frozen=True)
class Refusal:
    """Why a record was not written."""

    text: str
    disk: bool
    """True when the disk refused it and a later record may succeed; False when the name never will."""


class _Summary:
    __slots__ = ("count", "last", "last_step", "max", "max_step", "min", "min_step", "non_finite")

    def __init__(self) -> None:
        self.last, self.last_step = math.nan, -1
        self.min, self.min_step = math.inf, -1
        self.max, self.max_step = -math.inf, -1
        self.count = 0
        self.non_finite = 0

    def add(self, step: int, value: float) -> None:
        self.last = value
        self.last_step = step
        self.count += 1
        if value - value == 0.0:  # finite, at a third of the cost of math.isfinite's call
            if value < self.min:
                self.min, self.min_step = value, step
            if value > self.max:
                self.max, self.max_step = value, step
        else:
            self.non_finite += 1

    def to_json(self) -> dict[str, float | int | None]:
        seen = self.count > self.non_finite
        return {
            "last": self.last,
            "last_step": self.last_step,
            "min": self.min if seen else None,
            "min_step": self.min_step if seen else None,
            "max": self.max if seen else None,
            "max_step": self.max_step if seen else None,
            "count": self.count,
            "non_finite": self.non_finite,
        }


class SeriesFiles:
    """Appends records and keeps each metric's last, least, greatest and count.

    Args:
        directory: the run's metrics directory. Files of earlier attempts are cut back to whole records.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open: OrderedDict[str, int] = OrderedDict()
        self._summaries: dict[str, _Summary] = {}
        self.summary_changed = True
        directory.mkdir(exist_ok=True)
        for path in directory.glob("*.bin"):
            size = path.stat().st_size
            if size % RECORD_SIZE:
                os.truncate(path, size - size % RECORD_SIZE)

    def append(self, name: str, step: int, time: float, value: float) -> Refusal | None:
        """Writes one record (step, unix time, value); returns why not when it could not."""
        descriptor = self._open.get(name)
        if descriptor is None:
            reason = check_name(name)
            if reason is not None:
                return Refusal(reason, disk=False)
            try:
                descriptor = self._open_file(name)
            except OSError as error:
                return Refusal(error.strerror or str(error), disk=True)
        try:
            value = float(value)
            record = _PACK(step, time, value)
            written = os.write(descriptor, record)
        except OSError as error:
            return Refusal(error.strerror or str(error), disk=True)
        except (TypeError, ValueError, OverflowError, struct.error) as error:
            return Refusal(f"not a number: {error}", disk=False)
        if written != RECORD_SIZE:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
            return Refusal("no space left on device", disk=True)
        self._summaries[name].add(step, value)
        self.summary_changed = True
        return None

    def _open_file(self, name: str) -> int:
        if len(self._open) >= MAX_OPEN:
            # Least recently opened, not used: keeping the order of use would cost every record a dictionary move.
            _, oldest = self._open.popitem(last=False)
            os.close(oldest)
        descriptor = os.open(self._directory / file_name(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        self._open[name] = descriptor
        self._summaries.setdefault(name, _Summary())
        return descriptor

    def offsets(self) -> dict[str, int]:
        """Bytes in each series file of the run, those of earlier attempts included."""
        return {metric_name(path.name): path.stat().st_size for path in sorted(self._directory.glob("*.bin"))}

    def last_values(self) -> dict[str, float]:
        """The newest value of each metric written or read back so far."""
        return {name: summary.last for name, summary in self._summaries.items() if summary.count}

    def rewind(self, offsets: Mapping[str, int]) -> None:
        """Rebuilds the summaries after a resume, without the branch that it gave up.

        Args:
            offsets: the metrics that had records at the resume, as in its event.
        """
        from kladml_core.metrics.columns import Cut, read, visible  # numpy: a first attempt has no need of it here
        from kladml_core.runs.events import read_events, resume_cuts

        cuts = resume_cuts(read_events(self._directory.parent / "events.jsonl")[0])
        for name in offsets:
            summary = _Summary()
            records, _ = read(self._directory / file_name(name))
            records = visible(records, 0, [Cut(*cut) for cut in cuts.get(name, ())])
            for record_step, value in zip(records["step"].tolist(), records["value"].tolist(), strict=True):
                summary.add(record_step, value)
            self._summaries[name] = summary
        self.summary_changed = True

    def write_summary(self, path: Path) -> None:
        """Writes summary.json when something has changed since the last time.

        Raises:
            OSError: the file could not be written.
        """
        if not self.summary_changed:
            return
        self.summary_changed = False
        # A copy: the training thread adds metrics while the heartbeat writes.
        summaries = dict(self._summaries)
        write_json(path, {name: summary.to_json() for name, summary in summaries.items()}, durable=False)

    def close(self) -> None:
        """Closes every file."""
        while self._open:
            os.close(self._open.popitem()[1])
