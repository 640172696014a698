"""Compares configs: the keys in which they differ, with the value of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from kladml_core.config.document import KeyPath, dotted


class _Missing:
    """Stands for a key that a config does not have."""

    def __repr__(self) -> str:
        return "–"


MISSING = _Missing()


def diff(configs: Sequence[Mapping[str, Any]]) -> list[tuple[str, tuple[Any, ...]]]:
    """The dotted keys in which N configs differ, each with its N values; `MISSING` where a config lacks the key.

    Mappings are compared key by key and lists as a whole; 1, 1.0 and true are three values, and NaN equals NaN.
    Keys come in the order in which they are first met.
    """
    return [(dotted(path), values) for path, values in differences(configs)]


def alike(configs: Sequence[Mapping[str, Any]]) -> list[tuple[str, Any]]:
    """The dotted keys that all configs have with the same value, each with that value."""
    flat = [flatten(config) for config in configs]
    return [
        (dotted(path), value)
        for path, value in (flat[0] if flat else {}).items()
        if all(_same(value, one.get(path, MISSING)) for one in flat[1:])
    ]


def differences(configs: Sequence[Mapping[str, Any]]) -> list[tuple[KeyPath, tuple[Any, ...]]]:
    """The same with paths instead of dotted keys."""
    flat = [flatten(config) for config in configs]
    paths: dict[KeyPath, None] = {}
    for one in flat:
        paths.update(dict.fromkeys(one))
    above = {path[:length] for path in paths for length in range(1, len(path))}
    found = []
    for path in paths:
        values = tuple(one.get(path, MISSING) for one in flat)
        # An empty mapping here and keys below it there: the keys tell it all.
        said_below = path in above and all(value is MISSING or value == {} for value in values)
        if not said_below and differ(values):
            found.append((path, values))
    return found


def differ(values: Sequence[Any]) -> bool:
    """Whether the values of a key are not all the same one; see `diff`."""
    return any(not _same(values[0], value) for value in values[1:])


def flatten(config: Mapping[str, Any]) -> dict[KeyPath, Any]:
    """The values of a nested mapping by path; an empty mapping is itself a value."""
    found: dict[KeyPath, Any] = {}
    waiting: list[tuple[KeyPath, Any]] = [((), config)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, Mapping) and (value or not path):
            waiting.extend(((*path, str(key)), below) for key, below in reversed(list(value.items())))
        else:
            found[path] = value
    return found


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, float) and math.isnan(one):
        return math.isnan(other)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return bool(one == other)
