"""On CUDA: nothing is read back between two log points, and a run with `deterministic` is resumed bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kladml_core.config.schema import TrainingConfig
from kladml_core.errors import NonFiniteError
from kladml_core.models.torch_model import TorchModel
from kladml_core.runs.rundir import RunDirectory
from kladml_core.training.callbacks import Callback, Context
from kladml_core.training.trainer import UniversalTrainer
from tests.core.test_trainer_out_of_memory import Events

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


class Net(TorchModel):
    def build(self) -> nn.Module:
        return nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 3))

    def training_step(self, module: nn.Module, batch: Any) -> Tensor:
        x, y = batch
        loss = F.cross_entropy(module(x), y)
        return loss * float("nan") if self.config.get("at") == self._count() else loss

    def _count(self) -> int:
        self.calls = getattr(self, "calls", 0) + 1
        return self.calls


class NoReading(Callback):
    """From step 5 to step 55 every synchronisation with the device is an error."""

    def on_step_end(self, context: Context) -> None:
        if context.progress.step == 5:
            torch.cuda.set_sync_debug_mode("error")
        elif context.progress.step == 55:
            torch.cuda.set_sync_debug_mode("default")


def data() -> tuple[Tensor, Tensor]:
    x = torch.randn(640, 8, generator=torch.Generator().manual_seed(1))
    return x, (x.sum(dim=1) > 0).long()


@pytest.mark.parametrize(("precision", "decay"), [("no", None), ("bf16", None), ("no", 0.9)])
def test_nothing_is_read_back_between_log_points(precision: str, decay: float | None) -> None:
    config = TrainingConfig(
        max_steps=60,
        batch_size=8,
        log_every=60,
        gradient_clipping=1.0,
        ema_decay=decay,
        mixed_precision=precision,  # type: ignore[arg-type]
    )
    try:
        result = UniversalTrainer(config, device="cuda", callbacks=[NoReading()]).fit(Net(), data())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert result.status == "finished"


def test_a_nan_between_log_points_leaves_the_weights_from_before_it() -> None:
    sick, well = Net({"at": 8}), Net()  # the first call is preflight's: step 7
    with pytest.raises(NonFiniteError, match="at step 7"):
        UniversalTrainer(TrainingConfig(max_steps=30, batch_size=8, log_every=10), device="cuda").fit(sick, data())
    UniversalTrainer(TrainingConfig(max_steps=6, batch_size=8, log_every=10), device="cuda").fit(well, data())
    for name, value in well.module.state_dict().items():
        assert torch.equal(value, sick.module.state_dict()[name]), name


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_a_resumed_run_equals_the_undisturbed_one(precision: str, tmp_path: Path) -> None:
    def attempt(run: RunDirectory, steps: int) -> Net:
        config = TrainingConfig(
            max_steps=steps,
            batch_size=8,
            deterministic=True,
            ema_decay=0.9,
            mixed_precision=precision,  # type: ignore[arg-type]
        )
        number, model = run.claim_attempt(), Net()
        trainer = UniversalTrainer(config, device="cuda", run=run, attempt=number)
        assert trainer.fit(model, data(), resume=number > 1).status == "finished"
        return model

    broken = RunDirectory.create(tmp_path, "p", "f", "broken", seed=0)
    attempt(broken, 33)
    whole = RunDirectory.create(tmp_path, "p", "f", "whole", seed=0)
    trained = [attempt(run, 70) for run in (broken, whole)]
    averaged = [Net().load(run.artifacts / "best_model") for run in (broken, whole)]
    for left, right in (trained, averaged):
        for name, value in left.module.state_dict().items():
            assert torch.equal(value, right.module.state_dict()[name]), name


def test_a_real_lack_of_memory_is_halved_until_it_fits() -> None:
    class Wide(Net):
        def build(self) -> nn.Module:
            return nn.Sequential(nn.Linear(8, 1 << 16), nn.ReLU(), nn.Linear(1 << 16, 3))

    x = torch.randn(8192, 8, generator=torch.Generator().manual_seed(1))
    events = Events()
    config = TrainingConfig(max_epochs=2, batch_size=8192, oom="halve", optimizer="sgd")
    # 8192 rows of 2**16 numbers are 2 GiB, and a step needs them more than once.
    torch.cuda.set_per_process_memory_fraction(min(1.0, 2**31 / torch.cuda.get_device_properties(0).total_memory))
    try:
        result = UniversalTrainer(config, device="cuda", writer=events).fit(Wide(), (x, (x.sum(dim=1) > 0).long()))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
    sizes = [event["after"] for event in events.of_kind("out_of_memory")]
    assert result.status == "finished"
    assert sizes[0] == 4096
    assert sizes == sorted(sizes, reverse=True)
