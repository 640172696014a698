"""Runs `kladml-tui` as a person does: in a process of its own, with its own standard streams."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "kladml_tui")


def environment(**more: str) -> dict[str, str]:
    """This process's environment, with the code under test importable from anywhere.

    Workers get one thread each: several at once on few cores would spin waiting for one another.
    """
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


def kladml(*arguments: str | Path, cwd: Path, timeout: float = 100, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end; stdout and stderr are pipes."""
    words = [*COMMAND, *map(str, arguments)]
    return subprocess.run(
        words, cwd=cwd, env=environment(**more), capture_output=True, text=True, timeout=timeout, check=False
    )


def start(*arguments: str | Path, cwd: Path, **more: str) -> subprocess.Popen[str]:
    """Starts a command and returns at once."""
    words = [*COMMAND, *map(str, arguments)]
    return subprocess.Popen(
        words, cwd=cwd, env=environment(**more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def json_lines(text: str) -> list[dict[str, Any]]:
    """Every line of a strict JSON output; fails on NaN, Infinity and on anything that is no object."""

    def refuse(word: str) -> None:
        raise AssertionError(f"not strict JSON: {word}")

    lines = [json.loads(line, parse_constant=refuse) for line in text.splitlines()]
    assert all(isinstance(line, dict) for line in lines)
    return lines
