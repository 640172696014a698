"""Registered datasets: a small YAML file a name, which says where the data is and what it looked like.

name: digits-train
description: 8x8 images of handwritten digits
path: data/datasets/files/digits-train.npz     # or target: module:function with params
split: train
rows: 1437
columns: {x: {dtype: float32, shape: [1, 8, 8]}, y: {dtype: int64, shape: []}}
fingerprint: sha256:…
versions: [{fingerprint: sha256:…, rows: 1437, registered: 2026-01-31T12:00:00Z}]
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from kladml_core.config.load import Document, dump, read
from kladml_core.errors import ConfigError, UnusableError
from kladml_core.runs.files import write_text_atomic
from kladml_core.settings import load_settings

FOLDER = "datasets"
_NAME = re.compile(r"[^/.\x00-\x1f\x7f][^/\x00-\x1f\x7f]{0,99}")
_KINDS: dict[str, type] = {
    "name": str,
    "description": str,
    "path": str,
    "target": str,
    "params": dict,
    "split": str,
    "rows": int,
    "columns": dict,
    "fingerprint": str,
    "versions": list,
}
_WORDS: dict[type, str] = {str: "text", int: "a whole number", dict: "a mapping", list: "a list"}
_BLOCK = 1 << 20


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
    fingerprint: str | None = None
    """`sha256:` and the hash of the data's file as it was registered."""
    versions: tuple[Mapping[str, Any], ...] = ()
    """Each registration in turn, the newest last: fingerprint, rows, registered (ISO time in UTC)."""

    def location(self, workspace: Path) -> Path | None:
        """The data's absolute file, or None where a target makes the data."""
        return None if self.path is None else workspace.resolve() / Path(self.path).expanduser()


