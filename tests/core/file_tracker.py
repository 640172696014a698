"""A tracker in files, for tests of the process that feeds it: slow, hanging or away by files that a test writes."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kladml_core.interfaces.tracker import Measurement, TrackerInterface


class FourMethodFile(TrackerInterface):
    """Adds a line to `<folder>/<experiment's last name>.jsonl` for each call.

    While `<folder>/hang-<name>` exists, values wait for its end; while `<folder>/away` does, everything raises.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._name = ""

    def start_run(self, experiment_name: str, run_name: str | None = None) -> str:
        self._name = experiment_name.rpartition("/")[2]
        self._add({"call": "start", "experiment": experiment_name, "run": run_name})
        return str(time.time())

    def log_params(self, params: dict[str, Any]) -> None:
        self._add({"call": "params", "params": {key: str(value) for key, value in params.items()}})

    def log_metric(self, key: str, value: float, step: int | None = None) -> None:
        self._add({"call": "metric", "key": key, "value": value, "step": step})

    def end_run(self, status: str = "FINISHED") -> None:
        self._add({"call": "end", "status": status})

    def _add(self, call: dict[str, Any]) -> None:
        while (self._folder / f"hang-{self._name}").exists():
            time.sleep(0.02)
        if (self._folder / "away").exists():
            raise ConnectionError("the server is away")
        with (self._folder / f"{self._name}.jsonl").open("a") as file:
            file.write(json.dumps(call) + "\n")


class FileTracker(FourMethodFile):
    """The same with times, and a run that is found again; what is read of it counts equal values once."""

    def resume_run(self, uid: str, experiment_name: str, run_name: str | None = None) -> str:
        self.start_run(experiment_name, run_name)
        return uid

    def log_metrics(self, metrics: Sequence[Measurement]) -> None:
        for one in metrics:
            self._add({"call": "metric", **one._asdict()})


def calls(folder: Path, name: str, call: str) -> list[dict[str, Any]]:
    """The calls of a kind for an experiment, each different one once."""
    file = folder / f"{name}.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [found for line in dict.fromkeys(lines) if (found := json.loads(line))["call"] == call]
