"""Holds what a kladml.yaml says against the types of the settings: each fault at its place, with a suggestion."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any

from kladml_core.config.document import Document, KeyPath, describe, dotted
from kladml_core.config.secrets import refuse_secrets
from kladml_core.errors import ConfigError
from kladml_core.settings import SECTIONS


def checked_section(document: Document, path: KeyPath, kind: Any, values: dict[str, Any]) -> Any:
    """The section at `path`, an instance of the dataclass `kind`, that `values` make.

    Raises:
        ConfigError: the first unknown key or wrong value, with its place and a suggestion.
    """
    known = {entry.name: entry for entry in dataclasses.fields(kind)}
    found: dict[str, Any] = {}
    for key, value in values.items():
        below = (*path, key)
        if key not in known:
            raise unknown_key(document, below, list(known), ".".join(map(str, path)))
        # `key:` with nothing after it means the default.
        if value is not None:
            found[key] = _checked(document, below, value, types_of(kind)[key], known[key].metadata)
    return kind(**found)


def _checked(document: Document, path: KeyPath, value: Any, wanted: Any, limits: Mapping[str, Any]) -> Any:
    """`value` in the type that the setting has, or a ConfigError."""
    if wanted == int | tuple[str, ...] | None:
        if isinstance(value, int) and not isinstance(value, bool):
            return _checked(document, path, value, int, limits)
        if not isinstance(value, list):
            raise wrong_value(document, path, value, "a whole number, or a list of the UUIDs of GPUs")
        return _checked(document, path, value, tuple[str, ...], limits)
    if isinstance(wanted, type) and dataclasses.is_dataclass(wanted):
        if not isinstance(value, dict):
            raise wrong_value(document, path, value, "a mapping of keys to values")
        return checked_section(document, path, wanted, value)
    if wanted == Mapping[str, Any]:
        if not isinstance(value, dict):
            raise wrong_value(document, path, value, "a mapping of names to values")
        refuse_secrets(document, path, value)
        return types.MappingProxyType(dict(value))
    if wanted is bool:
        if not isinstance(value, bool):
            raise wrong_value(document, path, value, "true or false")
        return value
    if wanted is int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise wrong_value(document, path, value, "a whole number")
        least, most = limits.get("least", value), limits.get("most", value)
        if not least <= value <= most:
            raise wrong_value(
                document, path, value, f"from {least} to {most}" if "most" in limits else f"at least {least}"
            )
        return value
    if wanted == tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise wrong_value(document, path, value, "a list of texts", "Write it in brackets: [data/configs]")
        return tuple(value)
    if wanted == Mapping[str, str]:
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise wrong_value(document, path, value, "a mapping of text to text", "Write it as {command: key}")
        return types.MappingProxyType(dict(value))
    if not isinstance(value, str) or not value:
        raise wrong_value(document, path, value, "text")
    refuse_secrets(document, path, value)
    options = limits.get("options")
    if options and value not in options:
        close = get_close_matches(value, options, n=1)
        hint = f"Did you mean {close[0]}?" if close else None
        raise wrong_value(document, path, value, f"one of {', '.join(options)}", hint)
    if "pattern" in limits and not re.fullmatch(limits["pattern"], value):
        raise wrong_value(document, path, value, limits["say"])
    return value


def unknown_key(document: Document, path: KeyPath, known: list[str], where: str) -> ConfigError:
    """The error that there is no key `path`, with the nearest of the `known` ones or where else it is one."""
    name = str(path[-1])
    close = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    homes = [section for section, kind in SECTIONS.items() if name in types_of(kind) and section != where]
    if close:
        hint = f"Did you mean {close[0]}?"
    elif homes:
        hint = f"Did you mean {homes[0]}.{name}?"
    else:
        hint = f"The keys are {', '.join(known)}"
    place = document.place(path, key=True)
    return ConfigError(
        f"{name!r} is no key of {where}", hint=hint, file=place.file, line=place.line, column=place.column
    )


def wrong_value(document: Document, path: KeyPath, value: Any, wanted: str, hint: str | None = None) -> ConfigError:
    """The error that the value at `path` must be what `wanted` says."""
    place = document.place(path)
    return ConfigError(
        f"{dotted(path)} must be {wanted}, not {describe(value)}",
        hint=hint,
        file=place.file,
        line=place.line,
        column=place.column,
    )


@cache
def types_of(kind: Any) -> dict[str, Any]:
    """The type of each setting of a section."""
    return typing.get_type_hints(kind)
