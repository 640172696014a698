"""Learning-rate schedules in optimizer steps: each gives the factor by which the peak rate is multiplied."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from kladml_core.errors import ConfigError

Shape = Callable[[float], float]


class Schedule(Protocol):
    """A learning rate over the steps of a run."""

    def factor(self, step: int) -> float:
        """The factor for the update that makes step `step` + 1; `step` counts the updates made before it."""

    def validated(self, value: float) -> None:
        """Told of the monitored metric after each validation."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must remember; plain JSON values."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave."""


class StepSchedule:
    """A schedule that is a pure function of the step: a linear warm-up, then `shape` from 0 to 1 over the rest.

    Args:
        shape: factor at a share of the steps after the warm-up.
        warmup: steps of warm-up; update k of them (from 1) has the factor k / warmup.
        total: steps of the whole run, or None where nobody knows (only a constant shape may do without).
    """

    def __init__(self, shape: Shape, warmup: int, total: int | None) -> None:
        self._shape = shape
        self._warmup = warmup
        self._rest = max(1, (total or 1) - warmup)

    def factor(self, step: int) -> float:
        """See `Schedule.factor`."""
        if step < self._warmup:
            return (step + 1) / self._warmup
        return self._shape(min(1.0, (step - self._warmup) / self._rest))

    def validated(self, value: float) -> None:
        """A function of the step alone learns nothing from a metric."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the step is remembered elsewhere."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to take back."""


class PlateauSchedule:
    """Multiplies the rate by `factor` when the monitored metric has not gained for more than `patience` validations.

    The rule of torch.optim.lr_scheduler.ReduceLROnPlateau with an absolute threshold.
    """

    def __init__(
        self,
        *,
        mode: str,
        warmup: int = 0,
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 0.0,
        cooldown: int = 0,
        final: float = 0.0,
    ) -> None:
        self._sign = 1.0 if mode == "min" else -1.0
        self._warmup = warmup
        self._factor, self._patience, self._min_delta = factor, patience, min_delta
        self._cooldown, self._final = cooldown, final
        self._scale = 1.0
        self._best = math.inf
        self._bad = 0
        self._cooling = 0

    def factor(self, step: int) -> float:
        """See `Schedule.factor`."""
        return self._scale * (min(1.0, (step + 1) / self._warmup) if self._warmup else 1.0)

    def validated(self, value: float) -> None:
        """Counts the validations without a gain; NaN is none."""
        if self._sign * value < self._best - self._min_delta:
            self._best, self._bad = self._sign * value, 0
        else:
            self._bad += 1
        if self._cooling:
            self._cooling -= 1
            self._bad = 0
        if self._bad > self._patience:
            self._scale = max(self._scale * self._factor, self._final)
            self._bad, self._cooling = 0, self._cooldown

    def state_dict(self) -> dict[str, Any]:
        """The rate's present scale and the counters."""
        best = None if math.isinf(self._best) else self._best
        return {"scale": self._scale, "best": best, "bad": self._bad, "cooling": self._cooling}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        if not state:
            return
        self._scale, self._bad, self._cooling = float(state["scale"]), int(state["bad"]), int(state["cooling"])
        self._best = math.inf if state["best"] is None else float(state["best"])


class FunctionSchedule(StepSchedule):
    """A person's own function `f(step, total_steps, **arguments) -> factor`."""

    def __init__(self, function: Callable[..., float], arguments: Mapping[str, Any], total: int | None) -> None:
        super().__init__(_constant, 0, total)
        self._function = function
        self._arguments = dict(arguments)
        self._total = total

    def factor(self, step: int) -> float:
        """What the function says."""
        return float(self._function(step, self._total, **self._arguments))


def make_schedule(
    name: str | Callable[..., float], arguments: Mapping[str, Any], *, total: int | None, mode: str = "min"
) -> Schedule:
    """A schedule by its name in the config, or from a function.

    Args:
        name: constant, linear, cosine, wsd, plateau, or a function.
        arguments: `warmup` and `decay` in optimizer steps, or below 1 a share of all; `final`: the last factor.
        total: optimizer steps of the whole run, or None where nobody knows.
        mode: whether the monitored metric is better when smaller (`min`) or greater (`max`), for plateau.

    Raises:
        ConfigError: the schedule needs the number of steps and nobody knows it, or an argument is wrong.
    """
    if callable(name):
        return FunctionSchedule(name, arguments, total)
    options = dict(arguments)
    warmup = _steps(options.pop("warmup", 0), total, "warmup")
    if name == "plateau":
        return PlateauSchedule(mode=mode, warmup=warmup, **options)
    if name == "constant":
        return StepSchedule(_constant, warmup, total)
    if total is None:
        raise ConfigError(
            f"lr_scheduler {name} needs the number of steps, and the data does not say its length",
            hint="set training.max_steps",
        )
    final = float(options.pop("final", 0.0))
    if name == "linear":
        return StepSchedule(lambda share: 1.0 - (1.0 - final) * share, warmup, total)
    if name == "cosine":
        return StepSchedule(
            lambda share: final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * share)), warmup, total
        )
    if name == "wsd":
        decay = _steps(options.pop("decay", 0.2), total, "decay") / max(1, total - warmup)
        return StepSchedule(lambda share: _stable_then_down(share, min(1.0, decay), final), warmup, total)
    raise ConfigError(f"lr_scheduler {name!r} is not known", hint="constant, linear, cosine, wsd or plateau")


def _constant(_share: float) -> float:
    return 1.0


def _stable_then_down(share: float, decay: float, final: float) -> float:
    if decay <= 0.0 or share < 1.0 - decay:
        return 1.0
    return 1.0 - (1.0 - final) * (share - (1.0 - decay)) / decay


def _steps(value: float, total: int | None, what: str) -> int:
    if value >= 1 or value == 0:
        return int(value)
    if total is None:
        raise ConfigError(
            f"lr_scheduler.{what} {value} is a share of all steps, and the data does not say its length",
            hint="write it in steps, or set training.max_steps",
        )
    return round(value * total)
