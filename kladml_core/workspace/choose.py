"""Which workspace and which config file a command means."""

from __future__ import annotations

import os
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from kladml_core.errors import UnusableError
from kladml_core.settings import FILE_NAME, Settings, find_workspace, load_settings

NO_WORKSPACE = "Run `kladml-tui init DIR --example digits` to make one, or name one with --workspace"
_ENDINGS = (".yaml", ".yml")


def choose_workspace(named: Path | None, config: Path | None = None) -> Path:
    """The workspace that a command works in.

    Args:
        named: `--workspace`, taken as it is.
        config: a config file; its place is asked when the current directory is in no workspace.

    Raises:
        UnusableError: none is found, or the one named has no kladml.yaml.
    """
    if named is not None:
        if not (named / "kladml.yaml").is_file():
            raise UnusableError(f"{named} is no workspace: it has no kladml.yaml", hint=NO_WORKSPACE)
        return named.resolve()
    found = find_workspace(Path.cwd())
    if found is None and config is not None:
        found = find_workspace(config.resolve().parent)
    if found is None:
        raise UnusableError("no workspace here: no kladml.yaml in this directory or above it", hint=NO_WORKSPACE)
    return found.resolve()


def choose_config(config: Path, workspace: Path) -> Path:
    """A config as the person named it, with or without its ending: relative to the current directory, else to the
    workspace, else to one of the workspace's folders of configs.

    Raises:
        UnusableError: there is none.
        ConfigError: kladml.yaml is wrong.
    """
    settings = load_settings(workspace)
    places = (Path(), workspace, *settings.config_dirs)
    # What is called exactly so goes first, a folder last: `digits` is the config where there is one of both.
    named = [place / config for place in places]
    endings = () if config.suffix in _ENDINGS else _ENDINGS
    ended = [Path(f"{path}{ending}") for path in named for ending in endings]
    found = next((path for path in named if path.exists() and not path.is_dir()), None)
    found = found or next((path for path in ended if path.is_file() and path.name != FILE_NAME), None)
    found = found or next((path for path in named if path.is_dir()), None)
    if found is not None:
        return found
    close = _nearest(config, places)
    hint = f"Did you mean {close}?" if close else f"Looked for it here, in {workspace} and its {_folders(settings)}"
    raise UnusableError("there is no such file", hint=hint, file=str(config))


def _nearest(config: Path, places: Iterable[Path]) -> Path | None:
    """The config file with the name most like that of `config`: beside where it would be, or in one of `places`."""
    found: dict[str, Path] = {}
    for folder in (*(place / config.parent for place in places), *places):
        try:
            names = [entry.name for entry in os.scandir(folder) if entry.name.endswith(_ENDINGS)]
        except (OSError, ValueError):
            continue
        for name in sorted(names):
            if name != FILE_NAME:
                found.setdefault(name, folder / name)
    close = get_close_matches(config.name, found, n=1, cutoff=0.5)
    return found[close[0]] if close else None


def _folders(settings: Settings) -> str:
    return ", ".join(settings.workspace.configs) or "folders of configs, of which it has none"
