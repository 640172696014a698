"""The Universal Trainer: sets up one attempt at a run (device, seeds, preflight, resume), runs the loop, saves the best."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim import Optimizer

from kladml_core.config.schema import TrainingConfig
from kladml_core.data.datamodule import DataModule, Split, as_split
from kladml_core.errors import ExitCode, UnusableError
from kladml_core.models.resolve import NOWHERE, Source, as_torch_model, resolve_callable
from kladml_core.models.torch_model import TorchModel
from kladml_core.runs.rundir import RunDirectory
from kladml_core.training.batches import TrainingBatches
from kladml_core.training.callbacks import Callback, Callbacks, Context
from kladml_core.training.checkpoint_generators import restore_generators
from kladml_core.training.checkpoints import restore
from kladml_core.training.device import make_accelerator, seed_everything, set_deterministic, to_device
from kladml_core.training.early_stopping import EarlyStopping
from kladml_core.training.guard import make_guard
from kladml_core.training.loop import End, Loop
from kladml_core.training.optimizers import LearningRate, make_optimizer
from kladml_core.training.preflight import person_code, preflight
from kladml_core.training.progress import Progress
from kladml_core.training.ranks import Ranks
from kladml_core.training.recording import Recording
from kladml_core.training.requests import Requests
from kladml_core.training.resuming import Resume, find_resume, inexact_reasons, surroundings
from kladml_core.training.run_writer import NoWriter, RunWriter
from kladml_core.training.sampling import micro_seed
from kladml_core.training.saving import Saving
from kladml_core.training.schedules import Schedule, make_schedule
from kladml_core.training.signals import StopSignals
from kladml_core.training.step import Step
from kladml_core.training.validation import validate

BEST_MODEL = "best_model"


@dataclass(frozen=True)
class FitResult:
    """How an attempt ended."""

    status: str
    """finished or stopped."""
    reason: str
    """max_epochs, max_steps, early_stopping, max_time, stop requested, or the signal's name."""
    exit_code: ExitCode
    step: int
    epoch: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    """The last value of each metric."""
    best: Mapping[str, Any] | None = None
    """metric, value, step and checkpoint of the best validation."""
    resumable: bool = False


