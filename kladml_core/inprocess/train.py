"""Trains and evaluates in this process, with the same trainer and the same order of steps as a worker."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from kladml_core.errors import KladMLError, NotSupportedError, UnusableError

if TYPE_CHECKING:
    from kladml_core.backends.run_log import RunLog
    from kladml_core.data.datamodule import DataModule, Split
    from kladml_core.inprocess.attempt import Attempt
    from kladml_core.inprocess.plan import Plan
    from kladml_core.models.base import BaseModel
    from kladml_core.training.callbacks import Callback
    from kladml_core.training.result import FitResult
    from kladml_core.training.signals import StopSignals

Made = TypeVar("Made")


def train(
    plan: Plan, attempt: Attempt, log: RunLog, signals: StopSignals, callbacks: Sequence[Callback]
) -> tuple[BaseModel, FitResult, DataModule]:
    """Builds data and model and trains; the first attempt from the start, a later one from its newest checkpoint.

    Raises:
        KladMLError: a fault with its exit code; anything else that a person's code raises passes through.
    """
    from kladml_core.data.fingerprint import fingerprints
    from kladml_core.models.torch_model import TorchModel
    from kladml_core.training.device import seed_everything
    from kladml_core.training.plain import train_plain
    from kladml_core.training.trainer import UniversalTrainer

    config = plan.config
    seed_everything(config.seed)
    data = _usable("the data", plan.load_data)
    model = _usable(config.model.target, plan.make_model)
    run, number = attempt.run, attempt.number
    with _determinism_restored():
        if isinstance(model, TorchModel):
            trainer = UniversalTrainer(
                config.training,
                seed=config.seed,
                device=config.launch.device,
                callbacks=callbacks,
                run=run,
                writer=log,
                attempt=number,
                signals=signals,
                config_hash=hashlib.sha256(run.config.read_bytes()).hexdigest(),
                fingerprints=fingerprints(data),
            )
            return model, trainer.fit(model, data, resume=number > 1), data
        if number > 1 or callbacks:
            cannot = "writes no checkpoints to resume from" if number > 1 else "calls no callbacks"
            raise NotSupportedError(f"{config.model.target} trains itself and {cannot}")
        fit = train_plain(model, data, seed=config.seed, run=run, writer=log, attempt=number, signals=signals)
        return model, fit, data


def evaluate(plan: Plan, model: BaseModel, split: Split) -> dict[str, float]:
    """The model's metrics over a whole split, by name without a prefix."""
    from kladml_core.models.torch_model import TorchModel
    from kladml_core.training.trainer import UniversalTrainer

    config = plan.config
    if isinstance(model, TorchModel):
        trainer = UniversalTrainer(config.training, seed=config.seed, device=config.launch.device)
        return trainer.validate(model, split)
    found = model.evaluate(*split.arrays())
    return {name: float(value) for name, value in found.items() if isinstance(value, int | float)}


def _usable(what: str, make: Callable[[], Made]) -> Made:
    """Calls a person's code; whatever it raises becomes a fault of what could not be made."""
    from kladml_core.training.failures import is_out_of_memory, told_with_place

    try:
        return make()
    except KladMLError:
        raise
    except Exception as error:
        # A person's code may raise anything; out of memory keeps its own exit code.
        if is_out_of_memory(error):
            raise
        raise UnusableError(f"{what} cannot be made: {told_with_place(error)}") from error


@contextmanager
def _determinism_restored() -> Iterator[None]:
    """`training.deterministic` changes settings of the whole process, in which other things may follow."""
    import torch

    algorithms = torch.are_deterministic_algorithms_enabled()
    warn = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark: Any = torch.backends.cudnn.benchmark
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(algorithms, warn_only=warn)
        torch.backends.cudnn.benchmark = benchmark
