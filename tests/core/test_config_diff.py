"""Comparing configs shows what differs and nothing else."""

from __future__ import annotations

import math

from kladml_core.config.diff import MISSING, diff


def test_only_what_differs_is_told_with_a_value_for_each_config() -> None:
    one = {"a": 1, "b": {"c": [1, 2], "d": "x"}}
    two = {"a": 1, "b": {"c": [1, 3], "d": "x"}, "e": None}
    three = {"a": 1, "b": {"c": [1, 2], "d": "x"}, "e": 5}
    assert diff([one, two, three]) == [
        ("b.c", ([1, 2], [1, 3], [1, 2])),
        ("e", (MISSING, None, 5)),
    ]


def test_equal_configs_and_few_configs_do_not_differ() -> None:
    assert diff([{"a": math.nan, "b": [math.nan, {"c": 1}]}] * 3) == []
    assert diff([{"a": math.nan}, {"a": float("nan")}]) == []
    assert diff([{"a": 1}]) == []
    assert diff([]) == []


def test_values_of_another_type_differ() -> None:
    assert [key for key, _ in diff([{"a": 1, "b": 0, "c": "1"}, {"a": 1.0, "b": False, "c": 1}])] == ["a", "b", "c"]


def test_an_empty_mapping_is_told_by_the_keys_that_the_other_has() -> None:
    assert diff([{"p": {}}, {"p": {"w": 3}}]) == [("p.w", (MISSING, 3))]
    assert diff([{"p": {}}, {}]) == [("p", ({}, MISSING))]
    assert diff([{"p": {"w": 3}}, {"p": 5}]) == [("p.w", (3, MISSING)), ("p", (MISSING, 5))]
