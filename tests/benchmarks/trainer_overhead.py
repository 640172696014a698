"""What a training step costs beside raw torch, a bare Accelerate loop and Lightning.

`python -m tests.benchmarks.trainer_overhead`: a tiny MLP (1,600 parameters), AdamW, clipping, a log point every 10
steps, no checkpoints. Nothing here takes long, so that what is left is the loop's own cost. All loops take turns in
one process; figures are CPU time a step, the median of the rounds. Lightning is measured where it is installed:
`pip install lightning` (it is no dependency of ours).
"""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from kladml_core import TorchModel, TrainingConfig, UniversalTrainer
from kladml_core.backends.run_log import RunLog
from kladml_core.runs.rundir import RunDirectory

ROUNDS = 5
EPOCHS, ROWS, BATCH = 8, 4096, 32
STEPS = EPOCHS * ROWS // BATCH
LOG_EVERY = 10
AGAINST_ACCELERATE, AGAINST_LIGHTNING, PUBLISH_MICROSECONDS = 1.10, 0.70, 5.0

X = torch.randn(ROWS, 16, generator=torch.Generator().manual_seed(0))
Y = X.sum(dim=1, keepdim=True)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))


def loader() -> DataLoader[Any]:
    return DataLoader(TensorDataset(X, Y), batch_size=BATCH, shuffle=True)


def raw_torch(folder: Path) -> None:
    """The shortest loop there is: batches by index, no library."""
    module = network()
    optimizer = torch.optim.AdamW(module.parameters())
    losses, step = 0.0, 0
    for _ in range(EPOCHS):
        for rows in torch.randperm(ROWS).split(BATCH):
            loss = F.mse_loss(module(X[rows]), Y[rows])
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            losses += loss.item()
            step += 1
            if step % LOG_EVERY == 0:
                losses = 0.0


def bare_accelerate(folder: Path) -> None:
    """Accelerate's documented loop, with clipping and a mean loss."""
    accelerator = Accelerator(cpu=True)
    module = network()
    optimizer = torch.optim.AdamW(module.parameters())
    module, optimizer, batches = accelerator.prepare(module, optimizer, loader())
    losses, step = 0.0, 0
    for _ in range(EPOCHS):
        for x, y in batches:
            with accelerator.accumulate(module):
                loss = F.mse_loss(module(x), y)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(module.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
            losses += loss.item()
            step += 1
            if step % LOG_EVERY == 0:
                losses = 0.0
    accelerator.free_memory()


class Tiny(TorchModel):
    def build(self) -> nn.Module:
        return network()

    def training_step(self, module: nn.Module, batch: Any) -> Tensor:
        x, y = batch
        return F.mse_loss(module(x), y)


def ours(folder: Path) -> None:
    """The UniversalTrainer with a real run directory: metrics are written, a heartbeat beats; no checkpoints."""
    run = RunDirectory.create(folder, "p", "f", "e", seed=0)
    log = RunLog(run, run.claim_attempt())
    training = TrainingConfig(max_epochs=EPOCHS, batch_size=BATCH, gradient_clipping=1.0, log_every=LOG_EVERY)
    result = UniversalTrainer(training, device="cpu", writer=log).fit(Tiny(), (X, Y))
    log.close()
    assert result.step == STEPS


def lightning_loop() -> Callable[[Path], None] | None:
    """Lightning with its CSV logger at the same interval, or None where it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import lightning
            from lightning.pytorch.loggers import CSVLogger
    except ImportError:
        return None
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)

    class Module(lightning.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network = network()

        def training_step(self, batch: Any, _: int) -> Tensor:
            x, y = batch
            loss = F.mse_loss(self.network(x), y)
            self.log("train/loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters())

    def train(folder: Path) -> None:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            lightning.Trainer(
                max_epochs=EPOCHS,
                accelerator="cpu",
                gradient_clip_val=1.0,
                log_every_n_steps=LOG_EVERY,
                logger=CSVLogger(str(folder)),
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            ).fit(Module(), loader())

    return train


def microseconds_a_step(loops: dict[str, Callable[[Path], None]], folder: Path) -> dict[str, list[float]]:
    """CPU time of each loop a step, one figure a round; the loops take turns, and the order turns too."""
    taken: dict[str, list[float]] = {name: [] for name in loops}
    names = list(loops)
    for turn in range(ROUNDS + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            gc.collect()
            before = time.process_time()
            loops[name](folder / f"{name.replace(' ', '-')}-{turn}")
            if turn:  # the first round warms up
                taken[name].append((time.process_time() - before) / STEPS * 1e6)
    return taken


def publishing(folder: Path) -> float:
    """Microseconds that one metric costs at a log point."""
    run = RunDirectory.create(folder, "p", "f", "e", seed=0)
    log = RunLog(run, run.claim_attempt())
    values = {"train/loss": 0.5, "train/learning_rate": 1e-3, "train/gradient_norm": 1.0, "train/accuracy": 0.9}
    found = []
    count = 5000
    for turn in range(ROUNDS):
        before = time.process_time()
        for step in range(turn * count, (turn + 1) * count):
            log.log_metrics(values, step)
        found.append((time.process_time() - before) / count / len(values) * 1e6)
    log.close()
    return statistics.median(found)


def main() -> int:
    """Prints a table; 1 when a limit is missed."""
    torch.set_num_threads(1)  # a tiny model gains nothing from more, and CPU time would count their waiting
    loops = {"raw torch": raw_torch, "Accelerate": bare_accelerate, "ours": ours}
    lightning = lightning_loop()
    if lightning is not None:
        loops["Lightning"] = lightning
    with tempfile.TemporaryDirectory() as name:
        rounds = microseconds_a_step(loops, Path(name))
        published = publishing(Path(name) / "published")
    steps = {loop: statistics.median(taken) for loop, taken in rounds.items()}
    # Of each round its own ratio: what slows the machine down for a round slows both.
    ratios = {
        loop: statistics.median(mine / peer for mine, peer in zip(rounds["ours"], taken, strict=True))
        for loop, taken in rounds.items()
    }
    print(f"CPU time a step, {STEPS} steps, median of {ROUNDS} interleaved rounds")
    for loop, taken in steps.items():
        print(f"  {loop:<12}{taken:8.1f} µs{'' if loop == 'ours' else f'   ours / {loop}: {ratios[loop]:.3f}'}")
    print(f"  ours - raw torch: {steps['ours'] - steps['raw torch']:+.1f} µs a step")
    print(f"  a metric, published: {published:.2f} µs")
    if lightning is None:
        print("  Lightning is not installed: `pip install lightning` adds its row")
    limits = [
        ("ours / Accelerate", ratios["Accelerate"], AGAINST_ACCELERATE),
        ("ours / Lightning", ratios.get("Lightning"), AGAINST_LIGHTNING),
        ("µs a metric", published, PUBLISH_MICROSECONDS),
    ]
    missed = [f"{what} is {value:.3f}, more than {limit}" for what, value, limit in limits if value and value > limit]
    print("\n".join(f"  TOO SLOW: {it}" for it in missed) or "  every limit is kept")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
