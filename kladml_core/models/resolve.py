"""From a config's targets to living objects; every fault names the line of the YAML and of the person's own code."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn
from torch.nn import functional

from kladml_core.config.import_file import import_file
from kladml_core.config.names import LOSSES
from kladml_core.errors import ConfigError, KladMLError, NotSupportedError, UnusableError, kind_of
from kladml_core.models.base import BaseModel, takes_config
from kladml_core.models.module_model import Loss, ModuleModel
from kladml_core.models.torch_model import TorchModel
from kladml_core.training.failures import shown, told_with_place


@dataclass(frozen=True)
class Source:
    """Where the keys of a config stand in the person's file."""

    file: str | None = None
    positions: Mapping[str, Any] = field(default_factory=dict)
    """Dotted key to (line, column), counted from 1."""
    overrides: Mapping[str, str] = field(default_factory=dict)
    """Dotted key to the words of the command line that set it."""

    def at(self, key: str) -> dict[str, Any]:
        """`file`, `line` and `column` of a key, or of the nearest one above it that is known."""
        parts = key.split(".")
        while parts:
            if ".".join(parts) in self.overrides:
                return {"file": self.overrides[".".join(parts)]}
            position = self.positions.get(".".join(parts))
            if position is not None and self.file is not None:
                return {"file": self.file, "line": int(position[0]), "column": int(position[1])}
            parts.pop()
        return {"file": self.file}


NOWHERE = Source()


def import_target(target: str, key: str, source: Source = NOWHERE) -> Any:
    """The object that `module:Name` or `path/to/file.py:Name` names.

    Args:
        key: the config's dotted key, for the place in errors.

    Raises:
        UnusableError: the import fails for whatever reason, or there is no such name.
    """
    module_name, colon, name = target.rpartition(":")
    if not colon or not module_name or not name:
        hint = "write module:Name or path/to/file.py:Name"
        raise UnusableError(f"{target!r} is no target", hint=hint, **source.at(key))
    from_file = module_name.endswith(".py")
    try:
        module = import_file(Path(module_name)) if from_file else importlib.import_module(module_name)
    except KladMLError:
        raise
    except (Exception, SystemExit) as error:  # a person's module may raise anything while it is imported
        raise UnusableError(
            f"{target} cannot be imported: {told_with_place(error)}",
            hint="the traceback is in the run's console.log",
            **source.at(key),
        ) from error
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            close = get_close_matches(part, [known for known in dir(found) if not known.startswith("_")], n=1)
            raise UnusableError(
                f"{module_name} has no {part!r}", hint=f"did you mean {close[0]}?" if close else None, **source.at(key)
            )
        found = getattr(found, part)
    return found


def resolve_callable(target: str, key: str, source: Source = NOWHERE) -> Callable[..., Any]:
    """As `import_target`, for what will be called.

    Raises:
        UnusableError: as there, or the object cannot be called.
    """
    found = import_target(target, key, source)
    if not callable(found):
        raise UnusableError(f"{target} is {kind_of(found)}, which cannot be called", **source.at(key))
    return found


def call(
    target: str, function: Callable[..., Any], params: Mapping[str, Any], key: str, source: Source = NOWHERE
) -> Any:
    """Calls a target with the config's parameters.

    Args:
        key: the dotted key of the parameters.

    Raises:
        UnusableError: the parameters do not fit the signature; nothing has been called then.
    """
    _require_fit(target, function, params, key, source)
    return function(**params)


def resolve_loss(loss: Any, source: Source = NOWHERE) -> Loss:
    """A loss by its name in the config, by module:function, or one given as it is.

    Raises:
        ConfigError: the name is not known.
        UnusableError: the target cannot be imported or called.
    """
    if callable(loss):
        return loss
    name = str(loss)
    if ":" in name:
        return resolve_callable(name, "loss", source)
    if name not in LOSSES:
        raise ConfigError(f"loss {name!r} is not known", hint=f"one of {', '.join(LOSSES)}", **source.at("loss"))
    return getattr(functional, LOSSES[name])


def build_model(target: str, params: Mapping[str, Any], loss: str | None, source: Source = NOWHERE) -> BaseModel:
    """The model of a run: a TorchModel, a plain BaseModel, or an nn.Module with its loss as a TorchModel.

    Raises:
        UnusableError: the target cannot be imported, is nothing of these, its parameters do not fit, or an nn.Module
            comes without a loss.
    """
    return model_of(resolve_callable(target, "model.target", source), target, params, loss, source)


