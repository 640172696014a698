"""Runs a model that trains itself (a BaseModel without torch) with the same run directory and events."""

from __future__ import annotations

import _thread
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kladml_core.data.datamodule import DataModule, Split
from kladml_core.errors import ExitCode, UnusableError
from kladml_core.models.base import BaseModel
from kladml_core.runs.rundir import RunDirectory
from kladml_core.training import control
from kladml_core.training.artifacts import BEST_MODEL
from kladml_core.training.device import seed_everything
from kladml_core.training.result import FitResult
from kladml_core.training.run_writer import RunWriter
from kladml_core.training.signals import Interrupted, StopSignals

LOOK_SECONDS = 0.2


def train_plain(
    model: BaseModel,
    data: DataModule,
    *,
    seed: int,
    run: RunDirectory,
    writer: RunWriter,
    attempt: int,
    signals: StopSignals,
) -> FitResult:
    """Calls the model's own train, evaluate and save.

    What it cannot do is said by an event: no checkpoints, so no resume, and one process only. A signal or a stop
    request breaks `train` off.

    Raises:
        UnusableError: the data cannot be given as arrays.
    """
    seed_everything(seed)
    train, val = _arrays(data.train), (_arrays(data.val) if data.val is not None else (None, None))
    writer.event("run_started", step=0, epoch=0, processes=1, device="cpu", total_steps=None, total_epochs=None)
    writer.event(
        "log", level="info", message=f"{type(model).__name__} trains itself: no checkpoints, so it cannot be resumed"
    )
    writer.progress(phase="training")
    writer.status("running")
    done = threading.Event()
    request: dict[str, Any] = {}
    watcher = threading.Thread(target=_watch, args=(run.control, attempt, done, request), daemon=True)
    watcher.start()
    try:
        with signals.raising():
            found = {f"train/{name}": value for name, value in _numbers(model.train(*train, *val)).items()}
            if data.val is not None:
                writer.progress(phase="validating")
                found |= {f"val/{name}": value for name, value in _numbers(model.evaluate(*val)).items()}
    except (Interrupted, KeyboardInterrupt):
        return _stopped(writer, signals, request)
    finally:
        done.set()
        watcher.join()
    writer.log_metrics(found, 1)
    writer.event("validation", step=1, epoch=1, metrics=found)
    writer.progress(epoch=1, step=1, phase="finishing")
    target = run.artifacts / BEST_MODEL
    target.mkdir(parents=True, exist_ok=True)
    model.save(target)
    return FitResult("finished", "trained", ExitCode.FINISHED, 1, 1, found)


def _stopped(writer: RunWriter, signals: StopSignals, request: Mapping[str, Any]) -> FitResult:
    code = ExitCode(128 + signals.number) if signals.number and not request else ExitCode.STOPPED
    reason = "stop requested" if request else f"signal {signals.name}"
    writer.event("stop_requested", reason=reason, **{key: request[key] for key in ("by", "host") if key in request})
    writer.status("stopping", reason=reason)
    return FitResult("stopped", reason, code, 0, 0)


def _watch(folder: Path, attempt: int, done: threading.Event, request: dict[str, Any]) -> None:
    while not done.wait(LOOK_SECONDS):
        found = control.pending(folder, control.STOP, attempt)
        if found is not None:
            request.update(found)
            control.remove(folder, control.STOP)
            _thread.interrupt_main()
            return


def _arrays(split: Split) -> tuple[Any, Any]:
    """Inputs and targets (or None) of a whole split as numpy arrays."""
    if split.length is None:
        raise UnusableError(f"a model that trains itself needs the whole {split.name} split, which has no length")
    batch = split.fetch(torch.arange(split.length))
    parts = [np.asarray(part) for part in (batch if isinstance(batch, tuple | list) else (batch,))]
    if len(parts) > 2:
        raise UnusableError(f"the {split.name} split has {len(parts)} parts", hint="give x, or x and y")
    return parts[0], (parts[1] if len(parts) == 2 else None)


def _numbers(metrics: Any) -> dict[str, float]:
    """What can be logged of what the model returned."""
    found = {}
    for name, value in (metrics or {}).items() if isinstance(metrics, Mapping) else ():
        try:
            found[str(name)] = float(value)
        except (TypeError, ValueError):
            continue  # an array or a text is no metric
    return found
