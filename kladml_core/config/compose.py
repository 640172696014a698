"""Turns YAML text into plain data and positions: the 1.2 core schema on PyYAML's event stream."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from kladml_core.errors import ConfigError

# libyaml's parser is twenty times faster; the pure one says the same, and both are tested.
EVENTS: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MAX_DEPTH = 60
MAX_VALUES = 100_000
_CORE_TAGS = {f"tag:yaml.org,2002:{name}": name for name in ("str", "int", "float", "bool", "null", "map", "seq")}
_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INF = re.compile(r"([-+]?)\.(?:inf|Inf|INF)")
_NAN = {".nan", ".NaN", ".NAN"}
# What YAML 1.2 allows, turned round: a set of the few that are forbidden is compiled in a tenth of the time.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")

_Path = tuple[str | int, ...]
_Table = dict[_Path, tuple[int, int]]


@dataclass
class _Node:
    """One value of the text: `kind` is scalar, list or mapping; `items` are (key node or None, value node)."""

    kind: str
    position: tuple[int, int]
    value: Any = None
    plain: bool = False
    """A scalar without quotes, or a list or mapping in brackets."""
    text: str = ""
    """How a plain scalar is written."""
    items: list[tuple[_Node | None, _Node]] = field(default_factory=list)
    finished: bool = False


def compose(text: str, file: str, positions: _Table, keys: _Table, texts: dict[_Path, str] | None = None) -> Any:
    """The data of one YAML document; fills `positions` and `keys` with 1-based lines and columns by path, and `texts`
    with what is written for values that are no text.

    An empty text gives None and no position at all.

    Raises:
        ConfigError: with file, line and column.
    """
    root = _tree(text, file)
    if root is None:
        return None
    return _Unfolding(file, positions, keys, {} if texts is None else texts).unfold(root, (), root.position)


def forbidden_character(text: str) -> int | None:
    """Where the first character stands that no YAML may hold: a control character or a lone surrogate."""
    found = _FORBIDDEN.search(text)
    return found.start() if found else None


def plain_value(text: str, file: str) -> Any:
    """What an unquoted scalar means in the YAML 1.2 core schema; `no`, `on` and `1:30` are text."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if text[0] not in "+-.0123456789":
        return text
    try:
        if _INT.fullmatch(text):
            return int(text)
    except ValueError:
        raise ConfigError(f"the number has {len(text)} digits, too many to read", file=file) from None
    if _OCTAL.fullmatch(text):
        return int(text[2:], 8)
    if _HEX.fullmatch(text):
        return int(text[2:], 16)
    if _FLOAT.fullmatch(text):
        return float(text)
    infinite = _INF.fullmatch(text)
    if infinite:
        return float("-inf" if infinite.group(1) == "-" else "inf")
    return float("nan") if text in _NAN else text


def _tree(text: str, file: str) -> _Node | None:
    """The nodes of the one document in `text`, built from events so that depth is bounded before anything recurses."""
    loader = EVENTS(text)
    root: _Node | None = None
    stack: list[tuple[_Node, list[_Node]]] = []
    anchors: dict[str, _Node] = {}
    documents = 0
    quote: tuple[tuple[int, int], int] | None = None
    try:
        while loader.check_event():
            event = loader.get_event()
            mark = event.start_mark
            position = (mark.line + 1, mark.column + 1)
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    _refuse("a second document begins here", file, position, "Keep one document in a file: remove ---")
                continue
            if isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
                node, children = stack.pop()
                node.items = _pairs(node, children)
                node.finished = True
                continue
            if isinstance(event, yaml.AliasEvent):
                node = _alias(event, anchors, file, position)
            elif isinstance(event, yaml.ScalarEvent):
                end: Any = event.end_mark
                last_line = end.line + 1
                quote = (position, last_line) if event.style in ("'", '"') and last_line > position[0] else None
                node = _scalar(event, file, position)
            elif isinstance(event, yaml.SequenceStartEvent):
                _check_tag(event.tag, ("seq",), file, position)
                node = _Node("list", position, plain=bool(event.flow_style))
            elif isinstance(event, yaml.MappingStartEvent):
                _check_tag(event.tag, ("map",), file, position)
                node = _Node("mapping", position, plain=bool(event.flow_style))
            else:
                continue
            if stack:
                stack[-1][1].append(node)
            elif not (isinstance(event, yaml.ScalarEvent) and event.value == "" and node.plain):
                root = node
            anchor = None if isinstance(event, yaml.AliasEvent) else getattr(event, "anchor", None)
            if anchor is not None:
                anchors[anchor] = node
            if isinstance(event, yaml.CollectionStartEvent):
                if len(stack) >= MAX_DEPTH:
                    _refuse(f"values are nested more than {MAX_DEPTH} deep", file, position)
                stack.append((node, []))
    except yaml.YAMLError as error:
        brackets = [node.position for node, _ in stack if node.plain]
        from kladml_core.config.yaml_errors import worded

        raise worded(error, text, file, brackets[-1] if brackets else None, quote) from None
    finally:
        loader.dispose()
    return root


