"""Whose a stored run is, and which checkpoints its next manifest names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from shlex import quote

from kladml_core.errors import KladMLError
from kladml_core.runs.checkpoint_list import list_checkpoints
from kladml_core.runs.events import read_events
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.stored import DamagedManifest, Store, StoredCheckpoint, StoredFile, StoredRun
from kladml_core.runs.upload_files import sha256_of


class Refused(KladMLError):
    """What is in the storage is not this run's to change; trying again changes nothing."""


def stored_of(store: Store, run: RunDirectory, uid: str, *, known: bool) -> StoredRun | None:
    """What the storage has of a run, once it is sure that it is this very run's.

    Args:
        known: whether this workspace has stored a manifest of it before.

    Raises:
        Refused: it is another run's, or the run went on elsewhere.
        KladMLError: whatever the storage raises.
    """
    reference = run.reference
    where = store.where(reference)
    try:
        stored = store.read(reference)
    except DamagedManifest as damage:
        if not known:
            raise Refused(str(damage), hint="Remove it, or set another storage.prefix") from damage
        return None  # it was being stored by this workspace when that, or the storage, was killed
    if stored is None:
        return None
    if stored.uid != uid:
        raise Refused(
            f"{where} is another run, of {stored.host or 'another workspace'}",
            hint="Set a storage.prefix of this workspace's own in kladml.yaml",
        )
    events = stored.files.get("events.jsonl")
    if events is not None and not _begins_with(run, events):
        raise Refused(
            f"{where} went on elsewhere, on {stored.host} in attempt {stored.attempt}",
            hint=f"`kladml-tui fetch {quote(reference)}` from another workspace gets that one",
        )
    return stored


def _begins_with(run: RunDirectory, events: StoredFile) -> bool:
    """Whether the stored events are the beginning of those here, as they are for as long as one machine goes on."""
    try:
        return sha256_of(run.events, events.size) == events.sha256
    except OSError:
        return False


def kept(
    run: RunDirectory, checkpoints: Mapping[str, StoredCheckpoint], *, deletes: bool
) -> tuple[StoredCheckpoint, ...]:
    """The checkpoints that the storage is to name: all but those that retention took here or a resume gave up.

    Retention in the storage follows the one here, except that the best and the newest that the storage has stay, and
    what a person pruned. Where the storage cannot delete, all of them are named.

    Args:
        run: the run.
        checkpoints: what the storage has, by name.
        deletes: whether it can delete.

    Returns:
        By step.
    """
    rows = {row.name: row for row in list_checkpoints(run)}
    best = next((name for name, row in rows.items() if row.best), None)
    events = read_events(run.events)[0]
    resumes = [(event.get("step"), event.get("time")) for event in events if event["kind"] == "resumed"]
    removed = {event.get("name") for event in events if event["kind"] == "checkpoint_removed"} - rows.keys()
    living = [
        one
        for one in sorted(checkpoints.values(), key=lambda one: one.step)
        if not any(_gave_up(one, step, at) for step, at in resumes)
    ]
    best = best if best in checkpoints else next((one.name for one in reversed(living) if one.best), None)
    return tuple(
        replace(one, best=one.name == best)
        for one in living
        if one.name == best or one is living[-1] or one.name not in removed or not deletes
    )


def says_the_same(stored: StoredRun, now: StoredRun) -> bool:
    """Whether two manifests differ in nothing but how far the run is, which alone is not worth storing it anew."""
    then = replace(now, time=stored.time, heartbeat=stored.heartbeat, step=stored.step if now.live else now.step)
    return then == stored


def _gave_up(checkpoint: StoredCheckpoint, step: object, at: object) -> bool:
    """Whether a resume at a step and a time went on from before a checkpoint."""
    return isinstance(step, int) and isinstance(at, int | float) and checkpoint.step > step and checkpoint.time < at
