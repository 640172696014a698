"""A plain DDP loop in torch alone, for the proof that the trainer does the same; imports nothing of ours.

`python raw_ddp.py OUT` under torch.distributed's environment. Two processes, AdamW, clipping, accumulation without
synchronising before the last micro-batch, every loss weighted by its share of the window's samples on all ranks.
"""

from __future__ import annotations

import hashlib
import sys
from contextlib import nullcontext

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

SEED, EPOCHS, BATCH, ACCUMULATION, RATE, CLIP = 3, 3, 3, 2, 1e-2, 0.5


def make_net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))


def make_data() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(35, 4, generator=torch.Generator().manual_seed(1))
    return x, x.sum(1)


def order(epoch: int, length: int) -> torch.Tensor:
    digest = hashlib.blake2b(f"order:{SEED}:{epoch}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
    return torch.randperm(length, generator=generator)


def main(out: str) -> None:
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(SEED)
    net = make_net()
    ddp = DistributedDataParallel(net)
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE)
    x, y = make_data()
    for epoch in range(EPOCHS):
        shards = [list(order(epoch, len(x))[r::world].split(BATCH)) for r in range(world)]
        count = max(map(len, shards))
        for first in range(0, count, ACCUMULATION):
            places = range(first, min(first + ACCUMULATION, count))
            total = sum(len(shard[place]) for shard in shards for place in places if place < len(shard))
            for place in places:
                batch = shards[rank][place]
                with nullcontext() if place == places[-1] else ddp.no_sync():
                    loss = F.mse_loss(ddp(x[batch]).squeeze(1), y[batch])
                    # DDP takes the mean over the ranks, so a share is multiplied by their number.
                    share = len(batch) * world / total
                    (loss * share).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), CLIP)
            optimizer.step()
            optimizer.zero_grad()
    torch.save(net.state_dict(), f"{out}-{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
