"""The console that a headless command follows a run with: a progress bar on a terminal, lines everywhere else."""

from __future__ import annotations

import os
import sys

from kladml_core.runs.consoles import Console, JsonConsole, PlainConsole


def make_console(*, json: bool) -> Console:
    """The console for this process's stdout."""
    if json:
        return JsonConsole(sys.stdout)
    if sys.stdout.isatty() and os.environ.get("TERM") not in (None, "", "dumb", "unknown"):
        from kladml_tui.headless_bar import BarConsole  # rich: only where there is a terminal

        return BarConsole(sys.stdout)
    return PlainConsole(sys.stdout)
