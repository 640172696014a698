"""The state of every random generator of a process, as tensors, and back."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def capture_generators(rank: int = 0) -> dict[str, Tensor]:
    """The state of Python's, numpy's and torch's global generators, `rank<r>/<generator>`, on the CPU."""
    version, words, gauss = random.getstate()
    state: Any = np.random.get_state(legacy=False)
    found = {
        # Through numpy, which reads a tuple of numbers ten times as fast: this is called for every micro-batch of
        # data that draws random numbers.
        "python": torch.from_numpy(np.array((version, gauss is not None, *words), dtype=np.int64)),
        "python_gauss": torch.tensor([gauss or 0.0], dtype=torch.float64),
        "numpy": torch.from_numpy(
            np.concatenate(([state["state"]["pos"], state["has_gauss"]], state["state"]["key"])).astype(np.int64)
        ),
        "numpy_gauss": torch.tensor([state["gauss"]], dtype=torch.float64),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        for device in range(torch.cuda.device_count()):
            found[f"cuda{device}"] = torch.cuda.get_rng_state(device)
    if torch.backends.mps.is_available():
        found["mps"] = torch.mps.get_rng_state()
    return {f"rank{rank}/{name}": state for name, state in found.items()}


def restore_generators(rng: Mapping[str, Tensor], rank: int = 0) -> list[str]:
    """Sets the generators of this process to what `capture_generators` found on the same rank.

    Returns:
        What could not be set, one sentence each.
    """
    prefix = f"rank{rank}/"
    found = {name.removeprefix(prefix): state for name, state in rng.items() if name.startswith(prefix)}
    if not found:
        return [f"the checkpoint has no generators of rank {rank}; they are seeded anew"]
    version, has_gauss, *words = found["python"].tolist()
    random.setstate((version, tuple(words), found["python_gauss"].item() if has_gauss else None))
    position, has_cached = found["numpy"][:2].tolist()
    keys = found["numpy"][2:].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, position, has_cached, found["numpy_gauss"].item()))
    torch.set_rng_state(found["torch"])
    notes = []
    for name in sorted(found):
        if name.startswith("cuda"):
            device = int(name.removeprefix("cuda"))
            if torch.cuda.is_available() and device < torch.cuda.device_count():
                torch.cuda.set_rng_state(found[name], device)
            else:
                notes.append(f"the checkpoint has a generator of CUDA device {device}, which this machine lacks")
    if "mps" in found:
        if torch.backends.mps.is_available():
            torch.mps.set_rng_state(found["mps"])
        else:
            notes.append("the checkpoint has a generator of an Apple GPU, which this machine lacks")
    return notes