def register(
    workspace: Path,
    name: str,
    *,
    path: str | Path | None = None,
    target: str | None = None,
    params: Mapping[str, Any] | None = None,
    split: str | None = None,
    description: str = "",
) -> DatasetRegistration:
    """Writes a dataset's registration; one that exists gets a new version when the data has changed.

    Args:
        workspace: its root.
        name: at most 100 characters, without a slash and not beginning with a dot.
        path: a .npz or .safetensors file, relative to the workspace or absolute.
        target: `module:function` instead of a path, called with `params`.
        split: train, val or test.

    Raises:
        ConfigError: the name cannot be one, or not exactly one of path and target is given.
        UnusableError: the file is missing, no data file, or the registration cannot be written.
    """
    if not _NAME.fullmatch(name) or name.endswith((".npz", ".safetensors")):
        raise ConfigError(f"{name!r} cannot name a dataset", hint="Use at most 100 characters, no / and no leading dot")
    if (path is None) == (target is None):
        raise ConfigError(f"dataset {name!r} needs either a path or a target")
    file = load_settings(workspace).data / FOLDER / f"{name}.yaml"
    rows, columns, fingerprint = None, dict[str, Column](), None
    if path is not None:
        location = workspace.resolve() / Path(path).expanduser()
        rows, columns = _describe(location)
        fingerprint = _hash(location)
    before = read_dataset(file).versions if file.exists() else ()
    version = {"fingerprint": fingerprint, "rows": rows, "registered": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
    same = bool(before) and before[-1].get("fingerprint") == fingerprint
    text = {
        "name": name,
        "description": description,
        "path": None if path is None else str(path),
        "target": target,
        "params": dict(params or {}),
        "split": split,
        "rows": rows,
        "columns": {key: {"dtype": one.dtype, "shape": list(one.shape)} for key, one in columns.items()},
        "fingerprint": fingerprint,
        "versions": [*map(dict, before[:-1] if same else before), dict(before[-1]) if same else version],
    }
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(file, dump({key: value for key, value in text.items() if value not in (None, "", {})}))
    except OSError as error:
        raise UnusableError(f"cannot register {name!r}: {error.strerror}", file=str(file)) from error
    return read_dataset(file)


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
    return DatasetRegistration(
        name=data.get("name") or path.stem,
        file=path,
        path=data.get("path"),
        target=data.get("target"),
        params=data.get("params") or {},
        split=data.get("split"),
        description=data.get("description") or "",
        rows=data.get("rows"),
        columns={key: _column(document, key, value) for key, value in (data.get("columns") or {}).items()},
        fingerprint=data.get("fingerprint"),
        versions=tuple(versions),
    )


def find_dataset(workspace: Path, name: str) -> DatasetRegistration:
    """The registered dataset of that name.

    Raises:
        ConfigError: no dataset is registered under it, or its registration is wrong.
        UnusableError: its data is not there any more.
    """
    folder = load_settings(workspace).data / FOLDER
    file = folder / f"{name}.yaml"
    if not _NAME.fullmatch(name) or not file.is_file():
        known = sorted(path.stem for path in folder.glob("*.yaml")) if folder.is_dir() else []
        close = get_close_matches(name, known, n=1)
        if close:
            hint = f"Did you mean {close[0]}?"
        else:
            hint = f"Registered are: {', '.join(known[:8])}" if known else f"No dataset is registered in {folder}"
        raise ConfigError(f"there is no dataset named {name!r}", hint=hint)
    found = read_dataset(file)
    location = found.location(workspace)
    if location is not None and not location.exists():
        raise UnusableError(f"the data of {name!r} is gone: there is no {location}", hint=f"It is registered in {file}")
    return found


def _fault(document: Document, name: str, message: str, hint: str | None = None, *, key: bool = False) -> ConfigError:
    place = document.place((name,), key=key)
    return ConfigError(message, hint=hint, file=place.file, line=place.line, column=place.column)


def _column(document: Document, key: str, value: Any) -> Column:
    shape = value.get("shape") if isinstance(value, dict) else None
    if not isinstance(shape, list) or not all(isinstance(size, int) for size in shape):
        raise _fault(document, "columns", f"column {key!r} must be {{dtype: …, shape: [ … ]}}")
    return Column(str(value.get("dtype", "?")), tuple(shape))


def _describe(path: Path) -> tuple[int, dict[str, Column]]:
    """Rows and columns of a data file, from its headers alone."""
    try:
        if path.suffix == ".npz":
            arrays = _npz_headers(path)
        elif path.suffix == ".safetensors":
            arrays = _safetensors_headers(path)
        else:
            raise UnusableError(f"{path} is no data file", hint="Register a .npz or .safetensors file, or a target")
    except FileNotFoundError:
        raise UnusableError(f"there is no file {path}") from None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UnusableError(f"{path} cannot be read: {error}") from None
    lengths = {shape[0] if shape else None for _, shape in arrays.values()}
    if len(lengths) != 1 or None in lengths:
        shapes = ", ".join(f"{name} {list(shape)}" for name, (_, shape) in arrays.items()) or "no arrays"
        raise UnusableError(f"the arrays of {path} have not the same number of rows: {shapes}")
    rows = int(next(iter(lengths)) or 0)
    return rows, {name: Column(dtype, shape[1:]) for name, (dtype, shape) in arrays.items()}


def _npz_headers(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    from numpy.lib import format as npy  # numpy costs a quarter of a second; most commands need no dataset

    found = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            with archive.open(member) as file:
                version = npy.read_magic(file)
                read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                shape, _, dtype = read_header(file)
                if dtype.hasobject:
                    raise ValueError(f"{member} holds Python objects, which are never loaded")
                found[member.removesuffix(".npy")] = (str(dtype), tuple(int(size) for size in shape))
    return found


def _safetensors_headers(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The header by the format's own description: its length in eight bytes, then JSON."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise ValueError("not a safetensors file")
        header = json.loads(file.read(length))
    return {
        name: (str(entry["dtype"]), tuple(int(size) for size in entry["shape"]))
        for name, entry in header.items()
        if name != "__metadata__"
    }


def file_fingerprint(path: Path) -> str:
    """`sha256:` and the hash of all of a data file's bytes, as a registration records it.

    Raises:
        UnusableError: the file cannot be read.
    """
    try:
        return _hash(path)
    except OSError as error:
        raise UnusableError(f"{path} cannot be read: {error.strerror}") from error


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return f"sha256:{digest.hexdigest()}"
