"""EnvConfig: settings by dotted key from environment variables alone."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from typing import Any

from kladml_core.backends.yaml_config import key_parts, value_under
from kladml_core.config.emit import dump_value
from kladml_core.config.override import parse_value
from kladml_core.interfaces.config import ConfigInterface


class EnvConfig(ConfigInterface):
    """`get("ui.theme")` reads KLADML_UI__THEME; values are read as in YAML: 1e-3 is a number, `no` is text.

    Args:
        prefix: what the variables begin with.
        environ: the variables; `set` writes to them, which by default changes this process's environment.
    """

    def __init__(self, prefix: str = "KLADML_", environ: MutableMapping[str, str] | None = None) -> None:
        self._prefix = prefix
        self._environ = os.environ if environ is None else environ

    def get(self, key: str, default: Any = None) -> Any:
        """The value of the key's variable, or what variables above or below it hold, or `default`.

        Raises:
            ConfigError: the variable's value begins like YAML and is none.
        """
        variable = self._variable(key)
        if variable in self._environ:
            return parse_value(self._environ[variable], f"${variable}")
        # KLADML_UI holding a mapping is the same as a variable for each key below it.
        parts = key_parts(key)
        for length in range(len(parts) - 1, 0, -1):
            above = self._variable(".".join(parts[:length]))
            if above in self._environ:
                whole = parse_value(self._environ[above], f"${above}")
                return value_under(whole, ".".join(parts[length:]), default)
        return self._below(f"{variable}__") or default

    def set(self, key: str, value: Any) -> None:
        """Sets the key's variable, written so that `get` gives back an equal value."""
        self._environ[self._variable(key)] = dump_value(value)

    def _below(self, start: str) -> dict[str, Any]:
        """What the variables say together whose names begin so: KLADML_UI__THEME=x makes `ui` {theme: x}."""
        found: dict[str, Any] = {}
        for name in sorted(self._environ):
            if name.startswith(start):
                *above, last = name.removeprefix(start).lower().split("__")
                holder = found
                for part in above:
                    holder = holder.setdefault(part, {})
                holder[last] = parse_value(self._environ[name], f"${name}")
        return found

    def _variable(self, key: str) -> str:
        return self._prefix + "__".join(part.upper() for part in key_parts(key))