def _pairs(node: _Node, children: list[_Node]) -> list[tuple[_Node | None, _Node]]:
    if node.kind == "list":
        return [(None, child) for child in children]
    return list(zip(children[::2], children[1::2], strict=True))


def _alias(event: Any, anchors: dict[str, _Node], file: str, position: tuple[int, int]) -> _Node:
    node = anchors.get(event.anchor)
    if node is None:
        _refuse(f"*{event.anchor} names no anchor above it", file, position, 'Quote the text: "*…"')
    if node.kind != "scalar" and not node.finished:
        _refuse(f"*{event.anchor} holds itself", file, position)
    return node


def _scalar(event: Any, file: str, position: tuple[int, int]) -> _Node:
    plain = event.style in (None, "")
    tag = _check_tag(event.tag, ("str", "int", "float", "bool", "null"), file, position)
    node = _Node("scalar", position, event.value, plain, event.value, finished=True)
    if tag == "str" or (tag is None and not plain):
        node.plain = False
        return node
    try:
        node.value = plain_value(event.value, file)
    except ConfigError as error:
        _refuse(error.message, file, position)
    if tag is not None:
        if tag == "float" and type(node.value) is int:
            node.value = float(node.value)
        names = {"int": int, "float": float, "bool": bool, "null": type(None)}
        if type(node.value) is not names[tag]:
            _refuse(f"{event.value!r} is no {tag}, as its tag !!{tag} says", file, position)
    return node


def _check_tag(tag: str | None, allowed: tuple[str, ...], file: str, position: tuple[int, int]) -> str | None:
    if tag is None or tag == "!":
        return None if tag is None else "str"
    name = _CORE_TAGS.get(tag)
    if name not in allowed:
        shown = tag.replace("tag:yaml.org,2002:", "!!")
        _refuse(f"the tag {shown} is not allowed here", file, position, "Quote the text if it begins with !")
    return name


class _Unfolding:
    """Makes data of nodes, counting values so that aliases of aliases cannot fill the memory."""

    def __init__(self, file: str, positions: _Table, keys: _Table, texts: dict[_Path, str]) -> None:
        self.file = file
        self.positions = positions
        self.keys = keys
        self.texts = texts
        self.values = 0

    def unfold(self, node: _Node, path: _Path, position: tuple[int, int]) -> Any:
        self.values += 1
        if self.values > MAX_VALUES or len(path) > 2 * MAX_DEPTH:
            _refuse(f"the aliases unfold to more than {MAX_VALUES:,} values", self.file, position)
        self.positions[path] = position
        if node.kind == "scalar":
            if not isinstance(node.value, str):
                self.texts[path] = node.text
            return node.value
        if node.kind == "list":
            return [self.unfold(child, (*path, at), child.position) for at, (_, child) in enumerate(node.items)]
        data: dict[str, Any] = {}
        for key, child in node.items:
            assert key is not None  # a mapping's items always come with their key
            name = self.name(key)
            below = (*path, name)
            if name in data:
                first = self.keys[below]
                _refuse(f"the key {name!r} is written twice; the first is on line {first[0]}", self.file, key.position)
            self.keys[below] = key.position
            data[name] = self.unfold(child, below, child.position)
        return data

    def name(self, key: _Node) -> str:
        if key.kind != "scalar":
            _refuse(f"a key must be text, not a {key.kind}", self.file, key.position)
        if not isinstance(key.value, str):
            shown = "nothing" if key.value is None else str(key.value)
            quoted = key.text or "null"
            _refuse(f"a key must be text, not {shown}", self.file, key.position, f'Quote it: "{quoted}":')
        if key.plain and key.value == "<<":
            hint = "Write the keys out, or name the whole mapping with *name"
            _refuse("merge keys (<<) are not part of YAML 1.2", self.file, key.position, hint)
        return key.value


def _refuse(message: str, file: str, position: tuple[int, int], hint: str | None = None) -> NoReturn:
    raise ConfigError(message, hint=hint, file=file, line=position[0], column=position[1])
