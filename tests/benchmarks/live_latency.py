"""How long after a worker has appended a value it stands on the screen of the app.

    python -m tests.benchmarks.live_latency [VALUES]

A process of its own writes into a run directory with RunLog, a value each 0.3 s or so. kladml-tui runs on a terminal
of its own; the clock stops when the value's digits come out of it. Median at most 150 ms, 95 % at most 300 ms.
"""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import termios
import threading
import time
from pathlib import Path

from tests.benchmarks.started import SIZE, environment

MEDIAN, P95 = 0.150, 0.300
APP = "import sys; from kladml_tui.cli import main; sys.argv = ['kladml-tui']; main()"
WRITER = """
import random, sys, time
from pathlib import Path
from kladml_core.backends.run_log import RunLog
from kladml_core.runs.rundir import RunDirectory

run = RunDirectory.create(Path(sys.argv[1]), "p", "f", "e", seed=0)
log = RunLog(run, run.claim_attempt())
log.status("running", started=time.time(), phase="training")
log.progress(step=0, total_steps=10**6)
print("ready", flush=True)
sys.stdin.readline()
chance = random.Random(7)
for step in range(1, int(sys.argv[2]) + 1):
    # Four digits that no other number on the screen has: 7001, 7002, ...
    value = (7000 + step) / 1000
    log.log_metrics({"val/loss": value}, step)
    print(step, time.time(), flush=True)
    time.sleep(0.2 + 0.2 * chance.random())
log.close()
"""


def measure(count: int) -> list[float]:
    """Seconds from the write to the screen, one a value."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "kladml.yaml").write_text("workspace: {name: latency}\n")
        environ = environment(XDG_STATE_HOME=place / "state")
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(place / "data"), str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environ,
            text=True,
        )
        assert writer.stdin is not None and writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        leader, follower = pty.openpty()
        termios.tcsetwinsize(follower, SIZE)
        app = subprocess.Popen(
            [sys.executable, "-c", APP],
            stdin=follower,
            stdout=follower,
            stderr=follower,
            cwd=place,
            env=environ,
            start_new_session=True,
        )
        os.close(follower)
        written: dict[int, float] = {}
        try:
            _read_until(leader, b"no values yet")
            threading.Thread(target=_note, args=(writer, written), daemon=True).start()
            writer.stdin.write("go\n")
            writer.stdin.flush()
            shown = _shown(leader, count)
        finally:
            for process in (app, writer):
                process.kill()
                process.wait()
            os.close(leader)
    return [shown[step] - written[step] for step in shown if step in written]


def _note(writer: subprocess.Popen[str], written: dict[int, float]) -> None:
    assert writer.stdout is not None
    for line in writer.stdout:
        step, at = line.split()
        written[int(step)] = float(at)


def _read_until(leader: int, mark: bytes) -> None:
    seen = b""
    while mark not in seen:
        if not select.select([leader], [], [], 30.0)[0]:
            raise AssertionError(f"{mark!r} did not come to the screen: {seen[-500:]!r}")
        seen += os.read(leader, 65536)


def _shown(leader: int, count: int) -> dict[int, float]:
    """When each value was first on the screen."""
    shown: dict[int, float] = {}
    rest = b""
    while count not in shown:
        if not select.select([leader], [], [], 10.0)[0]:
            break
        data = rest + os.read(leader, 65536)
        now = time.time()
        for found in re.finditer(rb"(?<![\d.])7\.(\d{3}|\d{1,2}(?=\D))", data):
            step = round((float(b"7." + found[1]) - 7) * 1000)
            shown.setdefault(step, now)
        rest = data[-8:]
    return shown


def main() -> int:
    """Prints the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    times = sorted(measure(count))
    if len(times) < count * 0.9:
        print(f"only {len(times)} of {count} values came to the screen")
        return 1
    median, p95 = times[len(times) // 2], times[int(len(times) * 0.95)]
    print(f"{'value on the screen after':<28} {'median':>8} {'95 %':>8} {'worst':>8}   ({len(times)} values)")
    print(f"{'':<28} {median * 1000:>5.0f} ms {p95 * 1000:>5.0f} ms {times[-1] * 1000:>5.0f} ms")
    print(f"{'at most':<28} {MEDIAN * 1000:>5.0f} ms {P95 * 1000:>5.0f} ms")
    return int(median > MEDIAN or p95 > P95)


if __name__ == "__main__":
    raise SystemExit(main())
