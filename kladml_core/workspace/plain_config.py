"""The parameters of a run's recorded config, quickly: line by line in the style that our `dump` writes, else parsed.

A workspace of ten thousand runs holds ten thousand configs that differ in a line or two. Each is cut at its top-level
keys: a part that was seen before is not parsed again, one in the plainest style is read line by line, and any other by
`kladml_core.config.load`. A text whose parts do not stand alone (anchors, several documents, comments between keys) is
parsed whole, so that the values are always those of that one loader.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from kladml_core.config.compose import plain_value
from kladml_core.config.diff import flatten
from kladml_core.config.load import MAX_BYTES, dotted, parse
from kladml_core.errors import ConfigError
from kladml_core.workspace.values import number_of, param_text

Param = tuple[str, str, str, float | None]
"""A dotted key, its value as JSON, as text, and as a number where it is one."""

# A scalar of characters that mean nothing in YAML, one in single quotes, or what is empty.
_VALUE = r"(?!-(?: |$))[A-Za-z0-9_./+-](?:[A-Za-z0-9_./+@ -]|:(?=[^ ]))*(?<! )|'[^']*'|\{\}|\[\]"
_LINE = re.compile(rf"( *)([A-Za-z_][A-Za-z0-9_.-]*):(?: ({_VALUE}))?")
_ITEM = re.compile(rf"( *)- ({_VALUE})")
_CUT = re.compile(r"(?<=\n)(?=[^ \n-])")
_CUT_BELOW = re.compile(r"\n(?=  [^ -])")
_INDENT = 2
_DEPTH = 20
_MANY = 4


def params_of(data: bytes, file: str) -> tuple[Param, ...]:
    """The parameters of a config.

    Args:
        data: the file's bytes.
        file: what to call it in messages.

    Raises:
        ConfigError: it is no YAML that configs may be.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ConfigError("the file is not UTF-8", file=file) from None
    found: list[Param] = []
    keys: set[str] = set()
    for part in _CUT.split(text) if len(data) <= MAX_BYTES else ():
        told = _part(part)
        if told is None or told[0] in keys:
            break
        keys.add(told[0])
        found += told[1]
    else:
        if keys:
            return tuple(found)
    return tuple(_params(parse(text, file).data))


def _params(data: dict[str, Any]) -> list[Param]:
    return [_param(dotted(path), value) for path, value in flatten(data).items() if path]


def _param(key: str, value: Any) -> Param:
    return key, json.dumps(value), param_text(value), number_of(value)


@lru_cache(1024)
def _part(text: str) -> tuple[str, list[Param]] | None:
    """The one top-level key of a part, and the parameters of the part; None where it does not stand alone."""
    try:
        plain = _plain(text)
        if plain is not None:
            return plain
        data = parse(text, "").data
    except ConfigError:
        return None
    return (next(iter(data)), _params(data)) if len(data) == 1 else None


def _plain(text: str) -> tuple[str, list[Param]] | None:
    """The same of a part in the plainest style; None of any other."""
    head, *below = _CUT_BELOW.split(text.removesuffix("\n"))
    if len(below) < _MANY:
        return _lines(text)
    found: list[Param] = []
    keys: set[str] = set()
    for one in below:
        key = one.partition(":")[0]
        params = _below(head, one)
        if params is None or key in keys:
            return None
        keys.add(key)
        found += params
    return head.removesuffix(":"), found


@lru_cache(8192)
def _below(head: str, text: str) -> list[Param] | None:
    """The parameters of one key below a top-level one, by which parts differ that are otherwise alike."""
    told = _lines(f"{head}\n{text}")
    return None if told is None else told[1]


def _lines(text: str) -> tuple[str, list[Param]] | None:
    """Key and parameters, read line by line."""
    found: list[Param] = []
    path: list[str] = []
    paths: set[tuple[str, ...]] = set()
    items: list[Any] | None = None
    opened = True
    for line in text.removesuffix("\n").split("\n"):
        match = _LINE.fullmatch(line)
        if match is None:
            item = _ITEM.fullmatch(line)
            # Our own lists stand under their key, and hold what has no keys of its own.
            if item is None or not path or len(item[1]) != _INDENT * (len(path) - 1) or not (opened or items):
                return None
            items, opened = [*(items or ()), _plain_scalar(item[2])], False
            continue
        if items:
            found.append(_param(".".join(path), items))
            items = None
        indent, key, value = match.groups()
        depth, odd = divmod(len(indent), _INDENT)
        # Below a key without a value stands something; below one with a value nothing; and one key is on top.
        if odd or depth > _DEPTH or (depth != len(path) if opened else not 0 < depth < len(path)):
            return None
        path[depth:] = [key]
        here = tuple(path)
        if here in paths or not isinstance(plain_value(key, ""), str):
            return None
        paths.add(here)
        opened = value is None
        if value is not None:
            found.append(_scalar(".".join(path), value))
    if items:
        found.append(_param(".".join(path), items))
    return None if opened else (path[0], found)


@lru_cache(8192)
def _scalar(key: str, text: str) -> Param:
    return _param(key, _plain_scalar(text))


def _plain_scalar(text: str) -> Any:
    if text[0] == "'":
        return text[1:-1]
    if text[0] in "{[":
        return {} if text == "{}" else []
    return plain_value(text, "")
