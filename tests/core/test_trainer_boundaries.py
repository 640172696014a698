"""The order at a boundary, validation broken off by a stop, and the state of callbacks, in one process."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kladml_core.backends.run_log import RunLog
from kladml_core.config.schema import TrainingConfig
from kladml_core.errors import UnusableError
from kladml_core.models.torch_model import TorchModel
from kladml_core.runs.events import read_events
from kladml_core.runs.rundir import RunDirectory
from kladml_core.training.callbacks import Callback, Context
from kladml_core.training.signals import StopSignals
from kladml_core.training.trainer import FitResult, UniversalTrainer


class Net(TorchModel):
    """Asks for a stop in its n-th validation batch, as a signal would that comes just then."""

    def __init__(self, signals: StopSignals | None = None, stop_at: int = 0) -> None:
        super().__init__()
        self.signals, self.stop_at, self.validated = signals, stop_at, 0

    def build(self) -> nn.Module:
        return nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))

    def training_step(self, module: nn.Module, batch: Any) -> Tensor:
        return F.mse_loss(module(batch[0]).squeeze(1), batch[1])

    def validation_step(self, module: nn.Module, batch: Any) -> Tensor:
        self.validated += 1
        if self.signals is not None and self.validated == self.stop_at:
            self.signals.number = signal.SIGTERM
        return self.training_step(module, batch)


class Count(Callback):
    """Counts steps, over all attempts."""

    def __init__(self) -> None:
        self.steps = 0
        self.seen: list[str] = []

    def on_step_end(self, context: Context) -> None:
        self.steps += 1

    def on_validation_end(self, context: Context, metrics: Mapping[str, float]) -> None:
        self.seen.append("validation")

    def on_epoch_end(self, context: Context) -> None:
        self.seen.append("epoch")

    def on_checkpoint(self, context: Context, name: str) -> None:
        self.seen.append("checkpoint")

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.steps = state["steps"]


def data() -> tuple[Tensor, Tensor]:
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(2))
    return x, x.sum(dim=1)


CONFIG = TrainingConfig(
    max_epochs=6,
    batch_size=5,
    learning_rate=0.3,
    lr_scheduler={"name": "plateau", "factor": 0.5, "patience": 1},
    early_stopping={"enabled": True, "patience": 2},
)


def attempt(run: RunDirectory, *, stop_at: int = 0, callback: Callback | None = None) -> FitResult:
    number = run.claim_attempt()
    signals = StopSignals()
    log = RunLog(run, number)
    trainer = UniversalTrainer(
        CONFIG, device="cpu", run=run, writer=log, attempt=number, signals=signals,
        callbacks=[callback] if callback is not None else [],
    )  # fmt: skip
    try:
        return trainer.fit(Net(signals, stop_at), data(), data(), resume=number > 1)
    finally:
        log.close()


def new_run(directory: Path) -> RunDirectory:
    return RunDirectory.create(directory, "p", "f", "e", seed=0)


def steps_of(run: RunDirectory, kind: str) -> list[int]:
    return [event["step"] for event in read_events(run.events)[0] if event["kind"] == kind]


def test_a_validation_that_is_broken_off_is_made_up_for_and_nothing_else_changes(tmp_path: Path) -> None:
    whole, broken = new_run(tmp_path / "whole"), new_run(tmp_path / "broken")
    expected = attempt(whole)
    # One batch is preflight's. Each validation has four; an attempt dies in the second batch of its first one.
    results = [attempt(broken, stop_at=3)]
    while results[-1].status == "stopped":
        assert results[-1].exit_code == 143
        results.append(attempt(broken, stop_at=3 + 4))
    assert len(results) > 2
    ours, theirs = results[-1], expected
    assert (ours.reason, ours.step, ours.best) == (theirs.reason, theirs.step, theirs.best)
    for kind in ("validation", "new_best", "epoch_finished"):
        assert steps_of(broken, kind) == steps_of(whole, kind), kind


def test_at_a_boundary_validation_comes_before_the_checkpoint_and_callbacks_keep_their_state(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    first, second = Count(), Count()
    assert attempt(run, stop_at=3 + 4, callback=first).status == "stopped"
    assert first.seen == ["validation", "epoch", "checkpoint", "checkpoint"]
    result = attempt(run, callback=second)
    assert second.steps == result.step


def test_a_callback_whose_state_fits_into_no_file_is_told_before_training(tmp_path: Path) -> None:
    class Odd(Callback):
        def state_dict(self) -> dict[str, Any]:
            return {"file": object()}

    with pytest.raises(UnusableError, match="a checkpoint cannot hold this run's state"):
        attempt(new_run(tmp_path), callback=Odd())


def test_checkpoints_stay_two_last_and_the_best(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    result = attempt(run)
    left = sorted(path.name for path in run.checkpoints.iterdir() if path.name.startswith("step-"))
    assert result.best is not None
    assert result.best["checkpoint"] in left
    assert f"step-{result.step:010d}" in left
    assert 2 <= len(left) <= 3
