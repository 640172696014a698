"""What `log_metric` costs its caller, against MLflow's own call on SQLite: `python -m tests.benchmarks.log_metric`.

The mean counts every call. The slowest of ours is the one into which a full run of Python's garbage collector fell.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mlflow.tracking import MlflowClient

from kladml_core.backends.mlflow_tracker import LocalTracker
from kladml_core.backends.run_log import RunLog
from kladml_core.runs.rundir import RunDirectory

LIMIT_MICROSECONDS = 20.0
CALLS = 20_000
CALLS_OF_MLFLOW = 40
PAUSE_SECONDS = 50e-6
"""What a quick training step takes besides, in which the tracker's thread works."""
ROUNDS = 5

Log = Callable[[int], object]


def microseconds(log: Log, calls: int, *, steps: bool = False) -> list[float]:
    """What each of `calls` calls takes; with `steps`, other work goes on between them."""
    taken = []
    clock = time.perf_counter
    for step in range(calls):
        start = clock()
        log(step)
        taken.append((clock() - start) * 1e6)
        if steps:
            until = clock() + PAUSE_SECONDS
            while clock() < until:
                pass
    return taken


def main() -> int:
    """Prints a table; 1 when our call costs too much."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        tracker = LocalTracker(root / "ours.sqlite")
        tracker.start_run("benchmark", "ours")
        theirs = MlflowClient(f"sqlite:///{root}/theirs.sqlite")
        run_id = theirs.create_run(theirs.create_experiment("benchmark")).info.run_id
        run = RunDirectory.create(root, "p", "f", "e", seed=0)
        log = RunLog(run, run.claim_attempt())
        cases: dict[str, Callable[[], list[float]]] = {
            "LocalTracker.log_metric, in a burst": lambda: microseconds(
                lambda step: tracker.log_metric("train/loss", 0.5, step), CALLS
            ),
            "LocalTracker.log_metric, in a loop of 50 µs": lambda: microseconds(
                lambda step: tracker.log_metric("train/loss", 0.5, step), CALLS, steps=True
            ),
            "the run directory (RunLog.log_metrics)": lambda: microseconds(
                lambda step: log.log_metrics({"train/loss": 0.5}, step), CALLS
            ),
            "MLflow's own log_metric on SQLite": lambda: microseconds(
                lambda step: theirs.log_metric(run_id, "train/loss", 0.5, step=step), CALLS_OF_MLFLOW
            ),
        }
        found: dict[str, list[float]] = {name: [] for name in cases}
        slowest: dict[str, float] = dict.fromkeys(cases, 0.0)
        for _ in range(ROUNDS):
            for name, case in cases.items():
                taken = case()
                found[name].append(statistics.fmean(taken))
                slowest[name] = max(slowest[name], *taken)
                if name.startswith("LocalTracker"):
                    tracker.flush()
        tracker.end_run()
        log.close()
    print(f"{'µs for the caller':<46}{'mean':>10}{'slowest':>12}{'limit':>10}")
    missed = False
    for name, means in found.items():
        mean = statistics.fmean(means)
        ours = name.startswith("LocalTracker")
        limit = f"≤ {LIMIT_MICROSECONDS:g}" if ours else ""
        print(f"{name:<46}{mean:>10,.2f}{slowest[name]:>12,.0f}{limit:>10}")
        missed |= ours and mean > LIMIT_MICROSECONDS
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
