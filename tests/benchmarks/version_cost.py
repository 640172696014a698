"""CPU time of `kladml-tui --version` and `--help`, interpreter included: `python -m tests.benchmarks.version_cost`."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

from tests.system.command import COMMAND, ROOT, environment

LIMIT_SECONDS = 0.15
RUNS = 15


def cpu_seconds(*words: str) -> float:
    """User and system time of one process."""
    process = subprocess.Popen(words, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    """Prints a table; 1 when `--version` costs more than its limit."""
    cases = {
        "python -c pass": (sys.executable, "-c", "pass"),
        "kladml-tui --version": (*COMMAND, "--version"),
        "kladml-tui --help": (*COMMAND, "--help"),
    }
    for words in cases.values():
        cpu_seconds(*words)  # the first run may compile
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(RUNS):
        for name, words in cases.items():
            times[name].append(cpu_seconds(*words))
    print(f"{'CPU seconds':<24}{'median':>8}{'worst':>8}{'limit':>8}")
    for name, taken in times.items():
        limit = f"{LIMIT_SECONDS:.2f}" if name.endswith("--version") else ""
        print(f"{name:<24}{statistics.median(taken):>8.3f}{max(taken):>8.3f}{limit:>8}")
    return int(statistics.median(times["kladml-tui --version"]) > LIMIT_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
