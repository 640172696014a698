"""Writes plain data as YAML in a stable order, so that both YAML 1.1 and 1.2 readers take back what was written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

import yaml

from kladml_core.errors import kind_of

_ESCAPED = re.compile("[^ -~\xa1-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


class _Dumper(yaml.SafeDumper):
    """Quotes what either schema would not read as text, and never writes aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    # Line breaks and what PyYAML writes unescaped into quotes, only to fold it when reading, are safe as escapes.
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if _ESCAPED.search(text) else None)


_Dumper.add_representer(str, _text)
# The 1.1 resolvers are inherited (so `no` and 1:30 come out quoted); these are what only 1.2 reads as a number.
_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)
_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"^(0o[0-7]+|[-+]?[0-9]+)$"),
    list("-+0123456789"),
)


def dump(data: Any) -> str:
    """YAML of mappings, lists, text, numbers, booleans and None; `parse` gives back an equal value.

    Raises:
        TypeError: the data holds something that YAML cannot say.
    """
    return yaml.dump(
        _plain(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=10**6
    )


def _plain(data: Any) -> Any:
    if isinstance(data, Enum):
        return _plain(data.value)
    if data is None or isinstance(data, bool):
        return data
    if isinstance(data, str):
        return str(data)
    if isinstance(data, int):
        return int(data)
    if isinstance(data, float):
        return float(data)
    if isinstance(data, Mapping):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_plain(value) for value in data]
    if isinstance(data, PurePath):
        return str(data)
    raise TypeError(f"YAML cannot say {kind_of(data)}: {data!r}")


def dump_value(value: Any) -> str:
    """One value on one line, as it would be written behind `--set key=`; `parse_value` gives back an equal value."""
    # Text is quoted only where the bare words would be read as something else.
    if isinstance(value, str) and _reads_as_itself(value):
        return value
    style = '"' if isinstance(value, str) else None
    options: dict[str, Any] = {"default_flow_style": True, "default_style": style}
    text = yaml.dump(_plain(value), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6, **options)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def _reads_as_itself(text: str) -> bool:
    # Imported here: load imports this module.
    from kladml_core.config.override import parse_value
    from kladml_core.errors import ConfigError

    try:
        return bool(parse_value(text, "") == text) and text == text.strip()
    except ConfigError:
        return False
