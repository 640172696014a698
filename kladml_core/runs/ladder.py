"""The stop ladder: ask the run, then SIGTERM, then SIGKILL of every process of its tree, each rung with its time.

`StopLadder` has no thread: whoever stops a run calls `look` about ten times a second and shows what it returns. The
screen does so in a worker, the command in a loop, a program with `climb`. Who stops climbing leaves the run as it is:
a request stands until the run has honoured it, and no signal is sent any more.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

from kladml_core.errors import UnusableError
from kladml_core.runs import gpu_processes
from kladml_core.runs.files import write_json
from kladml_core.runs.ladder_view import LadderView, Outcome, Rung, Told, count_processes
from kladml_core.runs.patience import Patience, patience_of
from kladml_core.runs.process_tree import LAUNCHER, Member, ProcessTree
from kladml_core.runs.processes import host_name, is_alive
from kladml_core.runs.provenance import user_name
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import is_copy, reconcile
from kladml_core.runs.stop import asked_by, claim_signal, request_stop, signalled, withdraw

TICK_SECONDS = 0.1
COPY_SECONDS = 5.0
"""A worker writes once a second: a directory that is another one and older than this is a copy."""
TREE_SECONDS = 0.5
"""Between two looks at the machine's processes."""
STUCK_SECONDS = 30.0
"""How long a process may outlive SIGKILL; only one that waits for a device or a dead file server does."""


