"""The text of a new config: what a model takes, by its signature, with what a dataset's shape says of it filled in."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kladml_core.config.emit import dump_value
from kladml_core.config.inspect import signature
from kladml_core.config.references import is_data_path
from kladml_core.config.targets import find_target
from kladml_core.errors import KladMLError

if TYPE_CHECKING:
    from kladml_core.workspace.datasets import Column, DatasetRegistration

_FEATURES = frozenset(
    ("in_features", "input_size", "n_features", "num_features", "input_dim", "in_dim", "d_in", "n_inputs", "features")
)
_CHANNELS = frozenset(("in_channels", "channels", "n_channels", "num_channels", "input_channels"))
_LENGTH = frozenset(("seq_len", "sequence_length", "seq_length", "window", "n_steps"))
_OUTPUTS = frozenset(
    (
        "out_features",
        "num_classes",
        "n_classes",
        "classes",
        "output_size",
        "output_dim",
        "out_dim",
        "d_out",
        "n_outputs",
    )
)
_IMAGE = 3
"""Dimensions of a row that is an image: channels, height, width."""
_MOST_ROWS = 5_000_000
"""Of labels that are read to count their classes."""
_LOADERS = ("load", "load_data")


@dataclass(frozen=True)
class Template:
    """The text of a config, and what of it only a person can fill in."""

    text: str
    open: tuple[str, ...]
    """Dotted keys whose value is null and must be written."""


@dataclass(frozen=True)
class _Shape:
    """What a dataset says of the sizes that a model must have."""

    name: str
    x: Column | None = None
    y: Column | None = None
    classes: int | None = None
    rows: int | None = None


def template(workspace: Path, model: str, data: str | None = None, *, experiment: str | None = None) -> Template:
    """Writes a config for a model; the target is imported in a process of its own.

    Args:
        workspace: its root.
        model: `module:Name` or `path/to/file.py:Name`.
        data: a registered dataset, a data file, or `module:function`; None for a function `load` beside the model.
        experiment: its name; the file's name names it where this is None.

    Raises:
        UnusableError: the model cannot be imported; or the dataset's data is gone.
        ConfigError: there is no dataset of that name.
    """
    known = signature(model, workspace)
    data = data or _loader_beside(model, workspace)
    section, shape, left = _data_section(workspace, data)
    takes = known["config"] or [one for one in known["parameters"] if one["name"] not in ("self", "config")]
    lines = [f"# Made of what {model} takes; every key is explained by `kladml-tui config schema`"]
    lines += ["project: default", "family: default"]
    lines += [f"experiment: {dump_value(experiment)}"] if experiment else []
    lines += ["seed: 0", "", "model:", f"  target: {dump_value(model)}"]
    params, open_params = _params(takes, shape)
    lines += [*params, ""]
    if known["model"] == "module" or known["kind"] == "function":
        lines += [f"loss: {_loss(shape)}", ""]
    lines += [*section, "", "training:"]
    if known["model"] == "base_model":
        lines.append("  max_epochs: 1              # the model trains itself")
    else:
        batch = min(32, shape.rows or 32)
        lines += ["  max_epochs: 10", f"  batch_size: {batch}", "  learning_rate: 1e-3"]
    return Template("\n".join(lines) + "\n", (*open_params, *left))


def _params(takes: list[Mapping[str, Any]], shape: _Shape) -> tuple[list[str], list[str]]:
    """The lines of `model.params`, and the keys that are left to the person."""
    lines: list[tuple[str, str]] = []
    left: list[str] = []
    for one in takes:
        if one.get("kind", "").startswith("var_") or one.get("kind") == "positional_only":
            continue
        name = dump_value(one["name"])
        guess = _guess(one["name"], shape)
        if guess is not None:
            lines.append((f"{name}: {guess[0]}", guess[1]))
        elif one["required"]:
            kind = (one.get("annotation") or "").strip("'\"")
            lines.append((f"{name}: null", f"to be filled in{f': {kind}' if kind else ''}"))
            left.append(f"model.params.{one['name']}")
        elif (value := _yaml_of(one["default"])) is not None:
            lines.append((f"{name}: {value}", ""))
    width = max((len(text) for text, why in lines if why), default=0)
    shown = [f"    {text:<{width}}   # {why}" if why else f"    {text}" for text, why in lines]
    return [f"  params:{'' if lines else ' {}'}", *shown], left


def _guess(name: str, shape: _Shape) -> tuple[int, str] | None:
    """A size that the data decides, and why."""
    if shape.x is not None and shape.x.shape:
        size, of = shape.x.shape, f"{shape.name} is {list(shape.x.shape)} a row"
        if name in _FEATURES:
            return prod(size), of
        if name in _CHANNELS and len(size) == _IMAGE:
            return size[0], of
        if name in _LENGTH and len(size) > 1:
            return size[0], of
    if name in _OUTPUTS and shape.classes is not None:
        return shape.classes, f"classes of {shape.name}"
    if name in _OUTPUTS and shape.y is not None and "int" not in shape.y.dtype.lower():
        return prod(shape.y.shape), f"values to predict in {shape.name}"
    return None


def _loss(shape: _Shape) -> str:
    if shape.y is not None and "int" not in shape.y.dtype.lower() and not shape.y.dtype.startswith(("I", "U")):
        return "mse                      # or l1, huber, …, or module:function(output, y)"
    return "cross_entropy            # or mse, l1, …, or module:function(output, y)"


def _data_section(workspace: Path, data: str | None) -> tuple[list[str], _Shape, list[str]]:
    """The lines of `data`, what is known of its shape, and the keys that are left to the person."""
    from kladml_core.workspace.datasets import find_dataset

    if data is None:
        hint = "to be filled in: a registered dataset, a data file, or instead target: module:function"
        return ["data:", f"  train: null                # {hint}"], _Shape(""), ["data.train"]
    if ":" in data:
        find_target(data, workspace)
        return ["data:", f"  target: {dump_value(data)}"], _Shape(data), []
    if is_data_path(data):
        return ["data:", f"  train: {dump_value(data)}"], _Shape(data), []
    found = find_dataset(workspace, data)
    lines = ["data:", f"  train: {dump_value(data)}"]
    lines += [f"  {split}: {dump_value(name)}" for split, name in _siblings(workspace, found)]
    return lines, _shape_of(workspace, found), []


def _siblings(workspace: Path, found: DatasetRegistration) -> Iterator[tuple[str, str]]:
    """The datasets that are the other splits of one, by their names."""
    from kladml_core.workspace.datasets import find_dataset

    for split in ("val", "test"):
        name = found.name.replace("train", split)
        if name == found.name:
            continue
        try:
            find_dataset(workspace, name)
        except KladMLError:
            continue
        yield split, name


def _shape_of(workspace: Path, found: DatasetRegistration) -> _Shape:
    columns = dict(found.columns)
    y = next((columns[name] for name in ("y", "label", "labels", "target", "targets") if name in columns), None)
    x = columns.get("x") or next((one for one in columns.values() if one is not y), None)
    return _Shape(found.name, x, y, _classes(workspace, found, y), found.rows)


def _classes(workspace: Path, found: DatasetRegistration, y: Column | None) -> int | None:
    """How many classes the whole numbers of the labels are; None where that is not known."""
    location = found.location(workspace)
    if y is None or y.shape or "int" not in y.dtype.lower() or location is None or (found.rows or 0) > _MOST_ROWS:
        return None
    if location.suffix != ".npz":
        return None
    import numpy as np

    name = next(name for name, column in found.columns.items() if column is y)
    try:
        with np.load(location, allow_pickle=False) as arrays:
            labels = arrays[name]
    except (OSError, ValueError, KeyError):
        return None  # it has changed since it was registered; the launch will say so
    return int(labels.max()) + 1 if labels.size and labels.min() >= 0 else None


def _loader_beside(model: str, workspace: Path) -> str | None:
    """`module:load`, where the model's module has such a function."""
    source = model.rpartition(":")[0]
    for name in _LOADERS:
        try:
            find_target(f"{source}:{name}", workspace)
        except KladMLError:
            continue
        return f"{source}:{name}"
    return None


def _yaml_of(default: str | None) -> str | None:
    """A default as YAML; None where it is None, or Python alone can say it."""
    try:
        value = ast.literal_eval(default or "")
        return None if value is None else dump_value(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
