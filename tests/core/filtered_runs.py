"""Runs for the tests of filters, as rows: made in memory, or on disk below a workspace."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import RunStatus
from kladml_core.workspace.rows import MetricFigures, RunRow


def figures(last: float, *, least: float | None = None, greatest: float | None = None) -> MetricFigures:
    """A metric of 10 values that ended at step 100."""
    return MetricFigures(
        last=last,
        last_step=100,
        minimum=last if least is None else least,
        minimum_step=40,
        maximum=last if greatest is None else greatest,
        maximum_step=60,
        count=10,
        non_finite=0,
    )


def a_row(
    reference: str = "vision/digits/cnn/run_0001",
    *,
    status: str = "finished",
    metrics: Mapping[str, MetricFigures] | None = None,
    params: Mapping[str, Any] | None = None,
    tags: tuple[str, ...] = (),
    note: str = "",
    star: bool = False,
    **more: Any,
) -> RunRow:
    """A run; `more` goes into its status: created, started, ended, step, exit_code, …"""
    stalled = status == "stalled"
    return RunRow(
        reference,
        RunDirectory(Path("projects") / reference),
        RunStatus("running" if stalled else status, stalled=stalled, **more),
        metrics=metrics or {},
        tags=tags,
        note=note,
        star=star,
        params=params or {},
    )
