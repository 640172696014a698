"""The language in which runs are asked for: what it understands, what it says of a slip, and what matches."""

from __future__ import annotations

import math
import time
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kladml_core.workspace.filter_match import matching
from kladml_core.workspace.filter_words import quoted
from kladml_core.workspace.filters import FilterError, Word, parse
from kladml_core.workspace.rows import RunRow
from kladml_core.workspace.values import sort_rows, value_named, varying
from tests.core.filtered_runs import a_row, figures

GOOD = a_row(
    "vision/digits/cnn/run_0007",
    metrics={
        "val/loss": figures(0.04, least=0.03, greatest=2.0),
        "val/accuracy": figures(0.9, least=0.1, greatest=0.98),
    },
    params={"model.params.width": 32, "model.params.act": "ReLU", "seed": 1, "model.params.bias": True},
    tags=("baseline", "two words"),
    note="the one for the PAPER",
    star=True,
    created=datetime(2026, 1, 31, 12, 30, 15).timestamp(),
    started=1.0,
    ended=5401.0,
    step=1000,
    exit_code=0,
)
BAD = a_row(
    "text/gpt/tiny/run_0012",
    status="failed",
    metrics={"train/loss": figures(math.nan), "val/loss": figures(math.inf)},
    params={"model.params.width": "wide", "seed": 2},
    note="Ärger [/x]",
    created=time.time() - 3600,
    exit_code=70,
    step=3,
)
BARE = a_row("vision/digits/cnn/run_0008", status="stalled", created=datetime(2026, 2, 1).timestamp())


