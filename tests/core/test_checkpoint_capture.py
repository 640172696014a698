"""What is captured from a model in training and put into a new one goes on as if nothing had happened, bit for bit."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kladml_core.errors import UnusableError
from kladml_core.training.checkpoints import Content, capture, load, restore, save, unsupported_reason

STEPS = 4


class Net(nn.Module):
    """Convolution, batch norm, dropout and two layers that share their weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.first = nn.Linear(64, 64, bias=False)
        self.second = nn.Linear(64, 64)
        self.second.weight = self.first.weight
        self.temperature = nn.Parameter(torch.tensor(1.5))
        self.register_buffer("calls", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        hidden = F.relu(self.norm(self.conv(x))).flatten(1)
        return self.second(F.dropout(self.first(hidden), 0.3, self.training)) * self.temperature


def groups(module: nn.Module) -> list[dict[str, Any]]:
    decayed = [parameter for parameter in module.parameters() if parameter.ndim > 1]
    rest = [parameter for parameter in module.parameters() if parameter.ndim <= 1]
    return [{"params": decayed, "weight_decay": 0.1}, {"params": rest, "lr": 3e-3, "weight_decay": 0.0}]


OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "adam": lambda module: torch.optim.Adam(groups(module), amsgrad=True),
    "adamw": lambda module: torch.optim.AdamW(groups(module), betas=(0.8, 0.95)),
    "adamw-fused": lambda module: torch.optim.AdamW(groups(module), fused=True),
    "adamw-lr-tensor": lambda module: torch.optim.AdamW(groups(module), lr=torch.tensor(1e-3)),
    "sgd": lambda module: torch.optim.SGD(groups(module), lr=0.01, momentum=0.9, nesterov=True),
    "sgd-plain": lambda module: torch.optim.SGD(groups(module), lr=0.01),
    "adagrad": lambda module: torch.optim.Adagrad(groups(module), lr=0.01),
    "rmsprop": lambda module: torch.optim.RMSprop(groups(module), lr=1e-3, momentum=0.5, centered=True),
    "nadam": lambda module: torch.optim.NAdam(groups(module)),
    "rprop": lambda module: torch.optim.Rprop([{"params": list(module.parameters())}], lr=1e-3),
}


