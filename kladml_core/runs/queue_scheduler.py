"""`python -m kladml_core.runs.queue_scheduler WORKSPACE`: starts what waits in the queue, one process a workspace, host
and user, which ends when there is nothing left to start or to see to its end.

It may be killed at any moment: the next one finds in the items and the runs how things stand. A worker is started with
the lock on the items inherited by the process that starts it, so that whoever takes the lock afterwards finds either a
run that has a worker or one that will have none.
"""

from __future__ import annotations

import os
import select
import sys
import time
import traceback
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from kladml_core.errors import KladMLError, with_hint
from kladml_core.runs import background
from kladml_core.runs.gpus import Gpu, gpus
from kladml_core.runs.launch import prepare_queued
from kladml_core.runs.live_runs import LiveRuns
from kladml_core.runs.queue_items import (
    KIND,
    Item,
    changing,
    drop_damaged,
    drop_item,
    pause_file,
    read_item,
    read_items,
    run_of,
    write_item,
    write_run_state,
)
from kladml_core.runs.queue_list import has_work, judge
from kladml_core.runs.slots import free_devices
from kladml_core.runs.start import rewrite_attempt, start_worker, worker_environment
from kladml_core.settings import load_settings

POLL_SECONDS = 1.0
"""How often the queue is looked at; the end of a run is seen at once where the system tells."""

GPU_SECONDS = 5.0
"""How often the driver is asked whether a device that others held is free: without its daemon each time is dear."""


