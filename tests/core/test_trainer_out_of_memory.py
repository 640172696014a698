"""`oom: halve`: models that really run out of memory above some size, in forward and in the middle of backward."""

from __future__ import annotations

import weakref
from collections import UserDict, namedtuple
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kladml_core.config.schema import TrainingConfig
from kladml_core.errors import DeviceMemoryError, ExitCode
from kladml_core.models.torch_model import TorchModel
from kladml_core.runs.rundir import RunDirectory
from kladml_core.training.batch_pieces import Uncuttable, cut, piece_sizes
from kladml_core.training.callbacks import Callback, Context
from kladml_core.training.progress import Progress
from kladml_core.training.result import FitResult
from kladml_core.training.trainer import UniversalTrainer
from tests.core.test_trainer_reference import Recorder
from tests.core.trainer_workspace import make_workspace, new_run, work

SAMPLES = 29
NEVER = 10**6


class Room(torch.autograd.Function):
    """The identity, whose backward runs out of memory above so many rows."""

    @staticmethod
    def forward(context: Any, x: Tensor, most: int) -> Tensor:
        context.most = most
        return x.clone()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        if len(gradients[0]) > context.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return gradients[0], None


class Net(TorchModel):
    """`most` samples fit, in `forward` or `backward`; from call `since` of training_step on (preflight's is 1)."""

    progress: Progress | None = None

    def build(self) -> nn.Module:
        last = nn.Sequential(nn.Tanh(), nn.Linear(8, 1)).double()
        if self.config.get("moody"):
            return nn.ModuleList([nn.Linear(4, 8), nn.Sequential(nn.BatchNorm1d(8), nn.Dropout(0.3)), last]).double()
        return nn.ModuleList([nn.Linear(4, 8), nn.Identity(), last]).double()

    def training_step(self, module: Any, batch: Any) -> Any:
        x, y, tokens = batch
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls == self.config.get("told at") and self.progress is not None:
            self.progress.fits = self.config["fits"]
        most = self.config.get("most", NEVER) if self.calls >= self.config.get("since", 0) else NEVER
        before = module[1](module[0](x))
        if self.config.get("in") == "forward" and len(x) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        output = module[2](Room.apply(before, most)).squeeze(1)
        if self.config.get("weighted"):
            return {"loss": ((((output - y) ** 2) * tokens).sum() / tokens.sum(), tokens.sum()), "size": output.mean()}
        return F.mse_loss(output, y)


class Events(Recorder):
    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[str, dict[str, Any]]] = []

    def event(self, kind: str, *, step: int | None = None, epoch: int | None = None, **fields: Any) -> None:
        self.events.append((kind, {**fields, "step": step}))

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [fields for found, fields in self.events if found == kind]


class Told(Callback):
    """Lets a model set the size that fits, as a run would know it that has not had to find it out."""

    def __init__(self, model: Net) -> None:
        self._model = model

    def on_fit_start(self, context: Context) -> None:
        self._model.progress = context.progress
        if "told at" not in self._model.config:
            context.progress.fits = self._model.config.get("fits", context.progress.fits)


def data() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(SAMPLES, 4, generator=generator, dtype=torch.float64)
    return x, x.sum(1) ** 2, torch.randint(1, 9, (SAMPLES,), generator=generator)


def train(model: Net, events: Events | None = None, run: RunDirectory | None = None, **training: Any) -> FitResult:
    config = {
        "max_epochs": 2, "batch_size": 12, "oom": "halve", "log_every": 1, "learning_rate": 0.01,
        "optimizer": {"name": "sgd", "momentum": 0.9}, "gradient_clipping": 1.0,
    }  # fmt: skip
    attempt = run.claim_attempt() if run is not None else 1
    trainer = UniversalTrainer(
        TrainingConfig(**(config | training)),
        seed=5,
        device="cpu",
        writer=events,
        callbacks=[Told(model)],
        run=run,
        attempt=attempt,
    )
    return trainer.fit(model, data(), resume=attempt > 1)


def assert_equal(one: Net, other: Net) -> None:
    for name, value in one.module.state_dict().items():
        assert torch.equal(value, other.module.state_dict()[name]), name