def made(optimizer: str, *, seed: int = 0, channels_last: bool = False, dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(seed)
    module = Net().to(dtype)
    if channels_last:
        module = module.to(memory_format=torch.channels_last)
    return module, OPTIMIZERS[optimizer](module)


def train(module: nn.Module, optimizer: torch.optim.Optimizer, steps: int = STEPS) -> None:
    dtype = next(module.parameters()).dtype
    for _ in range(steps):
        # Data from the global generators too, so that a generator that is not put back shows.
        x = torch.randn(3, 2, 4, 4).to(dtype) * random.random() + float(np.random.normal())
        optimizer.zero_grad()
        module(x).square().mean().backward()
        optimizer.step()


def through_files(content: Content, directory: Path) -> Content:
    info = save(directory, content, step=1, epoch=0, metrics={}, world_size=1, config_hash="", best=False)
    return load(info.path)


def identical(one: Content, other: Content) -> bool:
    for left, right in ((one.model, other.model), (one.optimizer, other.optimizer), (one.rng, other.rng)):
        assert left.keys() == right.keys()
        for name in left:
            assert left[name].dtype == right[name].dtype, name
            assert left[name].stride() == right[name].stride(), name
            assert torch.equal(left[name], right[name]), name
    return one.state == other.state


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_goes_on_from_a_file_as_if_it_had_not_been_interrupted(optimizer: str, tmp_path: Path) -> None:
    module, inner = made(optimizer)
    train(module, inner)
    for group in inner.param_groups:
        group["lr"] = group["lr"] * 0.3  # as a schedule does
    content = through_files(capture(module, inner), tmp_path)
    train(module, inner)

    other, its = made(optimizer, seed=7)
    train(other, its, 1)
    assert restore(content, other, its) == []
    train(other, its)

    assert identical(capture(module, inner), capture(other, its))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("channels_last", [False, True])
def test_types_and_memory_format_survive(dtype: torch.dtype, channels_last: bool, tmp_path: Path) -> None:
    module, inner = made("adamw", dtype=dtype, channels_last=channels_last)
    train(module, inner)
    content = through_files(capture(module, inner), tmp_path)
    train(module, inner)

    other, its = made("adamw", seed=7, dtype=dtype)  # built without channels_last: the checkpoint knows it
    restore(content, other, its)
    assert other.conv.weight.stride() == module.conv.weight.stride()
    train(other, its)

    assert identical(capture(module, inner), capture(other, its))


def test_a_captured_content_does_not_change_when_training_goes_on() -> None:
    module, inner = made("adamw")
    train(module, inner)
    content = capture(module, inner)
    before = {name: tensor.clone() for name, tensor in {**content.model, **content.optimizer}.items()}
    train(module, inner)
    assert all(torch.equal(before[name], tensor) for name, tensor in {**content.model, **content.optimizer}.items())


def test_tied_weights_are_stored_once_and_stay_tied() -> None:
    module, inner = made("sgd")
    content = capture(module, inner)
    assert "first.weight" in content.model
    assert "second.weight" not in content.model
    assert content.state["model"]["aliases"] == {"second.weight": "first.weight"}
    other, its = made("sgd", seed=7)
    restore(content, other, its)
    assert other.second.weight is other.first.weight
    assert torch.equal(other.second.weight, module.first.weight)


def test_weights_tied_by_their_memory_alone_stay_tied_when_the_strides_change() -> None:
    def build(transposed: bool) -> nn.Module:
        pair = nn.ModuleList([nn.Conv2d(2, 3, 3), nn.Conv2d(2, 3, 3)])
        if transposed:
            pair.to(memory_format=torch.channels_last)
        pair[1].weight.data = pair[0].weight.data
        return pair

    source, target = build(True), build(False)
    restore(capture(source, torch.optim.SGD(source.parameters())), target, torch.optim.SGD(target.parameters()))
    assert target[0].weight.data_ptr() == target[1].weight.data_ptr()
    assert target[1].weight.stride() == source[0].weight.stride()
    assert torch.equal(target[1].weight, source[0].weight)


def test_names_are_those_of_the_bare_module_however_it_is_wrapped() -> None:
    module, inner = made("adamw")
    train(module, inner)
    plain = capture(module, inner)
    wrapped = nn.DataParallel(module)
    assert capture(wrapped, inner).model.keys() == plain.model.keys()
    compiled = torch.compile(module)
    assert capture(compiled, inner).optimizer.keys() == plain.optimizer.keys()
    module.conv = torch.compile(module.conv)  # a compiled part
    assert capture(module, inner).model.keys() == plain.model.keys()
    assert restore(plain, module, inner) == []


def test_fp32_state_of_bf16_weights_keeps_its_bits() -> None:
    module = nn.Linear(3, 3, bias=False).to(torch.bfloat16)
    inner = torch.optim.SGD(module.parameters(), lr=0.1)
    momentum = torch.randn(3, 3)
    inner.state[module.weight] = {"momentum_buffer": momentum, "note": (1, float("inf"), "text"), "count": 3}
    content = capture(module, inner)
    inner.state.clear()
    restore(content, module, inner)
    state = inner.state[module.weight]
    assert torch.equal(state["momentum_buffer"], momentum)
    assert (state["note"], state["count"]) == ((1, float("inf"), "text"), 3)


def test_extra_state_of_a_module_survives(tmp_path: Path) -> None:
    class Counter(nn.Linear):
        seen: Any = None

        def get_extra_state(self) -> Any:
            return self.seen

        def set_extra_state(self, state: Any) -> None:
            self.seen = state

    module, other = Counter(2, 2), Counter(2, 2)
    module.seen = {"rows": 5, "mean": torch.tensor([1.0, 2.0]), 3: ("a", None)}
    content = through_files(capture(module, torch.optim.SGD(module.parameters())), tmp_path)
    restore(content, other, torch.optim.SGD(other.parameters()))
    assert other.seen["rows"] == 5
    assert other.seen[3] == ("a", None)
    assert torch.equal(other.seen["mean"], torch.tensor([1.0, 2.0]))


def test_the_gradient_scaler_is_put_back() -> None:
    class Scaler:
        def __init__(self, scale: float) -> None:
            self.scale = scale

        def state_dict(self) -> dict[str, Any]:
            return {"scale": self.scale, "_growth_tracker": 3}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.scale = state["scale"]

    module, inner = made("sgd")
    content = capture(module, inner, Scaler(1024.0))
    scaler = Scaler(1.0)
    assert restore(content, module, inner, scaler) == []
    assert scaler.scale == 1024.0
    assert "scaler" in restore(capture(module, inner), module, inner, scaler)[0]


def test_accelerates_wrapper_changes_nothing() -> None:
    from accelerate import Accelerator

    module, inner = made("adamw")
    train(module, inner)
    plain = capture(module, inner)
    prepared_module, prepared = Accelerator(cpu=True).prepare(module, inner)
    assert identical(plain, capture(prepared_module, prepared))
    assert restore(plain, prepared_module, prepared) == []
    assert unsupported_reason(prepared) is None


def test_a_checkpoint_of_another_model_is_refused_by_name() -> None:
    module, inner = made("sgd")
    content = capture(module, inner)
    small = nn.Linear(2, 2)
    with pytest.raises(UnusableError, match="another model: it lacks bias"):
        restore(content, small, torch.optim.SGD(small.parameters()))
    module, inner = made("sgd")
    module.conv = nn.Conv2d(2, 4, 5)
    with pytest.raises(UnusableError, match=r"conv\.weight is float32 \[4, 2, 3, 3\] in it"):
        restore(content, module, inner)


def test_a_checkpoint_of_another_optimizer_is_refused() -> None:
    module, inner = made("sgd")
    content = capture(module, inner)
    with pytest.raises(UnusableError, match="SGD, the run has AdamW"):
        restore(content, module, OPTIMIZERS["adamw"](module))
    with pytest.raises(UnusableError, match="other parameter groups"):
        restore(content, module, torch.optim.SGD(module.parameters()))


def test_an_optimizer_whose_state_no_checkpoint_can_hold_is_told_before_training() -> None:
    module, _ = made("sgd")
    assert [name for name, make in OPTIMIZERS.items() if unsupported_reason(make(module))] == []
    assert "LBFGS" in str(unsupported_reason(torch.optim.LBFGS(module.parameters())))

    history = torch.optim.SGD(module.parameters())
    history.state[module.conv.weight] = {"history": [torch.zeros(2)]}
    assert "list of tensors" in str(unsupported_reason(history))
    history.state[module.conv.weight] = {"closure": object()}
    assert "builtins.object" in str(unsupported_reason(history))
    history.state.clear()
    history.state["everything"] = {"count": 1}
    assert "belongs to no parameter" in str(unsupported_reason(history))

    class Own(torch.optim.SGD):
        def state_dict(self) -> Any:
            return {"mine": 1}

    assert "in a way of its own" in str(unsupported_reason(Own(module.parameters())))


def test_generators_of_a_rank_that_was_not_there_are_reported() -> None:
    module, inner = made("sgd")
    notes = restore(capture(module, inner), module, inner, rank=3)
    assert notes == ["the checkpoint has no generators of rank 3; they are seeded anew"]
