"""What the commands share: which workspace is meant, which file, and how rows of data are printed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kladml_core.errors import UnusableError
from kladml_core.runs.plain import inert

if TYPE_CHECKING:
    from kladml_core.settings import Settings

NO_WORKSPACE = "run `kladml-tui init DIR --example digits` to make one, or name one with --workspace"


def choose_workspace(named: Path | None, config: Path | None = None) -> Path:
    """The workspace that a command works in.

    Args:
        named: `--workspace`, taken as it is.
        config: a config file; its place is asked when the current directory is in no workspace.

    Raises:
        UnusableError: none is found, or the one named has no kladml.yaml.
    """
    from kladml_core.settings import find_workspace

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


def settings_of(workspace: Path) -> Settings:
    """The workspace's settings.

    Raises:
        ConfigError: kladml.yaml is wrong.
    """
    from kladml_core.settings import load_settings

    return load_settings(workspace)


def open_app(named: Path | None) -> int:
    """Opens the app on a workspace and returns its exit code when it is left.

    Raises:
        UnusableError: there is no workspace, or no terminal.
    """
    workspace = choose_workspace(named)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UnusableError("the app needs a terminal", hint="`kladml-tui --run CONFIG` works without one")
    from kladml_tui.app import KladMLApp

    app = KladMLApp(workspace)
    app.run()
    return app.return_code or 0


def print_json(value: Any) -> None:
    """Prints one strict JSON document, safe for a terminal too."""
    from kladml_tui.headless_console import json_line

    print(json_line(value))


def print_rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints aligned columns; every cell is made safe for a terminal. Heads that are all empty are left out."""
    from rich.cells import cell_len

    cells = [tuple(inert(cell) for cell in row) for row in rows]
    table = [tuple(heads), *cells] if any(heads) else cells
    widths = [max(cell_len(row[column]) for row in table) for column in range(len(heads))]
    for row in table:
        padded = [cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(padded).rstrip())


def clock(seconds: Any) -> str:
    """Seconds as `0:02:11`; `-:--:--` where they are not known."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e8:
        return "-:--:--"
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
