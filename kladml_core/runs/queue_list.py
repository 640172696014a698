"""The queue of this host as it stands: each item judged by what its run does, and whether somebody starts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kladml_core.errors import UnusableError
from kladml_core.runs import background
from kladml_core.runs.queue_items import KIND, Item, pause_file, read_items, run_of
from kladml_core.runs.status import read_status, reconcile
from kladml_core.settings import Settings

SCHEDULER = "kladml_core.runs.queue_scheduler"

Standing = Literal["waiting", "begun", "failed", "gone"]


@dataclass(frozen=True)
class Entry:
    """An item of the queue as it is shown."""

    item: Item
    state: str
    """The run's status: `queued` while it waits, one of a live run, or `failed`."""
    place: int | None = None
    """Among those of its user that wait; 1 is next."""
    reason: str | None = None
    """Why it failed."""

    @property
    def reference(self) -> str:
        """The run's."""
        return self.item.run

    def to_json(self) -> dict[str, Any]:
        """As commands print it with `--json`."""
        item = self.item
        return {
            "run": item.run,
            "place": self.place,
            "state": self.state,
            "needs": item.need.text,
            "devices": list(item.devices),
            "since": item.created,
            "by": item.by,
            "user": item.user,
            "mine": item.mine,
            "attempt": item.attempt,
            "reason": self.reason,
        }


def entries(data: Path) -> tuple[Entry, ...]:
    """This host's queue: what runs, then what waits in the order in which it starts, then what failed."""
    begun, waiting, failed = [], [], []
    places: dict[int, int] = {}
    for item in read_items(data):
        standing, reason = judge(data, item)
        if standing == "waiting":
            places[item.uid] = places.get(item.uid, 0) + 1
            waiting.append(Entry(item, "queued", places[item.uid]))
        elif standing == "begun":
            begun.append(Entry(item, read_status(run_of(data, item)).status))
        elif standing == "failed":
            failed.append(Entry(item, "failed", reason=reason))
    return (*begun, *waiting, *failed)


def judge(data: Path, item: Item) -> tuple[Standing, str | None]:
    """What an item has come to, and why it failed where it did. `gone`: there is nothing left for it to say.

    The item's own word counts only where its run has nothing to say: whoever changed both may have died in between.
    """
    run = run_of(data, item)
    identity = run.read_run()
    if identity is None or identity.get("uid") != item.run_uid:
        return "failed", (item.state == "failed" and item.reason) or "its run directory is gone or damaged"
    state = run.read_state() or {}
    attempt = state.get("attempt")
    reached = attempt if isinstance(attempt, int) else 0
    if reached > item.attempt:
        return "gone", None  # somebody went on with the run in another way
    if reached < item.attempt:
        return "waiting", None
    if "queue" not in state:
        status = reconcile(run)
        if status.live:
            return "begun", None
        if status.status in ("finished", "stopped"):
            return "gone", None
        return "failed", status.damaged or status.reason or f"the run is {status.status}"
    if state.get("status") == "queued":
        return "waiting", None
    return ("failed", item.reason or _text(state.get("reason"))) if state.get("status") == "failed" else ("gone", None)


def find_entry(data: Path, text: str) -> Entry:
    """The one entry that a run's reference, or any unambiguous end of one, names: `run_0007`, `7`.

    Raises:
        UnusableError: none, or several.
    """
    wanted = text.strip().strip("/")
    if wanted.isdigit():
        wanted = f"run_{int(wanted):04d}"
    found = [entry for entry in entries(data) if wanted and f"/{entry.reference}".endswith(f"/{wanted}")]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UnusableError(
            f"no run named {text!r} is in the queue of this machine", hint="`kladml-tui queue list` shows what is"
        )
    names = ", ".join(entry.reference for entry in found)
    raise UnusableError(f"{text!r} names {len(found)} runs in the queue: {names}", hint="write more of the reference")


def is_paused(data: Path) -> bool:
    """Whether this user's queue on this host starts nothing."""
    return pause_file(data).exists()


def has_work(data: Path, items: Sequence[Item] | None = None) -> bool:
    """Whether the scheduler has something to start or to see to its end."""
    mine = [item for item in (read_items(data) if items is None else items) if item.mine]
    paused = is_paused(data)
    return any(item.state in ("starting", "started") or (item.state == "waiting" and not paused) for item in mine)


def ensure_scheduler(settings: Settings) -> None:
    """Starts the scheduler where there is work and none runs; called by whatever opens, launches or changes the queue.

    Raises:
        UnusableError: it cannot be started.
    """
    if has_work(settings.data) and background.holder(settings.data, KIND) is None:
        background.ensure(settings.data, KIND, SCHEDULER, str(settings.root))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
