"""Registered datasets: a small YAML file a name, which says where the data is and what it looked like.

name: digits-train
description: 8x8 images of handwritten digits
path: data/datasets/files/digits-train.npz     # or target: module:function with params
format: npz                                    # csv, parquet, npz, safetensors or target
split: train
rows: 1437
columns: {x: {dtype: float32, shape: [1, 8, 8]}, y: {dtype: int64, shape: []}}
bytes: 102231
fingerprint: sha256:…                          # see fingerprints.py for what it covers
versions: [{fingerprint: sha256:…, rows: 1437, bytes: 102231, registered: 2026-01-31T12:00:00Z}]
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from kladml_core.config.load import Document, read
from kladml_core.config.references import is_data_path
from kladml_core.errors import ConfigError, UnusableError
from kladml_core.settings import load_settings

FOLDER = "datasets"
TARGET = "target"
"""The format of data that a function makes."""
_NAME = re.compile(r"[^/.\x00-\x1f\x7f][^/\x00-\x1f\x7f]{0,99}")
_NAME_BYTES = 240
"""What a file system's 255 leave for the name, with its ending and the temporary beside it."""
_KINDS: dict[str, type] = {
    "name": str,
    "description": str,
    "path": str,
    "target": str,
    "params": dict,
    "format": str,
    "split": str,
    "rows": int,
    "columns": dict,
    "column_count": int,
    "bytes": int,
    "fingerprint": str,
    "sha256": str,
    "versions": list,
}
_WORDS: dict[type, str] = {str: "text", int: "a whole number", dict: "a mapping", list: "a list"}


@dataclass(frozen=True)
class Column:
    """One array of a dataset: its type and the shape of one row of it."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class DatasetRegistration:
    """What a registration file says."""

    name: str
    file: Path
    """The registration itself."""
    path: str | None = None
    """The data's file, relative to the workspace or absolute; None where a target makes the data."""
    target: str | None = None
    """`module:function` that returns the data, called with `params`."""
    params: Mapping[str, Any] = field(default_factory=dict)
    split: str | None = None
    """Which split this is, or which one of a target's is meant: train, val or test."""
    description: str = ""
    rows: int | None = None
    columns: Mapping[str, Column] = field(default_factory=dict)
    """What fits of a very wide table; `column_count` says how many there are."""
    column_count: int = 0
    bytes: int | None = None
    """Size of the data's file as it was registered."""
    fingerprint: str | None = None
    """Of the data's file as it was registered, see `fingerprints`; of a target, of how it is called."""
    sha256: str | None = None
    """The hash of every byte of a file so large that its fingerprint covers blocks; there once it was verified."""
    versions: tuple[Mapping[str, Any], ...] = ()
    """Each registration in turn, the newest last: fingerprint, rows, bytes, registered (ISO time in UTC)."""

    @property
    def format(self) -> str:
        """csv, parquet, npz, safetensors or target."""
        return TARGET if self.path is None else Path(self.path).suffix.removeprefix(".")

    def location(self, workspace: Path) -> Path | None:
        """The data's absolute file, or None where a target makes the data."""
        return None if self.path is None else workspace.resolve() / Path(self.path).expanduser()


def read_dataset(path: Path) -> DatasetRegistration:
    """Reads a registration file.

    Raises:
        UnusableError: there is no such file.
        ConfigError: it is wrong, with its place and a suggestion.
    """
    document = read(path, needs=("name", "path"))
    data = document.data
    for key, value in data.items():
        if key not in _KINDS:
            close = get_close_matches(key, _KINDS, n=1)
            hint = f"Did you mean {close[0]}?" if close else f"The keys are {', '.join(_KINDS)}"
            raise _fault(document, key, f"unknown key {key!r}", hint, key=True)
        if value is not None and (not isinstance(value, _KINDS[key]) or isinstance(value, bool)):
            raise _fault(document, key, f"{key} must be {_WORDS[_KINDS[key]]}")
    if (data.get("path") is None) == (data.get("target") is None):
        raise ConfigError("a dataset needs either a path or a target", file=str(path), line=1, column=1)
    versions = data.get("versions") or []
    if not all(isinstance(version, dict) for version in versions):
        raise _fault(document, "versions", "each version must be a mapping")
    columns = {key: _column(document, key, value) for key, value in (data.get("columns") or {}).items()}
    return DatasetRegistration(
        name=data.get("name") or path.stem,
        file=path,
        path=data.get("path"),
        target=data.get("target"),
        params=data.get("params") or {},
        split=data.get("split"),
        description=data.get("description") or "",
        rows=data.get("rows"),
        columns=columns,
        column_count=data.get("column_count") or len(columns),
        bytes=data.get("bytes"),
        fingerprint=data.get("fingerprint"),
        sha256=data.get("sha256"),
        versions=tuple(versions),
    )


def registration_file(workspace: Path, name: str) -> Path:
    """Where the registration of that name lies, or would lie.

    Raises:
        ConfigError: the name cannot be one.
    """
    if not _NAME.fullmatch(name) or is_data_path(name) or len(name.encode("utf-8", "surrogatepass")) > _NAME_BYTES:
        raise ConfigError(
            f"{name!r} cannot name a dataset",
            hint="Use at most 100 characters, no /, no leading dot and no ending of a data file",
        )
    return load_settings(workspace).data / FOLDER / f"{name}.yaml"


def find_registration(workspace: Path, name: str) -> DatasetRegistration:
    """The registration of that name, whether its data is there or not.

    Raises:
        ConfigError: no dataset is registered under it, or its registration is wrong.
    """
    folder = load_settings(workspace).data / FOLDER
    try:
        file = registration_file(workspace, name)
    except ConfigError:
        file = folder / ".none"
    if not file.is_file():
        known = sorted(path.stem for path in folder.glob("*.yaml")) if folder.is_dir() else []
        close = get_close_matches(name, known, n=1)
        if close:
            hint = f"Did you mean {close[0]}?"
        else:
            hint = f"Registered are: {', '.join(known[:8])}" if known else f"No dataset is registered in {folder}"
        raise ConfigError(f"there is no dataset named {name!r}", hint=hint)
    return read_dataset(file)


def find_dataset(workspace: Path, name: str) -> DatasetRegistration:
    """The registered dataset of that name, to be used.

    Raises:
        ConfigError: no dataset is registered under it, or its registration is wrong.
        UnusableError: its data is not there any more.
    """
    found = find_registration(workspace, name)
    location = found.location(workspace)
    if location is not None and not location.exists():
        raise UnusableError(
            f"the data of {name!r} is gone: there is no {location}", hint=f"It is registered in {found.file}"
        )
    return found


def _fault(document: Document, name: str, message: str, hint: str | None = None, *, key: bool = False) -> ConfigError:
    place = document.place((name,), key=key)
    return ConfigError(message, hint=hint, file=place.file, line=place.line, column=place.column)


def _column(document: Document, key: str, value: Any) -> Column:
    shape = value.get("shape") if isinstance(value, dict) else None
    if not isinstance(shape, list) or not all(isinstance(size, int) for size in shape):
        raise _fault(document, "columns", f"column {key!r} must be {{dtype: …, shape: [ … ]}}")
    return Column(str(value.get("dtype", "?")), tuple(shape))