def model_of(
    function: Callable[..., Any],
    target: str,
    params: Mapping[str, Any],
    loss: str | Loss | None = None,
    source: Source = NOWHERE,
) -> BaseModel:
    """As `build_model`, from the class or function itself.

    Args:
        target: what to call it in errors.
    """
    if inspect.isclass(function) and issubclass(function, BaseModel):
        if inspect.isabstract(function):
            missing = ", ".join(sorted(function.__abstractmethods__))
            hint = "define them in the class"
            raise UnusableError(f"{target} lacks {missing}", hint=hint, **source.at("model.target"))
        if loss is not None:
            raise ConfigError(
                f"loss is for a plain nn.Module, and {target} computes its own",
                hint="leave loss: out",
                **source.at("loss"),
            )
        arguments = {"config": dict(params)} if takes_config(function) else dict(params)
        return call(target, function, arguments, "model.params", source)
    _require_fit(target, function, params, "model.params", source)
    make: Callable[[], Any] = partial(function, **params)
    if inspect.isclass(function) and issubclass(function, nn.Module):
        return _module_model(target, make, params, loss, source)
    if inspect.isclass(function):
        _refuse(target, function.__name__, source)
    made = make()
    if isinstance(made, BaseModel):
        return made
    if not isinstance(made, nn.Module):
        _refuse(target, f"{type(made).__name__} (what it returned)", source)
    # Called once more when the run's seed is set: this first module only told of what kind it is.
    return _module_model(target, make, params, loss, source)


def as_torch_model(model: Any, loss: Any = None) -> TorchModel:
    """A TorchModel as it is; an nn.Module with a loss as one.

    Raises:
        UnusableError: it is nothing of these, or a module without a loss.
    """
    if isinstance(model, TorchModel):
        return model
    if isinstance(model, nn.Module):
        if loss is None:
            raise UnusableError(
                f"{type(model).__name__} is a plain nn.Module, which needs a loss",
                hint="give loss='cross_entropy', say",
            )
        module = model
        return ModuleModel(lambda: module, resolve_loss(loss))
    if isinstance(model, BaseModel):
        raise NotSupportedError(f"{type(model).__name__} trains itself", hint="call its own train()")
    raise UnusableError(f"{type(model).__name__} is no model", hint="give a TorchModel, or an nn.Module and a loss")


def _module_model(
    target: str, make: Callable[[], nn.Module], params: Mapping[str, Any], loss: str | Loss | None, source: Source
) -> ModuleModel:
    if loss is None:
        raise UnusableError(
            f"{target} is a plain nn.Module, which needs a loss",
            hint="add loss: cross_entropy (or mse, or module:function) at the top level",
            **source.at("model.target"),
        )
    return ModuleModel(make, resolve_loss(loss, source), params)


def _refuse(target: str, kind: str, source: Source) -> None:
    wrong = f"{kind} is neither a TorchModel, a BaseModel nor an nn.Module"
    raise UnusableError(f"{target} is no model: {wrong}", **source.at("model.target"))


def _require_fit(
    target: str, function: Callable[..., Any], params: Mapping[str, Any], key: str, source: Source
) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # written in C: calling it will tell
    try:
        signature.bind(**params)
    except TypeError as error:
        takes = [name for name in signature.parameters if name != "self"]
        unknown = [name for name in params if name not in takes]
        fault = f"it has no parameter {unknown[0]!r}" if unknown else str(error)
        at = f"{key}.{unknown[0]}" if unknown else key
        close = get_close_matches(str(unknown[0]), takes, n=1) if unknown else []
        place = _definition(function)
        hint = f"did you mean {close[0]}?" if close else f"it takes {', '.join(takes) or 'nothing'}"
        raise UnusableError(
            f"{key} does not fit {target}: {fault}", hint=f"{hint} ({place})" if place else hint, **source.at(at)
        ) from error


def _definition(function: Callable[..., Any]) -> str:
    """`file:line` of a function or class, or an empty string."""
    try:
        file = inspect.getsourcefile(function)
        _, line = inspect.getsourcelines(function)
    except (OSError, TypeError):
        return ""
    return f"{shown(str(file))}:{line}"