@pytest.mark.parametrize(
    ("batch_size", "accumulation", "most", "where", "weighted"),
    [
        (12, 1, 5, "forward", False),
        (12, 1, 1, "backward", True),
        (4, 3, 2, "backward", False),
        (6, 2, 4, "forward", True),
        (6, 2, 4, "backward", True),
    ],
)
def test_what_does_not_fit_is_halved_and_the_gradient_is_that_of_the_large_batch(
    batch_size: int, accumulation: int, most: int, where: str, weighted: bool
) -> None:
    events, told = Events(), Events()
    large, small = Net({"weighted": weighted}), Net({"in": where, "most": most, "weighted": weighted})
    train(large, told)
    assert train(small, events, batch_size=batch_size, gradient_accumulation_steps=accumulation).status == "finished"
    for name, value in large.module.state_dict().items():
        assert ((value - small.module.state_dict()[name]).norm() / value.norm()).item() < 1e-12, name
    for (_, left), (_, right) in zip(told.metrics, events.metrics, strict=True):
        for name in left.keys() & {"train/loss", "train/size", "train/gradient_norm"}:
            assert left[name] == pytest.approx(right[name], rel=1e-12), name
    sizes = [(event["before"], event["after"]) for event in events.of_kind("out_of_memory")]
    assert sizes[0][0] == batch_size
    assert sizes[-1][1] <= most < sizes[-1][0]
    assert all(after == (before + 1) // 2 for before, after in sizes)


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_generators_statistics_and_earlier_gradients_are_as_before_the_micro_batch_that_failed(where: str) -> None:
    # The third call is for the second of a window's three micro-batches: dropout has been drawn for it, batch norm has
    # counted it, and backward has made some of its gradients, beside those of the micro-batch before it.
    halved, events = Net({"moody": True, "in": where, "most": 3, "since": 3}), Events()
    known = Net({"moody": True, "told at": 2, "fits": 3})
    train(halved, events, batch_size=6, gradient_accumulation_steps=3)
    train(known, batch_size=6, gradient_accumulation_steps=3)
    [event] = events.of_kind("out_of_memory")
    assert (event["before"], event["after"], event["step"]) == (6, 3, 1)
    assert_equal(halved, known)


def test_without_a_lack_of_memory_a_step_that_could_halve_is_the_plain_step_in_every_bit() -> None:
    plain, able = Net({"moody": True}), Net({"moody": True})
    train(plain, oom="fail", batch_size=6, gradient_accumulation_steps=3)
    train(able, batch_size=6, gradient_accumulation_steps=3)
    assert_equal(plain, able)


def test_a_batch_norm_is_told_once_that_its_statistics_are_those_of_smaller_batches() -> None:
    events = Events()
    train(Net({"moody": True, "in": "forward", "most": 3}), events)
    assert len(events.of_kind("out_of_memory")) == 2
    warnings = [event["message"] for event in events.of_kind("log")]
    assert warnings == ["the model has batch norms, whose statistics are now those of the smaller micro-batches"]


def test_the_size_that_fits_is_in_the_checkpoints_and_a_resumed_run_is_exact(tmp_path: Path) -> None:
    def new(name: str) -> RunDirectory:
        return RunDirectory.create(tmp_path, "p", "f", name, seed=5)

    broken, first, second = new("broken"), Events(), Events()
    config = {"moody": True, "in": "backward", "most": 3}
    train(Net(config), first, broken, max_steps=4)
    assert [event["after"] for event in first.of_kind("out_of_memory")] == [6, 3]
    resumed, whole = Net(config), Net(config)
    train(resumed, second, broken, max_epochs=3)
    assert second.of_kind("out_of_memory") == []
    assert second.of_kind("resumed")[0]["exact"] is True
    train(whole, None, new("whole"), max_epochs=3)
    assert_equal(whole, resumed)


def test_a_single_sample_that_does_not_fit_ends_the_run_as_out_of_memory() -> None:
    events = Events()
    with pytest.raises(DeviceMemoryError, match="a single sample does not fit into memory") as caught:
        train(Net({"in": "backward", "most": 0}), events)
    assert caught.value.exit_code == ExitCode.OUT_OF_MEMORY
    with pytest.raises(DeviceMemoryError, match="a single sample does not fit into memory"):
        train(Net({"in": "backward", "most": 0, "since": 2}), events)
    assert [event["after"] for event in events.of_kind("out_of_memory")] == [6, 3, 2, 1]


def test_what_the_failed_attempt_held_is_free_before_the_next_one() -> None:
    class Watched(Net):
        held: list[weakref.ref[Tensor]] = []

        def training_step(self, module: Any, batch: Any) -> Any:
            assert all(tensor() is None for tensor in self.held), "a failed graph is still in memory"
            hidden = module[0](batch[0])
            if len(batch[0]) > 3:
                self.held.append(weakref.ref(hidden))
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return F.mse_loss(module[2](hidden).squeeze(1), batch[1])

    train(Watched())
    assert len(Watched.held) == 4  # preflight's two and training's


@pytest.mark.parametrize(("most", "since"), [(1, 0), (1, 2), (2, 2)])
def test_a_batch_norm_that_refuses_a_single_sample_is_told_as_the_lack_of_memory_that_it_is(
    most: int, since: int
) -> None:
    model = Net({"moody": True, "in": "forward", "most": most, "since": since})
    with pytest.raises(
        DeviceMemoryError, match=f"no more than {most} samples fit into memory at once, and a batch norm"
    ):
        train(model, batch_size=5)


def test_without_halve_the_error_passes_through() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        train(Net({"in": "backward", "most": 3}), oom="fail")


def test_a_fault_that_is_no_lack_of_memory_is_not_halved_away() -> None:
    class Unwell(Net):
        def training_step(self, module: Any, batch: Any) -> Any:
            if getattr(self, "calls", 0) == 3:
                raise ValueError("the model is unwell")
            return super().training_step(module, batch)

    with pytest.raises(ValueError, match="unwell"):
        train(Unwell())


def test_several_processes_are_refused_with_the_reason(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    ended = work(new_run(workspace, {"training": {"oom": "halve"}}), workspace, processes=2)
    assert ended.code == ExitCode.UNUSABLE, ended.output
    assert "leaves the others waiting for its gradients" in ended.terminal["message"]


Pair = namedtuple("Pair", ["x", "y"])


@pytest.mark.parametrize(
    ("size", "most", "sizes"), [(7, 0, (7,)), (7, 7, (7,)), (7, 4, (4, 3)), (37, 10, (10, 9, 9, 9)), (3, 1, (1, 1, 1))]
)
def test_pieces_are_few_and_nearly_equal(size: int, most: int, sizes: tuple[int, ...]) -> None:
    assert piece_sizes(size, most) == sizes


def test_a_batch_of_any_structure_is_cut_along_its_samples() -> None:
    x, y = torch.arange(10).view(5, 2), torch.arange(5)
    batch = {
        "pair": Pair(x, y), "names": ["a", "b", "c", "d", "e"], "images": [torch.ones(n, 2) for n in range(1, 6)],
        "tokens": UserDict({"ids": x}), "scale": torch.tensor(2.0), "task": "sum", "both": [x, (y, None)],
    }  # fmt: skip
    first, second = cut(batch, (3, 2))
    assert torch.equal(second["pair"].x, x[3:])
    assert isinstance(first["pair"], Pair)
    assert (first["names"], second["names"]) == (["a", "b", "c"], ["d", "e"])
    assert [len(image) for image in second["images"]] == [4, 5]
    assert torch.equal(first["tokens"]["ids"], x[:3])
    assert (first["scale"].item(), first["task"]) == (2.0, "sum")
    assert torch.equal(second["both"][1][0], y[3:])
    one, two = cut([x[:2], y[:2]], (1, 1))  # two inputs of two samples, not two samples
    assert torch.equal(two[0], x[1:2])
    assert torch.equal(one[1], y[:1])


@pytest.mark.parametrize(
    ("batch", "reason"),
    [
        ((torch.ones(4, 2), torch.ones(9)), r"a tensor of the shape \[9\] among 4 samples"),
        (object(), "an object of the class object"),
        ([torch.ones(4, 2) for _ in range(4)], "a list of 4 tensors of 4 rows each among 4 samples"),
    ],
)
def test_a_batch_of_which_nobody_knows_the_samples_is_not_cut(batch: Any, reason: str) -> None:
    with pytest.raises(Uncuttable, match=reason):
        cut(batch, (2, 2))
