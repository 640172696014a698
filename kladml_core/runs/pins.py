"""Checkpoints that a person said are to stay: `pinned: [step-0000001200]` in the run's notes.yaml."""

from __future__ import annotations

import re

from kladml_core.errors import ConfigError, UnusableError
from kladml_core.runs.rundir import RunDirectory

KEY = "pinned"
_NAME = re.compile(r"step-\d{10,}")


def read_pins(run: RunDirectory) -> frozenset[str] | None:
    """The names of the pinned checkpoints, be they there or not.

    In notes that are damaged every checkpoint's name counts: it is better to keep one too many. Where none is left in
    them, what was pinned cannot be known.

    Returns:
        The names; None where there are notes that cannot be read at all, so that any checkpoint may be pinned.
    """
    try:
        text = run.notes.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return frozenset()
    except OSError:
        return None
    from kladml_core.config.load import parse  # not needed for the many runs without notes

    try:
        pinned = parse(text, str(run.notes), empty_ok=True).data.get(KEY)
    except ConfigError:
        return frozenset(_NAME.findall(text)) or None
    # A person may write one name, or the bare number of a step.
    found = pinned if isinstance(pinned, list) else [pinned]
    steps = [f"step-{one:010d}" for one in found if isinstance(one, int) and not isinstance(one, bool) and one >= 0]
    return frozenset([*steps, *_NAME.findall(str(pinned))])


def pin(run: RunDirectory, checkpoint: str, *, pinned: bool = True) -> str:
    """Pins a checkpoint, so that neither retention nor pruning removes it; or takes the pin away.

    Args:
        checkpoint: its name, its step, or `best` or `newest`.
        pinned: False takes the pin away.

    Returns:
        The checkpoint's name.

    Raises:
        UnusableError: there is no such checkpoint, or the notes cannot be written.
        ConfigError: the notes are damaged; they are left alone.
    """
    from kladml_core.config.edit_key import set_key
    from kladml_core.config.load import read

    before = read_pins(run)
    if before is None:
        if run.notes.is_file():
            read(run.notes, empty_ok=True)  # says where they are damaged
        raise UnusableError(f"cannot read {run.notes}", hint="look at its permissions")
    name = _named(run, checkpoint, before if not pinned else frozenset())
    after = before | {name} if pinned else before - {name}
    if after != before:
        set_key(run.notes, KEY, sorted(after))
    return name


def _named(run: RunDirectory, text: str, also: frozenset[str]) -> str:
    from kladml_core.runs.checkpoint_list import list_checkpoints  # which itself tells what is pinned

    rows = list_checkpoints(run)
    for row in rows:
        marks = {"best": row.best, "newest": row.latest, "latest": row.latest, str(row.step): True, row.name: True}
        if marks.get(text):
            return row.name
    if text in also:
        return text
    names = ", ".join(row.name for row in rows[:6])
    raise UnusableError(
        f"{run.reference} has no checkpoint {text!r}", hint=f"it has {names}" if names else "it has none at all"
    )
