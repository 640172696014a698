"""Rules that tie keys of a config together, on plain data: they say what to write instead."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from kladml_core.config.document import describe
from kladml_core.config.faults import Fault, mapping, number, suggestion
from kladml_core.config.launch_rules import launch_faults
from kladml_core.config.names import LOSSES, OPTIMIZER_ARGUMENTS, OPTIMIZERS, SCHEDULES, is_target

HALVES_ALONE = (
    "oom: halve works in one process: one that runs out of memory leaves the others waiting for its gradients",
    "Write oom: fail, lower batch_size and raise gradient_accumulation_steps by the same factor",
)
"""What is wrong with halving in several processes, from the key on, and what to write instead."""


def training_faults(training: Mapping[str, Any]) -> Iterator[Fault]:
    """Faults of a `training` section; values of a wrong type are left to the type check."""
    if "seed" in training:
        yield Fault(("seed",), "seed is no key of training", "Write seed: at the top level, beside model:", at_key=True)
    if training.get("max_epochs") is None and training.get("max_steps") is None:
        hint = "Add max_epochs: 10 below training:"
        yield Fault((), "max_epochs or max_steps is required", hint, at_key=True, lacks=("max_epochs", "max_steps"))
    clipping = training.get("gradient_clipping")
    if number(clipping) and clipping <= 0:
        reason = "0 sets every gradient to zero, so nothing would be learnt" if clipping == 0 else "a norm is positive"
        yield Fault(
            ("gradient_clipping",),
            f"gradient_clipping must be greater than 0: {reason}",
            "Write null for no clipping, or a norm such as 1.0",
        )
    yield from _optimizer_faults(training.get("optimizer"))
    yield from _schedule_faults(training)


def loss_faults(loss: Any) -> Iterator[Fault]:
    """Faults of the `loss` value."""
    if isinstance(loss, str) and not is_target(loss):
        yield from _unknown_name((), "loss", loss, LOSSES)


def run_faults(data: Mapping[str, Any]) -> Iterator[Fault]:
    """Faults between the sections of a whole config."""
    training = mapping(data.get("training"))
    launch = mapping(data.get("launch"))
    precision = training.get("mixed_precision")
    if precision == "fp16" and launch.get("device") == "cpu":
        yield Fault(
            ("training", "mixed_precision"),
            "training.mixed_precision: fp16 does not work on launch.device: cpu",
            "Write bf16 or no, or train on a GPU",
        )
    several = any(number(launch.get(key)) and launch[key] > 1 for key in ("processes", "machines"))
    if training.get("oom") == "halve" and several:
        message, hint = HALVES_ALONE
        yield Fault(("training", "oom"), f"training.{message}", hint)
    yield from launch_faults(launch, training)
    yield from _data_faults(data.get("data"))
    source = mapping(data.get("data"))
    stopping = mapping(training.get("early_stopping"))
    monitor = stopping.get("monitor", "val/loss")
    without_validation = source.get("train") is not None and source.get("val") is None
    if stopping.get("enabled") is True and without_validation and str(monitor).startswith("val/"):
        yield Fault(
            ("training", "early_stopping"),
            f"training.early_stopping waits for {monitor}, but data has no val",
            "Name validation data under data.val, or monitor: train/loss",
        )
    schedule, _, below = _named(training.get("lr_scheduler"))
    if schedule == "plateau" and without_validation:
        yield Fault(
            ("training", "lr_scheduler", *below),
            "training.lr_scheduler plateau lowers the rate by what validation gives, but data has no val",
            "Name validation data under data.val, or write cosine",
        )


def _data_faults(source: Any) -> Iterator[Fault]:
    if not isinstance(source, Mapping):
        return
    splits = [name for name in ("train", "val", "test") if source.get(name) is not None]
    if source.get("target") is None:
        if "train" not in splits:
            hint = "Write target: module:function, or train: a dataset"
            yield Fault(("data",), "data needs a target, or train", hint, at_key=True, lacks=("target", "train"))
            if source.get("params"):
                yield Fault(("data", "params"), "data.params go to a data.target, and there is none", "Add target:")
    elif splits:
        yield Fault(
            ("data", splits[0]),
            f"data.{splits[0]} cannot stand beside data.target, which gives all data itself",
            f"Remove data.target, or {' and '.join(f'data.{name}' for name in splits)}",
        )


def _optimizer_faults(optimizer: Any) -> Iterator[Fault]:
    name, arguments, below = _named(optimizer)
    if name is None or is_target(name):
        return
    path = ("optimizer", *below)
    if name.lower() == "lbfgs":
        yield Fault(path, "optimizer lbfgs cannot be used: its state cannot be written to a checkpoint", "Use adamw")
        return
    yield from _unknown_name(path, "optimizer", name, OPTIMIZERS)
    known = OPTIMIZER_ARGUMENTS.get(name)
    for argument, value in arguments.items() if known else ():
        if argument in ("lr", "learning_rate"):
            yield Fault(
                ("optimizer", argument),
                f"optimizer.{argument} is written as training.learning_rate",
                "Move it there",
                at_key=True,
            )
        elif known and argument not in known:
            yield _unknown_argument("optimizer", name, argument, known)
        elif isinstance(value, (str, dict)):
            message = f"optimizer.{argument} must be a number, true or false, or a list, not {describe(value)}"
            yield Fault(("optimizer", argument), message)


def _schedule_faults(training: Mapping[str, Any]) -> Iterator[Fault]:
    name, arguments, below = _named(training.get("lr_scheduler"))
    if name is None or is_target(name):
        return
    yield from _unknown_name(("lr_scheduler", *below), "lr_scheduler", name, SCHEDULES)
    known = SCHEDULES.get(name, ())
    for argument, value in arguments.items() if known else ():
        if argument not in known:
            yield _unknown_argument("lr_scheduler", name, argument, known)
        elif wanted := _schedule_value(argument, value):
            message = f"lr_scheduler.{argument} must be {wanted}, not {describe(value)}"
            yield Fault(("lr_scheduler", argument), message)
    total = training.get("max_steps")
    spent = sum(value for value in (arguments.get("warmup"), arguments.get("decay")) if number(value) and value >= 1)
    if known and number(total) and spent >= total > 0:
        yield Fault(
            ("lr_scheduler",),
            f"lr_scheduler spends {spent:g} steps on warm-up and decay, but max_steps is {total}",
            "Shorten warmup or decay; below 1 they are shares of all steps",
        )


def _schedule_value(argument: str, value: Any) -> str | None:
    """What the value of a schedule's argument must be, where it is something else."""
    if argument in ("warmup", "decay"):
        fine = number(value) and value >= 0 and (value < 1 or float(value).is_integer())
        return None if fine else "a whole number of steps, or a share of all steps below 1"
    if argument in ("patience", "cooldown"):
        return None if type(value) is int and value >= 0 else "a whole number of validations"
    if argument in ("factor", "final"):
        return None if number(value) and 0 <= value <= 1 else "a number from 0 to 1"
    return None if number(value) and 0 <= value < math.inf else "a number, at least 0"


def _named(value: Any) -> tuple[str | None, Mapping[str, Any], tuple[str, ...]]:
    """The name, the arguments and where the name stands, or None where the type check will complain."""
    if isinstance(value, str):
        return value, {}, ()
    if isinstance(value, Mapping) and isinstance(value.get("name"), str):
        return value["name"], {key: item for key, item in value.items() if key != "name"}, ("name",)
    return None, {}, ()


def _unknown_name(path: tuple[str | int, ...], what: str, name: str, known: Mapping[str, Any]) -> Iterator[Fault]:
    if name not in known:
        hint = suggestion(name, known, "write module:function, or one of these")
        yield Fault(path, f"{what} {name!r} is not known", hint)


def _unknown_argument(what: str, name: str, argument: str, known: tuple[str, ...]) -> Fault:
    hint = suggestion(argument, known, f"the arguments of {name} are")
    return Fault((what, argument), f"{what} {name} has no argument {argument!r}", hint, at_key=True)
