"""From the arguments of `ExperimentRunner.run` to a run's config, its model and its data."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kladml_core.config.load import dump, parse
from kladml_core.config.references import GIVEN_DATA
from kladml_core.errors import ConfigError, ExitCode, UnusableError
from kladml_core.settings import Settings
from kladml_core.workspace.data_files import look_at_data

if TYPE_CHECKING:
    from kladml_core.config.schema import RunConfig
    from kladml_core.data.datamodule import DataModule, Split
    from kladml_core.models.base import BaseModel


@dataclass(frozen=True)
class Arguments:
    """What a person asks for; see `ExperimentRunner.run`."""

    model: Any
    model_config: Mapping[str, Any]
    loss: Any
    train: Any
    val: Any
    test: Any
    project: str
    family: str
    experiment: str
    seed: int
    training: Any
    device: str


@dataclass(frozen=True)
class Plan:
    """A run in this process in which everything has been checked that can be before it starts."""

    config: RunConfig
    make_model: Callable[[], BaseModel]
    load_data: Callable[[], DataModule]
    code: Path
    """A file or folder in the repository whose state is recorded."""
    fingerprints: Mapping[str, str]
    """Of the data files that are given by name."""
    warnings: tuple[str, ...]
    """What the person should know before this trains."""


def make_plan(given: Arguments, root: Path, settings: Settings) -> Plan:
    """Checks the arguments as a config file is checked; writes nothing.

    Raises:
        ConfigError: a key, value or name is wrong.
        UnusableError: the model or the data is nothing that can be used.
    """
    from kladml_core.config.schema import RunConfig, problems

    _require_class(given.model)
    load_data, section = _data(given, root)
    data: dict[str, Any] = {
        "project": given.project,
        "family": given.family,
        "experiment": given.experiment,
        "seed": given.seed,
        "model": {"target": target_of(given.model, root), "params": _plain(given.model_config, "model_config")},
        "data": section,
        "training": _training(given.training),
        "launch": {"device": given.device, "processes": 1},
    }
    if given.loss is not None:
        data["loss"] = target_of(given.loss, root)
    document = parse(dump(data), "run")
    # What was given as an object need not be found in any file.
    objects = {("model", "target"): given.model, ("loss",): given.loss}
    held = {path for path, thing in objects.items() if not isinstance(thing, str)}
    found = [
        problem
        for problem in problems(document, workspace=root, settings=settings)
        if not (problem.exit_code == ExitCode.UNUSABLE and problem.path in held)
    ]
    if found:
        worst = min(found, key=lambda problem: problem.exit_code)
        # No line of a file: the person wrote arguments.
        raise type(worst.error())(worst.message, hint=worst.hint)
    config = RunConfig.model_validate(document.data)
    make_model = partial(_make_model, given, config, root)
    return Plan(config, make_model, load_data, _code(given.model, root), *look_at_data(config, root))


def make_recorded(config: Mapping[str, Any], root: Path) -> BaseModel:
    """A model as a run's config.yaml says.

    Raises:
        UnusableError: its class cannot be imported here, a notebook's for example.
    """
    from kladml_core.models.resolve import build_model

    model, loss = config["model"], config.get("loss")
    loss = _importable(loss, root) if isinstance(loss, str) and ":" in loss else loss
    return build_model(_importable(model["target"], root), model["params"], loss)


def target_of(thing: Any, root: Path) -> str:
    """`module:Name` of a class or function, or `path/to/file.py:Name` of one in the script that runs; text as it is."""
    if isinstance(thing, str):
        return thing
    module = getattr(thing, "__module__", None) or "__main__"
    name = getattr(thing, "__qualname__", type(thing).__qualname__)
    script = getattr(sys.modules.get("__main__"), "__file__", None) if module == "__main__" else None
    if script:
        path = Path(script).resolve()
        module = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
    return f"{module}:{name}"


def _require_class(model: Any) -> None:
    is_model = hasattr(model, "ml_task") and not inspect.isclass(model)
    if is_model or not (isinstance(model, str) or callable(model)):
        raise UnusableError(
            f"model_class is {_a(type(model).__name__)}, not a class",
            hint="give the class (or a function that builds the model, or its module:Name), and model_config",
        )
    from torch import nn

    if isinstance(model, nn.Module):
        raise UnusableError(
            f"model_class is an instance of {type(model).__name__}",
            hint="give the class and model_config: the run's seed draws its weights",
        )


def _make_model(given: Arguments, config: RunConfig, root: Path) -> BaseModel:
    from kladml_core.models.resolve import import_target, model_of, resolve_callable

    target = config.model.target
    model = given.model
    if isinstance(model, str):
        model = resolve_callable(_importable(model, root), "model_class")
    loss = given.loss
    if isinstance(loss, str) and ":" in loss:
        loss = import_target(_importable(loss, root), "loss")
    return model_of(model, target, config.model.params, loss)


def _data(given: Arguments, root: Path) -> tuple[Callable[[], DataModule], dict[str, Any]]:
    """How the data is loaded, and the config's data section."""
    from kladml_core.data.datamodule import DataModule, as_split
    from kladml_core.data.loaders import load_data

    def resolve(target: str) -> Callable[..., Any]:
        from kladml_core.models.resolve import resolve_callable

        return resolve_callable(_importable(target, root), "train_data")

    splits = {"train": given.train, "val": given.val, "test": given.test}
    splits = {name: value for name, value in splits.items() if value is not None}
    if all(isinstance(value, str) for value in splits.values()):
        section: dict[str, Any] = dict(splits)
        if ":" in section["train"]:
            if len(section) > 1:
                raise ConfigError(f"{section['train']} gives all data itself", hint="leave val_data and test_data out")
            section = {"target": section["train"]}
        return (lambda: load_data(section, root, resolve)), section
    if isinstance(given.train, DataModule | Mapping):
        if len(splits) > 1:
            raise ConfigError("train_data holds all splits itself", hint="leave val_data and test_data out")
        data = DataModule.of(given.train, "train_data")
    else:
        named = {name: value for name, value in splits.items() if isinstance(value, str)}
        read = {name: as_split(load_data({"train": it}, root, resolve).train, name) for name, it in named.items()}
        data = DataModule(**{**splits, **read})
    described = {name: _described(split) for name, split in data.splits.items()}
    return (lambda: data), {"target": GIVEN_DATA, "params": described}


