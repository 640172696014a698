"""The quick reading of a recorded config gives what the one loader gives."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kladml_core.config.diff import flatten
from kladml_core.config.load import dotted, dump, parse
from kladml_core.errors import ConfigError
from kladml_core.workspace import plain_config
from kladml_core.workspace.plain_config import params_of

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(
        ["no", "a.b:C", "1:30", "- x", "a: b", "#", "{}", "null", "~", "0o7", "1e-3", ".inf", "it's", "a "]
    )
)
_KEYS = st.text(min_size=1, max_size=5) | st.sampled_from(["model", "params", "null", "true", "1", "a b", "no", "x.y"])
_VALUES = st.recursive(_SCALARS, lambda below: st.lists(below, max_size=3) | st.dictionaries(_KEYS, below, max_size=6))


def slowly(text: str) -> dict[str, Any]:
    data = parse(text, "c.yaml").data
    return {dotted(path): value for path, value in flatten(data).items() if path}


def quickly(text: str) -> dict[str, Any]:
    return {key: json.loads(value) for key, value, _, _ in params_of(text.encode(), "c.yaml")}


@settings(max_examples=120, deadline=None)
@given(st.dictionaries(_KEYS, _VALUES, min_size=1, max_size=6))
def test_what_our_own_dump_writes(config: dict[str, Any]) -> None:
    text = dump(config)
    assert repr(quickly(text)) == repr(slowly(text))


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb: {c: 2, d: [3, 4]}\n",
        "a:\n    b: 1\n    c: 2\n",
        "a:\n  b:\n  c: 1\n",
        "a:\n  - 1\n  - b: 2\n",
        "a:\n- 1\n- 2\nb: x\n",
        "a: x\n  y\nb: 1\n",
        'a: "x\n  y"\nb: 1\n',
        "a: |\n  b: 1\n\n  c\nd: 2\n",
        "a: &x 1\nb: *x\n",
        "# c\na: 1 # d\n\n# e\nb: 2\n",
        "---\na: 1\n...\n",
        "a: 'it''s'\nb: 'x'\nc: ''\n",
        "a: 1\r\nb: 2\r\n",
        "\ufeffa: 1\n",
        "{a: 1,\nb: 2}\n",
        "a: 1\n",
        "a:\nb: 1\n",
        "a: 007\nb: +1\nc: 0x1f\nd: -.inf\ne: 1_000\n",
    ],
)
def test_whatever_a_person_writes(text: str) -> None:
    assert quickly(text) == slowly(text)


@pytest.mark.parametrize(
    "text", ["a: 1\na: 2\n", "a:\n  b: 1\n  b: 2\n", "a: 1\n b: 2\n", "", "- 1\n", "a: !x 1\n", "a: [1\n", "a: \x01\n"]
)
def test_what_the_loader_refuses_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        slowly(text)
    with pytest.raises(ConfigError):
        quickly(text)


def test_the_configs_of_a_sweep_are_read_without_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("parsed")

    monkeypatch.setattr(plain_config, "parse", refuse)
    found = quickly(dump({"model": {"params": {"width": 7, "betas": [0.9, 0.99], "x": "no"}}, "seed": 3, "rate": 1e-5}))
    assert found == {
        "model.params.width": 7, "model.params.betas": [0.9, 0.99], "model.params.x": "no", "seed": 3, "rate": 1e-5
    }  # fmt: skip


def test_numbers_and_text_are_told_apart() -> None:
    params = params_of(b"a: 1\nb: '1'\nc: true\nd: .nan\ne: 0.5\n", "c.yaml")
    assert [(text, number) for _, _, text, number in params[:3]] == [("1", 1.0), ("1", None), ("true", None)]
    assert params[3][3] is not None
    assert math.isnan(params[3][3])
    assert params[4][1:] == ("0.5", "0.5", 0.5)
