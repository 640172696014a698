"""What the schema says of its keys: help, what may change on resume, names that torch knows."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from kladml_core.config.load import parse, read
from kladml_core.config.names import LOSSES, OPTIMIZER_ARGUMENTS, OPTIMIZERS, SCHEDULES
from kladml_core.config.override import with_overrides
from kladml_core.config.references import DATA_SUFFIXES
from kladml_core.config.schema import TrainingConfig, change_kind, changed_identity, problems, resolve, schema_keys
from kladml_core.settings import load_settings

ROOT = Path(__file__).parents[2]
GOOD = 'model: {target: "mod:Net"}\ndata: {target: "mod:load"}\ntraining: {max_epochs: 3}\n'


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "mod.py").write_text("class Net: ...\ndef load(): ...\n")
    return tmp_path


def test_a_training_config_made_in_python_keeps_the_same_rules() -> None:
    assert TrainingConfig(max_epochs=1).batch_size == 32
    with pytest.raises(ValidationError, match="0 sets every gradient to zero"):
        TrainingConfig(max_epochs=1, gradient_clipping=0)
    with pytest.raises(ValidationError, match="max_epochs or max_steps is required"):
        TrainingConfig()
    with pytest.raises(ValidationError, match="frozen"):
        TrainingConfig(max_epochs=1).max_epochs = 2  # type: ignore[misc]


def test_the_schema_is_read_without_torch() -> None:
    program = (
        "import sys, kladml_core.config.schema\n"
        "heavy = {'torch', 'numpy', 'accelerate', 'mlflow', 'textual'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_key_says_what_it_is_and_what_a_change_means() -> None:
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        path = waiting.pop()
        for key in schema_keys(path):
            assert key.help.endswith("."), (path, key)
            assert key.type != "any", (path, key)
            assert key.change in ("identity", "schedule", "free"), (path, key)
            if key.section:
                waiting.append((*path, key.name))


def test_the_editor_learns_keys_and_values() -> None:
    keys = {key.name: key for key in schema_keys(("training",))}
    assert keys["mixed_precision"].choices == ("no", "fp16", "bf16")
    assert keys["mixed_precision"].default == "no"
    assert keys["max_epochs"].type == "whole number or null"
    assert keys["max_time"].type == "number or null"
    assert keys["optimizer"].choices[:2] == ("adamw", "adam")
    assert keys["compile"].choices == ("true", "false")
    assert keys["checkpoint"].section
    assert {key.name for key in schema_keys(("training", "lr_scheduler"))} >= {"name", "warmup", "patience"}
    assert schema_keys(("model", "params")) == []
    assert schema_keys(("nothing", "here")) == []


def test_a_change_of_an_identity_key_is_told_with_both_values(workspace: Path) -> None:
    before = resolve(parse(GOOD, "c.yaml"), workspace=workspace)
    words = [
        "training.max_epochs=9",
        "training.batch_size=64",
        "model.params.width=3",
        "training.checkpoint.keep_last=4",
    ]
    after = resolve(with_overrides(parse(GOOD, "c.yaml"), words), workspace=workspace)
    assert sorted(changed_identity(before, after)) == [("model.params.width", None, 3), ("training.batch_size", 32, 64)]
    assert changed_identity(before, before) == []
    assert change_kind(("training", "max_epochs")) == "schedule"
    assert change_kind(("training", "optimizer", "momentum")) == "identity"
    assert change_kind(("training", "checkpoint", "keep_last")) == "free"


def test_the_named_optimizers_losses_and_their_arguments_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch")
    for name, cls in OPTIMIZERS.items():
        taken = set(inspect.signature(getattr(torch.optim, cls).__init__).parameters) - {"self", "params", "lr"}
        assert set(OPTIMIZER_ARGUMENTS[name]) <= taken, name
        assert taken <= set(OPTIMIZER_ARGUMENTS[name]), name
    for function in LOSSES.values():
        assert callable(getattr(torch.nn.functional, function))


def test_data_files_are_those_that_can_be_loaded() -> None:
    pytest.importorskip("torch")
    from kladml_core.data.loaders import SUFFIXES

    assert set(DATA_SUFFIXES) == set(SUFFIXES)


@pytest.mark.parametrize(
    "example", sorted((ROOT / "kladml_core" / "examples").glob("*.yaml")), ids=lambda path: path.stem
)
def test_the_examples_have_no_problem(example: Path) -> None:
    assert problems(read(example), workspace=ROOT, settings=load_settings(ROOT, {})) == []


def test_every_schedule_that_may_be_named_can_be_made() -> None:
    pytest.importorskip("torch")
    from kladml_core.training.schedules import make_schedule

    values = {"patience": 2, "cooldown": 2}
    for name, arguments in SCHEDULES.items():
        schedule = make_schedule(name, {key: values.get(key, 0.1) for key in arguments}, total=100)
        assert 0 <= schedule.factor(50) <= 1


def test_readme_names_every_key_of_training_as_the_schema_does() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    waiting: list[tuple[str, ...]] = [("training",)]
    while waiting:
        path = waiting.pop()
        for key in schema_keys(path):
            if key.section:
                waiting.append((*path, key.name))
                continue
            name = ".".join((*path[1:], key.name))
            assert f"| `{name}` | `{key.default}` | {key.change} | {key.help.rstrip('.')} |" in text
