"""The examples are files a person may copy: their configs hold, their data is real and fixed, their models learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import kladml_core
from kladml_core.config.load import read
from kladml_core.config.schema import problems
from kladml_core.data.datamodule import DataModule
from kladml_core.data.fingerprint import fingerprints
from kladml_core.examples import diabetes, digits, tiny_gpt
from kladml_core.models import TorchModel
from kladml_core.settings import load_settings
from kladml_core.training.checkpoints import capture, restore
from kladml_core.training.sampling import epoch_order

FOLDER = Path(kladml_core.__file__).parent / "examples"
HOMES = {
    "digits": ("vision", "digits", "cnn-baseline"),
    "tiny_gpt": ("language", "stdlib", "tiny-gpt"),
    "diabetes": ("tabular", "diabetes", "mlp-baseline"),
}


@pytest.mark.parametrize("name", HOMES)
def test_a_config_is_valid_commented_and_files_its_runs(name: str, tmp_path: Path) -> None:
    (tmp_path / "kladml.yaml").write_text("workspace: {name: test}\n")
    document = read(FOLDER / f"{name}.yaml")
    assert problems(document, workspace=tmp_path, settings=load_settings(tmp_path)) == []
    assert tuple(document.data[key] for key in ("project", "family", "experiment")) == HOMES[name]
    assert (FOLDER / f"{name}.yaml").read_text().startswith("# ")


def trained(
    model: TorchModel, data: DataModule, *, steps: int, rate: float, batch: int
) -> tuple[nn.Module, list[float]]:
    torch.manual_seed(0)
    module = model.build().train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=rate)
    losses: list[float] = []
    epoch = 0
    while len(losses) < steps:
        for indices in epoch_order(int(data.train.length or 0), 0, epoch).split(batch):
            output: Any = model.training_step(module, data.train.fetch(indices))
            loss = output[0] if isinstance(output, tuple) else output
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        epoch += 1
    return module.eval(), losses


@torch.no_grad()
def validated(model: TorchModel, module: nn.Module, data: DataModule, batch: int) -> dict[str, float]:
    totals: dict[str, tuple[float, float]] = {}
    assert data.val is not None
    for indices in torch.arange(int(data.val.length or 0)).split(batch):
        for name, value in dict(model.validation_step(module, data.val.fetch(indices))).items():  # type: ignore[arg-type]
            mean, weight = value if isinstance(value, tuple) else (value, len(indices))
            total, count = totals.get(name, (0.0, 0.0))
            totals[name] = (total + float(mean) * weight, count + weight)
    return {name: total / count for name, (total, count) in totals.items()}


def test_digits_are_read_after_a_few_epochs() -> None:
    data = DataModule.of(digits.load())
    assert (data.train.length, data.val and data.val.length) == (1437, 360)
    model = digits.DigitsCNN(config={"width": 16})
    module, losses = trained(model, data, steps=23 * 6, rate=3e-3, batch=64)
    found = validated(model, module, data, 64)
    assert losses[0] > 2
    assert found["accuracy"] > 0.95
    assert found.keys() == {"loss", "accuracy"}


def test_the_digits_split_is_fixed_stratified_and_apart() -> None:
    one, other = DataModule.of(digits.load()), DataModule.of(digits.load())
    assert fingerprints(one) == fingerprints(other)
    assert one.val is not None
    labels = one.val.fetch(torch.arange(360))[1]
    assert labels.bincount().min() >= 34
    rows = {tuple(image.flatten().tolist()) for image in one.train.fetch(torch.arange(1437))[0]}
    assert sum(tuple(image.flatten().tolist()) in rows for image in one.val.fetch(torch.arange(360))[0]) == 0


def test_tiny_gpt_learns_the_letters_of_python() -> None:
    data = DataModule.of(tiny_gpt.load(characters=40_000, context=32))
    model = tiny_gpt.TinyGPT(config={"layers": 1, "width": 64, "context": 32})
    module, losses = trained(model, data, steps=70, rate=3e-3, batch=32)
    assert 4 < losses[0] < 5, "about log 97 before training"
    assert losses[-1] < 3
    one, other = validated(model, module, data, 7), validated(model, module, data, 64)
    assert one["loss"] == pytest.approx(other["loss"], rel=1e-5), "exact, however it is batched"


def test_tiny_gpt_does_not_look_ahead_and_ties_its_weights() -> None:
    model = tiny_gpt.TinyGPT(config={"layers": 2, "width": 32, "context": 16})
    module = model.build().eval()
    tokens = torch.randint(0, 97, (1, 16))
    changed = tokens.clone()
    changed[0, 10] = (changed[0, 10] + 1) % 97
    difference = (module(tokens) - module(changed)).abs().sum(dim=-1)[0]
    assert difference[:10].max() == 0
    assert difference[10:].min() > 0
    content = capture(module, torch.optim.AdamW(module.parameters()))
    assert content.state["model"]["aliases"] == {"head.weight": "token.weight"}
    other = model.build()
    restore(content, other, torch.optim.AdamW(other.parameters()))
    assert torch.equal(other.eval()(tokens), module(tokens))


def test_the_library_text_is_python_and_always_the_same() -> None:
    text = tiny_gpt.library_text(50_000)
    assert len(text) == 50_000
    assert text == tiny_gpt.library_text(60_000)[:50_000]
    assert "import " in text
    data = tiny_gpt.load(characters=50_000, context=64)
    assert tuple(data["train"][0].shape) == ((45_000 - 1) // 64, 65)
    assert int(data["train"][0].max()) < tiny_gpt.VOCABULARY


def test_diabetes_is_predicted_better_than_by_the_mean_and_r2_is_exact() -> None:
    data = DataModule.of(diabetes.load())
    model = diabetes.DiabetesMLP()
    module, _ = trained(model, data, steps=400, rate=1e-3, batch=32)
    found = validated(model, module, data, 20)
    assert found["r2"] > 0.25
    assert found["mae"] < 55
    assert data.val is not None
    x, y, _ = data.val.fetch(torch.arange(89))
    with torch.no_grad():
        residual = (module(x) - y).square().sum()
    assert found["r2"] == pytest.approx(float(1 - residual / (y - y.mean()).square().sum()), abs=1e-4)


def test_diabetes_is_standardised_by_the_training_rows_alone() -> None:
    data = DataModule.of(diabetes.load())
    x, y = data.train.fetch(torch.arange(353))
    assert x.mean(dim=0).abs().max() < 1e-5
    assert (x.std(dim=0) - 1).abs().max() < 1e-5
    assert data.val is not None
    assert data.val.fetch(torch.arange(89))[0].mean(dim=0).abs().max() > 1e-3
    assert float(y.max()) > 300, "targets stay in their own units"


def test_every_example_says_what_it_is_for_and_saves_itself(tmp_path: Path) -> None:
    for kind in (digits.DigitsCNN, tiny_gpt.TinyGPT, diabetes.DiabetesMLP):
        model = kind(config={})
        assert model.ml_task != kladml_core.MLTask.OTHER
        model.save(tmp_path / kind.__name__)
        assert isinstance(kind(config={}).load(tmp_path / kind.__name__), kind)
