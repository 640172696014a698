"""Charts at scale in the real app, its freezes measured by a heartbeat of its event loop; run with `python -m`.

Each case is a process of its own, so that its memory is its own: 200 runs of 10,000 steps compared on one metric, a run
of 20 metrics x 100,000 steps opened, a series of 10,000,000 points opened. Times are on the clock, from the key, or the
opening, until the curves are drawn.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

CASES = {
    "overlay": ("overlay of 200 runs x 10,000 steps", 1.0),
    "long": ("a run of 20 metrics x 100,000 steps", 0.5),
    "points": ("a series of 10,000,000 points", 1.0),
}
FREEZE_LIMIT = 0.1
MEMORY_LIMIT = 300.0
SIZE = (160, 48)
BEAT = 0.005


async def _beats(gaps: list[float]) -> None:
    """Notes by how much the event loop is late, for ever."""
    while True:
        begin = time.perf_counter()
        await asyncio.sleep(BEAT)
        gaps.append(time.perf_counter() - begin - BEAT)


def _workspace(case: str, root: Path) -> list[str]:
    """Makes the workspace; returns the references of the runs to look at."""
    from kladml_core.metrics.columns import RECORD, file_name
    from tests.benchmarks.workspace import LONG_STEPS, METRICS, add_long_run, make_workspace

    if case != "overlay":
        make_workspace(root, 1)
        series = dict.fromkeys(METRICS, LONG_STEPS) if case == "long" else {"train/loss": 10_000_000}
        return [add_long_run(root, series).reference]
    make_workspace(root, 200, one=True)
    paths = sorted((root / "data/projects").glob("*/*/*/run_*"))
    for number, path in enumerate(paths):
        records = np.zeros(10_000, RECORD)
        records["step"] = np.arange(10_000)
        records["time"] = 1.7e9 + records["step"]
        records["value"] = np.exp(-records["step"] / 2500) + 0.01 * np.random.default_rng(number).normal(size=10_000)
        records.tofile(path / "metrics" / file_name("val/loss"))
    return [str(path.relative_to(root / "data/projects")) for path in paths]


async def _measure(case: str, root: Path, references: list[str]) -> dict[str, float]:
    gc.disable()  # as the command does before it opens the app
    from kladml_core.runs.rundir import RunDirectory
    from kladml_tui.app import KladMLApp
    from kladml_tui.widgets.chart import Chart

    app = KladMLApp(root)
    async with app.run_test(size=SIZE) as pilot:

        async def until(condition: Callable[[], bool]) -> None:
            deadline = time.perf_counter() + 60
            while not condition():
                if time.perf_counter() > deadline:
                    raise RuntimeError(f"{case}: the curves were never drawn")
                await asyncio.sleep(BEAT)

        def drawn(chart: Chart, count: int, records: int) -> bool:
            curves = chart._scene.curves
            whole = len(curves) >= count and all(curve.series.count == records for curve in curves)
            return (
                whole
                and chart._composer is not None
                and not chart._composing
                and any("⣿" >= character > "⠀" for strip in chart._strips for character in strip.text)
            )

        await until(lambda: app.workbench.ready)
        await pilot.pause(1.0)  # the imports behind the first frame
        runs = [RunDirectory(root / "data/projects" / reference) for reference in references]
        gaps: list[float] = []
        if case == "overlay":
            app.workbench.nodes.reveal("runs:p00/f0/e00")
            await until(lambda: app.workbench.look.complete and bool(app.workbench.runs.cursor_key))
            for _ in runs:
                app.workbench.runs.toggle_mark()
            assert len(app.workbench.runs.marked) == len(runs)
            await pilot.pause(0.5)
        beat = asyncio.ensure_future(_beats(gaps))
        begin = time.perf_counter()
        if case == "overlay":
            app.workbench.action_diff()
            await until(lambda: app.screen is not app.workbench and bool(app.screen.query(Chart)))
            chart, count, records = app.screen.query_one(Chart), len(runs), 10_000
        else:
            chart = app.screen.query_one("#chart", Chart)
            other = RunDirectory(next((root / "data/projects").glob("p00/*/*/run_*")))
            app.workbench.reveal_run(other)
            await until(lambda: bool(chart._scene.curves) and chart._scene.curves[0].series.count < 100)
            await pilot.pause(0.5)
            gaps.clear()
            begin = time.perf_counter()
            app.workbench.reveal_run(runs[0])
            count, records = 1, 100_000 if case == "long" else 10_000_000
        await until(lambda: drawn(chart, count, records))
        took = time.perf_counter() - begin
        await pilot.pause(2.0)
        beat.cancel()
    # Not getrusage: that begins with the greatest size of the process that started this one.
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    memory = int(peak.split()[1]) / 1024
    return {"seconds": took, "freeze": max(gaps), "memory": memory}


def _child(case: str, root: Path, references: list[str]) -> int:
    print(json.dumps(asyncio.run(_measure(case, root, references))))
    return 0


def main(chosen: list[str]) -> int:
    """Print the table; 1 where a limit is broken."""
    missed = False
    print(f"\nCharts in the app at {SIZE[0]}x{SIZE[1]}, wall clock")
    print(f"  {'':38}{'drawn after':>12}{'limit':>8}{'freeze':>9}{'limit':>8}{'memory':>9}{'limit':>8}")
    for case in chosen or list(CASES):
        what, limit = CASES[case]
        with tempfile.TemporaryDirectory() as directory:
            references = _workspace(case, Path(directory) / "w")
            command = [
                sys.executable,
                "-m",
                "tests.benchmarks.chart_scale",
                "--child",
                case,
                str(Path(directory) / "w"),
            ]
            done = subprocess.run([*command, *references], capture_output=True, text=True, timeout=300)
        if done.returncode:
            print(done.stderr[-2000:], file=sys.stderr)
            return 1
        found = json.loads(done.stdout.splitlines()[-1])
        kept = found["seconds"] <= limit and found["freeze"] <= FREEZE_LIMIT and found["memory"] <= MEMORY_LIMIT
        missed |= not kept
        print(
            f"  {what:38}{found['seconds']:>10.2f} s{limit:>6g} s{found['freeze'] * 1e3:>6.0f} ms"
            f"{FREEZE_LIMIT * 1e3:>5.0f} ms{found['memory']:>6.0f} MB{MEMORY_LIMIT:>5.0f} MB"
            f"  {'ok' if kept else 'MISSED'}"
        )
    return int(missed)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        sys.exit(_child(sys.argv[2], Path(sys.argv[3]), sys.argv[4:]))
    sys.exit(main(sys.argv[1:]))
