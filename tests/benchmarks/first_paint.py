"""Time to the first paint of kladml-tui against a bare Textual app, alternating, each a process on its own terminal.

    python -m tests.benchmarks.first_paint [ROUNDS]

Both are started by the same interpreter; the clock runs from the start of the process until the screen shows the
widgets' text. Prints a table and ends with 1 where the ratio of the medians is above 1.3.
"""

from __future__ import annotations

import os
import pty
import select
import statistics
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

from tests.benchmarks.started import OURS, SIZE, environment

LIMIT = 1.3

BARE = """
from textual.app import App
from textual.widgets import DataTable, Footer, Tree

class Bare(App):
    BINDINGS = [("q", "quit", "quit-the-app")]

    def compose(self):
        yield Tree("FIRST-PAINT")
        yield DataTable()
        yield Footer()

    def on_mount(self):
        self.query_one(DataTable).add_columns("run", "status", "step")

Bare().run()
"""


def workspace(directory: Path) -> Path:
    """A workspace with a config, datasets' folder and a run on disk, as a person has it."""
    (directory / "data" / "configs").mkdir(parents=True)
    (directory / "kladml.yaml").write_text("workspace: {name: FIRST-PAINT}\n")
    (directory / "data" / "configs" / "a.yaml").write_text("project: a\n")
    (directory / "data" / "projects" / "p" / "f" / "e" / "run_0001").mkdir(parents=True)
    return directory


def time_to(mark: bytes, code: str, cwd: Path) -> tuple[float, float]:
    """Seconds from the start of a process until `mark` is on its terminal, and CPU seconds by then."""
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, SIZE)
    environ = environment(XDG_STATE_HOME=cwd / "state")
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        cwd=cwd,
        env=environ,
        start_new_session=True,
    )
    os.close(follower)
    seen = b""
    try:
        while mark not in seen:
            if not select.select([leader], [], [], 30.0)[0]:
                raise AssertionError(f"no first paint in 30 s: {seen[-500:]!r}")
            seen += os.read(leader, 65536)
        took = time.perf_counter() - begin
    finally:
        process.kill()
        usage = os.wait4(process.pid, 0)[2]
        process.returncode = 0
        os.close(leader)
    return took, usage.ru_utime + usage.ru_stime


def measure(rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Wall and CPU seconds of each, alternating; the first round warms the disk's cache and is not counted."""
    found: dict[str, list[tuple[float, float]]] = {"bare Textual app": [], "kladml-tui": []}
    with tempfile.TemporaryDirectory() as name:
        place = workspace(Path(name))
        for round_number in range(rounds + 1):
            for what, code in (("bare Textual app", BARE), ("kladml-tui", OURS)):
                times = time_to(b"FIRST-PAINT", code, place)
                if round_number:
                    found[what].append(times)
    return found


def main() -> int:
    """Prints the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    found = measure(rounds)
    medians = {what: statistics.median(wall for wall, _ in times) for what, times in found.items()}
    print(f"{'first paint':<18} {'median':>8} {'best':>8} {'worst':>8} {'CPU':>8}   ({rounds} rounds, 160x48)")
    for what, times in found.items():
        walls = [wall for wall, _ in times]
        cpu = statistics.median(seconds for _, seconds in times)
        print(f"{what:<18} {medians[what]:>7.3f}s {min(walls):>7.3f}s {max(walls):>7.3f}s {cpu:>7.3f}s")
    ratio = medians["kladml-tui"] / medians["bare Textual app"]
    # On a busy machine the medians tell of its other work too; the best and the CPU time hardly do.
    best = min(wall for wall, _ in found["kladml-tui"]) / min(wall for wall, _ in found["bare Textual app"])
    cpus = {what: statistics.median(seconds for _, seconds in times) for what, times in found.items()}
    cpu_ratio = cpus["kladml-tui"] / cpus["bare Textual app"]
    print(f"ratio {ratio:.2f} of the medians, {best:.2f} of the best, {cpu_ratio:.2f} of the CPU time; at most {LIMIT}")
    return int(ratio > LIMIT)


if __name__ == "__main__":
    raise SystemExit(main())
