"""What a checkpoint holds, in memory, and how state that is no tensor becomes strict JSON and comes back exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

_TAGS = ("$tensor", "$float", "$tuple", "$items", "$dtype")


class Unstorable(Exception):
    """A value has a type that no checkpoint can hold; the message names where it stands and what it is."""


@dataclass
class Content:
    """A checkpoint in memory, all tensors on the CPU."""

    model: dict[str, Tensor] = field(default_factory=dict)
    """Parameters and persistent buffers by bare name; tied ones once, under their first name."""
    optimizer: dict[str, Tensor] = field(default_factory=dict)
    """Optimizer state, `<parameter name>/<state key>`."""
    averages: dict[str, Tensor] = field(default_factory=dict)
    """The moving average of the weights by bare name, tied ones once; empty where none is kept."""
    rng: dict[str, Tensor] = field(default_factory=dict)
    """Generators of every rank, `rank<r>/<generator>`."""
    state: dict[str, Any] = field(default_factory=dict)
    """Everything else: numbers, texts, lists, tuples, dicts, the odd tensor. Comes back from a file as it went in."""

    def weights_for_use(self) -> dict[str, Any]:
        """What the module's `load_state_dict` takes to be used: averaged weights where there are some, else its own."""
        saved = self.state.get("model") or {}
        averaged = {name: value.to(self.model[name].dtype) for name, value in self.averages.items()}
        own = {**self.model, **averaged}
        tied = {alias: own[name] for alias, name in (saved.get("aliases") or {}).items() if alias not in averaged}
        return {**own, **tied, **(saved.get("extra") or {})}


def encode(value: Any, tensors: dict[str, Tensor], place: str) -> Any:
    """A value in words of strict JSON; tensors in it are copied to the CPU into `tensors` under `place`-like names.

    What JSON has no word for is tagged: NaN and the infinities, tuples, dicts with other keys than texts.

    Raises:
        Unstorable: the value holds something else.
    """
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, Tensor):
        tensors[place] = value.detach().to("cpu", copy=True)
        return {"$tensor": place}
    if isinstance(value, float):
        value = float(value)
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, torch.dtype):
        return {"$dtype": str(value).removeprefix("torch.")}
    if type(value) is tuple:
        return {"$tuple": [encode(item, tensors, f"{place}/{index}") for index, item in enumerate(value)]}
    if type(value) is list:
        return [encode(item, tensors, f"{place}/{index}") for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        if all(type(key) is str and not key.startswith("$") for key in value):
            return {key: encode(item, tensors, f"{place}/{key}") for key, item in value.items()}
        items = enumerate(value.items())
        return {
            "$items": [
                [encode(key, tensors, f"{place}/{index}k"), encode(item, tensors, f"{place}/{index}v")]
                for index, (key, item) in items
            ]
        }
    scalar = getattr(value, "item", None)
    if callable(scalar) and getattr(value, "ndim", 1) == 0:  # a numpy number
        return encode(scalar(), tensors, place)
    raise Unstorable(f"{place} is a {type(value).__module__}.{type(value).__qualname__}")


def decode(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The value that `encode` was given.

    Raises:
        ValueError: this is not what `encode` wrote.
    """
    if isinstance(value, list):
        return [decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    tag = next(iter(value), None)
    if len(value) != 1 or tag not in _TAGS:
        return {key: decode(item, tensors) for key, item in value.items()}
    inner = value[tag]
    if tag == "$tuple":
        return tuple(decode(item, tensors) for item in inner)
    if tag == "$items":
        return {decode(key, tensors): decode(item, tensors) for key, item in inner}
    if tag == "$float":
        return float(inner)
    if tag == "$dtype":
        return getattr(torch, inner)
    if inner not in tensors:
        raise ValueError(f"the tensor {inner!r} is missing")
    return tensors[inner]
