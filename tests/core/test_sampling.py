"""The order of samples depends on seed and epoch alone, whoever asks, however many ranks share it."""

from __future__ import annotations

import subprocess
import sys

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kladml_core.training.sampling import batch_count, batch_length, epoch_order, micro_seed, shard_length


def test_an_epoch_visits_each_sample_once() -> None:
    order = epoch_order(1437, seed=0, epoch=3)
    assert order.dtype == torch.int64
    assert sorted(order.tolist()) == list(range(1437))


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = [tuple(epoch_order(50, seed, epoch).tolist()) for seed in range(4) for epoch in range(4)]
    assert len(set(orders)) == len(orders)


def test_the_order_is_the_same_in_another_process_and_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    here = epoch_order(20, 5, 2).tolist()
    assert torch.equal(before, torch.get_rng_state())
    code = "from kladml_core.training.sampling import *; print(epoch_order(20, 5, 2).tolist(), micro_seed(1, 2, 3))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert out.stdout.strip() == f"{here} {micro_seed(1, 2, 3)}"


def test_without_shuffling_the_order_is_the_data_sets_own() -> None:
    assert epoch_order(5, 1, 1, shuffle=False).tolist() == [0, 1, 2, 3, 4]
    assert epoch_order(5, 1, 1, rank=1, world_size=2, shuffle=False).tolist() == [1, 3]


@settings(max_examples=80, deadline=None)
@given(length=st.integers(0, 60), world_size=st.integers(1, 5), batch=st.integers(1, 8), epoch=st.integers(0, 3))
def test_ranks_share_the_permutation_without_padding(length: int, world_size: int, batch: int, epoch: int) -> None:
    whole = epoch_order(length, 0, epoch)
    shards = [epoch_order(length, 0, epoch, rank, world_size) for rank in range(world_size)]
    assert [len(shard) for shard in shards] == [shard_length(length, rank, world_size) for rank in range(world_size)]
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    count = batch_count(length, batch, world_size)
    for index in range(count):
        pieces = [shard[index * batch : (index + 1) * batch] for shard in shards]
        lengths = [batch_length(length, batch, index, rank, world_size) for rank in range(world_size)]
        assert [len(piece) for piece in pieces] == lengths
        assert lengths[0] > 0
        window = whole[index * batch * world_size : (index + 1) * batch * world_size]
        assert sorted(torch.cat(pieces).tolist()) == sorted(window.tolist())
    assert all(len(shard) <= count * batch for shard in shards)


def test_seeds_of_micro_batches_do_not_repeat_even_in_32_bits() -> None:
    seeds = {micro_seed(0, epoch, micro) & 0xFFFFFFFF for epoch in range(20) for micro in range(100)}
    assert len(seeds) == 2000
    assert all(0 <= micro_seed(seed, 0, 0) < 2**63 for seed in (0, 1, 2**32 - 1))
    assert micro_seed(0, 0, 0, rank=1) != micro_seed(0, 0, 0)
