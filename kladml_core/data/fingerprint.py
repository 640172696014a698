"""Fingerprints of data: whether a run saw the same data as another, recorded beside its seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset

from kladml_core.data.datamodule import DataModule, Split
from kladml_core.workspace.fingerprints import BLOCK, WHOLE_BYTES, block_starts


def fingerprints(data: DataModule) -> dict[str, str]:
    """The fingerprint of each split by name; see `fingerprint_split`."""
    return {name: fingerprint_split(split) for name, split in data.splits.items()}


def fingerprint_split(split: Split) -> str:
    """A hash of a split's content, of which the prefix says what it covers.

    Returns:
        `sha256:…` where types, shapes and every byte of the tensors went into it; `sha256-sampled:…` where only a part
        of very large ones did; `sha256-described:…` for a data set that is no tensors: its class, its length and the
        plain values, paths and tensors among its attributes. Samples are not read: reading may draw random numbers.
    """
    if split.tensors is None:
        return _described(split)
    digest = hashlib.sha256()
    rows = None if split.subset is None else [split.subset]
    sampled = _add_tensors(digest, [*split.tensors, *(rows or [])])
    return f"sha256{'-sampled' if sampled else ''}:{digest.hexdigest()}"


def _add_tensors(digest: Any, tensors: Iterable[Tensor]) -> bool:
    """Hashes type, shape and content; returns whether the content was too large to be hashed whole."""
    sampled = False
    for tensor in tensors:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)};".encode())
        if not tensor.numel():
            continue
        rows = tensor if tensor.ndim else tensor[None]
        row_bytes = max(1, rows[0].numel() * rows.element_size())
        step = max(1, BLOCK // row_bytes)
        if len(rows) * row_bytes <= WHOLE_BYTES:
            starts: Iterable[int] = range(0, len(rows), step)
        else:
            sampled = True
            starts = [start // row_bytes for start in block_starts(len(rows) * row_bytes)]
        for start in starts:
            # A block at a time: a view whose rows overlap, such as windows on a text, would be copied whole otherwise.
            block = rows[start : start + step].detach().cpu().contiguous().reshape(-1)
            digest.update(block.view(torch.uint8).numpy().data)
    return sampled


def _described(split: Split) -> str:
    digest = hashlib.sha256(f"{split.length};".encode())
    dataset: Any = split.dataset
    while isinstance(dataset, Subset):
        digest.update(repr(list(dataset.indices)).encode())
        dataset = dataset.dataset
    digest.update(f"{type(dataset).__module__}.{type(dataset).__qualname__};".encode())
    for name, attribute in sorted(vars(dataset).items(), key=lambda item: str(item[0])):
        value = attribute
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            value = torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("="), order="C"))
        if isinstance(value, Tensor):
            digest.update(f"{name}=".encode())
            _add_tensors(digest, [value])
        elif isinstance(value, str | int | float | bool | Path | None):
            digest.update(f"{name}={value!r};".encode())
    return f"sha256-described:{digest.hexdigest()}"
