"""Early stopping and learning-rate schedules: pure rules, held to the same rules written out once more."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import torch
from torch import nn

from kladml_core.errors import ConfigError
from kladml_core.training.early_stopping import EarlyStopping
from kladml_core.training.schedules import make_schedule


def reference_stop(values: list[float], mode: str, patience: int, min_delta: float) -> int | None:
    """At which validation a run stops, counted from 1: the rule written out once more."""
    gain, waited = None, 0
    for place, value in enumerate(values, 1):
        better = gain is None or (value < gain - min_delta if mode == "min" else value > gain + min_delta)
        if not math.isnan(value) and better:
            gain, waited = value, 0
        else:
            waited += 1
        if waited >= patience:
            return place
    return None


@pytest.mark.parametrize("mode", ["min", "max"])
def test_early_stopping_stops_where_ten_lines_stop_even_when_interrupted_at_every_validation(mode: str) -> None:
    generator = random.Random(4)
    for _ in range(300):
        values = [generator.choice([math.nan, *(round(generator.random(), 1) for _ in range(9))]) for _ in range(20)]
        patience, min_delta = generator.randint(1, 5), generator.choice([0.0, 0.1, 0.25])
        stopped = None
        state: dict[str, Any] = {}
        for place, value in enumerate(values, 1):
            stopping = EarlyStopping(mode=mode, patience=patience, min_delta=min_delta)
            stopping.load_state_dict(state)
            verdict = stopping.update(value, place)
            state = stopping.state_dict()
            if verdict.stop:
                stopped = place
                break
        assert stopped == reference_stop(values, mode, patience, min_delta), values


def test_the_best_value_is_the_strictly_best_one_however_small_the_gain() -> None:
    stopping = EarlyStopping(enabled=False, mode="max", patience=1, min_delta=0.5)
    verdicts = [stopping.update(value, step) for step, value in enumerate([0.5, math.nan, 0.6, 0.6, 0.4])]
    assert [verdict.best for verdict in verdicts] == [True, False, True, False, False]
    assert not any(verdict.stop for verdict in verdicts)
    assert (stopping.best, stopping.best_step) == (0.6, 2)


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("constant", {}, [1.0] * 10),
        ("constant", {"warmup": 4}, [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("linear", {}, [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]),
        ("linear", {"warmup": 0.2, "final": 0.5}, [0.5, 1.0, *(1 - 0.5 * k / 8 for k in range(8))]),
        ("cosine", {}, [0.5 * (1 + math.cos(math.pi * k / 10)) for k in range(10)]),
        ("wsd", {"warmup": 2, "decay": 4}, [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25]),
    ],
)
def test_schedules_follow_their_formulas(name: str, arguments: dict[str, float], expected: list[float]) -> None:
    schedule = make_schedule(name, arguments, total=10)
    assert [schedule.factor(step) for step in range(10)] == pytest.approx(expected)


def test_plateau_does_what_torchs_own_does_and_goes_on_after_a_resume() -> None:
    values = [5, 4, 4, 4, 4, 3, 3.5, 3.5, 3.5, 3.5, 3.5, 3.5, 2, 2]
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=2, threshold=0, threshold_mode="abs", cooldown=1
    )
    state: dict[str, Any] = {}
    for value in values:
        ours = make_schedule("plateau", {"factor": 0.5, "patience": 2, "cooldown": 1}, total=None)
        ours.load_state_dict(state)
        ours.validated(value)
        state = ours.state_dict()
        theirs.step(value)
        assert ours.factor(0) == optimizer.param_groups[0]["lr"]


def test_a_schedule_that_needs_the_number_of_steps_says_what_to_write() -> None:
    with pytest.raises(ConfigError, match=r"training\.max_steps"):
        make_schedule("cosine", {}, total=None)
