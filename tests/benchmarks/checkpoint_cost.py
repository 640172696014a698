"""What a checkpoint costs: written with its hashes, and what a step waits for one that is written in the background.

`python -m tests.benchmarks.checkpoint_cost [DIRECTORY]`: 200 MB of weights and AdamW state, time on the clock, the
median of rounds that take turns, on the disk of DIRECTORY (else the current one's: /tmp may be memory). Beside it
`safetensors.torch.save_file` with an fsync, which hashes nothing, and a plain copy of the tensors into host memory.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from kladml_core import TrainingConfig
from kladml_core.training import checkpoints
from kladml_core.training.progress import Progress
from kladml_core.training.ranks import Ranks
from kladml_core.training.run_writer import NoWriter
from kladml_core.training.saving import Saving

ROUNDS = 7
LAYERS, WIDTH = 4, 2040
AGAINST_SAVE_FILE, AGAINST_COPY = 2.0, 1.2


def trained() -> tuple[nn.Module, torch.optim.Optimizer]:
    """A module of 4 x 2040 x 2040 weights after one step of AdamW: 3 x 66 MB."""
    module = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS)))
    optimizer = torch.optim.AdamW(module.parameters())
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for parameter in module.parameters():
        parameter.grad = None
    return module, optimizer


def tensors_of(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """All tensors of weights and optimizer."""
    found = {f"model.{name}": value.detach() for name, value in module.state_dict().items()}
    for place, state in enumerate(optimizer.state.values()):
        found |= {f"optimizer.{place}.{name}": value for name, value in state.items() if torch.is_tensor(value)}
    return found


def milliseconds(act: Callable[[], object]) -> float:
    """How long a call takes on the clock."""
    before = time.perf_counter()
    act()
    return (time.perf_counter() - before) * 1e3


def save_plainly(tensors: dict[str, Tensor], path: Path) -> None:
    """save_file and fsync, as a careful person would."""
    save_file(tensors, path)
    with path.open("rb") as file:
        os.fsync(file.fileno())


class Background:
    """Saves with `checkpoint.background`, one after the other."""

    def __init__(self, module: nn.Module, optimizer: Any, folder: Path) -> None:
        config = TrainingConfig(max_epochs=1, checkpoint={"background": True})
        self._saving = Saving(folder, module, optimizer, None, Ranks(), NoWriter(), config)
        self._progress = Progress()

    def save(self) -> None:
        """What a step waits for."""
        self._progress.step += 1
        failure = self._saving.save(self._progress, {}, {}, wait=False)
        assert failure is None

    def finish(self) -> None:
        """Waits for the write, which training would not."""
        self._saving.close()


def measure(folder: Path) -> tuple[dict[str, list[float]], int]:
    """Milliseconds of each way, one figure a round, and the bytes of a checkpoint."""
    torch.manual_seed(0)
    module, optimizer = trained()
    tensors = tensors_of(module, optimizer)
    background = Background(module, optimizer, folder / "background")
    size = 0
    taken: dict[str, list[float]] = {}
    for turn in range(ROUNDS + 1):
        content = checkpoints.capture(module, optimizer)
        target = folder / f"checkpoints-{turn}"
        plain = folder / "plain.safetensors"
        ways: dict[str, Callable[[], object]] = {
            "save_file": lambda plain=plain: save_plainly(tensors, plain),
            "checkpoint": lambda content=content, target=target: checkpoints.save(
                target, content, step=1, epoch=1, metrics={}, world_size=1, config_hash="", best=False
            ),
            "copy": lambda: [tensor.to("cpu", copy=True) for tensor in tensors.values()],
            "background": background.save,
        }
        names = list(ways)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            os.sync()  # what an earlier write still owes the disk is not this one's
            found = milliseconds(ways[name])
            background.finish()
            if turn:  # the first round warms up
                taken.setdefault(name, []).append(found)
        size = checkpoints.valid(target)[0].bytes
        shutil.rmtree(target)
        plain.unlink()
    return taken, size


def main(directory: str = ".") -> int:
    """Prints a table; 1 when a limit is missed."""
    with tempfile.TemporaryDirectory(dir=directory, prefix=".checkpoint-cost-") as name:
        rounds, size = measure(Path(name))
    times = {way: statistics.median(found) for way, found in rounds.items()}

    def against(mine: str, peer: str) -> float:
        return statistics.median(one / other for one, other in zip(rounds[mine], rounds[peer], strict=True))

    written, waited = against("checkpoint", "save_file"), against("background", "copy")
    print(f"a checkpoint of {size / 1e6:.0f} MB, median of {ROUNDS} interleaved rounds, on the clock")
    print(f"  written with hashes      {times['checkpoint']:8.1f} ms")
    print(f"  save_file and fsync      {times['save_file']:8.1f} ms   ratio {written:.2f}, limit {AGAINST_SAVE_FILE}")
    print(f"  waited for in background {times['background']:8.1f} ms")
    print(f"  a copy to host memory    {times['copy']:8.1f} ms   ratio {waited:.2f}, limit {AGAINST_COPY}")
    missed = written > AGAINST_SAVE_FILE or waited > AGAINST_COPY
    print("  TOO SLOW" if missed else "  every limit is kept")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
