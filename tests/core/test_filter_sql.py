"""The SQL of a filter over the index chooses the runs that the filter means."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import astuple, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kladml_core.backends.sqlite_metadata import SqliteMetadata
from kladml_core.backends.sqlite_writing import IndexWriter
from kladml_core.runs.notes import Notes
from kladml_core.workspace.filter_match import matching
from kladml_core.workspace.filter_sql import matching_runs
from kladml_core.workspace.filter_words import quoted
from kladml_core.workspace.filters import parse
from kladml_core.workspace.index_entry import Entry
from kladml_core.workspace.rows import MetricFigures, RunRow
from kladml_core.workspace.values import MODE, MONITOR, number_of, param_text
from tests.core.filtered_runs import a_row

NAMES = ("val/loss", "val/accuracy", "p", 'a "b" <c>')
NUMBERS = (-math.inf, -1.5, 0.0, 0.25, 3.0, 32.0, 1e300, math.inf)
TEXTS = ("", "relu", "ReLU", "Straße", "[/x]", "32", "nan", "re*u", "true", "日本", "a,b", "-x")

HAD = ("param:p", "best:val/loss", "note", "tags", "star", "ended")
FIELDS = ("tag", "note", "reason", "project", "experiment", "name")
FIXED = (
    "status:running", "status!=running", "status:stalled", "status:live", "status!=failed,queued", "star:yes",
    "star:no", "step>=3", "step!=3", "exit:70", "created>=2023-11-14", "created:2023-11-14", "created!=2023-11-14",
    "age<900d",
    "duration>100", "duration<1h", "attempt:1",
)  # fmt: skip


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteMetadata]:
    root = tmp_path_factory.mktemp("w")
    metadata = SqliteMetadata(root, file=root / "index.sqlite")
    yield metadata
    metadata.close()


def metric_figures() -> st.SearchStrategy[MetricFigures]:
    finite = st.none() | st.sampled_from(NUMBERS[1:-1])
    last = st.sampled_from((*NUMBERS, math.nan))
    return st.builds(MetricFigures, last, st.just(9), finite, st.just(1), finite, st.just(2), st.just(9), st.just(0))


def rows() -> st.SearchStrategy[RunRow]:
    values = st.sampled_from((*TEXTS, *NUMBERS[1:-1], 32, True, None, 10**400)) | st.just([1, "x"]) | st.just({})
    # A run has no monitor without a mode: its recorded config is whole.
    said = st.fixed_dictionaries({}, optional={MONITOR: st.sampled_from(NAMES), MODE: st.sampled_from(("min", "max"))})
    times = st.none() | st.sampled_from((0.0, 1.7e9, 1.7e9 + 0.5, 1.8e9))

    def made(status: str, params: dict[str, Any], monitor: dict[str, Any], **more: Any) -> RunRow:
        return a_row(status=status, params=params | monitor, **more)

    return st.builds(
        made,
        st.sampled_from(("finished", "failed", "running", "stalled", "damaged", "queued")),
        st.dictionaries(st.sampled_from((*NAMES, "q")), values, max_size=4),
        said,
        metrics=st.dictionaries(st.sampled_from(NAMES), metric_figures(), max_size=3),
        tags=st.lists(st.sampled_from(TEXTS[1:]), max_size=2, unique=True).map(tuple),
        note=st.sampled_from(TEXTS),
        star=st.booleans(),
        created=times,
        ended=times,
        step=st.sampled_from((0, 3, 32)),
        exit_code=st.none() | st.sampled_from((0, 70)),
        reason=st.none() | st.sampled_from(TEXTS),
    )


def terms() -> st.SearchStrategy[str]:
    name, text = st.sampled_from(NAMES).map(quoted), st.sampled_from((*TEXTS, "*", "r*", "*3*")).map(quoted)
    number = st.sampled_from((*map(str, NUMBERS), "nan", "32.0", "7"))
    value = st.builds("{}{}".format, st.sampled_from(("", "last:", "best:", "min:", "max:", "param:")), name)
    plain = st.one_of(
        st.builds("{}{}{}".format, value, st.sampled_from(("<", "<=", ">", ">=")), number),
        st.builds("{}{}{}".format, value, st.sampled_from((":", "=", "!=")), text | number),
        st.builds("{}:{},{}".format, value, text, number),
        st.builds("has:{}".format, st.sampled_from((*NAMES, *HAD)).map(quoted)),
        st.builds("{}:{}".format, st.sampled_from(FIELDS), text),
        st.sampled_from(FIXED),
        text,
    )
    return st.builds("{}{}".format, st.sampled_from(("", "-")), plain)


def entry(row: RunRow) -> Entry:
    """The run as the index reads it."""
    metrics = tuple((name, *astuple(found)) for name, found in row.metrics.items())
    params = tuple(
        (key, json.dumps(value, ensure_ascii=False), param_text(value), number_of(value))
        for key, value in row.params.items()
    )
    notes = Notes(row.tags, row.note, row.star)
    return Entry(row.reference, None, row.status, metrics, params, notes, "", 0.0, "")  # type: ignore[arg-type]


@given(found=st.lists(rows(), max_size=6), words=st.lists(terms(), min_size=1, max_size=2))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_it_chooses_the_runs_that_the_filter_means(
    index: SqliteMetadata, found: list[RunRow], words: list[str]
) -> None:
    named = [replace(row, reference=f"vision/di gits/cnn/run_{place:04d}") for place, row in enumerate(found)]
    writer = IndexWriter(index)
    writer.remove(index.runs())
    writer.put([entry(row) for row in named])
    chosen = parse(" ".join(words))
    expected = sorted(row.reference for row in matching(named, chosen))
    assert sorted(matching_runs(index, chosen, now=time.time())) == expected, chosen


def test_names_that_are_no_text_are_found_too(index: SqliteMetadata) -> None:
    row = a_row("caf\udce9/a/b/run_0001", note="x")
    writer = IndexWriter(index)
    writer.remove(index.runs())
    writer.put([entry(row)])
    assert matching_runs(index, parse("name:run_0001 CAF note:x")) == [row.reference]
    assert matching_runs(index, parse("project:caf\udce9")) == [row.reference]
    assert matching_runs(index, parse("project:other")) == []
