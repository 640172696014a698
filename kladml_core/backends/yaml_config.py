"""YamlConfig: settings by dotted key from kladml.yaml, with the environment laid over them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kladml_core.config.load import Document, read
from kladml_core.errors import ConfigError, UnusableError
from kladml_core.interfaces.config import ConfigInterface
from kladml_core.runs.files import write_text_atomic
from kladml_core.settings import FILE_NAME, check_settings, find_workspace, with_environment


class YamlConfig(ConfigInterface):
    """The settings that a kladml.yaml and the environment say; what neither says has no value here.

    Args:
        path: the file, which need not exist; the nearest workspace's kladml.yaml unless given.
        environ: variables `KLADML_SECTION__KEY` that win over the file.

    Raises:
        ConfigError: the file is not YAML, or has an unknown key or a wrong value, told with its place.
        UnusableError: it cannot be read.
    """

    def __init__(self, path: Path | str | None = None, environ: Mapping[str, str] = os.environ) -> None:
        self.path = (_nearest() if path is None else Path(path).expanduser()).absolute()
        self._environ = environ
        self._document = self._checked(self._read())

    def get(self, key: str, default: Any = None) -> Any:
        """The value under a dotted key: from the environment, else from the file, else `default`.

        Raises:
            ConfigError: the key is none, or a variable holds what cannot be.
        """
        return value_under(with_environment(self._document, self._environ).data, key, default)

    def set(self, key: str, value: Any) -> None:
        """Writes a value into the file, whose comments and order stay; None is the default again.

        A variable of the environment still wins.

        Raises:
            ConfigError: there is no such key, or the value cannot be its value; the file stays as it is.
            UnusableError: the file cannot be written.
        """
        from kladml_core.backends.yaml_text import set_value
        from kladml_core.config.load import parse

        self._read()  # it may have been changed, or broken, since
        try:
            before = self.path.read_bytes().decode("utf-8") if self.path.exists() else ""
            after = set_value(before, str(self.path), key_parts(key), value)
            document = self._checked(parse(after, str(self.path), empty_ok=True))
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # A link, say into a folder of dotfiles, stays one.
            write_text_atomic(self.path.resolve(), after)
        except OSError as error:
            raise UnusableError(f"cannot be written: {error.strerror}", file=str(self.path)) from error
        self._document = document

    def _read(self) -> Document:
        if not self.path.exists():
            return Document({}, str(self.path))
        return read(self.path, empty_ok=True, needs=("workspace",))

    def _checked(self, document: Document) -> Document:
        check_settings(document, self.path.parent)
        return document


def key_parts(key: str) -> tuple[str, ...]:
    """The parts of a dotted key.

    Raises:
        ConfigError: one of them is empty.
    """
    parts = tuple(key.split("."))
    if not all(parts):
        raise ConfigError(f"{key!r} is no key", hint="Write section.name, e.g. ui.theme")
    return parts


def value_under(data: Any, key: str, default: Any) -> Any:
    """The value that a dotted key leads to in nested mappings, or `default`."""
    for part in key_parts(key):
        if not isinstance(data, Mapping) or part not in data:
            return default
        data = data[part]
    return default if data is None else data


def _nearest() -> Path:
    return (find_workspace(Path.cwd()) or Path.cwd()) / FILE_NAME
