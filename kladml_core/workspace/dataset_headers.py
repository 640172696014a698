"""What the headers of a data file say of it: rows and columns, without reading the data. Nothing is unpickled."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path

from kladml_core.config.references import DATA_SUFFIXES
from kladml_core.errors import UnusableError
from kladml_core.workspace.datasets import Column

_HEADER_BYTES = 100_000_000
"""The format's own limit of a safetensors header."""


def describe_arrays(path: Path) -> tuple[int, dict[str, Column]]:
    """Rows and columns of a .npz or .safetensors file; raises UnusableError."""
    try:
        arrays = npz_headers(path) if path.suffix == ".npz" else safetensors_headers(path)
    except FileNotFoundError:
        raise no_file(path) from None
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        EOFError,
        struct.error,
        zipfile.BadZipFile,
    ) as error:
        raise UnusableError(f"{path} cannot be read: {error}") from None
    lengths = {shape[0] if shape else None for _, shape in arrays.values()}
    if len(lengths) != 1 or None in lengths:
        shapes = ", ".join(f"{name} {list(shape)}" for name, (_, shape) in arrays.items()) or "no arrays"
        raise UnusableError(f"the arrays of {path} have not the same number of rows: {shapes}")
    rows = int(next(iter(lengths)) or 0)
    return rows, {name: Column(dtype, shape[1:]) for name, (dtype, shape) in arrays.items()}


def require_data_file(path: Path) -> None:
    """Refuses what cannot be a data file.

    Raises:
        UnusableError: it is missing, no regular file, or its name has another ending.
    """
    if path.suffix not in DATA_SUFFIXES:
        formats = f"{', '.join(DATA_SUFFIXES[:-1])} or {DATA_SUFFIXES[-1]}"
        raise UnusableError(f"{path} is no data file", hint=f"Register a {formats} file, or a target module:function")
    if not path.exists():
        raise no_file(path)
    if not path.is_file():
        raise UnusableError(f"{path} is no regular file", hint="Register each file of a folder by itself")


def no_file(path: Path) -> UnusableError:
    """There is none."""
    return UnusableError(f"there is no file {path}")


def npz_headers(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of each array of a .npz file, in its order.

    Raises:
        ValueError: it holds Python objects, or is no such file.
        OSError, zipfile.BadZipFile: it cannot be read.
    """
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


def safetensors_headers(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The header by the format's own description: its length in eight bytes, then JSON.

    Raises:
        ValueError, KeyError: it is no such file.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(path.stat().st_size, _HEADER_BYTES):
            raise ValueError("not a safetensors file")
        header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("not a safetensors file")
    return {
        name: (str(entry["dtype"]), tuple(int(size) for size in entry["shape"]))
        for name, entry in header.items()
        if name != "__metadata__"
    }
