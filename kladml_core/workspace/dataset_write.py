"""Writes a dataset's registration: what was seen of its data now, behind the versions that it had before."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kladml_core.config.load import dump
from kladml_core.data.table_stream import found_delimiter
from kladml_core.errors import UnusableError
from kladml_core.runs.files import write_text_atomic
from kladml_core.workspace.dataset_examine import SECONDS, examine_file, examine_target
from kladml_core.workspace.dataset_headers import describe_arrays, no_file, require_data_file
from kladml_core.workspace.datasets import Column, DatasetRegistration, read_dataset, registration_file
from kladml_core.workspace.examination import Examination
from kladml_core.workspace.fingerprints import SAMPLED, describe_target, fingerprint, read_whole

_COLUMN_BYTES = 200_000
"""Of the columns of a registration: a file that a person opens, and that is read whole, stays small."""
_VERSIONS = 500


def write_registration(
    workspace: Path,
    name: str,
    path: str | None,
    target: str | None,
    params: Mapping[str, Any],
    split: str | None,
    description: str,
    *,
    look: float | None,
    verify: bool,
) -> tuple[DatasetRegistration, tuple[str, ...]]:
    """Writes what is seen of a file or a target; a new version where that is no longer the newest one's.

    Args:
        workspace: its root.
        look: for how many seconds the data is looked through; None calls no target, and looks through a file only
            where its headers do not say rows and columns.
        verify: read every byte of a file so large that its fingerprint covers only blocks.

    Returns:
        the registration, and what the person should know of the data.

    Raises:
        ConfigError: the name cannot be one, or a parameter is wrong.
        UnusableError: the data cannot be used, or the registration cannot be written.
    """
    file = registration_file(workspace, name)
    rows, columns, size, whole = None, dict[str, Column](), None, None
    notes: tuple[str, ...] = ()
    if path is not None:
        location = workspace.resolve() / Path(path).expanduser()
        require_data_file(location)
        arrays = location.suffix in (".npz", ".safetensors")
        if arrays:
            rows, columns = describe_arrays(location)
        found = fingerprint(location)
        mark, size = found.text, found.bytes
        apart: tuple[str, ...] = ()
        if location.suffix == ".csv" and "delimiter" not in params and (delimiter := found_delimiter(location)):
            params = {**params, "delimiter": delimiter}
            apart = (f"its cells are parted by {delimiter!r}, which is recorded in params as delimiter",)
        if look is not None or not arrays:
            seen = examine_file(location, params, mark, workspace, look or SECONDS)
            rows, columns, notes = seen.rows, _columns(seen), (*apart, *seen.notes)
            if not seen.complete:
                told = f"only the first {seen.rows_seen:,} rows were looked through; there was no time for more"
                notes = (*notes, told)
        if verify and mark.startswith(SAMPLED):
            whole = whole_hash(location)
    else:
        mark = describe_target(str(target), params, split)
        if look is not None:
            seen = examine_target(str(target), params, split, workspace, look)
            rows, columns, notes = seen.rows, _columns(seen), seen.notes
    before = read_dataset(file).versions if file.exists() else ()
    version = {
        "fingerprint": mark,
        "rows": rows,
        "bytes": size,
        "path": path,
        "registered": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
    }
    version = {key: value for key, value in version.items() if value is not None}
    same = bool(before) and before[-1].get("fingerprint") == mark
    kept = _that_fit(columns)
    text = {
        "name": name,
        "description": description,
        "path": path,
        "target": target,
        "format": Path(path).suffix.removeprefix(".") if path else "target",
        "params": dict(params),
        "split": split,
        "rows": rows,
        "columns": {key: {"dtype": one.dtype, "shape": list(one.shape)} for key, one in kept.items()},
        "column_count": len(columns) if len(kept) < len(columns) else None,
        "bytes": size,
        "fingerprint": mark,
        "sha256": whole,
        "versions": [*map(dict, before if same else (*before, version))][-_VERSIONS:],
    }
    save_text(file, text)
    return read_dataset(file), notes


def save_text(file: Path, text: Mapping[str, Any]) -> None:
    """Writes a registration's keys, without those that say nothing.

    Raises:
        UnusableError: it cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(file, dump({key: value for key, value in text.items() if value not in (None, "", {})}))
    except OSError as error:
        raise UnusableError(f"cannot be written: {error.strerror}", file=str(file)) from error


def whole_hash(location: Path) -> str:
    """The hash of every byte of a data file.

    Raises:
        UnusableError: it is missing, or cannot be read.
    """
    try:
        return read_whole(location)
    except FileNotFoundError:
        raise no_file(location) from None
    except OSError as error:
        raise UnusableError(f"{location} cannot be read: {error.strerror}") from error


def _columns(seen: Examination) -> dict[str, Column]:
    return {column.name: Column(column.dtype, column.shape) for column in seen.columns}


def _that_fit(columns: Mapping[str, Column]) -> dict[str, Column]:
    """The first columns, as many as a registration has room for."""
    room, kept = _COLUMN_BYTES, dict[str, Column]()
    for name, column in columns.items():
        # As YAML writes it: what is no plain text takes up to ten characters each.
        room -= 40 + (len(name) if name.isascii() and name.isprintable() else 10 * len(name))
        if room < 0:
            break
        kept[name] = column
    return kept
