"""What replaying a run's metrics into MLflow takes, against MLflow's own `log_batch` fed page by page.

    python -m tests.benchmarks.tracking_sync [VALUES [ROUNDS]]

The same values, read from the same series files, go into the same kind of store (a SQLite file of its own): by the
process that tracks launched runs, with all that it writes down on the way, and by `log_batch` in pages of 100, one
after the other. Ours must be at least 1.7 times as fast. Time is on the clock, from the first value to the last one,
in a process of its own each time; the two take turns.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.started import ROOT, environment
from tests.benchmarks.table import Row, show
from tests.core.replayed_runs import began, ended, new_run

METRICS = 4
PAGE = 100
FASTER = 1.7


def ours(data: Path) -> float:
    """Seconds that a turn after turn of the run take, once it is begun in the tracker."""
    from kladml_core.backends.mlflow_tracker import LocalTracker
    from kladml_core.runs.ref import all_runs
    from kladml_core.runs.rundir import RunDirectory
    from kladml_core.tracking.replay import Replay, Turn
    from kladml_core.tracking.state import uid_of

    run = RunDirectory(next(all_runs(data)))
    tracker = LocalTracker(data / "mlflow.sqlite")
    tracker.start_run("warm")  # the tables are made before the clock starts, as they are for the peer
    tracker.end_run()
    replay = Replay(run, str(uid_of(run)), tracker, "local")
    start = time.perf_counter()
    while replay.turn(1) is not Turn.DONE:
        pass
    return time.perf_counter() - start


def peer(data: Path) -> float:
    """Seconds that `log_batch` takes for the same values."""
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

    from kladml_core.metrics.columns import file_name, list_metrics, read
    from kladml_core.runs.ref import all_runs

    folder = next(all_runs(data)) / "metrics"
    client = MlflowClient(f"sqlite:///{data / 'mlflow.sqlite'}")
    run = client.create_run(client.create_experiment("peer", artifact_location=str(data))).info.run_id
    start = time.perf_counter()
    for metric in list_metrics(folder):
        records = read(folder / file_name(metric))[0]
        for first in range(0, len(records), PAGE):
            page = records[first : first + PAGE]
            columns = (page[name].tolist() for name in ("value", "time", "step"))
            values = [Metric(metric, value, round(at * 1e3), step) for value, at, step in zip(*columns, strict=True)]
            client.log_batch(run, values)
    return time.perf_counter() - start


def measured(which: str, count: int) -> float:
    """Seconds, in a fresh process and a fresh workspace."""
    with tempfile.TemporaryDirectory() as name:
        run = new_run(Path(name))
        log = began(run)
        for step in range(count // METRICS):
            log.log_metrics({f"metric {number}": 1 / (step + number + 1) for number in range(METRICS)}, step)
        ended(log)
        command = [sys.executable, "-m", "tests.benchmarks.tracking_sync", f"--{which}", name]
        done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True)
        return float(done.stdout.split()[-1])


def main(arguments: list[str]) -> int:
    """Prints the table; 1 where ours is too slow."""
    if arguments[:1] in (["--ours"], ["--peer"]):
        print((ours if arguments[0] == "--ours" else peer)(Path(arguments[1])))
        return 0
    count = int(arguments[0]) if arguments else 100_000
    rounds = int(arguments[1]) if len(arguments) > 1 else 3
    taken: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(rounds):
        for which, times in taken.items():
            times.append(measured(which, count) * 1e3)
    mine, theirs = (statistics.median(times) for times in taken.values())
    row = Row(f"{count:,} metrics into SQLite", mine, theirs, theirs / FASTER, f"log_batch of {PAGE}")
    show(f"Tracking sync: {theirs / mine:.2f} times as fast, at least {FASTER}", [row])
    return int(not row.passed)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
