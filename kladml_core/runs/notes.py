"""What a person writes on a run (tags, a note, a star) in its notes.yaml, at any time, while it trains too."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kladml_core.errors import ConfigError, UnusableError
from kladml_core.runs.rundir import RunDirectory

MAX_TAG = 100
MAX_NOTE = 100_000
"""Characters."""


@dataclass(frozen=True)
class Notes:
    """What is written on a run."""

    tags: tuple[str, ...] = ()
    note: str = ""
    star: bool = False

    def to_json(self) -> dict[str, Any]:
        """As `note --json` prints it."""
        return {"tags": list(self.tags), "note": self.note, "star": self.star}


def read_notes(run: RunDirectory) -> Notes:
    """What is written on a run; nothing where there are no notes.

    Raises:
        ConfigError: notes.yaml is damaged, with the place.
        UnusableError: it cannot be read.
    """
    from kladml_core.config.load import read  # not needed for the many runs without notes

    return notes_in(read(run.notes, empty_ok=True).data) if run.notes.exists() else Notes()


def notes_in(data: Mapping[str, Any]) -> Notes:
    """What the data of a notes.yaml says; a person may have written one tag without a list."""
    tags = data.get("tags")
    listed = tags if isinstance(tags, list) else [] if tags is None else [tags]
    note = data.get("note")
    return Notes(
        tuple(str(tag) for tag in listed if not isinstance(tag, dict | list)),
        "" if note is None else str(note),
        data.get("star") is True,
    )


def edit_notes(
    run: RunDirectory,
    *,
    note: str | None = None,
    tag: Iterable[str] = (),
    untag: Iterable[str] = (),
    star: bool | None = None,
) -> Notes:
    """Changes what is written on a run, in one step; comments, other keys (`pinned`) and their order stay.

    Args:
        note: the new note, "" for none; None leaves it as it is.
        tag: tags to add.
        untag: tags to take away, those that it has not included.
        star: gives or takes the star; None leaves it.

    Returns:
        What is written on it now.

    Raises:
        ConfigError: a tag cannot be one, the note is too long, or notes.yaml is damaged; it is left alone.
        UnusableError: there is no such run, or its notes cannot be written.
    """
    added = [checked_tag(one) for one in tag]
    gone = {_normal(one) for one in untag}
    if note is not None and len(note) > MAX_NOTE:
        raise ConfigError(f"a note of {len(note):,} characters is too long", hint=f"At most {MAX_NOTE:,} fit")
    if not run.path.is_dir():
        raise UnusableError(f"there is no run {run.reference} any more")

    def change(data: Mapping[str, Any]) -> dict[str, Any]:
        before = notes_in(data)
        kept = [one for one in before.tags if _normal(one) not in gone]
        tags = list(dict.fromkeys([*kept, *(one for one in added if one not in gone)]))
        wanted: dict[str, tuple[Any, Any]] = {"tags": (list(before.tags), tags)}
        if note is not None:
            wanted["note"] = (before.note, note.rstrip())
        if star is not None:
            wanted["star"] = (before.star, star)
        return {key: new for key, (old, new) in wanted.items() if new != old}

    from kladml_core.config.edit_key import edit_keys

    edit_keys(run.notes, change)
    return read_notes(run)


def checked_tag(text: str) -> str:
    """The tag that a text makes: without blanks around it, its accents in one form.

    Raises:
        ConfigError: it is empty, longer than `MAX_TAG`, or holds a comma or a control character.
    """
    found = _normal(text)
    bad = next(
        (character for character in found if character == "," or unicodedata.category(character)[0] == "C"), None
    )
    if not found or len(found) > MAX_TAG or bad is not None:
        raise ConfigError(
            f"{text!r} cannot be a tag", hint=f"Use 1 to {MAX_TAG} characters, no comma and no control character"
        )
    return found


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()
