"""Whether an MLflow store shows what a run directory holds, read as a person's own script would read both."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from kladml_core.backends.mlflow_names import encoded
from kladml_core.metrics.names import list_metrics

RECORD = [("step", "<i8"), ("time", "<f8"), ("value", "<f8")]
"""As README gives it."""
Curve = list[tuple[int, int, float]]
"""step, unix milliseconds, value."""


def curves_of(run: Path) -> dict[str, Curve]:
    """Every series of a run directory that was never resumed."""
    found: dict[str, Curve] = {}
    for metric in list_metrics(run / "metrics"):
        records = np.fromfile(run / "metrics" / f"{metric.replace('/', '%2F')}.bin", dtype=RECORD)
        columns = zip(records["step"].tolist(), records["time"].tolist(), records["value"].tolist(), strict=True)
        found[metric] = [(step, round(time * 1e3), value) for step, time, value in columns]
    return found


def tracked(uri: str, experiment: str) -> Run:
    """The one run of an experiment of a store."""
    client = MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return run


def tracked_curves(uri: str, run: Run) -> dict[str, Curve]:
    """Every metric of a run of a store, by MLflow's own names."""
    client = MlflowClient(uri)
    return {
        name: sorted((one.step, one.timestamp, one.value) for one in client.get_metric_history(run.info.run_id, name))
        for name in run.data.metrics
    }


def assert_same_numbers(path: Path, uri: str, experiment: str) -> Run:
    """The store's run has every value of the directory, with its step and time, and the last ones of summary.json."""
    run = tracked(uri, experiment)
    curves = curves_of(path)
    assert tracked_curves(uri, run) == {encoded(name): sorted(curve) for name, curve in curves.items()}
    summary: dict[str, dict[str, Any]] = json.loads((path / "summary.json").read_text())
    assert summary.keys() == curves.keys()
    for name, entry in summary.items():
        assert math.isclose(run.data.metrics[encoded(name)], entry["last"], rel_tol=0.0), name
        assert entry["count"] == len(curves[name])
    return run
