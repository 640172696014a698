"""Makes workspaces to measure with: python -m tests.benchmarks.workspace DIR --runs N [--one] [--long] [--points N].

By default 10,000 runs in 10 projects x 5 families x 20 experiments x 10 runs, each with 20 metrics; `--one` puts them
all into one experiment. `--long` adds one run of 20 metrics x 100,000 steps, `--points 10000000` one with a series of
so many points. The first run is written by the product's own writers (a config that was checked and resolved,
`RunDirectory`, `RunLog`); each further one has series, summary, notes and config of its own, from the same writers, and
the first one's state, events and attempt under its own names.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import shutil
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kladml_core.backends.run_log import RunLog
from kladml_core.backends.series_files import SeriesFiles
from kladml_core.config.emit import dump
from kladml_core.config.load import parse
from kladml_core.config.schema import RunConfig
from kladml_core.metrics.columns import RECORD, file_name
from kladml_core.metrics.summary import summarize
from kladml_core.runs.files import strict_dumps, write_json
from kladml_core.runs.rundir import RunDirectory

PROJECTS, FAMILIES, EXPERIMENTS, RUNS = 10, 5, 20, 10
METRICS = (
    "train/loss", "train/learning_rate", "train/gradient_norm", "train/samples_per_second", "train/data_wait",
    "val/loss", "val/accuracy", *(f"val/class_{number:02d}/f1" for number in range(13)),
)  # fmt: skip
LONG_STEPS = 100_000
STEPS = 6
"""Log points of an ordinary run."""
CONFIG = """\
model: {target: "kladml_core.examples.digits:DigitsCNN", params: {width: 32, dropout: 0.1}}
data: {target: "kladml_core.examples.digits:load"}
training: {max_epochs: 6, optimizer: {name: adamw, weight_decay: 0.01, betas: [0.9, 0.99]}}
"""
_ENDS = (("finished", 0, None),) * 7 + (
    ("stopped", 75, "stopped on request"),
    ("failed", 70, "train/loss is NaN"),
    ("failed", 71, "out of memory"),
)


def make_workspace(root: Path, runs: int, *, one: bool = False, seed: int = 0) -> Path:
    """A workspace of so many finished runs, the same each time but for their identities.

    Args:
        root: made when missing; what is there is kept.
        one: all runs in one experiment.
    """
    root.mkdir(parents=True, exist_ok=True)
    (root / "kladml.yaml").write_text("workspace: {name: scale}\ntracker: {backend: none}\n")
    (root / "data" / "configs").mkdir(parents=True, exist_ok=True)
    (root / "data" / "configs" / "digits.yaml").write_text(f"project: p00\nfamily: f0\nexperiment: e00\n{CONFIG}")
    chance = random.Random(seed)
    template: RunDirectory | None = None
    for names in _places(runs, one):
        run = _first(root, names) if template is None else None
        template = template or run
        assert template is not None
        run = run or _copy(template, names, root)
        _fill(run, chance)
    return root


def _places(runs: int, one: bool) -> Iterator[tuple[str, str, str, int]]:
    # Enough experiments for all, ten runs in each, in the proportions of the issue.
    for number in range(runs):
        place = 0 if one else number // RUNS
        family, experiment = divmod(place, EXPERIMENTS)
        project, family = divmod(family, FAMILIES)
        yield f"p{project:02d}", f"f{family}", f"e{experiment:02d}", number + 1 if one else number % RUNS + 1


def _config(run: RunDirectory, width: int, rate: float, dropout: float, seed: int) -> str:
    place = zip(("project", "family", "experiment"), run.reference.split("/"), strict=False)
    data = {**dict(place), **parse(CONFIG, "digits.yaml").data}
    data["model"]["params"] |= {"width": width, "dropout": dropout}
    data["training"]["learning_rate"] = rate
    return dump(RunConfig.model_validate({**data, "seed": seed}).model_dump(mode="json"))


def _first(root: Path, names: tuple[str, str, str, int]) -> RunDirectory:
    run = RunDirectory.create(root / "data", *names[:3], seed=0)
    attempt = run.claim_attempt()
    run.config.write_text(_config(run, 32, 1e-3, 0.1, 0))
    shutil.copy(run.config, run.attempt_dir(attempt))
    run.console_log.write_text("".join(f"epoch {epoch}\n" for epoch in range(STEPS)))
    log = RunLog(run, attempt)
    log.status("running", started=time.time(), phase="training")
    log.event("run_started", step=0, epoch=0)
    for epoch in range(1, STEPS + 1):
        log.event("epoch_finished", step=epoch * 20, epoch=epoch)
    log.progress(step=STEPS * 20, epoch=STEPS, total_steps=STEPS * 20, total_epochs=STEPS)
    log.event("run_finished", step=STEPS * 20, exit_code=0, resumable=True, reason=None)
    log.status("finished", exit_code=0, reason=None)
    log.close()
    return run


def _copy(first: RunDirectory, names: tuple[str, str, str, int], root: Path) -> RunDirectory:
    path = root / "data" / "projects" / Path(*names[:3]) / f"run_{names[3]:04d}"
    for name in ("attempts/001", "metrics", "checkpoints", "artifacts", "control"):
        os.makedirs(path / name, exist_ok=True)
    run = RunDirectory(path)
    for name in ("events.jsonl", "console.log", "attempts/001/attempt.json"):
        shutil.copyfile(first.path / name, path / name)
    shutil.copyfile(first.state_json, run.state_json)
    identity = {**(first.read_run() or {}), "uid": uuid.uuid4().hex, "reference": run.reference}
    write_json(run.run_json, identity, durable=False)
    return run


def _fill(run: RunDirectory, chance: random.Random) -> None:
    """Series, summary, config, notes and state of its own."""
    now = time.time() - chance.uniform(0, 90 * 86400)
    seed = chance.randrange(5)
    run.config.write_text(
        _config(
            run, chance.choice((16, 32, 64, 128)), 10 ** chance.uniform(-4, -2), chance.choice((0.0, 0.1, 0.3)), seed
        )
    )
    shutil.copyfile(run.config, run.attempt_dir(1) / "config.yaml")
    status, code, reason = chance.choice(_ENDS)
    series = SeriesFiles(run.metrics)
    for place, metric in enumerate(METRICS):
        for step in range(1, STEPS + 1):
            value = math.exp(-step / (4 + place)) + chance.random() / 10
            broken = code == 70 and place == 0 and step == STEPS
            series.append(metric, step * 20, now + step * 10, math.nan if broken else value)
    series.write_summary(run.summary)
    series.close()
    times = {"started": now, "ended": now + STEPS * 10, "heartbeat": now + STEPS * 10, "progress_at": now + STEPS * 10}
    state = {**(run.read_state() or {}), **times, "status": status, "exit_code": code, "reason": reason}
    write_json(run.state_json, state, durable=False)
    write_json(run.run_json, {**(run.read_run() or {}), "created": now - 1, "seed": seed}, durable=False)
    if chance.random() < 0.1:
        run.notes.write_text(dump({"tags": [chance.choice(("baseline", "sweep", "paper"))], "star": True}))
    os.utime(run.state_json, (now + STEPS * 10, now + STEPS * 10))


def add_long_run(root: Path, series: Mapping[str, int], place: str = "long/series/one") -> RunDirectory:
    """A finished run with series of so many points each."""
    run = _first(root, (*place.split("/"), 0))  # type: ignore[arg-type]
    summary: dict[str, Any] = {}
    for number, (metric, count) in enumerate(series.items()):
        records = np.zeros(count, RECORD)
        steps = np.arange(1, count + 1)
        records["step"], records["time"] = steps, time.time() - count * 0.01 + steps * 0.01
        records["value"] = np.exp(-steps / (count / 5)) + np.random.default_rng(number).normal(0, 0.05, count)
        records.tofile(run.metrics / file_name(metric))
        summary[metric] = summarize(records) if count <= LONG_STEPS else summarize(records[-LONG_STEPS:])
    write_json(run.summary, summary)
    state = {**(run.read_state() or {}), "step": max(series.values()), "total_steps": max(series.values())}
    write_json(run.state_json, state)
    return run


def main() -> int:
    """Makes what the arguments ask for, and says what it made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, metavar="DIR", help="where; it must be empty or missing")
    parser.add_argument("--runs", type=int, default=PROJECTS * FAMILIES * EXPERIMENTS * RUNS, metavar="N")
    parser.add_argument("--one", action="store_true", help="all runs in one experiment")
    parser.add_argument("--long", action="store_true", help=f"one more run: 20 metrics of {LONG_STEPS:,} steps")
    parser.add_argument("--points", type=int, metavar="N", help="one more run: a series of so many points")
    asked = parser.parse_args()
    if asked.directory.exists() and any(asked.directory.iterdir()):
        print(f"{asked.directory} is not empty", file=sys.stderr)
        return 2
    begin = time.perf_counter()
    make_workspace(asked.directory, asked.runs, one=asked.one)
    made: dict[str, Any] = {"workspace": str(asked.directory.resolve()), "runs": asked.runs, "metrics": len(METRICS)}
    if asked.long:
        made["long"] = add_long_run(asked.directory, dict.fromkeys(METRICS, LONG_STEPS)).reference
    if asked.points:
        made["points"] = add_long_run(asked.directory, {"train/loss": asked.points}, "long/series/points").reference
    print(strict_dumps({**made, "seconds": round(time.perf_counter() - begin, 1)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
