"""Lays single values over a document: `--set key.key=value`, and what the environment says."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from kladml_core.config.compose import compose, forbidden_character, plain_value
from kladml_core.config.document import Document, KeyPath, describe, dotted
from kladml_core.errors import ConfigError

V = TypeVar("V")
_NAMED: tuple[KeyPath, ...] = (("training", "optimizer"), ("training", "lr_scheduler"))
"""Values that are a name, or a mapping of the name and its arguments."""
_YAML_STARTS = ("[", "{", '"', "'", "!", "|", ">")


def with_overrides(document: Document, overrides: Sequence[str]) -> Document:
    """A copy of `document` with `key.key=value` words applied in order, values read as in a file.

    Raises:
        ConfigError: a word without `=`, an empty key, a value that is not YAML, or a key below a plain value.
    """
    for word in overrides:
        parts, value = split_override(word)
        written = word.partition("=")[2].strip()
        document = with_value(document, parts, value, f"--set {word}", written=written)
    return document


def with_value(document: Document, parts: Sequence[str], value: Any, source: str, *, written: str = "") -> Document:
    """A copy of `document` with one value put under `parts`; messages about it name `source`.

    Args:
        document: the values below.
        parts: the key, in parts.
        value: what it is to be.
        source: where that was said.
        written: the text of which `value` was made, where there is one.

    Raises:
        ConfigError: `parts` lead below a plain value or outside of a list.
    """
    data = copy.deepcopy(document.data)
    path = _assign(data, tuple(parts), value, source)

    def without(table: Mapping[KeyPath, V]) -> dict[KeyPath, V]:
        return {known: kept for known, kept in table.items() if known[: len(path)] != path}

    sources = {**without(document.overrides), path: source}
    texts = without(document.texts)
    if written and isinstance(value, int | float):
        texts[path] = written
    return Document(data, document.file, without(document.positions), without(document.key_positions), sources, texts)


def split_override(word: str) -> tuple[tuple[str, ...], Any]:
    """The key path and the value of one `key.key=value`.

    Raises:
        ConfigError: it is not written so, or its value is not YAML.
    """
    source = f"--set {word}"
    name, equals, text = word.partition("=")
    parts = tuple(part.strip() for part in name.split("."))
    if not equals:
        raise ConfigError("there is no = in it", hint="Write KEY=VALUE, e.g. training.learning_rate=1e-3", file=source)
    if not all(parts):
        raise ConfigError("a part of the key is empty", hint="Write KEY=VALUE, e.g. training.max_epochs=3", file=source)
    _check_characters(name, source)
    return parts, parse_value(text, source)


def parse_value(text: str, source: str) -> Any:
    """What a value outside a file means: text that begins like a list, a mapping or a quoted text is YAML, all other
    text is one plain scalar, whatever `:` and `#` it holds.

    Raises:
        ConfigError: it begins like YAML and is none.
    """
    _check_characters(text, source)
    text = text.strip()
    if not text.startswith(_YAML_STARTS) and "\n" not in text:
        return plain_value(text, source)
    try:
        return compose(text, source, {}, {})
    except ConfigError as error:
        raise ConfigError(error.message, hint=error.hint, file=source) from None


def _assign(data: dict[str, Any], parts: tuple[str, ...], value: Any, source: str) -> KeyPath:
    """Puts `value` under `parts` of `data`, making mappings on the way; returns the path as positions name it."""
    holder: Any = data
    path: list[str | int] = []
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        key: str | int = part
        if isinstance(holder, list):
            if not part.isascii() or not part.isdigit() or int(part) >= len(holder):
                where = dotted(path)
                raise ConfigError(f"{where} is a list of {len(holder)} items and has no item {part!r}", file=source)
            key = int(part)
        elif not isinstance(holder, dict):
            where = dotted(path)
            name = holder if isinstance(holder, str) else "…"
            whole = f"Set {where} as a whole: {where}={{name: {name}, {dotted(parts[number:])}: …}}"
            hint = whole if tuple(path) in _NAMED else None
            raise ConfigError(f"{where} is {describe(holder)} and has no keys below it", hint=hint, file=source)
        path.append(key)
        if last:
            holder[key] = value
        else:
            if isinstance(holder, dict) and holder.get(part) is None:
                holder[part] = {}
            holder = holder[key]
    return tuple(path)


def _check_characters(text: str, source: str) -> None:
    bad = forbidden_character(text)
    if bad is not None:
        raise ConfigError(f"the character U+{ord(text[bad]):04X} is not allowed", file=source)
