"""`python -m tests.benchmarks [NAME …]` runs the benchmarks, one process each, and fails when one misses its limit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def names() -> list[str]:
    """Every benchmark: a module here that can be run."""
    paths = sorted(HERE.glob("*.py"))
    return [path.stem for path in paths if not path.stem.startswith("_") and "__main__" in path.read_text("utf-8")]


def main(chosen: list[str]) -> int:
    """Runs the chosen benchmarks, or all; returns how many missed their limit."""
    unknown = sorted(set(chosen) - set(names()))
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(names())}", file=sys.stderr)
        return 2
    missed = []
    for name in chosen or names():
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", f"tests.benchmarks.{name}"]
        if subprocess.run(command, cwd=HERE.parents[1], check=False).returncode:
            missed.append(name)
        print(flush=True)
    if missed:
        print(f"missed: {', '.join(missed)}", file=sys.stderr)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
