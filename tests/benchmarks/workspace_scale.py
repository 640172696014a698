"""The app and the index on very many runs: python -m tests.benchmarks.workspace_scale [--runs N …] [--keep DIR].

By default 10,000 runs, in 1,000 experiments and once all in one; `--runs 1000 10000 100000` prints the growth. Each
number is that of a new process with a warm page cache, the median of three. Ends with 1 where 10,000 runs miss a limit
of the index: the first screenful of rows 1.0 s after exec without one and 0.3 s after the first paint with one, all of
it read within 5 s, a filter and a sort within 100 ms, the app below 300 MB. `--keep` leaves the workspaces in a folder,
and takes those that are there.
"""

from __future__ import annotations

import argparse
import os
import pty
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kladml_core.workspace import index_process
from kladml_core.workspace.filters import parse
from kladml_core.workspace.index import Index
from kladml_core.workspace.views import View
from kladml_core.workspace.workspace import Workspace
from kladml_tui.census import Census
from kladml_tui.look import runs_of
from kladml_tui.run_store import RunStore, asked_for
from tests.benchmarks.started import OURS, SIZE, environment
from tests.benchmarks.workspace import make_workspace

ROUNDS = 3
JUDGED = 10_000
PAINT, ROWS, FIGURES, READ = b"kladml", b" finished", b"val/loss 0.", b"nothing running"
FILTERS = ("val/loss<0.55 model.params.width>=64 tag:baseline", "status:failed,stopped -star:yes", '"p03"')


@dataclass(frozen=True)
class Line:
    """A line of the table."""

    what: str
    values: tuple[float, ...]
    limit: float | None = None
    unit: str = "s"

    @property
    def value(self) -> float:
        """The median."""
        return statistics.median(self.values)

    @property
    def missed(self) -> bool:
        """Whether it is above its limit."""
        return self.limit is not None and self.value > self.limit


def screen_times(workspace: Path, marks: Sequence[bytes]) -> tuple[dict[bytes, float], float]:
    """Seconds from exec until each mark is on the app's terminal, and the megabytes that the app then holds."""
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, SIZE)
    environ = environment()
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", OURS], stdin=follower, stdout=follower, stderr=follower, cwd=workspace, env=environ,
        start_new_session=True,
    )  # fmt: skip
    os.close(follower)
    seen, times = b"", dict[bytes, float]()
    try:
        while len(times) < len(marks):
            if not select.select([leader], [], [], 120.0)[0]:
                raise AssertionError(f"no {[mark for mark in marks if mark not in times]} in 120 s: {seen[-500:]!r}")
            seen += os.read(leader, 65536)
            times |= {mark: time.perf_counter() - begin for mark in marks if mark not in times and mark in seen}
        status = Path(f"/proc/{process.pid}/status").read_text()
        held = next((int(line.split()[1]) / 1000 for line in status.splitlines() if line.startswith("VmRSS")), 0.0)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(leader)
    return times, held


def seconds_of(function: Callable[[], object]) -> float:
    """How long a call takes."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def forget() -> None:
    """Takes the index and what the app remembers away."""
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        shutil.rmtree(os.environ[name], ignore_errors=True)


def index_whole(workspace: Path) -> None:
    """Has another process make the index, and waits for it.

    Raises:
        AssertionError: it failed, and what it took would say nothing.
    """
    if status := index_process.start(workspace).wait():
        raise AssertionError(f"the index of {workspace} was not made: exit {status}")


def measure(workspace: Path) -> list[Line]:
    """The table of one workspace."""
    opened = Workspace.open(workspace)
    seconds_of(lambda: subprocess.run(["grep", "-rq", "no such text", workspace / "data/projects"], check=False))

    bare = []
    for _ in range(ROUNDS):
        forget()
        bare.append(screen_times(workspace, (FIGURES,))[0][FIGURES])
    built = []
    for _ in range(ROUNDS):
        forget()
        built.append(seconds_of(partial(index_whole, workspace)))
    shutil.rmtree(os.environ["XDG_STATE_HOME"], ignore_errors=True)
    with_index, with_figures, memory = [], [], []
    for _ in range(ROUNDS):
        times, held = screen_times(workspace, (PAINT, ROWS, FIGURES, READ))
        with_index.append(times[ROWS] - times[PAINT])
        with_figures.append(times[FIGURES] - times[PAINT])
        memory.append(held)

    index = Index(opened)
    loaded = seconds_of(index.tree)
    unchanged = [seconds_of(index.refresh) for _ in range(ROUNDS)]
    index.close()

    census = Census(opened, elsewhere=False)
    look = census.states(census.names(), everything=True)
    runs, store = tuple(runs_of(look, "")), RunStore(opened.settings)
    first, filters, sorts = [], [], []
    for view in (*map(View, FILTERS), View("", "best:val/loss")):
        wanted = parse(view.filter)
        first.append(seconds_of(partial(store.catch_up, runs, look.states, asked_for(view, wanted))))
        choose = partial(store.choose, runs, look.states, view, wanted)
        (sorts if view.sort else filters).extend(seconds_of(choose) for _ in range(ROUNDS))
    later = seconds_of(lambda: census.states(census.names(), everything=False))
    census.close()
    return [
        Line("first screenful of rows, figures too, from exec, no index", tuple(bare), 1.0),
        Line("first screenful of rows after the first paint, index", tuple(with_index), 0.3),
        Line("  with their figures, read from the files", tuple(with_figures)),
        Line("the whole index, another process, from nothing", tuple(built), 5.0),
        Line("taking over an index that is there", (loaded,)),
        Line("a look at everything, nothing changed", tuple(unchanged), 0.5),
        Line("a look at what is live", (later,)),
        Line("a filter on names that were not asked for before", tuple(first)),
        Line("a filter, each letter", tuple(1e3 * one for one in filters), 100.0, "ms"),
        Line("sorted by best val/loss", tuple(1e3 * one for one in sorts), 100.0, "ms"),
        Line("memory of the app", tuple(memory), 300.0, "MB"),
    ]


def show(title: str, lines: Sequence[Line], judged: bool) -> bool:
    """Prints a table; returns whether a limit is missed."""
    print(f"\n{title}")
    for line in lines:
        spread = f"{min(line.values):.3g} … {max(line.values):.3g}" if len(line.values) > 1 else ""
        limit = f"≤ {line.limit:g} {line.unit}" if line.limit is not None and judged else ""
        verdict = "" if not limit else "TOO MUCH" if line.missed else "ok"
        print(f"  {line.what:<58} {line.value:>9.3g} {line.unit:<3} {spread:<18} {limit:<10} {verdict}".rstrip())
    sys.stdout.flush()
    return judged and any(line.missed for line in lines)


def main() -> int:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", metavar="N", default=[JUDGED])
    parser.add_argument("--one", action="store_true", help="only all runs in one experiment")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where the workspaces are left")
    asked = parser.parse_args()
    missed = False
    with tempfile.TemporaryDirectory() as name:
        os.environ |= environment(XDG_CACHE_HOME=f"{name}/cache", XDG_STATE_HOME=f"{name}/state")
        for runs in asked.runs:
            for one in (True,) if asked.one else (False, True):
                root = (asked.keep or Path(name)) / f"{runs}{'-one' if one else ''}"
                if not root.exists():
                    make_workspace(root, runs, one=one)
                title = f"{runs:,} runs {'in one experiment' if one else 'in experiments of ten'}, 20 metrics each"
                missed |= show(title, measure(root), judged=runs == JUDGED)
                if asked.keep is None:
                    shutil.rmtree(root)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
