"""Proof 9. Early stopping, interrupted at every validation, stops where a ten-line reference does; a patience changed
on resume counts. And the order at a boundary, and the state of callbacks.
"""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from kladml_core.backends.run_log import RunLog
from kladml_core.config.schema import TrainingConfig
from kladml_core.errors import UnusableError
from kladml_core.models.torch_model import TorchModel
from kladml_core.runs.events import read_events
from kladml_core.runs.rundir import RunDirectory
from kladml_core.training.callbacks import Callback, Context
from kladml_core.training.early_stopping import EarlyStopping
from kladml_core.training.result import FitResult
from kladml_core.training.signals import StopSignals
from kladml_core.training.trainer import UniversalTrainer


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


def attempt(
    run: RunDirectory,
    *,
    stop_at: int = 0,
    callback: Callback | None = None,
    model: type[Net] = Net,
    config: TrainingConfig = CONFIG,
) -> FitResult:
    number = run.claim_attempt()
    signals = StopSignals()
    log = RunLog(run, number)
    trainer = UniversalTrainer(
        config, device="cpu", run=run, writer=log, attempt=number, signals=signals,
        callbacks=[callback] if callback is not None else [],
    )  # fmt: skip
    try:
        return trainer.fit(model(signals, stop_at), data(), data(), resume=number > 1)
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


# --- early stopping against a reference -------------------------------------------------------------------------


def reference_stop(values: Sequence[float], mode: str, patience: int, min_delta: float) -> tuple[int, int | None]:
    """After how many validations a run ends, and which of them (from 1) was the best."""
    best = gain = best_at = None
    waited = 0
    for at, value in enumerate(values, start=1):
        signed = value if mode == "min" else -value
        if not math.isnan(value) and (best is None or signed < best):
            best, best_at = signed, at
        if not math.isnan(value) and (gain is None or signed < gain - min_delta):
            gain, waited = signed, 0
        else:
            waited += 1
        if waited >= patience:
            return at, best_at
    return len(values), best_at


def scripted(values: Sequence[float]) -> type[Net]:
    """A model whose n-th epoch's validation gives the n-th of `values`; a saved buffer tells the epoch."""

    class Scripted(Net):
        def build(self) -> nn.Module:
            module = super().build()
            module.register_buffer("steps", torch.zeros((), dtype=torch.int64))
            return module

        def training_step(self, module: nn.Module, batch: Any) -> Tensor:
            if module.training:
                module.steps += 1  # type: ignore[operator, union-attr]
            return super().training_step(module, batch)

        def validation_step(self, module: nn.Module, batch: Any) -> Any:
            super().validation_step(module, batch)
            epoch = max(1, int(module.steps) // 4)  # type: ignore[arg-type]
            return {"loss": torch.zeros(()), "score": torch.tensor(values[epoch - 1])}

    return Scripted


def stopping(mode: str, patience: int, min_delta: float, epochs: int) -> TrainingConfig:
    watch = {"enabled": True, "monitor": "val/score", "mode": mode, "patience": patience, "min_delta": min_delta}
    return TrainingConfig(max_epochs=epochs, batch_size=5, early_stopping=watch)


NAN = math.nan
SEQUENCES = [
    ([5.0, 4.0, 4.0, 4.0, 3.0, 1.0], "min", 2, 0.0),
    ([5.0, 4.9, 4.8, 4.7, 4.6, 4.5, 4.4], "min", 3, 0.25),
    ([0.1, 0.2, 0.15, NAN, 0.3, 0.3, 0.29], "max", 3, 0.0),
    ([NAN, NAN, 1.0, NAN, NAN, NAN, 0.5], "min", 3, 0.0),
    ([NAN, NAN, NAN, 1.0], "max", 2, 0.0),
    ([1.0, 2.0, 3.0, 3.05, 3.1, 3.11, 9.0], "max", 2, 0.1),
]


@pytest.mark.parametrize(("values", "mode", "patience", "min_delta"), SEQUENCES)
def test_a_run_interrupted_at_every_validation_stops_where_a_ten_line_reference_does(
    values: list[float], mode: str, patience: int, min_delta: float, tmp_path: Path
) -> None:
    config = stopping(mode, patience, min_delta, len(values))
    run, end = new_run(tmp_path), None
    # One batch is preflight's; each validation has four. Every attempt dies in its second validation, which the
    # next one makes up for: so each validation but the first is broken off once.
    for _ in range(2 * len(values)):
        end = attempt(run, stop_at=1 + 4 + 2, model=scripted(values), config=config)
        if end.status == "finished":
            break
    assert end is not None
    assert end.status == "finished"
    stops_at, best_at = reference_stop(values, mode, patience, min_delta)
    assert end.epoch == stops_at
    assert (end.best["step"] if end.best else None) == (best_at * 4 if best_at else None)
    assert steps_of(run, "validation") == [4 * epoch for epoch in range(1, stops_at + 1)]


@settings(max_examples=300, deadline=None)
@given(
    values=st.lists(st.one_of(st.sampled_from([0.0, 0.5, 1.0, 1.1, NAN]), st.floats(-2, 2)), min_size=1, max_size=20),
    mode=st.sampled_from(["min", "max"]),
    patience=st.integers(1, 4),
    min_delta=st.sampled_from([0.0, 0.1, 0.5]),
)
def test_any_sequence_stops_where_the_reference_does_though_its_state_is_saved_and_loaded_each_time(
    values: list[float], mode: str, patience: int, min_delta: float
) -> None:
    settings_now = {"mode": mode, "patience": patience, "min_delta": min_delta}
    watch = EarlyStopping(**settings_now)  # type: ignore[arg-type]
    count, best = 0, None
    for count, value in enumerate(values, start=1):
        verdict = watch.update(value, count)
        best = count if verdict.best else best
        again = EarlyStopping(**settings_now)  # type: ignore[arg-type]
        again.load_state_dict(json.loads(json.dumps(watch.state_dict())))
        watch = again
        if verdict.stop:
            break
    assert (count, best) == reference_stop(values, mode, patience, min_delta)


@pytest.mark.parametrize(("patience", "expected"), [(1, 2), (3, 4), (5, 6)])
def test_a_patience_changed_on_resume_is_honoured(patience: int, expected: int, tmp_path: Path) -> None:
    values = [1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    run = new_run(tmp_path)
    # Stopped in the third validation, after one without a gain.
    first = attempt(run, stop_at=1 + 8 + 2, model=scripted(values), config=stopping("min", 4, 0.0, 7))
    assert first.status == "stopped"
    changed = stopping("min", patience, 0.0, 7)
    end = attempt(run, model=scripted(values), config=changed)
    assert (end.reason, end.epoch) == ("early_stopping", max(expected, 3))
