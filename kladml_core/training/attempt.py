"""One attempt from its files: reads config.yaml and attempt.json, brings model and data to life, and trains."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch.distributed as dist
from pydantic import ValidationError

from kladml_core.config.diff import MISSING, diff
from kladml_core.config.load import read
from kladml_core.config.schema import RunConfig
from kladml_core.data.datamodule import DataModule
from kladml_core.data.fingerprint import fingerprints
from kladml_core.data.loaders import load_data
from kladml_core.errors import ConfigError, HangError, KladMLError, NotSupportedError, UnusableError
from kladml_core.models.base import BaseModel
from kladml_core.models.resolve import Source, build_model, call, resolve_callable
from kladml_core.models.torch_model import TorchModel
from kladml_core.runs.rundir import RunDirectory
from kladml_core.training.device import seed_everything
from kladml_core.training.failures import is_out_of_memory, told_with_place
from kladml_core.training.plain import train_plain
from kladml_core.training.result import FitResult
from kladml_core.training.run_writer import RunWriter
from kladml_core.training.signals import StopSignals
from kladml_core.training.trainer import UniversalTrainer


def train_attempt(
    run: RunDirectory,
    attempt: int,
    writer: RunWriter,
    signals: StopSignals,
    on_hang: Callable[[HangError], None] | None = None,
) -> FitResult:
    """Trains; the first attempt from the start, a later one from the newest valid checkpoint.

    Args:
        on_hang: see UniversalTrainer.

    Raises:
        KladMLError: a fault with its exit code; anything else that a person's code raises passes through.
    """
    source = _source(run, attempt)
    config, config_hash = _config(run, source)
    _tell_changes(run, attempt, writer)
    signals.grace = config.training.grace_seconds
    seed_everything(config.seed)
    data = _data(config, source)
    model = _model(config, source)
    if not isinstance(model, TorchModel):
        if config.launch.processes > 1 or config.launch.machines > 1:
            raise NotSupportedError(
                f"{config.model.target} trains itself, in one process only", **source.at("launch.processes")
            )
        if attempt > 1:
            raise NotSupportedError(f"{config.model.target} trains itself and writes no checkpoints to resume from")
        return train_plain(model, data, seed=config.seed, run=run, writer=writer, attempt=attempt, signals=signals)
    trainer = UniversalTrainer(
        config.training,
        seed=config.seed,
        device=config.launch.device,
        run=run,
        writer=writer,
        attempt=attempt,
        signals=signals,
        config_hash=config_hash,
        source=source,
        fingerprints=fingerprints(data),
        on_hang=on_hang,
        fsdp=config.launch.fsdp,
    )
    result = trainer.fit(model, data, resume=attempt > 1)
    if dist.is_initialized():
        dist.destroy_process_group()  # only after a good end: while a rank fails, it would wait for the others
    return result


def _source(run: RunDirectory, attempt: int) -> Source:
    recorded = (run.read_attempt(attempt) or {}).get("source") or {}
    return Source(
        recorded.get("file") or str(run.config), recorded.get("positions") or {}, recorded.get("overrides") or {}
    )


def _config(run: RunDirectory, source: Source) -> tuple[RunConfig, str]:
    document = read(run.config)
    try:
        config = RunConfig.model_validate(document.data)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(str(part) for part in fault["loc"])
        raise ConfigError(f"{key}: {fault['msg']}", **source.at(key)) from error
    return config, hashlib.sha256(run.config.read_bytes()).hexdigest()


def _tell_changes(run: RunDirectory, attempt: int, writer: RunWriter) -> None:
    """An event that names what a resumed attempt changes in the config, where it changes anything."""
    before = run.attempt_dir(attempt - 1) / "config.yaml"
    if attempt == 1 or not before.is_file():
        return
    found = diff([read(before).data, read(run.config).data])
    if found:
        changes = {key: [None if value is MISSING else value for value in values] for key, values in found}
        writer.event("config_changed", changes=changes)


def _data(config: RunConfig, source: Source) -> DataModule:
    def resolve(target: str) -> Callable[..., Any]:
        function = resolve_callable(target, "data.target", source)
        return lambda **params: call(target, function, params, "data.params", source)

    return _usable("the data", "data.target", source, lambda: load_data(config.data.model_dump(), Path.cwd(), resolve))


def _model(config: RunConfig, source: Source) -> BaseModel:
    def make() -> BaseModel:
        return build_model(config.model.target, config.model.params, config.loss, source)

    return _usable(config.model.target, "model.target", source, make)


def _usable(what: str, key: str, source: Source, make: Callable[[], Any]) -> Any:
    """Calls a person's code on behalf of a key; whatever it raises becomes a fault of what the key names."""
    place = source.at(key)
    try:
        return make()
    except KladMLError as error:
        if error.file is None:
            error.file, error.line, error.column = place.get("file"), place.get("line"), place.get("column")
        raise
    except Exception as error:
        # A person's code may raise anything; out of memory keeps its own exit code.
        if is_out_of_memory(error):
            raise
        raise UnusableError(
            f"{what} cannot be made: {told_with_place(error)}",
            hint="the traceback is in the run's console.log",
            **place,
        ) from error
