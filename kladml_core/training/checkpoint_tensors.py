"""Safetensors files written tensor by tensor: no second copy of the model in memory, hashed beside the write, fsynced.

`safetensors.torch.save_file` copies every tensor first and leaves hashing and fsync to a second pass over the file.
The format itself is small: a length, a JSON header, the bytes. Reading is left to the library.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

CHUNK_BYTES = 8 << 20
_ALIGNMENT = 8
_WORTH_A_THREAD = 1 << 20
_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.uint16: "U16",
    torch.uint32: "U32",
    torch.uint64: "U64",
    torch.bool: "BOOL",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
}


@dataclass(frozen=True)
class WrittenFile:
    """A file that is on the disk."""

    size: int
    sha256: str


def unstorable_dtype(tensor: Tensor) -> str | None:
    """Why a tensor cannot be written, or None."""
    if tensor.layout is not torch.strided:
        return f"its layout is {tensor.layout}"
    if tensor.is_quantized or tensor.dtype not in _NAMES:
        return f"its type is {tensor.dtype}"
    return None


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> WrittenFile:
    """Writes one .safetensors file and waits until the disk has it.

    Args:
        path: must not exist.
        tensors: on the CPU, of any strides (written contiguous), of a type that `unstorable_dtype` lets pass.

    Raises:
        OSError: it could not be written.
    """
    # Widest types first keeps every tensor aligned, as the library itself orders them.
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, Any] = {}
    offset = 0
    for name in order:
        tensor = tensors[name]
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return write_chunks(path, [len(text).to_bytes(8, "little") + text, *(_bytes(tensors[name]) for name in order)])


def write_chunks(path: Path, parts: Iterable[bytes | memoryview]) -> WrittenFile:
    """Writes a new file of these parts, hashing large ones on a second thread, and waits until the disk has it.

    Raises:
        OSError: it could not be written.
    """
    digest, size = hashlib.sha256(), 0
    with open(path, "xb", buffering=0) as file, ThreadPoolExecutor(1) as hasher:
        for part in parts:
            view = memoryview(part)
            for start in range(0, len(view), CHUNK_BYTES):
                chunk = view[start : start + CHUNK_BYTES]
                # Handing a small piece to a thread takes longer than hashing it.
                hashing = hasher.submit(digest.update, chunk) if len(chunk) >= _WORTH_A_THREAD else None
                written = 0
                while written < len(chunk):
                    written += file.write(chunk[written:])
                size += written
                if hashing is None:
                    digest.update(chunk)
                else:
                    hashing.result()
        os.fsync(file.fileno())
    return WrittenFile(size, digest.hexdigest())


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, contiguous, on the CPU, in memory of their own.

    Raises:
        ValueError: the file is not what `write_tensors` wrote.
        OSError: it cannot be read.
    """
    try:
        return {name: tensor.clone() for name, tensor in safetensors.torch.load_file(path).items()}
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path.name}: {error}") from None


def _bytes(tensor: Tensor) -> memoryview:
    flat = tensor.detach().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data if flat.numel() else memoryview(b"")
