"""What a run says of itself while it trains: throughput, waiting for data, compilation, and that it hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kladml_core.config.schema import TrainingConfig
from kladml_core.errors import HangError
from kladml_core.models.torch_model import TorchModel
from kladml_core.training.run_writer import NoWriter
from kladml_core.training.trainer import UniversalTrainer
from kladml_core.training.watchdog import Pulse, Watchdog
from tests.waiting import wait_for


class Recorder(NoWriter):
    """Keeps metrics, phases and events."""

    def __init__(self) -> None:
        self.metrics: list[dict[str, float]] = []
        self.phases: list[str] = []
        self.events: list[str] = []

    def log_metrics(self, values: Mapping[str, float], step: int, time: float | None = None) -> None:
        self.metrics.append(dict(values))

    def event(self, kind: str, *, step: int | None = None, epoch: int | None = None, **fields: Any) -> None:
        self.events.append(kind)

    def progress(self, *, phase: str | None = None, **_: Any) -> None:
        if phase is not None and self.phases[-1:] != [phase]:
            self.phases.append(phase)


class Net(TorchModel):
    def build(self) -> nn.Module:
        return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))

    def training_step(self, module: nn.Module, batch: Any) -> Any:
        x, y = batch
        loss = F.mse_loss(module(x).squeeze(1), y)
        return (loss, 7 * len(x)) if self.config.get("tokens") else loss


class Slow(torch.utils.data.Dataset[Any]):
    """Takes 10 ms an item."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        time.sleep(0.01)
        return torch.full((3,), float(place)), torch.tensor(float(place))


def data() -> tuple[Tensor, Tensor]:
    x = torch.randn(24, 3, generator=torch.Generator().manual_seed(2))
    return x, x.sum(dim=1)


def fit(model: TorchModel, train: Any = None, val: Any = None, **config: Any) -> Recorder:
    recorder = Recorder()
    training = TrainingConfig(**{"max_epochs": 2, "batch_size": 4, "log_every": 2, **config})
    UniversalTrainer(training, device="cpu", writer=recorder).fit(model, data() if train is None else train, val)
    return recorder


def test_tokens_per_second_are_there_where_the_model_gives_weights_and_only_there() -> None:
    without, with_tokens = fit(Net()), fit(Net({"tokens": True}))
    assert all("train/tokens_per_second" not in values for values in without.metrics)
    for values in with_tokens.metrics:
        assert values["train/tokens_per_second"] == pytest.approx(7 * values["train/samples_per_second"])


def test_the_share_of_time_spent_waiting_for_data_is_known() -> None:
    slow = fit(Net(), Slow(), log_every=1)
    assert all(0.5 < values["train/data_wait"] <= 1.0 for values in slow.metrics)
    assert all(0.0 <= values["train/data_wait"] <= 1.0 for values in fit(Net()).metrics)


# --- compilation ------------------------------------------------------------------------------------------------


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("kind", ["a class of one's own", "torch's own Sequential"])
def test_the_module_that_is_called_is_the_compiled_one(
    kind: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def backend(graph: torch.fx.GraphModule, example: Any) -> Any:
        def run(*inputs: Any) -> Any:
            calls.append(1)
            return graph.forward(*inputs)

        return run

    class Chosen(Net):
        def build(self) -> nn.Module:
            return Own() if kind == "a class of one's own" else super().build()

    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    compiled, plain = Chosen(), Chosen()
    recorder = fit(compiled, val=data(), compile=True, mixed_precision=precision)
    # Twelve steps and twice six batches of validation; preflight's are not compiled.
    assert len(calls) == 12 + 12
    assert recorder.phases[:3] == ["preflight", "compiling", "training"]
    fit(plain, val=data(), mixed_precision=precision)
    for name, value in plain.module.state_dict().items():
        assert torch.equal(value, compiled.module.state_dict()[name]), name


# --- hangs ------------------------------------------------------------------------------------------------------


def watched(pulse: Pulse, timeout: float) -> tuple[Watchdog, list[float]]:
    told: list[float] = []
    watchdog = Watchdog(pulse, timeout, told.append)
    watchdog.start()
    return watchdog, told


def test_a_pulse_that_stops_is_told_once_with_the_stacks_of_all_threads(capfd: pytest.CaptureFixture[str]) -> None:
    watchdog, told = watched(Pulse(), 0.2)
    wait_for(lambda: told, 10)
    watchdog.stop()
    assert len(told) == 1
    assert told[0] >= 0.2
    assert "most recent call first" in capfd.readouterr().err


def test_a_pulse_that_beats_or_is_paused_is_let_be() -> None:
    beating, paused = Pulse(), Pulse(paused=True)
    (one, told_one), (two, told_two) = watched(beating, 0.4), watched(paused, 0.1)
    until = time.monotonic() + 1.0

    def moved() -> bool:
        beating.beats += 1
        return time.monotonic() > until

    wait_for(moved, 10)
    one.stop()
    two.stop()
    assert (told_one, told_two) == ([], [])


def test_a_model_that_hangs_is_told_where_somebody_listens() -> None:
    release = threading.Event()

    class Stuck(Net):
        calls = 0

        def training_step(self, module: nn.Module, batch: Any) -> Any:
            self.calls += 1
            if self.calls == 5:
                assert release.wait(30)
            return super().training_step(module, batch)

    told: list[HangError] = []

    def on_hang(error: HangError) -> None:
        told.append(error)
        release.set()

    recorder = Recorder()
    training = TrainingConfig(max_epochs=2, batch_size=4, hang_timeout=0.3)
    trainer = UniversalTrainer(training, device="cpu", writer=recorder, on_hang=on_hang)
    assert trainer.fit(Stuck(), data()).status == "finished"
    assert [error.exit_code for error in told] == [74]
    assert "after step 3" in told[0].message
    assert recorder.events.count("hang") == 1
