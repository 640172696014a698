"""Runs to be tracked, written without training, and trackers that keep what they are given."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kladml_core.backends.run_log import RunLog
from kladml_core.config.load import dump
from kladml_core.interfaces.tracker import Measurement, TrackerInterface
from kladml_core.metrics.columns import Cut, file_name, list_metrics, read, visible
from kladml_core.runs.events import read_events, resume_cuts
from kladml_core.runs.files import write_json
from kladml_core.runs.processes import identity
from kladml_core.runs.rundir import RunDirectory

CONFIG = {"project": "vision", "model": {"target": "m:Net", "params": {"width": 8}}, "training": {"max_epochs": 2}}
Value = tuple[str, int, float, float | str]
"""metric, step, time, value; NaN, which is not equal to itself, as text."""


def new_run(data: Path, experiment: str = "cnn") -> RunDirectory:
    """A run with an attempt that is claimed, as a launcher leaves it."""
    run = RunDirectory.create(data, "vision", "digits", experiment, seed=0)
    add_attempt(run)
    return run


def add_attempt(run: RunDirectory, config: Mapping[str, Any] = CONFIG) -> int:
    """The next attempt, with its config."""
    number = run.claim_attempt()
    text = dump(config)
    (run.attempt_dir(number) / "config.yaml").write_text(text)
    run.config.write_text(text)
    git = {"sha": "abc123", "dirty": True}
    write_json(run.attempt_dir(number) / "attempt.json", {"v": 1, "host": "here", "user": "me", "git": git})
    return number


def began(run: RunDirectory, attempt: int = 1) -> RunLog:
    """The log of an attempt that trains, in this process."""
    log = RunLog(run, attempt)
    log.status("running", started=time.time(), phase="training")
    return log


def ended(log: RunLog, status: str = "finished", code: int = 0) -> None:
    """Ends an attempt as its worker does."""
    log.event(f"run_{status}", exit_code=code, reason="max_epochs", metrics=log.last_values())
    log.status(status, exit_code=code, ended=time.time())
    log.close()


def killed(run: RunDirectory, attempt: int = 1) -> None:
    """Writes the state of an attempt whose worker is gone without a word."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        who = identity(process.pid).to_json()
    now = time.time()
    write_json(
        run.state_json,
        {"v": 1, "status": "running", "attempt": attempt, **who, "started": now, "progress_at": now, "heartbeat": now},
    )


def counted(run: RunDirectory) -> Counter[Value]:
    """Every value of the run that counts."""
    cuts = resume_cuts(read_events(run.events)[0])
    found: Counter[Value] = Counter()
    for metric in list_metrics(run.metrics):
        records, _ = read(run.metrics / file_name(metric))
        shown = visible(records, 0, [Cut(*cut) for cut in cuts.get(metric, ())])
        found.update((metric, int(one["step"]), float(one["time"]), _value(one["value"])) for one in shown)
    return found


@dataclass
class Stored:
    """One run in a tracker."""

    experiment: str
    name: str
    status: str = "RUNNING"
    params: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    values: Counter[Value] = field(default_factory=Counter)
    times: dict[str, float] = field(default_factory=dict)


@dataclass
class Store:
    """A server: its runs by id, and what it does wrong."""

    runs: dict[str, Stored] = field(default_factory=dict)
    away: bool = False
    refuses_files: tuple[str, ...] = ()
    refuses: tuple[str, ...] = ()
    """Metrics that it will never take."""

    def only(self) -> Stored:
        """The one run of the store."""
        (run,) = self.runs.values()
        return run


class Kept(TrackerInterface):
    """A tracker with all that the interface has; stores a value once, however often it comes."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._open: Stored | None = None
        self._refused: list[str] = []
        self._times: dict[str, float] = {}

    @property
    def refused(self) -> Sequence[str]:
        return self._refused

    @property
    def run(self) -> Stored:
        if self.store.away:
            raise ConnectionError("the server is away")
        assert self._open is not None, "no run is open"
        return self._open

    def set_times(self, started: float | None = None, ended: float | None = None) -> None:
        given = {"started": started, "ended": ended}
        self._times |= {name: at for name, at in given.items() if at is not None}

    def start_run(self, experiment_name: str, run_name: str | None = None) -> str:
        return self.resume_run(f"new-{len(self.store.runs)}", experiment_name, run_name)

    def resume_run(self, uid: str, experiment_name: str, run_name: str | None = None) -> str:
        if self.store.away:
            raise ConnectionError("the server is away")
        assert self._open is None, "a run is open"
        self._open = self.store.runs.setdefault(uid, Stored(experiment_name, str(run_name)))
        self._open.status = "RUNNING"
        return f"id-{uid}"

    def log_params(self, params: dict[str, Any]) -> None:
        for key, value in params.items():
            self.run.params.setdefault(key, value)

    def log_metric(self, key: str, value: float, step: int | None = None) -> None:
        raise AssertionError("values have times of their own")

    def log_metrics(self, metrics: Sequence[Measurement]) -> None:
        for one in metrics:
            if one.key in self.store.refuses:
                self._refused.append(f"{one.key}: no such metric is taken")
            else:
                self.run.values[one.key, one.step, one.time, _value(one.value)] = 1

    def set_tags(self, tags: Mapping[str, str]) -> None:
        self.run.tags.update(tags)

    def log_artifact(self, local_path: str, artifact_path: str | None = None) -> None:
        name = "/".join(part for part in (artifact_path, Path(local_path).name) if part)
        if name in self.store.refuses_files:
            raise ValueError(f"{name} is not taken")
        self.run.files[name] = Path(local_path).read_bytes()

    def end_run(self, status: str = "FINISHED") -> None:
        self.run.status = status
        self.run.times = dict(self._times)
        self._open = None

    def close(self) -> None:
        self._open = None


class FourMethods(TrackerInterface):
    """What a third party must write, and no more; every run is a new one."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def _run(self) -> Stored:
        return self._store.runs[str(len(self._store.runs))]

    def start_run(self, experiment_name: str, run_name: str | None = None) -> str:
        number = str(len(self._store.runs) + 1)
        self._store.runs[number] = Stored(experiment_name, str(run_name))
        return number

    def log_params(self, params: dict[str, Any]) -> None:
        self._run.params.update(params)

    def log_metric(self, key: str, value: float, step: int | None = None) -> None:
        if self._store.away:
            raise ConnectionError("the server is away")
        self._run.values[key, int(step or 0), 0.0, value] += 1

    def end_run(self, status: str = "FINISHED") -> None:
        self._run.status = status


def _value(value: float) -> float | str:
    return "NaN" if math.isnan(value) else float(value)
