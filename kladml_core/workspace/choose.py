"""Which workspace and which config file a command means."""

from __future__ import annotations

from pathlib import Path

from kladml_core.errors import UnusableError
from kladml_core.settings import find_workspace

NO_WORKSPACE = "run `kladml-tui init DIR --example digits` to make one, or name one with --workspace"


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
    """A config as the person named it: relative to the current directory, else to the workspace."""
    inside = workspace / config
    return inside if not config.exists() and inside.exists() else config
