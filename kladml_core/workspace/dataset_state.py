"""Whether a dataset is on the disk what it was when it was registered: by size, by fingerprint, or by every byte."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kladml_core.errors import KladMLError
from kladml_core.workspace.datasets import FOLDER, DatasetRegistration, find_registration, read_dataset
from kladml_core.workspace.fingerprints import SAMPLED, WHOLE, fingerprint, read_whole

UNCHANGED, CHANGED, GONE, WRONG, NO_FILE, UNKNOWN = "unchanged", "changed", "gone", "wrong", "target", "unknown"


@dataclass(frozen=True)
class DatasetState:
    """What was found."""

    name: str
    state: str
    """unchanged, changed, gone (no file), wrong (a registration or a file that cannot be read), target (made by a
    function, so that there is no file to compare) or unknown (registered without a fingerprint)."""
    how: str = ""
    """By which look, or what is wrong."""
    rows: int | None = None
    """As it was registered."""
    fingerprint: str | None = None
    """Of the file now, where it was found out."""

    @property
    def good(self) -> bool:
        """Whether nothing speaks against training on it."""
        return self.state in (UNCHANGED, NO_FILE)

    def to_json(self) -> dict[str, Any]:
        """As commands print it."""
        return {**vars(self), "good": self.good}


def state_of(file: Path, workspace: Path, *, verify: bool = False) -> DatasetState:
    """Compares a registration with the disk. Reads the data only where its size or times are new to this machine.

    Args:
        file: the registration.
        workspace: its root.
        verify: read every byte.
    """
    try:
        registration = read_dataset(file)
    except KladMLError as error:
        return DatasetState(file.stem, WRONG, str(error))
    return compare(registration, workspace, verify=verify)


def compare(registration: DatasetRegistration, workspace: Path, *, verify: bool = False) -> DatasetState:
    """As `state_of`, of a registration that was read."""
    name, rows = registration.file.stem, registration.rows
    location = registration.location(workspace)
    if location is None:
        return DatasetState(name, NO_FILE, f"made by {registration.target}; only a run sees what it gives", rows)
    try:
        size = location.stat().st_size
    except OSError as error:
        return DatasetState(name, GONE, f"{location}: {error.strerror}", rows)
    if registration.bytes not in (None, size) and not verify:
        return DatasetState(name, CHANGED, f"{size:,} bytes, and {registration.bytes:,} when registered", rows)
    if registration.fingerprint is None:
        return DatasetState(name, UNKNOWN, "registered without a fingerprint", rows)
    try:
        found = fingerprint(location)
        text, how = found.text, found.how
        same = text == registration.fingerprint
        if not same and text.startswith(SAMPLED) and registration.fingerprint.startswith(f"{WHOLE}:"):
            # Registered when it was small enough, or by a release that read every file whole.
            text, how = read_whole(location), "every byte read"
            same = text == registration.fingerprint
        elif same and verify and not (found.read and text.startswith(f"{WHOLE}:")):
            whole = read_whole(location)
            expected = registration.sha256 or (registration.fingerprint if text.startswith(f"{WHOLE}:") else None)
            if expected is None:
                how = "every byte read, for the first time; the hash is recorded"
            else:
                same, how = whole == expected, "every byte read"
    except KladMLError as error:
        return DatasetState(name, WRONG, str(error), rows)
    except OSError as error:
        return DatasetState(name, WRONG, f"{location}: {error.strerror}", rows)
    if not same:
        return DatasetState(name, CHANGED, f"the same size and other content; {how}", rows, text)
    return DatasetState(name, UNCHANGED, how, rows, text)


def check(workspace: Path, data: Path, names: list[str], *, verify: bool = False) -> list[DatasetState]:
    """The states of these datasets, or of all.

    With `verify`, the hash of a large file that was never read whole is recorded.

    Raises:
        ConfigError: there is none of a name.
    """
    from kladml_core.workspace.dataset_register import record_whole

    if names:
        files = [find_registration(workspace, name).file for name in names]
    else:
        files = sorted((data / FOLDER).glob("*.yaml"))
    found = []
    for file in files:
        state = state_of(file, workspace, verify=verify)
        if verify and state.state == UNCHANGED and (state.fingerprint or "").startswith(SAMPLED):
            record_whole(workspace, file.stem)
        found.append(state)
    return found
