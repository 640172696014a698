"""How the benchmarks start processes of ours: the code, the environment and the size of the terminal."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SIZE = (48, 160)
OURS = "import sys; from kladml_tui.cli import main; sys.argv = ['kladml-tui']; main()"


def environment(**more: str | Path) -> dict[str, str]:
    """What a process of ours is started with: this checkout, a colour terminal, and `more`.

    Bytecode is kept, as it is of an installed app; without it each start would compile ours and not the peer's.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    terminal = {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    return kept | terminal | {name: str(value) for name, value in more.items()}
