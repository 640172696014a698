"""What a model reads of its `self.config`, found in its source: the parameters that its constructor does not name."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any


def config_reads(found: Any) -> list[dict[str, Any]]:
    """The keys that a class reads as `self.config["key"]` or `self.config.get("key", default)`, in their order.

    Args:
        found: the class; anything else reads nothing.

    Returns:
        `{"name", "required", "default"}` for each; the default as Python writes it.
    """
    if not inspect.isclass(found):
        return []
    reads: dict[str, dict[str, Any]] = {}
    for one in inspect.getmro(found):
        if one.__module__.startswith(("kladml_core.models", "torch.", "builtins", "abc")):
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(one)))
        except (OSError, TypeError, SyntaxError):
            continue  # made at runtime, or its file has changed since it was imported
        for node in ast.walk(tree):
            read = _read(node)
            if read is not None and (read["name"] not in reads or read["required"]):
                reads[read["name"]] = read
    return list(reads.values())


def _read(node: ast.AST) -> dict[str, Any] | None:
    if isinstance(node, ast.Subscript) and _is_config(node.value) and isinstance(node.ctx, ast.Load):
        key, default = node.slice, None
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
        if not _is_config(node.func.value) or not node.args:
            return None
        key, default = node.args[0], ast.unparse(node.args[1]) if len(node.args) > 1 else "None"
    else:
        return None
    if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
        return None
    return {"name": key.value, "required": default is None, "default": default}


def _is_config(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and node.attr == "config"
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    )
