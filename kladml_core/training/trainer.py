"""The Universal Trainer: sets up one attempt at a run (preflight, resume), runs the loop, saves the best model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from accelerate import Accelerator
from torch import nn

from kladml_core.config.schema import TrainingConfig
from kladml_core.data.datamodule import DataModule, as_split
from kladml_core.errors import ExitCode, HangError
from kladml_core.models.resolve import NOWHERE, Source, as_torch_model
from kladml_core.models.torch_model import TorchModel
from kladml_core.runs.rundir import RunDirectory
from kladml_core.training.artifacts import save_best
from kladml_core.training.assembly import Parts, make_loop, make_parts
from kladml_core.training.averaging import Averages, too_slow_decay
from kladml_core.training.callbacks import Callback
from kladml_core.training.checkpoints import restore, restore_generators
from kladml_core.training.device import (
    compile_in_place,
    in_precision,
    make_accelerator,
    set_deterministic,
    set_precision,
    to_device,
)
from kladml_core.training.loop import Loop
from kladml_core.training.preflight import person_code, preflight
from kladml_core.training.ranks import Ranks
from kladml_core.training.result import FitResult, fit_result
from kladml_core.training.resuming import Resume, find_resume, inexact_reasons, surroundings
from kladml_core.training.run_writer import NoWriter, RunWriter
from kladml_core.training.sharding import shard
from kladml_core.training.signals import StopSignals
from kladml_core.training.validation import validate
from kladml_core.training.watchdog import Pulse, Watchdog


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
        on_hang: called in a thread of its own when training has not moved for `config.hang_timeout` seconds; it is
            to end the process. None, as in a notebook, watches nothing.
        fsdp: arguments of Accelerate's FullyShardedDataParallelPlugin, to cut the model over the processes; None holds
            the whole of it in each.
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
        on_hang: Callable[[HangError], None] | None = None,
        fsdp: Mapping[str, Any] | None = None,
    ) -> None:
        self._fsdp = fsdp
        self._on_hang = on_hang
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
        """The metrics of `validation_step` and `validation_metrics` over all of `data`, by name without a prefix."""
        torch_model = as_torch_model(model, loss)
        accelerator = make_accelerator(self.device, self.config.mixed_precision)
        ranks = Ranks(accelerator.process_index, accelerator.num_processes)
        module = torch_model.module.to(accelerator.device)
        with in_precision(module, accelerator):
            found = validate(
                torch_model,
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
        accelerator = make_accelerator(self.device, config.mixed_precision, self._fsdp)
        ranks = Ranks(accelerator.process_index, accelerator.num_processes)
        writer = self._writer if ranks.is_main else NoWriter()
        parts = make_parts(config, model, data, accelerator, ranks, writer, seed=self.seed, source=self._source)
        self._preflight(parts)
        found = find_resume(self._run.checkpoints, writer) if resume and self._run is not None else None
        notes = self._restore(found, parts)
        if config.compile:
            compile_in_place(parts.module)
        wrapped, prepared = self._prepare(parts)
        try:
            pulse = Pulse(paused=config.compile)
            averages = self._averages(parts, found, notes)
            loop = make_loop(
                parts,
                wrapped,
                prepared,
                callbacks=(*self._callbacks, *self._profiling()),
                run=self._run,
                attempt=self._attempt,
                signals=signals,
                pulse=pulse,
                config_hash=self._config_hash,
                fingerprints=self._fingerprints,
                averages=averages,
            )
            if found is not None:
                loop.load_state(found.state)
                loop.saving.resumed(found.info.name, loop.progress, found.rejects)
                restore_generators(found.content.rng, ranks.rank)
            loop.require_storable()
            self._announce(parts, loop, found, notes)
            loop.callbacks.fit_start()
            with self._watched(loop):
                end = loop.run()
            result = fit_result(loop, end)
            # A signal leaves no time for it; a stop that a person asked for does.
            if ranks.is_main and self._run is not None and end.exit_code in (ExitCode.FINISHED, ExitCode.STOPPED):
                writer.progress(phase="finishing")
                save_best(model, parts.module, loop.saving, self._run.artifacts)
            return result
        finally:
            _unprepare(accelerator, wrapped, parts.module)

    def _prepare(self, parts: Parts) -> tuple[nn.Module, Any]:
        """The module as training calls it, and the optimizer; the weights are rank 0's on every rank."""
        accelerator, ranks = parts.accelerator, parts.ranks
        if self._fsdp is not None:
            set_precision(parts.module, accelerator)
            return shard(accelerator, parts.module, parts.optimizer, ranks)
        # The optimizer stays where it is: Accelerate would move it by load_state_dict, which casts its state.
        wrapped, prepared = accelerator.prepare(parts.module, parts.optimizer, device_placement=[True, False])
        ranks.require_equal_weights(parts.module)
        return wrapped, prepared

    @contextmanager
    def _watched(self, loop: Loop) -> Iterator[None]:
        """Inside, a hang is told; afterwards nothing is left under way."""

        def tell(seconds: float) -> None:
            assert self._on_hang is not None
            at = {"step": loop.progress.step, "epoch": loop.progress.number}
            message = f"nothing has moved for {seconds:.0f} s after step {loop.progress.step}"
            loop.writer.event("hang", seconds=seconds, message=message, **at)
            hint = "the stacks of all threads are in the run's console.log; training.hang_timeout is how long to wait"
            self._on_hang(HangError(message, hint=hint))

        timeout = self.config.hang_timeout if self._on_hang is not None else None
        watchdog = Watchdog(loop.pulse, timeout, tell)
        watchdog.start()
        try:
            yield
        finally:
            watchdog.stop()
            loop.saving.close()

    def _profiling(self) -> list[Callback]:
        if self.config.profile is None or self._run is None:
            return []
        from kladml_core.training.profiling import Profile

        return [Profile(self._run.artifacts, self.config.profile)]

    def _preflight(self, parts: Parts) -> None:
        parts.writer.progress(phase="preflight")
        with person_code("the first batch fails"):
            findings = preflight(
                parts.model,
                parts.module,
                parts.optimizer,
                parts.accelerator,
                to_device(parts.batches.first(), parts.accelerator.device),
                parts.data.val,
                self.config,
                distributed=parts.ranks.world_size > 1,
                checkpoints=self._run.checkpoints if self._run is not None else None,
                place=self._source.at,
            )
        for warning in findings.warnings:
            parts.writer.event("log", level="warning", message=warning)

    def _restore(self, found: Resume | None, parts: Parts) -> list[str]:
        """Puts a checkpoint's weights and optimizer back; returns why the continuation is not exact."""
        if found is None:
            return []
        scaler, rank = parts.accelerator.scaler, parts.ranks.rank
        notes = restore(found.content, parts.module, parts.optimizer, scaler, rank=rank)
        now = surroundings(
            parts.accelerator.device, parts.ranks.world_size, self._fingerprints, sharded=self._fsdp is not None
        )
        notes += inexact_reasons(found.state["surroundings"], now, deterministic=self.config.deterministic)
        if parts.data.train.inexact_reason:
            notes.append(parts.data.train.inexact_reason)
        return notes

    def _averages(self, parts: Parts, found: Resume | None, notes: list[str]) -> Averages | None:
        """The averages of a resumed run, or new ones that begin with the weights of now."""
        decay = self.config.ema_decay
        if decay is None:
            return None
        averages = Averages(parts.module, parts.optimizer, decay, parts.ranks)
        if found is not None and found.content.averages:
            averages.load_state_dict(found.content.averages)
        elif found is not None:
            notes.append("the checkpoint holds no averaged weights; the average starts from its weights")
        elif warning := too_slow_decay(decay, parts.total_steps):
            parts.writer.event("log", level="warning", message=warning)
        return averages

    def _announce(self, parts: Parts, loop: Loop, found: Resume | None, notes: Sequence[str]) -> None:
        total = parts.total_steps
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
            parameters=sum(parameter.numel() for parameter in parts.module.parameters()),
            fingerprints=self._fingerprints,
        )
        if found is not None:
            writer.event(
                "resumed",
                step=progress.step,
                epoch=progress.number,
                checkpoint=found.info.name,
                offsets=writer.offsets(),
                exact=not notes,
                reason="; ".join(notes) or None,
            )
        phase = "compiling" if self.config.compile else "training"
        writer.progress(epoch=progress.number, step=progress.step, phase=phase, total_steps=total, total_epochs=epochs)
        writer.status("running")


def _unprepare(accelerator: Accelerator, wrapped: nn.Module, module: nn.Module) -> None:
    """Takes what Accelerate put around the module's forward away again, so that it can be trained once more."""
    accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)
    if hasattr(module, "_is_accelerate_prepared"):
        del module._is_accelerate_prepared
    accelerator.free_memory()