class UniversalTrainer:
    """Trains TorchModels, and any nn.Module with a loss, on whatever device and number of processes there is.

    Args:
        config: how to train.
        seed: of the weights, the order of samples and every other random number.
        device: auto, cpu, mps, cuda or cuda:N.
        callbacks: called on every rank.
        run: where checkpoints and artifacts go and requests come from; None keeps everything in memory.
        writer: takes metrics, events and states; None writes nothing.
        attempt: the number of this attempt at `run`.
        signals: listening already, as in the worker; None listens while `fit` runs, on the main thread.
        config_hash: recorded in every checkpoint.
        source: where the config's keys stand, for errors in what they name.
        fingerprints: of the data splits, recorded and compared on resume.
    """

    def __init__(
        self,
        config: TrainingConfig,
        *,
        seed: int = 0,
        device: str = "auto",
        callbacks: Sequence[Callback] = (),
        run: RunDirectory | None = None,
        writer: RunWriter | None = None,
        attempt: int = 1,
        signals: StopSignals | None = None,
        config_hash: str = "",
        source: Source = NOWHERE,
        fingerprints: Mapping[str, str] | None = None,
    ) -> None:
        self._source = source
        self._fingerprints = dict(fingerprints or {})
        self.config = config
        self.seed = seed
        self.device = device
        self._callbacks = tuple(callbacks)
        self._run = run
        self._writer: RunWriter = writer if writer is not None else NoWriter()
        self._attempt = attempt
        self._signals = signals
        self._config_hash = config_hash

    def fit(
        self, model: TorchModel | nn.Module, train: Any, val: Any = None, *, loss: Any = None, resume: bool = False
    ) -> FitResult:
        """Trains until the config's end, a stop request or a signal.

        Args:
            model: a TorchModel, or an nn.Module together with `loss`.
            train: what `DataModule` takes, or a DataModule, of which then val is used as well.
            val: what `DataModule` takes, or None for no validation.
            loss: for an nn.Module: a name, module:function, or a callable.
            resume: go on from the newest valid checkpoint of the run.

        Raises:
            KladMLError: see the exit codes of its kinds; whatever the model's own code raises passes through.
        """
        data = train if isinstance(train, DataModule) else DataModule(train, val)
        torch_model = as_torch_model(model, loss)
        if self._signals is not None:
            return self._fit(torch_model, data, self._signals, resume)
        signals = StopSignals()
        signals.install()
        try:
            return self._fit(torch_model, data, signals, resume)
        finally:
            signals.restore()

    def resume(self, model: TorchModel | nn.Module, train: Any, val: Any = None, *, loss: Any = None) -> FitResult:
        """As `fit`, from the newest valid checkpoint.

        Raises:
            NothingToResumeError: there is none.
        """
        return self.fit(model, train, val, loss=loss, resume=True)

    def validate(self, model: TorchModel | nn.Module, data: Any, *, loss: Any = None) -> dict[str, float]:
        """Exact means over `data` of what `validation_step` gives, by name without a prefix."""
        torch_model = as_torch_model(model, loss)
        accelerator = make_accelerator(self.device, self.config.mixed_precision)
        ranks = Ranks(accelerator.process_index, accelerator.num_processes)
        module = torch_model.module.to(accelerator.device)
        with accelerator.autocast():
            found = validate(
                torch_model.validation_step,
                module,
                as_split(data, "test"),
                batch_size=self.config.batch_size,
                device=accelerator.device,
                ranks=ranks,
            )
        return found or {}

    def _fit(self, model: TorchModel, data: DataModule, signals: StopSignals, resume: bool) -> FitResult:
        config = self.config
        if config.deterministic:
            set_deterministic()
        accelerator = make_accelerator(self.device, config.mixed_precision)
        ranks = Ranks(accelerator.process_index, accelerator.num_processes)
        writer = self._writer if ranks.is_main else NoWriter()
        seed_everything(self.seed)
        with person_code("the model cannot be built"):
            module = model.module.to(accelerator.device)
        if ranks.rank:
            # The weights are those of rank 0; its dropout must not be.
            seed_everything(micro_seed(self.seed, 0, 0, ranks.rank))
        batches = TrainingBatches(
            data.train,
            batch_size=config.batch_size,
            accumulation=config.gradient_accumulation_steps,
            seed=self.seed,
            rank=ranks.rank,
            world_size=ranks.world_size,
            device=accelerator.device,
            workers=config.num_workers,
        )
        optimizer = self._optimizer(model, module)
        rate = LearningRate(optimizer)
        total = self._total_steps(batches.steps)
        schedule = self._schedule(total)
        self._preflight(model, module, optimizer, accelerator, batches, data.val, ranks, writer)
        found = find_resume(self._run.checkpoints, writer) if resume and self._run is not None else None
        reasons = self._restore(found, module, optimizer, accelerator, data, ranks)
        if config.compile:
            module.compile()
        wrapped, prepared = accelerator.prepare(module, optimizer, device_placement=[True, False])
        try:
            ranks.require_equal_weights(module)
            loop = self._loop(
                model, module, wrapped, prepared, optimizer, accelerator, batches, schedule, rate, data, ranks, writer,
                signals,
            )  # fmt: skip
            if found is not None:
                loop.load_state(found.state)
                loop.saving.resumed(found.info.name, loop.progress)
                restore_generators(found.content.rng, ranks.rank)
            loop.require_storable()
            self._announce(loop, found, reasons, total, module)
            loop.callbacks.fit_start()
            end = loop.run()
            result = self._result(loop, end)
            if ranks.is_main and self._run is not None and (end.status == "finished" or end.exit_code == ExitCode.STOPPED):
                writer.progress(phase="finishing")
                _save_best(model, module, loop.saving, self._run.artifacts)
            return result
        finally:
            _unprepare(accelerator, wrapped, module)

    def _optimizer(self, model: TorchModel, module: nn.Module) -> Optimizer:
        own = model.configure_optimizers(module, self.config)
        if own is not None:
            return own
        name, arguments = self.config.optimizer_choice
        choice = resolve_callable(name, "training.optimizer", self._source) if ":" in name else name
        return make_optimizer(choice, arguments, module, learning_rate=self.config.learning_rate)

    def _schedule(self, total: int | None) -> Schedule:
        name, arguments = self.config.lr_scheduler_choice
        choice = resolve_callable(name, "training.lr_scheduler", self._source) if ":" in name else name
        return make_schedule(choice, arguments, total=total, mode=self.config.early_stopping.mode)

    def _total_steps(self, steps: int | None) -> int | None:
        epochs, most = self.config.max_epochs, self.config.max_steps
        by_epochs = steps * epochs if steps is not None and epochs is not None else None
        known = [count for count in (by_epochs, most) if count is not None]
        return min(known) if known else None

    def _preflight(
        self,
        model: TorchModel,
        module: nn.Module,
        optimizer: Optimizer,
        accelerator: Accelerator,
        batches: TrainingBatches,
        val: Split | None,
        ranks: Ranks,
        writer: RunWriter,
    ) -> None:
        writer.progress(phase="preflight")
        with person_code("the first batch fails"):
            findings = preflight(
                model,
                module,
                optimizer,
                accelerator,
                to_device(batches.first(), accelerator.device),
                val,
                self.config,
                distributed=ranks.world_size > 1,
                checkpoints=self._run.checkpoints if self._run is not None else None,
            )
        for warning in findings.warnings:
            writer.event("log", level="warning", message=warning)

    def _restore(
        self,
        found: Resume | None,
        module: nn.Module,
        optimizer: Optimizer,
        accelerator: Accelerator,
        data: DataModule,
        ranks: Ranks,
    ) -> list[str]:
        """Puts a checkpoint's weights and optimizer back; returns why the continuation is not exact."""
        if found is None:
            return []
        notes = restore(found.content, module, optimizer, accelerator.scaler, rank=ranks.rank)
        now = surroundings(accelerator.device, ranks.world_size, self._fingerprints)
        notes += inexact_reasons(found.state["surroundings"], now, deterministic=self.config.deterministic)
        if data.train.inexact_reason:
            notes.append(data.train.inexact_reason)
        return notes

    def _loop(
        self,
        model: TorchModel,
        module: nn.Module,
        wrapped: nn.Module,
        prepared: Any,
        optimizer: Optimizer,
        accelerator: Accelerator,
        batches: TrainingBatches,
        schedule: Schedule,
        rate: LearningRate,
        data: DataModule,
        ranks: Ranks,
        writer: RunWriter,
        signals: StopSignals,
    ) -> Loop:
        config, device = self.config, accelerator.device
        recording = Recording(writer, ranks, device)
        progress = Progress()
        sticky = config.non_finite == "stop"
        guard = make_guard(optimizer, device, ranks, sticky=sticky, scaled=accelerator.scaler is not None)
        requests = Requests(
            signals,
            ranks,
            folder=self._run.control if self._run is not None else None,
            attempt=self._attempt,
            max_time=config.max_time,
        )
        step = Step(
            model.training_step, wrapped, prepared, accelerator, schedule, rate, guard, ranks, recording.means,
            clipping=config.gradient_clipping, keep_buffers=not sticky,
        )  # fmt: skip
        stopping = config.early_stopping
        return Loop(
            config=config,
            batches=batches,
            step=step,
            schedule=schedule,
            rate=rate,
            guard=guard,
            validation=self._validation(model, module, data.val, device, ranks, requests),
            stopping=EarlyStopping(
                enabled=stopping.enabled,
                mode=stopping.mode,
                patience=stopping.patience,
                min_delta=stopping.min_delta,
            ),
            saving=Saving(
                self._run.checkpoints if self._run is not None else None,
                module,
                optimizer,
                accelerator.scaler,
                ranks,
                writer,
                config,
                config_hash=self._config_hash,
            ),
            recording=recording,
            requests=requests,
            callbacks=Callbacks(self._callbacks, Context(module, optimizer, progress, writer, ranks.is_main)),
            ranks=ranks,
            writer=writer,
            progress=progress,
            surroundings=surroundings(device, ranks.world_size, self._fingerprints),
        )

    def _validation(
        self,
        model: TorchModel,
        module: nn.Module,
        val: Split | None,
        device: torch.device,
        ranks: Ranks,
        requests: Requests,
    ) -> Callable[[], dict[str, float] | None] | None:
        if val is None:
            return None

        def run() -> dict[str, float] | None:
            found = validate(
                model.validation_step,
                module,
                val,
                batch_size=self.config.batch_size,
                device=device,
                ranks=ranks,
                stopping=requests.stopping,
            )
            return None if found is None else {f"val/{name}": value for name, value in found.items()}

        return run

    def _announce(
        self, loop: Loop, found: Resume | None, reasons: Sequence[str], total: int | None, module: nn.Module
    ) -> None:
        progress, writer = loop.progress, loop.writer
        epochs = self.config.max_epochs
        writer.event(
            "run_started",
            step=progress.step,
            epoch=progress.number,
            total_steps=total,
            total_epochs=epochs,
            processes=loop.ranks.world_size,
            device=loop.surroundings["device"],
            parameters=sum(parameter.numel() for parameter in module.parameters()),
            fingerprints=self._fingerprints,
        )
        if found is not None:
            writer.event(
                "resumed",
                step=progress.step,
                epoch=progress.number,
                checkpoint=found.info.name,
                offsets=writer.offsets(),
                exact=not reasons,
                reason="; ".join(reasons) or None,
            )
        phase = "compiling" if self.config.compile else "training"
        writer.progress(
            epoch=progress.number, step=progress.step, phase=phase, total_steps=total, total_epochs=epochs
        )
        writer.status("running")

    def _result(self, loop: Loop, end: End) -> FitResult:
        best = None
        if loop.stopping.best is not None:
            ranked = loop.saving.ranked() if loop.ranks.is_main else []
            best = {
                "metric": self.config.early_stopping.monitor,
                "value": loop.stopping.best,
                "step": loop.stopping.best_step,
                "checkpoint": ranked[0] if ranked else None,
            }
        return FitResult(
            status=end.status,
            reason=end.reason,
            exit_code=end.exit_code,
            step=loop.progress.step,
            epoch=loop.progress.number,
            metrics=dict(loop.recording.last),
            best=best,
            resumable=end.status == "stopped" and loop.saving.last is not None,
        )


def _save_best(model: TorchModel, module: nn.Module, saving: Saving, artifacts: Path) -> None:
    """Writes artifacts/best_model with the best checkpoint's weights, those of now where none was ranked."""
    best = saving.best_weights()
    last = None
    if best is not None:
        last = {name: value.detach().clone() if torch.is_tensor(value) else value for name, value in module.state_dict().items()}
        module.load_state_dict(best)
    target, temporary = artifacts / BEST_MODEL, artifacts / f".{BEST_MODEL}.tmp"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        model.save(temporary)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    except OSError as error:
        raise UnusableError(
            f"the best model cannot be written to {target}: {error}", hint="its checkpoint is untouched; free some space"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if last is not None:
            module.load_state_dict(last)


def _unprepare(accelerator: Accelerator, wrapped: nn.Module, module: nn.Module) -> None:
    """Takes what Accelerate put around the module's forward away again, so that it can be trained once more."""
    accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)
    if hasattr(module, "_is_accelerate_prepared"):
        del module._is_accelerate_prepared
    accelerator.free_memory()
