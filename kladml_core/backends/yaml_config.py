"""YamlConfig: settings by dotted key from kladml.yaml, with the environment laid over them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kladml_core.config.load import Document, dump, parse_value, read, with_value
from kladml_core.errors import ConfigError, UnusableError
from kladml_core.interfaces.config import ConfigInterface


class YamlConfig(ConfigInterface):
    """Reads a YAML file once; `set` changes the values in memory and `save` writes them.

    Args:
        path: the file; it need not exist, and then holds nothing.
        environ: variables `KLADML_SECTION__KEY` that win over the file.

    Raises:
        ConfigError: the file is not YAML.
        UnusableError: it cannot be read.
    """

    def __init__(self, path: Path | str = "kladml.yaml", environ: Mapping[str, str] = os.environ) -> None:
        self.path = Path(path)
        self._document = read(self.path, empty_ok=True) if self.path.exists() else Document({}, str(self.path))
        self._environ = environ

    def get(self, key: str, default: Any = None) -> Any:
        """The value under a dotted key: from the environment, else from the file, else `default`."""
        variable = variable_of(key)
        if variable in self._environ:
            return parse_value(self._environ[variable], f"${variable}")
        return value_under(self._document.data, key, default)

    def set(self, key: str, value: Any) -> None:
        """Sets the value under a dotted key, in memory.

        Raises:
            ConfigError: a part of the key is empty, or leads below a plain value.
        """
        self._document = with_value(self._document, key_parts(key), value, f"set {key}")

    def save(self) -> None:
        """Writes the values to the file, in place of what it held; comments in it are not kept.

        Raises:
            UnusableError: the file cannot be written.
        """
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("w", encoding="utf-8") as stream:
                stream.write(dump(self._document.data))
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(self.path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise UnusableError(f"cannot be written: {error.strerror}", file=str(self.path)) from error


def key_parts(key: str) -> tuple[str, ...]:
    """The parts of a dotted key."""
    parts = tuple(key.split("."))
    if not all(parts):
        raise ConfigError(f"{key!r} is no key", hint="Write section.name, e.g. ui.theme")
    return parts


def value_under(data: Any, key: str, default: Any) -> Any:
    """The value that a dotted key leads to in nested mappings."""
    for part in key_parts(key):
        if not isinstance(data, Mapping) or part not in data:
            return default
        data = data[part]
    return data


def variable_of(key: str) -> str:
    """The environment variable that stands for a dotted key: `ui.theme` is KLADML_UI__THEME."""
    return "KLADML_" + "__".join(part.upper() for part in key_parts(key))
