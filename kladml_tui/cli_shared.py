"""What the commands share: opening the app, and how rows of data are printed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kladml_core.errors import ConfigError, UnusableError
from kladml_core.workspace.choose import choose_workspace

if TYPE_CHECKING:
    from kladml_core.settings import Settings


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
    import gc

    gc.disable()  # nothing of what is loaded up to the first frame is garbage; the app turns it on again
    from kladml_tui.app import KladMLApp

    app = KladMLApp(workspace)
    app.run()
    return app.return_code or 0


def rings(code: int, workspace: Path) -> int:
    """Rings the terminal at the end of a followed run where kladml.yaml wants it; returns the code it was given."""
    if sys.stderr.isatty():
        # Whoever edits kladml.yaml while a run goes on is told of a mistake elsewhere; the code is the run's.
        with suppress(ConfigError):
            if settings_of(workspace).notices.bell:
                print("\a", end="", file=sys.stderr, flush=True)
    return code


def print_json(value: Any) -> None:
    """Prints one strict JSON document, safe for a terminal too."""
    from kladml_core.runs.consoles import json_line

    print(json_line(value))


def print_rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints aligned columns, heads and cells made safe for a terminal. Heads that are all empty are left out."""
    from rich.cells import cell_len

    from kladml_core.runs.plain import inert  # the app's first frame does without it

    # Heads too: names of metrics, and columns of other people's files.
    table = [tuple(inert(cell) for cell in row) for row in ([heads, *rows] if any(heads) else rows)]
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
