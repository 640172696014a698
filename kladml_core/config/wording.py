"""Puts a failed type check into a person's words, with a suggestion."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from kladml_core.config.document import KeyPath, describe, dotted
from kladml_core.config.faults import Fault
from kladml_core.config.schema_run import RunConfig

# What other libraries call these keys, where no spelling is near.
_ELSEWHERE = {
    "lr": "learning_rate",
    "epochs": "max_epochs",
    "num_epochs": "max_epochs",
    "num_train_epochs": "max_epochs",
    "steps": "max_steps",
    "scheduler": "lr_scheduler",
    "lr_schedule": "lr_scheduler",
    "schedule": "lr_scheduler",
    "clip": "gradient_clipping",
    "grad_clip": "gradient_clipping",
    "max_grad_norm": "gradient_clipping",
    "gradient_clip_val": "gradient_clipping",
    "amp": "mixed_precision",
    "precision": "mixed_precision",
    "fp16": "mixed_precision",
    "bf16": "mixed_precision",
    "workers": "num_workers",
    "accumulate_grad_batches": "gradient_accumulation_steps",
    "bs": "batch_size",
    "criterion": "loss",
    "name": "experiment",
    "gpus": "processes",
    "devices": "processes",
    "num_processes": "processes",
    "dataset": "data",
    "datasets": "data",
    "trainer": "training",
    "class": "target",
    "kwargs": "params",
    "args": "params",
    "validation": "val",
    "valid": "val",
    "save_every": "checkpoint",
    "save_steps": "every_steps",
    "ema": "ema_decay",
    "model_ema": "ema_decay",
    "use_ema": "ema_decay",
    "ema_beta": "ema_decay",
    "auto_find_batch_size": "oom",
    "auto_scale_batch_size": "oom",
    "out_of_memory": "oom",
    "async": "background",
    "async_save": "background",
    "watchdog": "hang_timeout",
    "ddp_timeout": "hang_timeout",
}
_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_YES_NO = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}
_EXAMPLES = {
    "model": "Add model: with target: module:Name",
    "data": "Add data: with target: module:function, or train: and val:",
    "training": "Add training: with max_epochs: 10",
    "target": "Add target: module:Name",
}


def worded(detail: Any, texts: Mapping[KeyPath, str]) -> Fault:
    """One error of pydantic's as a fault of a config.

    Args:
        detail: what pydantic says of it.
        texts: what was written for values that are no text, by their paths.
    """
    path: KeyPath = tuple(detail["loc"])
    kind: str = detail["type"]
    name = dotted(path)
    value = detail["input"]
    shown = describe(value)
    context = detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(path)
    if kind == "missing":
        example = _EXAMPLES.get(str(path[-1]), f"Add {path[-1]}:")
        return Fault(path[:-1], f"{name} is missing", example, at_key=True, lacks=(str(path[-1]),))
    if kind == "kladml":
        return Fault(path, f"{name} {detail['msg']}")
    if kind == "string_pattern_mismatch":
        options = ["auto", "cpu", "cuda", "mps"]
        close = get_close_matches(str(value), [*options, "gpu"], n=1)
        hint = f"Did you mean {'cuda' if close[0] == 'gpu' else close[0]}?" if close else None
        return Fault(path, f"{name} must be auto, cpu, cuda, cuda:N or mps, not {shown}", hint)
    if kind == "literal_error":
        return _one_of(path, name, value)
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        bound = context[key]
        return Fault(
            path,
            f"{name} must be {words} {describe(int(bound) if bound == int(bound) else bound)}, not {shown}",
            _bound_hint(str(path[-1])),
        )
    hint = _type_hint(kind, path, value, texts.get(path))
    return Fault(path, f"{name} must be {_wanted(kind, path)}, not {shown}", hint)


def _wanted(kind: str, path: KeyPath) -> str:
    words = {
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "int_parsing_size": "a smaller number",
        "float_type": "a number",
        "finite_number": "a finite number",
        "bool_type": "true or false",
        "string_type": "text",
        "string_too_short": "some text",
        "dict_type": "a mapping of names to values",
    }
    if kind in words:
        return words[kind]
    section = section_of((*path, ""))
    return f"a mapping with keys such as {', '.join(list(section.model_fields)[:3])}" if section else "of another type"


def _type_hint(kind: str, path: KeyPath, value: Any, written: str | None) -> str | None:
    if value is None and len(path) > 1:
        return "Remove the key to take its default"
    if kind == "model_type" and isinstance(value, str) and path[-1] in ("model", "data"):
        return f"Write {path[-1]}: {{target: {value if ':' in value else 'module:Name'}}}"
    if kind == "bool_type" and isinstance(value, str) and value.lower() in _YES_NO:
        return f"Write {_YES_NO[value.lower()]}"
    if kind == "string_type" and isinstance(value, (int, float)):
        return f'Quote it: "{written or (str(value).lower() if isinstance(value, bool) else value)}"'
    if kind in ("int_type", "int_from_float") and isinstance(value, float) and value.is_integer():
        return f"Write {int(value)}"
    if kind in ("int_type", "float_type") and isinstance(value, str):
        try:
            number = float(value.replace("_", "").replace(",", "."))
        except ValueError:
            return None
        return f"Write {number:g} without quotes"
    return None


def _bound_hint(key: str) -> str | None:
    return {
        "keep_last": "A second checkpoint stays valid while the next one is written",
        "keep_best": "The best checkpoint is never removed",
        "ema_decay": "0.999 averages over about the last 1000 steps; null for no average",
    }.get(key)


def _one_of(path: KeyPath, name: str, value: Any) -> Fault:
    section = section_of(path)
    options = [str(option) for option in get_args(section.model_fields[str(path[-1])].annotation)] if section else []
    close = get_close_matches(str(value).lower(), options, n=1, cutoff=0.5)
    hint = f"Did you mean {close[0]}?" if close else None
    if value is False and "no" in options:
        hint = "Write no"
    return Fault(path, f"{name} must be one of {', '.join(options)}, not {describe(value)}", hint)


def _unknown_key(path: KeyPath) -> Fault:
    key = str(path[-1])
    section = section_of(path)
    names = list(section.model_fields) if section else []
    where = dotted(path[:-1]) or "a config"
    meant = _meant(key, names)
    if meant:
        hint = f"Did you mean {meant}?"
    else:
        homes = [(*home, known) for home, fields in sections() if (known := _meant(key, fields, near=False))]
        hint = _home_hint(homes[0]) if homes else f"The keys are {', '.join(names)}"
    return Fault(path, f"{key!r} is no key of {where}", hint, at_key=True, meant=meant)


def _home_hint(home: tuple[str, ...]) -> str:
    """Where a key belongs that is written in a section that does not have it."""
    if len(home) > 1:
        return f"Did you mean {dotted(home)}?"
    beside = "data" if home[0] == "model" else "model"
    return f"Write {home[0]}: at the top level, beside {beside}:"


def _meant(key: str, names: Sequence[str], *, near: bool = True) -> str | None:
    """The one of `names` that `key` was meant to be: by spelling where `near`, or by its name in other libraries."""
    lowered = key.lower().replace("-", "_")
    if lowered in names:
        return lowered
    close = get_close_matches(lowered, names, n=1, cutoff=0.75) if near else []
    known = _ELSEWHERE.get(lowered)
    if not close and known not in names:
        close = get_close_matches(lowered, names, n=1, cutoff=0.6) if near else []
    return close[0] if close else known if known in names else None


def section_of(path: KeyPath) -> type[BaseModel] | None:
    """The section whose field the last part of `path` is, or None where the path leads out of the schema."""
    section: type[BaseModel] | None = RunConfig
    for part in path[:-1]:
        entry = section.model_fields.get(str(part)) if section else None
        section = _section_type(entry.annotation) if entry else None
    return section


def sections() -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The path and the keys of every section, the outer ones first."""
    waiting: list[tuple[tuple[str, ...], type[BaseModel]]] = [((), RunConfig)]
    while waiting:
        path, section = waiting.pop(0)
        yield path, tuple(section.model_fields)
        for name, entry in section.model_fields.items():
            below = _section_type(entry.annotation)
            if below:
                waiting.append(((*path, name), below))


def _section_type(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType):
        return next((found for found in map(_section_type, get_args(annotation)) if found), None)
    return None
