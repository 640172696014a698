"""Workspaces with small models for tests of real worker processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kladml_core.config.load import dump, parse
from kladml_core.runs.events import read_events
from kladml_core.runs.files import write_json
from kladml_core.runs.rundir import RunDirectory
from kladml_core.training import checkpoints
from tests.core.worker_forks import fork_workers

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 90

MODELS = '''
"""Models that do on demand what goes wrong in life. CALL counts the training steps of this process, preflight's too."""
import os
import signal
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

from kladml_core import BaseModel, MLTask, TorchModel

AT = int(os.environ.get("TEST_AT", "-1"))
WHAT = os.environ.get("TEST_WHAT", "")
HERE = os.environ.get("TEST_RANK", "0") == os.environ.get("RANK", "0")
CALL = 0


def misbehave(loss):
    global CALL
    CALL += 1
    if CALL != AT or not HERE:
        return loss
    if WHAT.startswith("SIG"):
        os.kill(os.getpid(), getattr(signal, WHAT))
    elif WHAT == "nan":
        return loss * float("nan")
    elif WHAT == "raise":
        raise ValueError("the model is unwell")
    elif WHAT == "memory":
        raise MemoryError("nothing left")
    elif WHAT == "device memory":
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    elif WHAT == "infinite gradient":
        return loss + (loss - loss.detach()).abs().sqrt()  # the value is fine, the slope at 0 is not
    elif WHAT == "hang":
        while True:
            time.sleep(0.01)
    elif WHAT == "twice":
        os.kill(os.getpid(), signal.SIGTERM)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:  # a step that never ends: the second signal must not wait for it
            os.kill(os.getpid(), signal.SIGTERM) if time.monotonic() > deadline - 29.5 else None
    return loss


class Net(TorchModel):
    ml_task = MLTask.CLASSIFICATION

    def build(self):
        width = self.config.get("width", 16)
        first = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.ReLU())
        return nn.Sequential(first, nn.Dropout(0.3), nn.Linear(width, 2))

    def training_step(self, module, batch):
        x, y = batch
        return misbehave(F.cross_entropy(module(x), y))

    def validation_step(self, module, batch):
        x, y = batch
        logits = module(x)
        odd = {"odd": torch.tensor(float("nan"))} if WHAT == "nan validation" else {}
        return {"loss": F.cross_entropy(logits, y), "accuracy": (logits.argmax(1) == y).float().mean(), **odd}


class Plain(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2))

    def forward(self, x):
        return self.layers(x)


class Nearest(BaseModel):
    ml_task = MLTask.CLASSIFICATION

    def train(self, X_train, y_train=None, X_val=None, y_val=None, **kwargs):
        if WHAT == "long":
            print("training", flush=True)
            time.sleep(60)
        self.means = [X_train[y_train == label].mean(axis=0) for label in (0, 1)]
        return self.evaluate(X_train, y_train)

    def predict(self, X, **kwargs):
        return [min((0, 1), key=lambda label: ((row - self.means[label]) ** 2).sum()) for row in X]

    def evaluate(self, X_test, y_test=None, **kwargs):
        return {"accuracy": float((y_test == self.predict(X_test)).mean())}

    def save(self, path):
        (path / "means.txt").write_text(str(self.means))

    def load(self, path):
        return self


def no_model():
    return 3


def load(samples=50):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(samples, 4, generator=generator)
    y = (x.sum(dim=1) > 0).long()
    return {"train": (x[:-10], y[:-10]), "val": (x[-10:], y[-10:])}


def broken_load():
    raise FileNotFoundError("no such data: numbers.csv")
