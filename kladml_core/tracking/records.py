"""The next values of a run to be sent: a few of each series, without what counts no more or may still change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kladml_core.interfaces.tracker import Measurement
from kladml_core.metrics.columns import CHUNK, RECORD_SIZE, Cut, Records, chunks, file_name, list_metrics, read, visible
from kladml_core.runs.rundir import RunDirectory

PAGE = 5000
"""Values that are read at a time; each metric gives an equal share, so that all curves grow together."""
LEAST = 20
"""The share of a metric where there are very many."""
SETTLE_SECONDS = 2.0
"""How long the newest step of a live series waits for a last word on the same step."""


@dataclass(frozen=True)
class Page:
    """Values that are sent together."""

    values: tuple[Measurement, ...]
    offsets: Mapping[str, int]
    """Metric → bytes of its series file that are done with once these are sent."""
    more: bool
    """Whether there is more to read at once."""


def next_page(
    run: RunDirectory,
    offsets: Mapping[str, int],
    cuts: Mapping[str, Sequence[Cut]],
    *,
    unsettled: float | None = None,
    size: int = PAGE,
) -> Page:
    """Reads on from `offsets`.

    Args:
        cuts: of each metric, where resumed attempts took over.
        unsettled: unix time from which on the values of a series' last step wait; None where the attempt has ended.
        size: about how many values.
    """
    metrics = list_metrics(run.metrics)
    share = max(LEAST, size // max(1, len(metrics)))
    values: list[Measurement] = []
    after = dict(offsets)
    more = False
    for metric in metrics:
        start = offsets.get(metric, 0)
        records, _ = read(run.metrics / file_name(metric), start, share + 1)
        full = len(records) > share
        records = _settled(records, full=full, unsettled=unsettled)
        if not len(records):
            continue
        more |= full
        after[metric] = start + len(records) * RECORD_SIZE
        shown = visible(records, start, cuts.get(metric, ()))
        columns = (shown[column].tolist() for column in ("value", "step", "time"))
        values.extend(Measurement(metric, value, step, time) for value, step, time in zip(*columns, strict=True))
    return Page(tuple(values), after, more)


def given_up(
    run: RunDirectory, offsets: Mapping[str, int], earlier: Mapping[str, Sequence[Cut]], newest: Mapping[str, Cut]
) -> int:
    """How many of the values before `offsets` counted under the earlier cuts, and do not under the newest one."""
    count = 0
    for metric, cut in newest.items():
        end = min(offsets.get(metric, 0), cut.offset)
        for records, start in chunks(run.metrics / file_name(metric), 0, CHUNK):
            if start >= end:
                break
            within = records[: (end - start) // RECORD_SIZE]
            count += int(np.count_nonzero(visible(within, start, earlier.get(metric, ()))["step"] > cut.step))
    return count


def _settled(records: Records, *, full: bool, unsettled: float | None) -> Records:
    """The records without those that the next ones may still replace: the last step's.

    Args:
        full: there is one record more than wanted, from which it is seen whether a step goes on.
    """
    if not len(records):
        return records
    steps = records["step"]
    others = np.flatnonzero(steps != steps[-1])
    before_last = int(others[-1]) + 1 if len(others) else 0
    if full:
        # A step of so many values is cut somewhere: there is no end to wait for.
        return records[: before_last or len(records) - 1]
    if unsettled is not None and float(records["time"][-1]) > unsettled:
        return records[:before_last]
    return records