class Scheduler:
    """Starts what waits in one workspace.

    Args:
        workspace: its root.
    """

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self._settings = load_settings(workspace)
        self._live = LiveRuns(self._settings.data)
        self._asked_gpus: tuple[float, tuple[Gpu, ...]] | None = None
        self._settled: dict[int, tuple[Item, object]] = {}
        self._complaint = ""

    @property
    def data(self) -> Path:
        """The workspace's data directory."""
        return self._settings.data

    def serve(self, held: background.Hold) -> None:
        """Goes on until there is nothing to do, or this process is not the one that may any more."""
        while held.holds():
            items = self.settle()
            if not has_work(self.data, items):
                return
            if not pause_file(self.data).exists():
                items = self.start_what_fits(items)
            self._wait(items)

    def settle(self) -> tuple[Item, ...]:
        """Writes down what has become of this user's items; returns everybody's as they are then."""
        items = read_items(self.data)
        if all(self._is_settled(item) for item in items if item.mine):
            return items
        self._asked_gpus = None  # a run may have ended
        with changing(self.data):
            drop_damaged(self.data)
            for item in read_items(self.data):
                if item.mine:
                    self._settle(item)
        return read_items(self.data)

    def _is_settled(self, item: Item) -> bool:
        """Whether the item says what is so. Of one that waits or failed nothing changes without its run's state."""
        try:
            seen = os.stat(run_of(self.data, item).state_json)
        except OSError:
            return self._changed(item) is item
        stamp = (seen.st_mtime_ns, seen.st_ino)
        if item.state in ("waiting", "failed") and self._settled.get(item.number) == (item, stamp):
            return True
        if self._changed(item) is not item:
            return False
        self._settled[item.number] = (item, stamp)
        return True

    def _changed(self, item: Item) -> Item | None:
        """The item as it should stand: itself where it does, None where it has nothing to say any more."""
        standing, reason = judge(self.data, item)
        if standing == "gone":
            return None
        if standing == "failed":
            return item if item.state == "failed" else replace(item, state="failed", reason=reason)
        if standing == "begun":
            return item if item.state == "started" else replace(item, state="started")
        queued = (run_of(self.data, item).read_state() or {}).get("status") == "queued"
        settled = item.state == "waiting" and queued
        return item if settled else replace(item, state="waiting", devices=())

    def _settle(self, item: Item) -> None:
        now = self._changed(item)
        if now is None:
            drop_item(self.data, item.number)
        elif now is not item:
            write_item(self.data, now)
            if now.state == "waiting":
                write_run_state(self.data, now, "queued")

    def start_what_fits(self, items: tuple[Item, ...]) -> tuple[Item, ...]:
        """Starts from the front; nobody overtakes one that waits for the same kind of slot.

        Returns:
            everybody's items as they are then.
        """
        blocked: set[str] = set()
        now = items
        for item in items:
            if not item.mine or item.state != "waiting" or item.need.kind in blocked:
                continue
            devices = self._free_devices(item, now) if self._settings_are_right() else None
            if devices is None:
                blocked.add(item.need.kind)
            else:
                self.begin(item, devices)
                now = read_items(self.data)
        return now

    def _settings_are_right(self) -> bool:
        """Reads the settings again; while a person is at work on kladml.yaml, what waits goes on waiting."""
        try:
            self._settings = load_settings(self._workspace)
        except KladMLError as error:
            if str(error) != self._complaint:
                print(error, file=sys.stderr, flush=True)
                self._complaint = str(error)
            return False
        return True

    def _free_devices(self, item: Item, items: tuple[Item, ...]) -> tuple[str, ...] | None:
        begun = [one for one in items if one.state in ("starting", "started")]
        taken = {device for one in begun for device in one.devices}
        on_cpu = {one.run for one in begun if one.need.kind == "cpu"}
        slots, machine = self._settings.queue.slots, self._gpus()
        if free_devices(item.need, slots, machine, runs=len(on_cpu), taken=taken) is None:
            return None  # already by what the queue itself knows, which costs nothing to ask
        if item.need.kind == "gpu":
            direct = self._live.runs() - {one.run for one in begun}
            if any(self._live.starting(run) for run in direct):
                return None  # it was launched beside the queue, and holds no memory yet
            machine = self._gpus(anew=True)
        elif not machine:  # with GPUs in the machine, what runs beside the queue is taken to train on one
            on_cpu |= self._live.runs()
        return free_devices(item.need, slots, machine, runs=len(on_cpu), taken=taken)

    def _gpus(self, *, anew: bool = False) -> tuple[Gpu, ...]:
        if anew or self._asked_gpus is None or time.monotonic() - self._asked_gpus[0] > GPU_SECONDS:
            self._asked_gpus = (time.monotonic(), gpus())
        return self._asked_gpus[1]

    def begin(self, item: Item, devices: tuple[str, ...]) -> None:
        """Starts the worker of an item that waits; where that fails, the item and its run say why."""
        run = run_of(self.data, item)
        failure: str | None = None
        try:
            plan = replace(prepare_queued(run, item.attempt, workspace=self._workspace), devices=devices)
            with changing(self.data) as lock:
                if read_item(self.data, item.number) != item or pause_file(self.data).exists():
                    return  # moved, removed or paused since; the next look decides anew
                write_item(self.data, replace(item, state="starting", devices=devices))
                environ = worker_environment(plan)
                command = rewrite_attempt(run, item.attempt, plan, environ)
                start_worker(run, item.attempt, self._workspace, command, environ, keep_open=(lock,))
                write_item(self.data, replace(item, state="started", devices=devices))
        except KladMLError as error:
            failure = with_hint(error.message, error.hint)  # its place is one in the frozen copy, which nobody edits
        except Exception as error:  # whatever one item trips over must not keep the others waiting
            traceback.print_exc()
            failure = f"{type(error).__name__}: {error}"
        if failure is not None:
            self._give_up(item, failure)

    def _give_up(self, item: Item, reason: str) -> None:
        # The lock is free again only when nobody is left who may yet start the worker.
        with changing(self.data):
            now = read_item(self.data, item.number)
            if now is not None and now.run_uid == item.run_uid and judge(self.data, now)[0] == "waiting":
                write_run_state(self.data, now, "failed", reason)
                write_item(self.data, replace(now, state="failed", reason=reason, devices=()))

    def _wait(self, items: tuple[Item, ...]) -> None:
        """Until a run of the queue ends, or it is time to look again."""
        with ExitStack() as stack:
            poll = select.poll()
            for item in items:
                pid = (run_of(self.data, item).read_state() or {}).get("pid") if item.state == "started" else None
                descriptor = _pidfd(pid)
                if descriptor is not None:
                    stack.callback(os.close, descriptor)
                    poll.register(descriptor, select.POLLIN)
            poll.poll(POLL_SECONDS * 1000)


def _pidfd(pid: object) -> int | None:
    """A descriptor that is readable once the process has ended; None where there is none to wait for."""
    opener = getattr(os, "pidfd_open", None)  # Linux alone has it
    if opener is None or not isinstance(pid, int):
        return None
    try:
        return int(opener(pid))
    except OSError:
        return None


def main(arguments: list[str]) -> int:
    """Serves the workspace `arguments[0]` unless another process does."""
    workspace = Path(arguments[0]).resolve()
    os.chdir(workspace)
    scheduler = Scheduler(workspace)
    while has_work(scheduler.data):
        held = background.hold(scheduler.data, KIND)
        if held is None:
            return 0
        try:
            scheduler.serve(held)
        finally:
            held.release()  # and once more: what came in after the last look was told that somebody is there
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
