"""What the editor says about the keys of a config: name, type, default and one sentence each."""

from __future__ import annotations

import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from kladml_core.config.names import LOSSES, OPTIMIZER_ARGUMENTS, OPTIMIZERS, SCHEDULES
from kladml_core.config.wording import section_of

_CHOICES: dict[str, Sequence[str]] = {
    "optimizer": tuple(OPTIMIZERS),
    "lr_scheduler": tuple(SCHEDULES),
    "loss": tuple(LOSSES),
    "device": ("auto", "cpu", "cuda", "mps"),
}


@dataclass(frozen=True)
class KeyHelp:
    """What there is to know of one key."""

    name: str
    type: str
    default: str
    """As it would be written in YAML; `required` where there is none."""
    help: str
    choices: tuple[str, ...] = ()
    """Values worth completing."""
    change: str = ""
    """What a change means to a resumed run: identity, schedule or free."""
    section: bool = False
    """Whether keys stand below it."""


def schema_keys(path: Sequence[str | int] = ()) -> list[KeyHelp]:
    """The keys that may stand in the section at `path` (`()` for the top level); empty where the schema ends there."""
    path = tuple(path)
    section = section_of((*path, ""))
    if section is None:
        return _argument_keys(path)
    return [_key_help(name, entry) for name, entry in section.model_fields.items()]


def _key_help(name: str, entry: FieldInfo) -> KeyHelp:
    choices = tuple(_CHOICES.get(name, ())) or _options(entry.annotation)
    extra = entry.json_schema_extra if isinstance(entry.json_schema_extra, dict) else {}
    return KeyHelp(
        name,
        _type_name(entry.annotation),
        _default(entry),
        entry.description or "",
        choices,
        str(extra.get("kladml", "")),
        _is_section(entry.annotation),
    )


def _argument_keys(path: tuple[str | int, ...]) -> list[KeyHelp]:
    """Names of arguments that some optimizer or schedule takes."""
    tables: dict[tuple[str | int, ...], dict[str, tuple[str, ...]]] = {
        ("training", "optimizer"): OPTIMIZER_ARGUMENTS,
        ("training", "lr_scheduler"): SCHEDULES,
    }
    table = tables.get(path)
    if table is None:
        return []
    takers: dict[str, list[str]] = {}
    for owner, arguments in table.items():
        for argument in arguments:
            takers.setdefault(argument, []).append(owner)
    names = KeyHelp("name", "text", "required", "The name, or module:function.", tuple(table))
    return [names, *(KeyHelp(name, "any", "", f"An argument of {', '.join(of)}.") for name, of in takers.items())]


def _default(entry: FieldInfo) -> str:
    if entry.is_required():
        return "required"
    value = entry.get_default(call_default_factory=True, validated_data={})
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{}"
    return "" if isinstance(value, BaseModel) else str(value)


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _options(annotation: Any) -> tuple[str, ...]:
    if get_origin(annotation) is Literal:
        return tuple(str(option) for option in get_args(annotation))
    return ("true", "false") if annotation is bool else ()


def _type_name(annotation: Any) -> str:
    words = {int: "whole number", float: "number", bool: "true or false", str: "text", type(None): "null", Any: "name"}
    origin = get_origin(annotation)
    if origin is Annotated:
        return _type_name(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return " or ".join(_type_name(part) for part in get_args(annotation))
    if origin is Literal:
        return " | ".join(_options(annotation))
    if origin is dict or _is_section(annotation):
        return "mapping"
    return words.get(annotation, "any")
