"""Mean and spread over runs that differ in nothing but their seed."""

from __future__ import annotations

import math

import pytest

from kladml_core.workspace.rows import RunRow
from kladml_core.workspace.seeds import Spread, group_seeds
from tests.core.filtered_runs import a_row, figures


def seeded(number: int, seed: int, loss: float, *, width: object = 32, experiment: str = "a/b/c") -> RunRow:
    params = {"seed": seed, "width": width, "list": [1, 2]}
    return a_row(f"{experiment}/run_{number:04d}", metrics={"loss": figures(loss, least=loss / 2)}, params=params)


def test_runs_are_grouped_by_their_config_without_the_seed_within_an_experiment() -> None:
    rows = [seeded(4, 1, 1.0), seeded(3, 0, 1.0, width=64), seeded(2, 0, 3.0), seeded(1, 0, 1.0, experiment="a/b/d")]
    rows += [seeded(5, 7, 1.0, width="32"), seeded(6, 8, 1.0, width=32.0), a_row("a/b/c/run_0009")]
    groups = [([row.reference[4:] for row in group.runs], group.seeds) for group in group_seeds(rows)]
    assert groups == [
        (["c/run_0004", "c/run_0002", "c/run_0006"], ("1", "0", "8")),
        (["c/run_0003"], ("0",)),
        (["d/run_0001"], ("0",)),
        (["c/run_0005"], ("7",)),
        (["c/run_0009"], ("",)),
    ]


def test_the_spread_is_that_of_a_sample_and_of_finite_values_alone() -> None:
    [group] = group_seeds([seeded(number, number, value) for number, value in enumerate((1.0, 2.0, 6.0, math.nan))])
    assert group.spread("loss") == Spread(3.0, pytest.approx(math.sqrt(7.0)), 1.0, 6.0, 3)
    best = group.spread("loss", "best")
    assert best is not None
    assert best.mean == pytest.approx(1.5)
    assert group.spread("other") is None


def test_one_run_has_a_mean_and_no_spread() -> None:
    [group] = group_seeds([seeded(1, 0, 2.5)])
    assert group.spread("loss") == Spread(2.5, None, 2.5, 2.5, 1)