def _described(split: Split) -> str:
    """What a split is, for whoever reads the run's config later."""
    if split.tensors is not None and split.subset is None:
        return ", ".join(f"{str(it.dtype).removeprefix('torch.')} {list(it.shape)}" for it in split.tensors)
    length = "an unknown number of" if split.length is None else str(split.length)
    return f"{type(split.dataset).__name__} of {length} samples"


def _training(training: Any) -> dict[str, Any]:
    if training is None:
        return {"max_epochs": 10}
    if hasattr(training, "model_dump"):
        return dict(training.model_dump(mode="json"))
    if not isinstance(training, Mapping):
        raise ConfigError(f"training_config is {_a(type(training).__name__)}", hint="give a dict, or a TrainingConfig")
    return _plain(training, "training_config")


def _plain(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The values as a YAML file can say them, so that the run can be repeated from its config."""
    plain = {str(key): _unboxed(value) for key, value in values.items()}
    for key, value in plain.items():
        try:
            dump(value)
        except TypeError as error:
            raise ConfigError(
                f"{name}[{key!r}] is {_a(type(value).__name__)}, which a run's config cannot hold: {error}",
                hint="give numbers, texts, lists and dicts; name classes and functions as module:Name",
            ) from error
    return plain


def _unboxed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _unboxed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_unboxed(item) for item in value]
    # A number of numpy says itself what it is in Python.
    return value.item() if type(value).__module__ == "numpy" and not getattr(value, "shape", True) else value


def _importable(target: str, root: Path) -> str:
    """The target with a file's path made absolute; modules of the workspace can be imported from now on."""
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    module, _, name = target.rpartition(":")
    return f"{root / module}:{name}" if module.endswith(".py") else target


def _code(model: Any, root: Path) -> Path:
    try:
        return Path(inspect.getfile(model))
    except (TypeError, OSError):
        return root  # given by name, or typed into a notebook


def _a(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
