"""The settings of a workspace one by one: what each is, and what says so; and changing one of them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from kladml_core.config.load import Document, KeyPath, dotted, read
from kladml_core.config.secrets import hidden
from kladml_core.errors import ConfigError
from kladml_core.settings import FILE_NAME, Settings, check_settings, type_of_key, value_of_text, with_environment


@dataclass(frozen=True)
class Setting:
    """One key of kladml.yaml."""

    key: str
    """Dotted, e.g. `ui.theme`."""
    value: Any
    """Plain data; what is a secret is `***`."""
    origin: str
    """`default`, `file` or `environment`."""
    place: str | None = None
    """`kladml.yaml:12` or `$KLADML_UI__THEME`; None for a default."""

    def to_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        return dataclasses.asdict(self)


def list_settings(workspace: Path, environ: Mapping[str, str] = os.environ) -> list[Setting]:
    """Every setting in the order of the file; keys of free mappings such as `storage.options` each by itself.

    Raises:
        ConfigError: kladml.yaml or a variable is wrong.
        UnusableError: kladml.yaml cannot be read.
    """
    document, settings = _read(workspace, environ)
    return list(_settings(document, settings))


def get_setting(workspace: Path, key: str, environ: Mapping[str, str] = os.environ) -> Setting:
    """One setting, or all of a section as a mapping, whose origin is that of its keys where they share one.

    Raises:
        ConfigError: there is no such key; or as for `list_settings`.
        UnusableError: as there.
    """
    found = list_settings(workspace, environ)
    below = [setting for setting in found if setting.key == key or setting.key.startswith(f"{key}.")]
    if not below:
        raise ConfigError(f"{key!r} is no setting", hint=_near(key, [setting.key for setting in found]))
    if below[0].key == key:
        return below[0]
    whole: dict[str, Any] = {}
    for setting in below:
        *above, last = setting.key.removeprefix(f"{key}.").split(".")
        holder = whole
        for part in above:
            holder = holder.setdefault(part, {})
        holder[last] = setting.value
    origins = {(setting.origin, setting.place) for setting in below}
    kinds = {setting.origin for setting in below}
    origin, place = origins.pop() if len(origins) == 1 else (kinds.pop() if len(kinds) == 1 else "several", None)
    return Setting(key, whole, origin, place)


def set_setting(workspace: Path, key: str, text: str, environ: Mapping[str, str] = os.environ) -> Setting:
    """Writes one key of kladml.yaml, whose comments and order stay, and returns the setting that holds now.

    Args:
        key: dotted.
        text: the value as it would be written in the file; `null` is the default again.

    Returns:
        The setting, which a variable of `environ` may still decide.

    Raises:
        ConfigError: there is no such key, or the value cannot be its value; the file stays as it is.
        UnusableError: the file cannot be written.
    """
    from kladml_core.backends.yaml_config import YamlConfig, key_parts

    parts = key_parts(key)
    YamlConfig(workspace / FILE_NAME, environ={}).set(key, value_of_text(parts, text, f"set {key}"))
    return get_setting(workspace, key, environ)


def _read(workspace: Path, environ: Mapping[str, str]) -> tuple[Document, Settings]:
    root = workspace.resolve()
    file = root / FILE_NAME
    written = read(file, empty_ok=True, needs=("workspace",)) if file.exists() else Document({}, str(file))
    document = with_environment(written, environ)
    return document, check_settings(document, root)


def _settings(document: Document, settings: Settings) -> Iterator[Setting]:
    for section in dataclasses.fields(settings):
        if section.name != "root":
            yield from _below(document, (section.name,), getattr(settings, section.name))


def _below(document: Document, path: KeyPath, value: Any) -> Iterator[Setting]:
    if dataclasses.is_dataclass(value):
        for entry in dataclasses.fields(value):
            yield from _below(document, (*path, entry.name), getattr(value, entry.name))
    elif isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _below(document, (*path, key), item)
    else:
        origin, place = _origin(document, path)
        yield Setting(dotted(path), hidden(str(path[-1]), value), origin, place)


def _origin(document: Document, path: KeyPath) -> tuple[str, str | None]:
    # `key:` with nothing after it, or none at all, means the default, but not among a backend's own options.
    known = document.get(path[:-1]) or {}
    if document.get(path) is None and (path[-1] not in known or type_of_key([str(part) for part in path]) is not None):
        return "default", None
    place = document.place(path, key=True)
    if place.line is None:
        return "environment", place.file
    return "file", f"{FILE_NAME}:{place.line}"


def _near(key: str, known: list[str]) -> str:
    close = get_close_matches(key, [*known, *{name.rpartition(".")[0] for name in known}], n=1, cutoff=0.5)
    homes = [name for name in known if name.endswith(f".{key}")]
    if homes or close:
        return f"Did you mean {homes[0] if homes else close[0]}?"
    return "`kladml-tui config show` lists them"