def found(text: str) -> list[str]:
    return [row.reference[-2:] for row in matching((GOOD, BAD, BARE), parse(text))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["07", "12", "08"]),
        ("status:finished", ["07"]),
        ("status:running", ["08"]),
        ("status:stalled,failed", ["12", "08"]),
        ("status:live", ["08"]),
        ("status:ended", ["07", "12"]),
        ("status!=failed", ["07", "08"]),
        ("val/loss<0.05", ["07"]),
        ("val/loss<=0.04", ["07"]),
        ("val/loss>1", ["12"]),
        ("val/loss!=0.04", ["12"]),
        ("-val/loss<0.05", ["12", "08"]),
        ("train/loss<1", []),
        ("train/loss>=1", []),
        ("train/loss=nan", ["12"]),
        ("val/loss=inf", ["12"]),
        ("min:val/loss<0.035", ["07"]),
        ("max:val/loss>=2", ["07", "12"]),
        ("best:val/accuracy>0.95", ["07"]),
        ("best:val/loss<=0.03", ["07"]),
        ("model.params.width>=32", ["07"]),
        ("model.params.width:wide,32.0", ["07", "12"]),
        ("model.params.act=relu", ["07"]),
        ("model.params.act:R*u", ["07"]),
        ("model.params.bias:true", ["07"]),
        ("param:seed!=1", ["12"]),
        ("tag:baseline", ["07"]),
        ("tag:other,TWO*", ["07"]),
        ('tag:"two words"', ["07"]),
        ("tag:two", []),
        ("star:yes", ["07"]),
        ("star:no", ["12", "08"]),
        ("has:train/loss", ["12"]),
        ("-has:seed", ["08"]),
        ("has:note", ["07", "12"]),
        ("project:vision experiment:c*", ["07", "08"]),
        ("name:run_0008", ["08"]),
        ("name:cnn/run_0007,run_0012", ["07", "12"]),
        ("note:paper", ["07"]),
        ("paper", ["07"]),
        ('"FOR the"', ["07"]),
        ("ärger", ["12"]),
        ("A\u0308RGER", ["12"]),
        ('"[/x]"', ["12"]),
        ("digits -star:yes", ["08"]),
        ("run_00 failed", ["12"]),
        ("created:2026-01-31", ["07"]),
        ("created=2026-01-31T12:30", ["07"]),
        ("created>2026-01-31", ["12", "08"]),
        ("created<=2026-01-31", ["07"]),
        ("age<7d", ["12"]),
        ("duration>=1h30m", ["07"]),
        ("duration<90m", []),
        ("step>=1000", ["07"]),
        ("exit:70", ["12"]),
    ],
)
def test_what_matches(text: str, expected: list[str]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    ("text", "position", "said"),
    [
        ("status:runing", 7, "Did you mean running?"),
        ("tag:a stauts:x", 6, "Did you mean status?"),
        ("val/loss<", 9, "nothing stands behind val/loss<"),
        ("val/loss<abc", 9, "needs a number, not 'abc'"),
        ("<5", 0, "nothing stands before <"),
        ('tag:a "open', 6, "a quote is not closed"),
        ("x -", 2, "a - stands alone"),
        ("gpu:0/mem<5", 9, "goes in quotes"),
        ("status<3", 6, "has no order"),
        ("star:maybe", 5, "yes or no"),
        ("created>7d", 8, "age<7d"),
        ("age<soon", 4, "1h30m or 7d"),
        ("tag:a,,b", 4, "beside the comma"),
        ("best:val/loss", 0, "compared with nothing"),
    ],
)
def test_a_slip_is_told_with_its_place_and_what_to_do(text: str, position: int, said: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse(text)
    assert caught.value.position == position
    assert f"at character {position + 1}: " in str(caught.value)
    assert said in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_a_filter_or_a_slip_within_it(text: str) -> None:
    try:
        chosen = parse(text)
    except FilterError as error:
        assert 0 <= error.position <= len(text)
    else:
        matching((GOOD, BAD, BARE), chosen)


@given(st.text(min_size=1, max_size=30))
def test_a_quoted_text_is_taken_as_it_is(text: str) -> None:
    assert parse(quoted(text)).terms == (Word(text),)


def test_the_names_of_metrics_and_parameters_may_hold_anything_in_quotes() -> None:
    metric = 'gpu:0 "mem" <x>'
    row = a_row(metrics={metric: figures(3.0)}, params={"a b": "x,y"})
    assert matching([row], parse(f"{quoted(metric)}>2 last:{quoted(metric)}=3")) == [row]
    assert matching([row], parse('"a b"="x,y"')) == [row]


def test_a_bare_name_is_the_metric_where_a_run_has_it_else_the_parameter() -> None:
    metric = a_row("a/b/c/run_0001", metrics={"loss": figures(1.0)}, params={"loss": 5})
    param = a_row("a/b/c/run_0002", params={"loss": 5})
    assert matching([metric, param], parse("loss=5")) == [param]
    assert matching([metric, param], parse("param:loss=5")) == [metric, param]
    assert matching([metric, param], parse("last:loss<9")) == [metric]


def test_a_run_says_itself_which_value_of_its_monitored_metric_is_the_best() -> None:
    said = {"training.early_stopping.monitor": "val/thing", "training.early_stopping.mode": "max"}
    row = a_row(metrics={"val/thing": figures(2.0, least=1.0, greatest=3.0)}, params=said)
    other = a_row(metrics={"val/thing": figures(2.0, least=1.0, greatest=3.0)})
    assert matching([row, other], parse("best:val/thing=3")) == [row]


def named(rows: list[RunRow]) -> list[str]:
    return [row.reference[-2:] for row in rows]


def test_runs_are_sorted_by_raw_values_and_those_without_one_come_last_either_way() -> None:
    values = {"01": 9.0, "02": 10.0, "03": math.nan, "04": None, "05": -math.inf}
    rows = [
        a_row(f"a/b/c/run_00{name}", metrics={} if value is None else {"m": figures(value)})
        for name, value in values.items()
    ]
    by = value_named("last:m")
    assert named(sort_rows(rows, by)) == ["05", "01", "02", "03", "04"]
    assert named(sort_rows(rows, by, reverse=True)) == ["02", "01", "05", "03", "04"]


def test_names_are_sorted_by_their_numbers_and_parameters_of_two_kinds_beside_each_other() -> None:
    rows = [a_row(f"a/b/c/run_{number}") for number in ("10000", "9999", "0002")]
    assert [row.reference[6:] for row in sort_rows(rows, value_named("name"))] == ["run_0002", "run_9999", "run_10000"]
    mixed = [a_row(f"a/b/c/run_00{i:02}", params={"p": value}) for i, value in enumerate(["b", 10, 9, "A", [1], True])]
    assert [row.params["p"] for row in sort_rows(mixed, value_named("p"))] == [9, 10, [1], "A", "b", True]


def test_what_varies_is_what_runs_differ_in_and_not_how_they_are_named() -> None:
    one = a_row(params={"seed": 1, "lr": 0.1, "same": [1, 2], "project": "a"})
    two = a_row(params={"seed": 1.0, "lr": 0.1, "same": [1, 2], "project": "b", "more": "x", "none": None})
    assert varying([one, two]) == ("seed", "more")
    assert varying([one, two, a_row()]) == ("seed", "more")
    assert varying([one]) == ()
