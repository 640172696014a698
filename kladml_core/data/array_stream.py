"""Arrays of a .npz or .safetensors file some rows at a time, so that memory does not grow with the file."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from kladml_core.errors import UnusableError

Arrays = dict[str, np.ndarray[Any, Any]]
_BATCH_BYTES = 16 << 20
_WHOLE_BYTES = 512 << 20
"""An array that is stored column by column, or a single row, is read whole up to this size."""
_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?", "BF16": "<u2",
}  # fmt: skip


def npz_batches(path: Path) -> Iterator[Arrays]:
    """Rows of every array of a .npz file together. Nothing is unpickled: the values are read as plain numbers.

    Raises:
        UnusableError: a row is too large.
        OSError, ValueError, zipfile.BadZipFile: it is damaged.
    """
    with zipfile.ZipFile(path) as archive, ExitStack() as stack:
        files: dict[str, tuple[IO[bytes], np.dtype[Any], tuple[int, ...]]] = {}
        whole: Arrays = {}
        for member in archive.namelist():
            file = stack.enter_context(archive.open(member))
            version = npy.read_magic(file)
            read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, by_columns, dtype = read_header(file)
            if dtype.hasobject:
                raise ValueError(f"{member} holds Python objects, which are never loaded")
            name = member.removesuffix(".npy")
            if by_columns and len(shape) > 1:
                whole[name] = _read(file, math.prod(shape), dtype, name).reshape(shape, order="F")
            else:
                files[name] = (file, dtype, shape[1:])
            rows = shape[0]
        sizes = {name: math.prod(row) * dtype.itemsize for name, (_, dtype, row) in files.items()}
        for start, count in _parts(rows, sizes):
            batch = {name: array[start : start + count] for name, array in whole.items()}
            for name, (file, dtype, row) in files.items():
                batch[name] = _read(file, count * math.prod(row), dtype, name).reshape(count, *row)
            yield batch


def safetensors_batches(path: Path, headers: Mapping[str, tuple[str, tuple[int, ...]]]) -> Iterator[Arrays]:
    """Rows of every tensor of a .safetensors file together; of types that numpy lacks, raw bytes of kind `V`.

    Args:
        path: the file.
        headers: from `safetensors_headers`.

    Raises:
        UnusableError: a row is too large.
        OSError, ValueError: it is damaged.
    """
    import json

    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        described = json.loads(file.read(length))
        begin = 8 + length
        rows = next(iter(headers.values()))[1][0]
        sizes: dict[str, int] = {}
        for name, (_, shape) in headers.items():
            first, last = described[name]["data_offsets"]
            sizes[name] = (last - first) // max(1, shape[0])
        for start, count in _parts(rows, sizes):
            batch: Arrays = {}
            for name, (kind, shape) in headers.items():
                file.seek(begin + described[name]["data_offsets"][0] + start * sizes[name])
                raw = file.read(count * sizes[name])
                if len(raw) < count * sizes[name]:
                    raise ValueError(f"{name} ends too early")
                if kind not in _TYPES:
                    batch[name] = np.frombuffer(raw, f"V{max(1, sizes[name])}")
                    continue
                values: np.ndarray[Any, Any] = np.frombuffer(raw, _TYPES[kind])
                if kind == "BF16":  # the upper half of a float32
                    values = (values.astype(np.uint32) << 16).view(np.float32)
                batch[name] = values.reshape(count, *shape[1:])
            yield batch


def _parts(rows: int, sizes: Mapping[str, int]) -> Iterator[tuple[int, int]]:
    row_bytes = max(1, sum(sizes.values()))
    if row_bytes > _WHOLE_BYTES:
        raise UnusableError(f"one row takes {row_bytes / 1e9:.1f} GB, which is more than is looked at")
    step = max(1, _BATCH_BYTES // row_bytes)
    for start in range(0, rows, step):
        yield start, min(step, rows - start)


def _read(file: IO[bytes], count: int, dtype: np.dtype[Any], name: str) -> np.ndarray[Any, Any]:
    size = count * dtype.itemsize
    if size > _WHOLE_BYTES:
        raise UnusableError(f"{name} is stored column by column and takes {size / 1e9:.1f} GB; too much to look at")
    raw = file.read(size)
    if len(raw) < size:
        raise ValueError(f"{name} ends too early")
    return np.frombuffer(raw, dtype)
