"""Puts an attempt together: device, module, data, optimizer and schedule, and from them the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

from accelerate import Accelerator
from torch import nn
from torch.optim import Optimizer

from kladml_core.config.rules import HALVES_ALONE
from kladml_core.config.schema import TrainingConfig
from kladml_core.data.datamodule import DataModule
from kladml_core.errors import UnusableError
from kladml_core.models.resolve import Source, resolve_callable
from kladml_core.models.torch_model import TorchModel
from kladml_core.runs.rundir import RunDirectory
from kladml_core.training.averaging import Averages
from kladml_core.training.batches import TrainingBatches
from kladml_core.training.callbacks import Callback, Callbacks, Context
from kladml_core.training.device import seed_everything
from kladml_core.training.early_stopping import EarlyStopping
from kladml_core.training.guard import make_guard
from kladml_core.training.halving import HalvingStep
from kladml_core.training.loop import Loop
from kladml_core.training.optimizers import LearningRate, make_optimizer
from kladml_core.training.preflight import person_code
from kladml_core.training.progress import Progress
from kladml_core.training.ranks import Ranks
from kladml_core.training.recording import Recording
from kladml_core.training.requests import Requests
from kladml_core.training.resuming import surroundings
from kladml_core.training.run_writer import RunWriter
from kladml_core.training.sampling import micro_seed
from kladml_core.training.saving import Saving
from kladml_core.training.schedules import Schedule, make_schedule
from kladml_core.training.sharding import is_sharded
from kladml_core.training.signals import StopSignals
from kladml_core.training.step import Step
from kladml_core.training.validation import validate
from kladml_core.training.watchdog import Pulse


@dataclass(frozen=True)
class Parts:
    """What an attempt trains with, before anything is wrapped."""

    config: TrainingConfig
    model: TorchModel
    data: DataModule
    accelerator: Accelerator
    ranks: Ranks
    writer: RunWriter
    module: nn.Module
    """On its device."""
    batches: TrainingBatches
    optimizer: Optimizer
    rate: LearningRate
    schedule: Schedule
    total_steps: int | None
    """Optimizer steps of the whole run, or None where nobody knows."""


def make_parts(
    config: TrainingConfig,
    model: TorchModel,
    data: DataModule,
    accelerator: Accelerator,
    ranks: Ranks,
    writer: RunWriter,
    *,
    seed: int,
    source: Source,
) -> Parts:
    """Seeds all generators, then builds the module, its optimizer and its schedule.

    Raises:
        UnusableError: the model cannot be built, or a target of the config cannot be used.
    """
    if config.oom == "halve" and ranks.world_size > 1:
        message, hint = HALVES_ALONE
        raise UnusableError(f"training.{message}", hint=hint, **source.at("training.oom"))
    seed_everything(seed)
    with person_code("the model cannot be built"):
        module = model.module.to(accelerator.device)
    if ranks.rank:
        # The weights are those of rank 0; its dropout must not be.
        seed_everything(micro_seed(seed, 0, 0, ranks.rank))
    batches = TrainingBatches(
        data.train,
        batch_size=config.batch_size,
        accumulation=config.gradient_accumulation_steps,
        seed=seed,
        rank=ranks.rank,
        world_size=ranks.world_size,
        device=accelerator.device,
        workers=config.num_workers,
    )
    optimizer = _optimizer(config, model, module, source)
    total = _total_steps(config, batches.steps)
    name, arguments = config.lr_scheduler_choice
    choice = resolve_callable(name, "training.lr_scheduler", source) if ":" in name else name
    schedule = make_schedule(choice, arguments, total=total, mode=config.early_stopping.mode)
    rate = LearningRate(optimizer)
    return Parts(config, model, data, accelerator, ranks, writer, module, batches, optimizer, rate, schedule, total)


def make_loop(
    parts: Parts,
    wrapped: nn.Module,
    prepared: Any,
    *,
    callbacks: Sequence[Callback],
    run: RunDirectory | None,
    attempt: int,
    signals: StopSignals,
    pulse: Pulse,
    config_hash: str,
    fingerprints: Mapping[str, str],
    averages: Averages | None,
) -> Loop:
    """The loop over `parts`.

    Args:
        wrapped, prepared: what Accelerate made of the module and of the optimizer.
        pulse: told of everything that moves.
        averages: of the weights, or None.
    """
    config, ranks, writer, device = parts.config, parts.ranks, parts.writer, parts.accelerator.device
    scaler = parts.accelerator.scaler
    recording = Recording(writer, ranks, device)
    progress = Progress()
    sticky, sharded = config.non_finite == "stop", is_sharded(wrapped)
    guard = make_guard(parts.optimizer, device, ranks, sticky=sticky, scaled=scaler is not None, sharded=sharded)
    folder = run.control if run is not None else None
    requests = Requests(
        signals,
        ranks,
        folder=folder,
        attempt=attempt,
        max_time=config.max_time,
        checkpoint_every=config.checkpoint.every_seconds,
    )
    kind: Callable[..., Step] = Step
    if config.oom == "halve":
        kind = partial(HalvingStep, progress=progress, writer=writer)
    step = kind(
        parts.model.training_step,
        wrapped,
        prepared,
        parts.accelerator,
        parts.schedule,
        parts.rate,
        guard,
        ranks,
        recording.means,
        pulse=pulse,
        clipping=config.gradient_clipping,
        keep_buffers=not sticky,
        averages=averages,
    )
    checkpoints = run.checkpoints if run is not None else None
    stopping = config.early_stopping
    return Loop(
        config=config,
        batches=parts.batches,
        step=step,
        schedule=parts.schedule,
        rate=parts.rate,
        guard=guard,
        validation=_validation(parts, requests, pulse, averages),
        stopping=EarlyStopping(
            enabled=stopping.enabled, mode=stopping.mode, patience=stopping.patience, min_delta=stopping.min_delta
        ),
        saving=Saving(
            checkpoints,
            parts.module,
            parts.optimizer,
            scaler,
            ranks,
            writer,
            config,
            config_hash=config_hash,
            averages=averages,
        ),
        recording=recording,
        requests=requests,
        callbacks=Callbacks(callbacks, Context(parts.module, parts.optimizer, progress, writer, ranks.is_main)),
        ranks=ranks,
        writer=writer,
        progress=progress,
        pulse=pulse,
        surroundings=surroundings(device, ranks.world_size, fingerprints, sharded=sharded),
    )


def _optimizer(config: TrainingConfig, model: TorchModel, module: nn.Module, source: Source) -> Optimizer:
    own = model.configure_optimizers(module, config)
    if own is not None:
        return own
    name, arguments = config.optimizer_choice
    choice = resolve_callable(name, "training.optimizer", source) if ":" in name else name
    return make_optimizer(choice, arguments, module, learning_rate=config.learning_rate)


def _total_steps(config: TrainingConfig, steps: int | None) -> int | None:
    by_epochs = steps * config.max_epochs if steps is not None and config.max_epochs is not None else None
    known = [count for count in (by_epochs, config.max_steps) if count is not None]
    return min(known) if known else None


def _validation(
    parts: Parts, requests: Requests, pulse: Pulse, averages: Averages | None
) -> Callable[[], dict[str, float] | None] | None:
    split = parts.data.val
    if split is None:
        return None

    def run() -> dict[str, float] | None:
        with averages.applied() if averages is not None else nullcontext():
            found = validate(
                parts.model,
                parts.module,
                split,
                batch_size=parts.config.batch_size,
                device=parts.accelerator.device,
                ranks=parts.ranks,
                stopping=requests.stopping,
                pulse=pulse,
            )
        return None if found is None else {f"val/{name}": value for name, value in found.items()}

    return run
