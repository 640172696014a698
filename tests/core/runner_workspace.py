"""What the tests of ExperimentRunner share: a workspace around the current directory, models, and who listens."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F

from kladml_core import BaseModel, ClassificationModel, MLTask
from kladml_core.interfaces import PublisherInterface, StorageInterface, TrackerInterface

TRAINING = {"max_epochs": 4, "batch_size": 8, "log_every": 3}


def table(rows: int = 60) -> tuple[Tensor, Tensor]:
    """60 rows in batches of 8: eight steps an epoch."""
    x = torch.randn(rows, 4, generator=torch.Generator().manual_seed(1))
    return x, (x.sum(dim=1) > 0).long()


class Net(ClassificationModel):
    """Sends its own process a signal, or raises, in the training steps that `at` names (preflight is the first)."""

    calls = 0

    def build(self) -> nn.Module:
        width = self.config.get("width", 8)
        return nn.Sequential(nn.Linear(4, width), nn.Dropout(0.2), nn.Linear(width, 2))

    def training_step(self, module: nn.Module, batch: Any) -> Any:
        self.calls += 1
        what = self.config.get("at", {}).get(str(self.calls), "") if not os.environ.get("TEST_CALM") else ""
        if what == "raise":
            raise ValueError("the model is unwell")
        if what:
            for name in what.split():
                signal.raise_signal(getattr(signal, name))
        return super().training_step(module, batch)


class Plain(nn.Module):
    """Any module at all."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def half_loss(output: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(output, y) / 2


class Regression(BaseModel):
    """A scikit-learn estimator as a BaseModel."""

    ml_task = MLTask.CLASSIFICATION

    def train(self, X_train: Any, y_train: Any = None, X_val: Any = None, y_val: Any = None, **kwargs: Any) -> Any:
        self.estimator = LogisticRegression(C=self.config.get("C", 1.0), max_iter=400).fit(X_train, y_train)
        return self.evaluate(X_train, y_train)

    def predict(self, X: Any, **kwargs: Any) -> Any:
        return self.estimator.predict(X)

    def evaluate(self, X_test: Any, y_test: Any = None, **kwargs: Any) -> dict[str, Any]:
        return {"accuracy": self.estimator.score(X_test, y_test)}

    def save(self, path: str | Path) -> None:
        Path(path).mkdir(parents=True, exist_ok=True)
        joblib.dump(self.estimator, Path(path) / "estimator.joblib")

    def load(self, path: str | Path) -> Any:
        self.estimator = joblib.load(Path(path) / "estimator.joblib")
        return self


def digits() -> dict[str, Any]:
    """scikit-learn's digits, float64 as it gives them."""
    x, y = load_digits(return_X_y=True)
    return {
        "train": (x[:1200] / 16, y[:1200]),
        "val": (x[1200:1500] / 16, y[1200:1500]),
        "test": (x[1500:] / 16, np.asarray(y[1500:])),
    }


class Heard(PublisherInterface):
    """Keeps all messages; raises too where asked to."""

    def __init__(self, *, fails: bool = False) -> None:
        self.messages: list[tuple[str, dict[str, Any]]] = []
        self.threads: set[str] = set()
        self._fails = fails

    def publish(self, channel: str, message: dict[str, Any]) -> None:
        self.messages.append((channel, message))
        self.threads.add(threading.current_thread().name)
        if self._fails:
            raise RuntimeError("nobody listens")

    def events(self) -> list[dict[str, Any]]:
        return [message for channel, message in self.messages if channel == "events"]


class Tracked(TrackerInterface):
    """Keeps all calls; slow, or failing in one of them, where asked to."""

    def __init__(self, *, fails_in: str = "", seconds: float = 0.0) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.threads: set[str] = set()
        self._fails_in = fails_in
        self._seconds = seconds

    def _call(self, name: str, *arguments: Any) -> None:
        self.calls.append((name, *arguments))
        self.threads.add(threading.current_thread().name)
        if self._seconds:
            time.sleep(self._seconds)  # what a server on a slow line takes
        if name == self._fails_in:
            raise ConnectionError("the server is away")

    def start_run(self, experiment_name: str, run_name: str | None = None) -> str:
        self._call("start_run", experiment_name, run_name)
        return "1"

    def log_params(self, params: dict[str, Any]) -> None:
        self._call("log_params", params)

    def log_metric(self, key: str, value: float, step: int | None = None) -> None:
        self._call("log_metric", key, value, step)

    def end_run(self, status: str = "FINISHED") -> None:
        self._call("end_run", status)

    def of(self, name: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == name]


class Folder(StorageInterface):
    """A storage in a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def upload_file(self, local_path: str, bucket: str, key: str) -> str:
        target = self._root / bucket / key
        target.parent.mkdir(parents=True, exist_ok=True)
        return str(shutil.copyfile(local_path, target))

    def download_file(self, bucket: str, key: str, local_path: str) -> str:
        return str(shutil.copyfile(self._root / bucket / key, local_path))

    def list_files(self, bucket: str, prefix: str = "") -> list[str]:
        root = self._root / bucket
        names = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
        return sorted(name for name in names if name.startswith(prefix))