class StopLadder:
    """One climb. `look` may be called in another thread than `cancel` and `hurry`.

    Args:
        run: the run.
        by: who stops it, for its events, e.g. `kladml-tui stop`.
        now: begin with SIGTERM.
        patience: seconds of each rung; None takes what `patience_of` derives from the run.
        signal_number: what is sent in SIGTERM's place.

    Raises:
        UnusableError: the run is not live and nothing is left of it, or it waits in the queue.
    """

    def __init__(
        self,
        run: RunDirectory,
        *,
        by: str,
        now: bool = False,
        patience: Patience | None = None,
        signal_number: int = signal.SIGTERM,
    ) -> None:
        self._run = run
        self._by = by
        self._now = now
        self._signal = signal.Signals(signal_number)
        self._lock = threading.Lock()
        self._status = reconcile(run)
        self._attempt = self._status.attempt or run.latest_attempt() or 1
        self._untouchable = _untouchable(run, self._attempt)
        self._tree = ProcessTree(run, self._attempt)
        self._members: list[Member] = []
        self._looked = -TREE_SECONDS
        self._patience = patience or patience_of(run)
        self._rung: Rung = "ask"
        self._begun = False
        self._told: list[Told] = []
        self._outcome: Outcome = ""
        self._until = 0.0
        self._again_at: float | None = None
        self._ended_at: float | None = None
        self._reach = ""
        self._device: set[int] = set()
        if self._status.status == "queued":
            raise UnusableError(f"{run.reference} waits in the queue", hint="take it out: kladml-tui queue remove RUN")
        if not self._status.live and not self._find():
            raise UnusableError(f"{run.reference} is not running: it is {self._status.status}")

    def look(self) -> LadderView:
        """Does what is due and says how it stands. Reads and writes files and signals processes: not on a UI thread."""
        with self._lock:
            if self._rung != "over":
                self._status = reconcile(self._run)
                self._find()
                self._reach = self._out_of_reach()
                self._climb()
            return self._view()

    def cancel(self) -> LadderView:
        """Leaves the run to go on, where no signal was sent yet; afterwards nothing more is done to it."""
        with self._lock:
            if self._rung == "ask":
                self._end("cancelled", withdraw(self._run, self._attempt))
            elif self._rung != "over":
                self._end("cancelled", f"{self._signal.name} was sent already; no SIGKILL will follow")
            return self._view()

    def hurry(self) -> None:
        """Goes on to SIGTERM at the next look."""
        with self._lock:
            self._now = True

    # Rungs

    def _climb(self) -> None:
        if self._status.attempt not in (None, self._attempt):
            self._end("ended", f"attempt {self._attempt} has ended, and another has begun since")
        elif not self._status.live:
            self._clear_up()
        elif not self._begun:
            self._begin()
        elif self._rung == "ask":
            self._ask_on()
        elif self._rung == "term":
            self._term_on()
        else:
            self._kill_on()

    def _begin(self) -> None:
        self._begun = True
        if self._now and not self._reach:
            self._term()
            return
        self._until = time.monotonic() + self._patience.ask
        earlier = asked_by(self._run, self._attempt)
        try:
            if earlier is None:
                request_stop(self._run, by=self._by)
        except UnusableError as error:
            if self._reach:
                raise
            self._tell(f"{error.message}; {self._signal.name} instead")
            self._term()
            return
        asked = f"was asked already by {earlier}" if earlier else "is asked to save a checkpoint and stop"
        self._tell(f"{self._run.reference} {asked}")
        if self._reach:
            self._tell(f"it is only asked: {self._reach}")

    def _ask_on(self) -> None:
        over = time.monotonic() >= self._until
        if self._reach:
            if over:
                self._end("asked", f"it is still {self._status.status}, and is only asked: {self._reach}")
        elif over or self._now or signalled(self._run, self._attempt) is not None:
            self._term()

    def _term(self) -> None:
        """Sends the first SIGTERM, or joins whoever has sent it: a second one would end it without a checkpoint."""
        self._rung = "term"
        age = 0.0
        earlier = claim_signal(self._run, self._attempt, by=self._by)
        if earlier is None:
            sent = self._signal_ranks()
            self._tell(f"{self._signal.name} was sent to {sent}; it may save a checkpoint")
        else:
            at = earlier.get("time")
            age = max(0.0, time.time() - at) if isinstance(at, int | float) else 0.0
            self._tell(f"{self._signal.name} was sent already by {earlier.get('by')}")
        now = time.monotonic()
        self._again_at = now + max(0.0, self._patience.term - age)
        self._until = self._again_at + self._patience.last

    def _term_on(self) -> None:
        now = time.monotonic()
        if self._again_at is not None and now >= self._again_at:
            self._again_at = None
            self._until = now + self._patience.last
            self._tell(f"{self._signal.name} was sent again to {self._signal_ranks()}; it is to end at once")
        elif self._again_at is None and now >= self._until:
            self._kill()

    def _kill(self) -> None:
        self._rung = "kill"
        self._until = time.monotonic() + STUCK_SECONDS
        if self._status.live:
            # Before the kill: whoever sees it dead first is to find who did it.
            who = f"{user_name()} ({self._by}) on {host_name()}"
            finding = {
                "attempt": self._attempt,
                "by": {"host": host_name(), "pid": os.getpid(), "uid": os.getuid()},
                "cause": f"killed on request by {who}",
                "time": time.time(),
            }
            try:
                write_json(self._run.lost_json, finding)
            except OSError:
                pass  # a full disk must not keep anything alive
        self._tell(f"SIGKILL was sent to {self._kill_all()}")

    def _kill_on(self) -> None:
        self._kill_all()
        if time.monotonic() >= self._until:
            names = ", ".join(f"{member.pid} ({member.state})" for member in self._members)
            self._end("stuck", f"not even SIGKILL ends {names}: the system waits for a device or a file server")

    def _clear_up(self) -> None:
        """The run has ended: what is left of its tree has a little time, then it is killed."""
        now = time.monotonic()
        self._ended_at = self._ended_at or now
        if self._members:
            if self._rung == "kill":
                self._kill_on()
            elif now - self._ended_at >= self._patience.last:
                self._kill()
            else:
                self._until = self._ended_at + self._patience.last
            return
        holding = self._device & gpu_processes.holders()
        if holding and now - self._ended_at < STUCK_SECONDS:
            return  # the driver takes a moment to free a dead process's memory
        code = f" (exit {self._status.exit_code})" if self._status.exit_code is not None else ""
        why = f": {self._status.reason}" if self._status.reason else ""
        left = "; no process of it is left" if self._device else ""
        left = "; the driver still counts memory of it" if holding else left
        self._end("ended", f"{self._status.status}{code}{why}{left}")

    # Means

    def _find(self) -> list[Member]:
        """Looks at the tree, not more often than needed."""
        now = time.monotonic()
        if not self._untouchable and now - self._looked >= (0.0 if self._rung == "kill" else TREE_SECONDS):
            self._looked = now
            self._members = self._tree.look()
            self._device |= {member.pid for member in self._members}
        return self._members

    def _out_of_reach(self) -> str:
        """Why no signal can be sent from here; empty where one can."""
        if self._untouchable:
            return self._untouchable
        if self._members:
            return ""
        alive = is_alive(self._run.read_state() or {})
        if alive is not None:
            return "its process is this one, or one that this one descends from" if alive else ""
        hosts = ", ".join(self._tree.elsewhere()) or self._status.host
        if not hosts:
            return "it has no process yet"
        whose = " in another container, or another user's" if hosts == host_name() else ""
        return f"its processes are on {hosts}{whose}, where no signal reaches from here"

    def _signal_ranks(self) -> str:
        """Signals the training processes (their children would only fail them), or what is to start them."""
        ranks = [member for member in self._members if member.role.startswith("rank-")]
        found = ranks or [member for member in self._members if member.role.startswith(LAUNCHER)]
        sent = [member for member in found if self._signal_one(member, self._signal)]
        for member in sent:
            if member.state == "T":
                self._signal_one(member, signal.SIGCONT)  # a stopped process hears of nothing but SIGKILL
        return ", ".join(f"process {member.pid}" for member in sent) or "nobody: its processes have gone"

    def _kill_all(self) -> str:
        # Rank 0 first: it would take the others' end for a failure of theirs, and write that down.
        killed = {member.pid for member in self._members if self._signal_one(member, signal.SIGKILL)}
        self._looked = -TREE_SECONDS  # what was started meanwhile is found at the next look
        return count_processes(len(killed))

    def _signal_one(self, member: Member, number: signal.Signals) -> bool:
        try:
            return member.signal(number)
        except PermissionError:
            return False  # another user's, started by this run through sudo

    def _tell(self, message: str) -> None:
        self._told.append(Told(time.time(), self._rung, message))

    def _end(self, outcome: Outcome, message: str) -> None:
        self._rung, self._outcome = "over", outcome
        self._tell(message)

    def _view(self) -> LadderView:
        seconds = None if self._rung in ("kill", "over") else max(0.0, self._until - time.monotonic())
        then = {"ask": "" if self._reach else self._signal.name, "term": "SIGKILL"}.get(self._rung, "")
        if not self._status.live and self._rung != "over":
            then = "SIGKILL"
        return LadderView(
            reference=self._run.reference,
            rung=self._rung,
            status=self._status,
            next=then,
            seconds=seconds,
            processes=len(self._members),
            told=tuple(self._told),
            outcome=self._outcome,
        )


def _untouchable(run: RunDirectory, attempt: int) -> str:
    """Why the processes that a run's files name are not to be signalled; empty where they may be."""
    if (run.read_attempt(attempt) or {}).get("in_process") is True:
        return "it trains inside a program or a notebook, which is not to be killed for it"
    if is_copy(run, run.read_state() or {}, quiet=COPY_SECONDS):
        return "this directory is a copy, and the processes that it names are the original's"
    return ""


def climb(ladder: StopLadder, tick: float = TICK_SECONDS) -> Iterator[LadderView]:
    """Climbs to the end, giving how it stands about ten times a second; whoever stops asking stops climbing."""
    while True:
        view = ladder.look()
        yield view
        if view.rung == "over":
            return
        time.sleep(tick)
