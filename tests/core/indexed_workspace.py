"""Workspaces with runs for the tests of the index: made by the product's own writers, quickly."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kladml_core.backends.series_files import SeriesFiles
from kladml_core.config.load import dump
from kladml_core.runs.files import write_json, write_text_atomic
from kladml_core.runs.rundir import RunDirectory

LONG_AGO = 1_700_000_000


def a_workspace(directory: Path) -> Path:
    """A workspace without a run."""
    (directory / "data").mkdir(parents=True)
    (directory / "kladml.yaml").write_text("workspace: {name: indexed}\n")
    return directory


def a_run(
    workspace: Path,
    experiment: str = "vision/digits/cnn",
    *,
    metrics: Mapping[str, float] | None = None,
    config: Mapping[str, Any] | None = None,
    old: bool = True,
    **state: Any,
) -> RunDirectory:
    """A finished run, or what `state` makes of it.

    Args:
        old: as if it had been written long ago, so that its time stamps are trusted.
    """
    run = RunDirectory.create(workspace / "data", *experiment.split("/"), seed=0)
    write_text_atomic(run.config, dump({"model": {"params": {"width": 32}}, "seed": 0, **(config or {})}))
    series = SeriesFiles(run.metrics)
    for name, value in (metrics or {"val/loss": 0.25}).items():
        series.append(name, 1, time.time(), value * 2)
        series.append(name, 2, time.time(), value)
    series.write_summary(run.summary)
    series.close()
    ends = {"started": LONG_AGO + 10, "ended": LONG_AGO + 70, "exit_code": 0, "epoch": 3, "step": 9}
    write_json(run.state_json, {"v": 1, "status": "finished", "attempt": 1, **ends, **state}, durable=False)
    if old:
        age(run.path)
    return run


def age(path: Path) -> None:
    """Makes files and folders look as if they had been written long ago."""
    for below, _, files in os.walk(path, topdown=False):
        for name in files:
            os.utime(os.path.join(below, name), (LONG_AGO, LONG_AGO))
        os.utime(below, (LONG_AGO, LONG_AGO))
