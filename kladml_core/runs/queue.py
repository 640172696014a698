"""The queue of this user on this host: what comes in, in which order, what leaves it, and whether anything starts.

`enqueue(prepare(config, workspace=…))` is to the queue what `launch` is to a run that starts at once. What waits is
started by the process of `queue_scheduler`, which is there only while there is something to do; `queue_list.entries`
shows how it all stands.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from kladml_core.errors import NotSupportedError, UnusableError
from kladml_core.runs.checkpoint_list import list_checkpoints
from kladml_core.runs.clone import prepare_rerun
from kladml_core.runs.files import write_text_atomic
from kladml_core.runs.gpus import gpus
from kladml_core.runs.launch import Plan, prepare, prepare_resume
from kladml_core.runs.machine_checks import check_disk, check_folders, check_run_folder
from kladml_core.runs.machines import refuse_joining
from kladml_core.runs.processes import host_name
from kladml_core.runs.provenance import user_name
from kladml_core.runs.queue_items import (
    Item,
    changing,
    drop_item,
    new_number,
    pause_file,
    read_item,
    read_items,
    run_of,
    write_item,
    write_run_state,
)
from kladml_core.runs.queue_list import Entry, ensure_scheduler, entries, judge
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.slots import Need, allowed, need_of
from kladml_core.runs.start import worker_environment, write_attempt
from kladml_core.settings import Settings, load_settings

REMOVED = "removed from the queue"


def enqueue(plan: Plan, *, by: str = "Python") -> Entry:
    """Claims a run for a config, freezes it, and has it wait for its turn.

    Args:
        plan: from `prepare`.
        by: who asks, for the record.

    Raises:
        UnusableError: this machine can never run it, or it cannot be written.
    """
    config, settings = plan.config, plan.settings
    plan, need = _on_this_machine(plan)
    check_folders(settings, config)
    check_disk(settings, config)
    with changing(settings.data), ExitStack() as undo:
        number = new_number(settings.data)
        undo.callback(drop_item, settings.data, number)
        run = RunDirectory.create(
            settings.data,
            config.project,
            config.family,
            config.experiment,
            seed=config.seed,
            fingerprints=plan.fingerprints,
        )
        undo.callback(shutil.rmtree, run.path, ignore_errors=True)
        _write(plan, run, _item(settings.data, run, run.claim_attempt(0), number, need, by))
        undo.pop_all()
    return _started_soon(settings, number)


def enqueue_run(run: RunDirectory, *, workspace: Path, overrides: Sequence[str] = (), by: str = "Python") -> Entry:
    """Has a run that ended wait for its turn to go on, as `launch.resume` does at once.

    A run that was removed from the queue before it began comes in again as it was.

    Raises:
        KladMLError: as `prepare_resume` and `enqueue`.
    """
    state = run.read_state() or {}
    settings = load_settings(workspace)
    never_began = "queue" in state and state.get("status") in ("stopped", "failed")
    if never_began and not overrides and isinstance(state.get("attempt"), int):
        return _again(settings, run, int(state["attempt"]), by)
    plan, ended = prepare_resume(run, workspace=workspace, overrides=overrides)
    plan, need = _on_this_machine(plan)
    check_run_folder(run)
    check_disk(settings, plan.config, run)
    before = run.config.read_text(encoding="utf-8")
    with changing(settings.data), ExitStack() as undo:
        number = new_number(settings.data)
        undo.callback(drop_item, settings.data, number)
        attempt = run.claim_attempt(ended)
        undo.callback(shutil.rmtree, run.attempt_dir(attempt), ignore_errors=True)
        undo.callback(_restore, run.config, before)
        _write(plan, run, _item(settings.data, run, attempt, number, need, by))
        undo.pop_all()
    return _started_soon(settings, number)


def move(data: Path, entry: Entry, place: int) -> Entry:
    """Gives what waits another place: 1 is next; what is beyond the end is the end.

    Raises:
        UnusableError: it does not wait any more, or is another user's.
    """
    with changing(data):
        item = _own(data, entry)
        if judge(data, item)[0] != "waiting":
            raise UnusableError(f"{item.run} waits no more", hint="only what waits can be moved")
        others = [one for one in _waiting(data) if one.number != item.number]
        at = min(max(place, 1), len(others) + 1) - 1
        low = others[at - 1].order if at else (others[0].order - 2 if others else 0.0)
        high = others[at].order if at < len(others) else low + 2
        order = (low + high) / 2
        if low < order < high:
            write_item(data, replace(item, order=order))
        else:  # there is no number left between the two
            for number, one in enumerate([*others[:at], item, *others[at:]], 1):
                write_item(data, replace(one, order=float(number)))
    return _entry(data, item.number)


def remove(data: Path, entry: Entry) -> None:
    """Takes out what waits, whose run is then stopped before it began, or what failed, whose run stays as it is.

    Raises:
        UnusableError: it runs already, has left the queue, or is another user's.
    """
    with changing(data):
        item = _own(data, entry)
        standing, _ = judge(data, item)
        if standing == "begun":
            raise UnusableError(f"{item.run} has begun", hint=f"`kladml-tui stop {item.run}` stops it")
        if standing == "waiting":
            write_run_state(data, item, "stopped", REMOVED)
        drop_item(data, item.number)


def remove_run(run: RunDirectory) -> None:
    """Takes a run that is `queued` out of the queue.

    Raises:
        UnusableError: as `remove`; it waits on another machine.
    """
    host = ((run.read_state() or {}).get("queue") or {}).get("host")
    if host not in (None, host_name()):
        raise NotSupportedError(f"{run.reference} waits in the queue of {host}", hint="remove it there")
    data = run.path.absolute().parents[4]
    entry = next((entry for entry in entries(data) if entry.reference == run.reference), None)
    if entry is None:
        raise UnusableError(f"{run.reference} is in no queue")
    remove(data, entry)


def retry(entry: Entry, *, workspace: Path, by: str = "Python") -> Entry:
    """Has what failed wait again, at the end.

    What never began starts as it was frozen. What failed while it trained goes on from its newest checkpoint; without
    one its config comes in as a new run.

    Raises:
        UnusableError: it has not failed, or is another user's.
        KladMLError: as `enqueue` and `enqueue_run`.
    """
    settings = load_settings(workspace)
    data = settings.data
    item = _own(data, entry)
    standing, reason = judge(data, item)
    if standing != "failed":
        raise UnusableError(f"{item.run} has not failed", hint="only what failed can be tried again")
    run = run_of(data, item)
    if run.read_run() is None:
        raise UnusableError(f"{item.run} cannot be tried again: {reason}", hint="remove it, and add its config")
    if "queue" in (run.read_state() or {}):
        return _again(settings, run, item.attempt, by)
    if any(checkpoint.valid for checkpoint in list_checkpoints(run)):
        added = enqueue_run(run, workspace=workspace, by=by)
    else:
        added = enqueue(prepare_rerun(run, workspace=workspace), by=by)
    with changing(data):
        drop_item(data, item.number)
    return added


def pause(data: Path) -> None:
    """From here on nothing of this user is started on this host; what runs goes on.

    Raises:
        UnusableError: the queue's directory cannot be written.
    """
    try:
        pause_file(data).parent.mkdir(parents=True, exist_ok=True)
        with changing(data):  # what is just being started is started
            pause_file(data).touch()
    except OSError as error:
        raise UnusableError(f"cannot write {pause_file(data)}: {error.strerror}") from error


def proceed(settings: Settings) -> None:
    """Ends a pause.

    Raises:
        UnusableError: the queue's directory cannot be written, or the scheduler cannot be started.
    """
    try:
        pause_file(settings.data).unlink(missing_ok=True)
    except OSError as error:
        raise UnusableError(f"cannot remove {pause_file(settings.data)}: {error.strerror}") from error
    ensure_scheduler(settings)


def _on_this_machine(plan: Plan) -> tuple[Plan, Need]:
    """What it needs, and the plan: for a run over all devices with those that it may get, so that it counts them."""
    refuse_joining(plan)
    machine, slots = gpus(), plan.settings.queue.slots
    need = need_of(plan.config, slots, machine)
    if plan.config.launch.distributed and need.kind == "gpu":
        plan = replace(plan, devices=tuple(one.uuid for one in allowed(machine, slots))[: need.count])
    return plan, need


def _write(plan: Plan, run: RunDirectory, item: Item) -> None:
    """The attempt's files, the item, the run's state: after a crash the scheduler finds what is missing."""
    write_attempt(run, item.attempt, plan, worker_environment(plan))
    write_item(plan.settings.data, item)
    write_run_state(plan.settings.data, item, "queued")


def _again(settings: Settings, run: RunDirectory, attempt: int, by: str) -> Entry:
    """Has an attempt that was frozen and never began wait, at the end."""
    data = settings.data
    _, need = _on_this_machine(prepare(run.attempt_dir(attempt) / "config.yaml", workspace=settings.root))
    with changing(data):
        known = next((one for one in read_items(data) if one.run == run.reference and one.mine), None)
        if known is not None and judge(data, known)[0] not in ("failed", "gone"):
            raise UnusableError(f"{run.reference} is in the queue already")
        item = _item(data, run, attempt, new_number(data) if known is None else known.number, need, by)
        write_item(data, item)
        write_run_state(data, item, "queued")
    return _started_soon(settings, item.number)


def _item(data: Path, run: RunDirectory, attempt: int, number: int, need: Need, by: str) -> Item:
    """What waits at the end of the queue."""
    return Item(
        number=number,
        run=run.reference,
        run_uid=str((run.read_run() or {}).get("uid")),
        attempt=attempt,
        uid=os.getuid(),
        user=user_name(),
        order=max((item.order for item in _waiting(data)), default=0.0) + 1,
        need=need,
        created=time.time(),
        by=by,
    )


def _waiting(data: Path) -> list[Item]:
    return [item for item in read_items(data) if item.mine and item.state in ("waiting", "starting")]


def _own(data: Path, entry: Entry) -> Item:
    """The entry's item as it is now.

    Raises:
        UnusableError: it is gone, or another user's.
    """
    item = read_item(data, entry.item.number)
    if item is None or (item.run_uid, item.attempt) != (entry.item.run_uid, entry.item.attempt):
        raise UnusableError(f"{entry.reference} is not in the queue any more")
    if not item.mine:
        raise UnusableError(f"{item.run} is in the queue of {item.user}", hint="only they can change it")
    return item


def _started_soon(settings: Settings, number: int) -> Entry:
    entry = _entry(settings.data, number)
    ensure_scheduler(settings)
    return entry


def _entry(data: Path, number: int) -> Entry:
    """The entry of an item.

    Raises:
        UnusableError: it has left the queue in the meantime.
    """
    found = next((entry for entry in entries(data) if entry.item.number == number), None)
    if found is None:
        raise UnusableError("it has left the queue already", hint="`kladml-tui runs` shows what became of it")
    return found


def _restore(path: Path, text: str) -> None:
    with suppress(OSError):
        write_text_atomic(path, text)