'''

CONFIG: dict[str, Any] = {
    "seed": 3,
    "model": {"target": "models:Net", "params": {"width": 16}},
    "data": {"target": "models:load"},
    "training": {
        "max_epochs": 4,
        "batch_size": 4,
        "gradient_accumulation_steps": 1,
        "lr_scheduler": {"name": "cosine", "warmup": 3},
        "gradient_clipping": 1.0,
        "checkpoint": {"every_epochs": 1},
        "log_every": 3,
    },
    "launch": {"device": "cpu"},
}
"""40 samples in batches of 4: ten steps an epoch, 40 in all."""


@dataclass(frozen=True)
class Ended:
    """A worker process that has ended."""

    run: RunDirectory
    code: int
    output: str
    codes: tuple[int, ...] = ()
    """Every rank's."""

    @property
    def events(self) -> list[dict[str, Any]]:
        return read_events(self.run.events)[0]

    @property
    def terminal(self) -> dict[str, Any]:
        last = self.events[-1]
        assert last["kind"] in ("run_finished", "run_failed", "run_stopped"), self.output
        return last

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["kind"] == kind]

    @property
    def status(self) -> str:
        return str((self.run.read_state() or {})["status"])

    def content(self) -> checkpoints.Content:
        info, rejects = checkpoints.newest(self.run.checkpoints)
        assert info is not None and not rejects
        return checkpoints.load(info.path)


def make_workspace(directory: Path) -> Path:
    """A workspace with models.py in it."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "models.py").write_text(MODELS)
    (directory / "kladml.yaml").write_text("workspace: {name: test}\n")
    return directory


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `change`, mapping by mapping; None removes nothing."""
    result = dict(base)
    for key, value in change.items():
        old = result.get(key)
        both = isinstance(value, Mapping) and isinstance(old, Mapping) and key not in ("params", "data", "optimizer")
        result[key] = merged(old, value) if both else value
    return result


def new_run(workspace: Path, change: Mapping[str, Any] | None = None) -> RunDirectory:
    """A run directory with a first attempt, as a launcher leaves it; the config's file is `<workspace>/config.yaml`."""
    config = merged(CONFIG, change or {})
    run = RunDirectory.create(workspace / "data", "p", "f", "e", seed=int(config["seed"]))
    text = dump(config)
    source = workspace / "config.yaml"
    source.write_text(text)
    run.config.write_text(text)
    add_attempt(run, str(source))
    return run


def add_attempt(run: RunDirectory, source: str | None = None) -> int:
    """Claims the next attempt and writes what a launcher writes."""
    attempt = run.claim_attempt()
    text = run.config.read_text()
    positions = parse(text, source or "").dotted_positions()
    recorded = {"file": source or str(run.config), "positions": {key: list(place) for key, place in positions.items()}}
    (run.attempt_dir(attempt) / "config.yaml").write_text(text)
    write_json(run.attempt_dir(attempt) / "attempt.json", {"v": 1, "attempt": attempt, "source": recorded})
    return attempt


def start(run: RunDirectory, workspace: Path, *, processes: int = 1, **environ: str) -> subprocess.Popen[str]:
    """Starts a worker for the newest attempt, as a launcher does."""
    command = [sys.executable, "-m", "kladml_core.training.worker", str(run.path)]
    if processes > 1:
        options = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        command = [sys.executable, *options, *command[1:]]
    return subprocess.Popen(
        command,
        cwd=workspace,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def work(run: RunDirectory, workspace: Path, *, processes: int = 1, **environ: str) -> Ended:
    """Runs the worker processes of the newest attempt to their end; `code` is rank 0's."""
    with fork_workers(run.path, workspace, processes=processes, environ=environ) as workers:
        codes = workers.wait(TIMEOUT)
        return Ended(run, codes[0], workers.output, tuple(codes))


def launched(run: RunDirectory, workspace: Path, *, processes: int = 1, **environ: str) -> Ended:
    """As `work`, in processes started as a launcher starts them; `code` is the launcher's where there are several."""
    process = start(run, workspace, processes=processes, **environ)
    try:
        output, _ = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        raise AssertionError(f"the worker did not end:\n{output}") from None
    return Ended(run, process.returncode, output)


def assert_same_end(one: Ended, other: Ended) -> None:
    """The newest checkpoints hold the same weights, averages, optimizer state and generators, bit for bit."""
    left, right = one.content(), other.content()
    for part in ("model", "optimizer", "averages", "rng"):
        expected, actual = getattr(left, part), getattr(right, part)
        assert expected.keys() == actual.keys()
        for name, tensor in expected.items():
            assert torch.equal(tensor, actual[name]), (part, name)
    for key in ("progress", "schedule", "early_stopping"):
        assert left.state["trainer"][key] == right.state["trainer"][key], key
