"""The order of samples and the seeds of their randomness: pure functions of seed and place, so nothing is saved."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def epoch_order(length: int, seed: int, epoch: int, rank: int = 0, world_size: int = 1, shuffle: bool = True) -> Tensor:
    """The indices that one rank visits in one epoch, in order.

    All ranks cut the same permutation, rank r taking every `world_size`-th index from r on. So the ranks' n-th
    micro-batches together are one contiguous piece of the permutation, which is the same piece for every world size
    with the same global batch. Nothing is padded or repeated: ranks differ by at most one index.

    Args:
        length: samples in the data set.
        epoch: counted from 0.
        shuffle: False gives the data set's own order, as validation reads it.

    Returns:
        int64 tensor [shard_length(length, rank, world_size)] on the CPU.
    """
    if shuffle:
        generator = torch.Generator().manual_seed(_mix("order", seed, epoch))
        order = torch.randperm(length, generator=generator)
    else:
        order = torch.arange(length)
    return order[rank::world_size].contiguous() if world_size > 1 else order


def shard_length(length: int, rank: int = 0, world_size: int = 1) -> int:
    """How many of `length` samples `epoch_order` gives to one rank."""
    return max(0, -(-(length - rank) // world_size))


def batch_count(length: int, batch_size: int, world_size: int = 1) -> int:
    """Micro-batches in an epoch on the rank that has most; in the last one others may have fewer samples, or none."""
    return -(-shard_length(length, 0, world_size) // batch_size)


def batch_length(length: int, batch_size: int, index: int, rank: int = 0, world_size: int = 1) -> int:
    """Samples in one rank's micro-batch `index` of an epoch, known to every rank without asking; 0 is possible."""
    return min(batch_size, max(0, shard_length(length, rank, world_size) - index * batch_size))


def micro_seed(seed: int, epoch: int, micro_batch: int, rank: int = 0) -> int:
    """The seed of everything random in one micro-batch's samples (augmentation), for any number of workers.

    Returns:
        0 <= seed < 2**63; its low 32 bits alone, which are all that some generators use, are well mixed too.
    """
    return _mix("micro-batch", seed, epoch, micro_batch, rank)


def _mix(purpose: str, *numbers: int) -> int:
    # A hash and not arithmetic: neighbouring seeds and epochs must give unrelated streams.
    text = ":".join([purpose, *map(str, numbers)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1
