"""The parts of the trainer by themselves: windows, validation, preflight, guards, saved models, signals."""

from __future__ import annotations

import math
import random
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kladml_core.config.schema import TrainingConfig
from kladml_core.data.datamodule import DataModule
from kladml_core.errors import KladMLError, NonFiniteError, UnusableError
from kladml_core.models.torch_model import TorchModel
from kladml_core.training.batches import TrainingBatches
from kladml_core.training.callbacks import Callback, Context
from kladml_core.training.checkpoint_generators import capture_generators
from kladml_core.training.guard import DeviceGuard, HostGuard
from kladml_core.training.ranks import Ranks
from kladml_core.training.signals import StopSignals
from kladml_core.training.trainer import UniversalTrainer

CPU = torch.device("cpu")


class Net(TorchModel):
    def build(self) -> nn.Module:
        return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))

    def training_step(self, module: nn.Module, batch: Any) -> Any:
        x, y = batch
        return F.mse_loss(module(x).squeeze(1), y)

    def validation_step(self, module: nn.Module, batch: Any) -> Any:
        x, y = batch
        return {"loss": F.mse_loss(module(x).squeeze(1), y), "mean": y.mean(), "first": (y[0], 1)}


def data(samples: int = 24) -> tuple[Tensor, Tensor]:
    x = torch.randn(samples, 3, generator=torch.Generator().manual_seed(2))
    return x, x.sum(dim=1)


def fit(model: TorchModel, *, train: Any = None, val: Any = None, callbacks: Any = (), **config: Any) -> Any:
    training = TrainingConfig(**{"max_epochs": 2, "batch_size": 4, **config})
    return UniversalTrainer(training, device="cpu", callbacks=callbacks).fit(model, train or data(), val)


# --- windows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize(("samples", "batch_size", "accumulation"), [(1, 4, 1), (24, 4, 3), (25, 4, 3), (31, 5, 2)])
def test_an_epoch_visits_every_sample_once_whatever_the_ranks(
    world_size: int, samples: int, batch_size: int, accumulation: int
) -> None:
    rows = torch.arange(samples)
    seen: list[int] = []
    totals: list[list[int]] = []
    for rank in range(world_size):
        batches = TrainingBatches(
            DataModule((rows,)).train, batch_size=batch_size, accumulation=accumulation, seed=0, rank=rank,
            world_size=world_size, device=CPU,
        )  # fmt: skip
        windows = list(window_samples(batches, 2, 0, seen))
        totals.append(windows)
        assert len(windows) == batches.steps
    assert sorted(seen) == list(range(samples))
    assert all(windows == totals[0] for windows in totals)
    assert sum(totals[0]) == samples


def window_samples(batches: TrainingBatches, epoch: int, done: int, seen: list[int]) -> Any:
    for window in batches.windows(epoch, done):
        for size in window.sizes:
            [rows] = next(window.batches)
            seen.extend(rows.tolist()[:size])
        yield window.total


