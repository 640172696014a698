"""No private name of ours hides one of Textual's, which keeps its own state in attributes of the same objects."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Iterator

from textual.message_pump import MessagePump

import kladml_tui

MEANT = {"_on_key"}
"""Hooks that Textual documents for overriding."""


def own_classes() -> Iterator[type]:
    for module in pkgutil.walk_packages(kladml_tui.__path__, "kladml_tui."):
        if module.name.endswith("__main__"):
            continue
        for _, value in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(value, MessagePump) and value.__module__ == module.name:
                yield value


def private_names(owner: type) -> set[str]:
    """Private names that the text of a class defines, or sets on its instances."""
    names = set()
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
    assert isinstance(definition, ast.ClassDef)
    for node in ast.walk(definition):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id == "self":
                names.add(node.attr)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node in definition.body:
            names.add(node.name)
    return {name for name in names if name.startswith("_") and not name.startswith("__")}


def test_no_private_name_of_ours_hides_one_of_textual_s() -> None:
    known: dict[type, set[str]] = {}
    hidden = []
    for owner in own_classes():
        for base in owner.__mro__[1:]:
            if base.__module__.startswith("textual"):
                theirs = known.setdefault(base, private_names(base))
                hidden += [f"{owner.__name__}.{name}" for name in (private_names(owner) & theirs) - MEANT]
    assert not sorted(set(hidden))