class Noisy(torch.utils.data.Dataset[Tensor]):
    """Draws from every generator, as augmentation does."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, place: int) -> Tensor:
        return torch.tensor([place, random.random(), torch.rand(()).item()])


@pytest.mark.parametrize("workers", [1, 2])
def test_random_data_is_the_same_for_any_number_of_workers_and_disturbs_no_generator(workers: int) -> None:
    def read(count: int, done: int) -> list[Tensor]:
        batches = TrainingBatches(
            DataModule(Noisy()).train, batch_size=2, accumulation=1, seed=1, rank=0, world_size=1, device=CPU,
            workers=count,
        )  # fmt: skip
        return [next(window.batches) for window in batches.windows(0, done)]

    before = capture_generators()
    alone = read(0, 0)
    after = capture_generators()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(torch.equal(one, other) for one, other in zip(alone, read(workers, 0), strict=True))
    assert all(torch.equal(one, other) for one, other in zip(alone[4:], read(workers, 4), strict=True))


# --- validation and preflight -----------------------------------------------------------------------------------


def test_validation_is_the_mean_over_samples_and_not_over_batches() -> None:
    y = torch.tensor([1.0, 2, 3, 4, 5, 6, 7, 8, 9])
    model = Net()
    trainer = UniversalTrainer(TrainingConfig(max_epochs=1, batch_size=2), device="cpu")
    found = trainer.validate(model, (torch.randn(9, 3), y))
    assert found["mean"] == 5.0
    assert found["first"] == (1 + 3 + 5 + 7 + 9) / 5
    model.module.eval()
    exact = model.evaluate(torch.randn(9, 3), y)
    assert exact.keys() == {"loss", "mean", "first"}


def test_preflight_and_validation_change_nothing_that_training_sees() -> None:
    class Spy(Callback):
        def on_fit_start(self, context: Context) -> None:
            self.state = {name: value.clone() for name, value in context.module.state_dict().items()}
            self.gradients = [parameter.grad for parameter in context.module.parameters()]
            self.generators = capture_generators()

    spy = Spy()
    with_validation, without = Net(), Net()
    fit(with_validation, val=data(9), callbacks=[spy])
    torch.manual_seed(0)
    fresh = Net().build()
    assert all(torch.equal(value, spy.state[name]) for name, value in fresh.state_dict().items())
    assert spy.gradients == [None] * len(spy.gradients)
    assert torch.equal(spy.generators["rank0/torch"], torch.get_rng_state())
    fit(without)
    for name, value in without.module.state_dict().items():
        assert torch.equal(value, with_validation.module.state_dict()[name]), name


def test_a_parameter_without_a_gradient_is_named() -> None:
    class Idle(Net):
        def build(self) -> nn.Module:
            module = super().build()
            module.register_parameter("forgotten", nn.Parameter(torch.zeros(2)))
            return module

    told: list[str] = []

    class Writer:
        def __getattr__(self, name: str) -> Any:
            return lambda *_, **fields: told.append(fields["message"]) if "message" in fields else None

    trainer = UniversalTrainer(TrainingConfig(max_epochs=1, batch_size=4), device="cpu", writer=Writer())
    trainer.fit(Idle(), data())
    assert told == ["no gradient reaches forgotten: they will not be trained"]


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (lambda: torch.tensor(float("nan"), requires_grad=True), "loss of the first batch is nan"),
        (lambda: torch.tensor(1.0), "the loss has no gradient"),
        (lambda: 3.0, "returned a float"),
        (lambda: {"accuracy": torch.tensor(1.0)}, "a mapping without loss"),
    ],
)
def test_a_step_that_gives_no_usable_loss_is_told_before_training(step: Any, says: str) -> None:
    class Wrong(Net):
        def training_step(self, module: nn.Module, batch: Any) -> Any:
            return step()

    with pytest.raises(KladMLError, match=says):
        fit(Wrong())


def test_a_plain_module_needs_a_loss_and_trains_with_one() -> None:
    with pytest.raises(UnusableError, match="needs a loss"):
        UniversalTrainer(TrainingConfig(max_epochs=1)).fit(nn.Linear(3, 1), data())
    trainer = UniversalTrainer(TrainingConfig(max_epochs=1, batch_size=4), device="cpu")
    x, y = data()
    assert trainer.fit(nn.Linear(3, 1), (x, y[:, None]), loss="mse").status == "finished"


def test_a_run_stops_early_and_says_so() -> None:
    result = fit(
        Net(), val=data(), max_epochs=50, learning_rate=1e-9,
        early_stopping={"enabled": True, "monitor": "val/mean", "patience": 3},
    )  # fmt: skip
    assert (result.reason, result.epoch, result.exit_code) == ("early_stopping", 4, 0)


# --- NaN --------------------------------------------------------------------------------------------------------


def test_weights_are_as_before_the_step_that_was_not_finite() -> None:
    class Sick(Net):
        calls = 0

        def training_step(self, module: nn.Module, batch: Any) -> Any:
            self.calls += 1
            loss = super().training_step(module, batch)
            return loss * math.nan if self.calls == 6 else loss  # the first call is preflight's: this is step 5

    sick, well = Sick(), Net()
    with pytest.raises(NonFiniteError, match="at step 5"):
        fit(sick)
    fit(well, max_steps=4)
    for name, value in well.module.named_parameters():
        assert torch.equal(value, dict(sick.module.named_parameters())[name]), name


def test_a_flag_on_the_device_keeps_a_fused_optimizer_from_every_later_update() -> None:
    parameter = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([parameter], lr=0.1, fused=True)
    guard = DeviceGuard(optimizer, CPU, sticky=True)
    history = []
    for loss in (1.0, math.nan, 1.0, 1.0):
        parameter.grad = torch.full((3,), loss)
        assert guard.admits(torch.tensor(loss), torch.tensor(1.0))
        optimizer.step()
        history.append(parameter.detach().clone())
    assert not torch.equal(history[0], torch.ones(3))
    assert all(torch.equal(state, history[0]) for state in history[1:])
    assert guard.first_bad() == 2  # of the four steps the second, two before the last


def test_without_stickiness_only_the_bad_update_is_left_out_and_counted() -> None:
    parameter = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([parameter], lr=0.5, fused=True)
    guard = DeviceGuard(optimizer, CPU, sticky=False)
    for loss in (1.0, math.inf, 1.0):
        parameter.grad = torch.ones(3) if math.isfinite(loss) else torch.full((3,), math.nan)
        guard.admits(torch.tensor(loss), torch.tensor(1.0))
        optimizer.step()
    assert torch.equal(parameter.detach(), torch.zeros(3))
    assert (guard.first_bad(), guard.skipped(), guard.skipped()) == (None, 1, 0)
    assert HostGuard(Ranks()).admits(math.nan, torch.tensor(1.0)) is False


# --- models on disk, signals, imports ---------------------------------------------------------------------------


def test_a_saved_model_is_loaded_with_its_config_and_predicts_the_same(tmp_path: Path) -> None:
    class Tied(Net):
        def build(self) -> nn.Module:
            width = self.config.get("width", 4)
            first, second = nn.Linear(3, width), nn.Linear(3, width)
            second.weight = first.weight
            return nn.ModuleList([first, second])

        def predict_step(self, module: nn.Module, batch: Any) -> Any:
            return module[0](batch) + module[1](batch)  # type: ignore[index]

    model = Tied({"width": 5})
    model.save(tmp_path / "model")
    again = Tied().load(tmp_path / "model")
    x = data()[0]
    assert torch.equal(model.predict(x, batch_size=5), again.predict(x, batch_size=5))
    assert again.predict(x).shape == (24, 5)
    (tmp_path / "model" / "model.safetensors").write_bytes(b"")
    with pytest.raises(UnusableError, match=r"does not fit"):
        Tied().load(tmp_path / "model")


def test_signals_are_heard_on_the_main_thread_only_and_handlers_are_put_back() -> None:
    import signal

    before = signal.getsignal(signal.SIGTERM)
    signals = StopSignals()
    assert signals.install()
    signal.raise_signal(signal.SIGTERM)
    assert signals.number == signal.SIGTERM
    signals.restore()
    assert signal.getsignal(signal.SIGTERM) is before
    heard: list[bool] = []
    thread = threading.Thread(target=lambda: heard.append(StopSignals().install()))
    thread.start()
    thread.join()
    assert heard == [False]


def test_importing_the_public_names_costs_no_torch_until_one_that_needs_it_is_used() -> None:
    code = (
        "import sys, kladml_core; kladml_core.BaseModel, kladml_core.MLTask, kladml_core.TrainingConfig;"
        "import kladml_core.training.worker;"
        "assert not {'torch', 'numpy', 'accelerate'} & sys.modules.keys();"
        "kladml_core.TorchModel, kladml_core.UniversalTrainer; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
