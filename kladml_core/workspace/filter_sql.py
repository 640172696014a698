"""A filter as SQL over the index's tables, for what asks it: it means what `filter_match` says, and a test holds both.

    matching_runs(metadata, parse("val/loss<0.05 tag:baseline"))

Conditions on metrics and parameters are sets of runs, each found by one look at the entries of that name. Texts are
compared by functions of ours, since SQLite knows no case but that of ASCII.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kladml_core.backends.sqlite_metadata import SqliteMetadata, stored, told
from kladml_core.workspace.filter_match import CONTAINED, equals, text_matches
from kladml_core.workspace.filters import (
    Equal,
    Filter,
    Has,
    Not,
    Number,
    Star,
    Status,
    Term,
    Text,
    Within,
    Word,
    number,
)
from kladml_core.workspace.values import GREATER_IS_BETTER, MODE, MONITOR, Value, fold

_FIELDS: Mapping[str, str] = {
    "name": "reference",
    "exit": "exit_code",
    "age": "(:now - created)",
    # Of a run that goes on the index holds when its attempt began.
    "duration": "coalesce(seconds, iif(live, :now - started + coalesce(earlier_seconds, 0), NULL))",
    "tags": "(SELECT max(tag) FROM tags WHERE run = runs.id)",
    "star": "nullif(star, 0)",
}
"""Fields that are no column of the same name."""


@dataclass(frozen=True)
class Where:
    """A condition on `runs`, and what its named parameters stand for."""

    sql: str
    parameters: Mapping[str, Any]


def matching_runs(metadata: SqliteMetadata, chosen: Filter, *, now: float | None = None) -> list[str]:
    """References of the runs that match, as far as the index knows them, in no promised order.

    Raises:
        sqlite3.Error: the index is damaged.
    """
    where = compile_filter(chosen, now=now)
    with metadata.lock:
        metadata.prepare(register)
        found = metadata.query(f"SELECT reference FROM runs WHERE {where.sql}", where.parameters)
    return [told(reference) for (reference,) in found]


def register(connection: sqlite3.Connection) -> None:
    """Gives a connection the functions that the conditions call."""
    connection.create_function("kladml_like", 2, _like, deterministic=True)
    connection.create_function("kladml_named", 2, _named, deterministic=True)
    connection.create_function("kladml_holds", 2, _holds, deterministic=True)
    connection.create_function("kladml_equal", 2, _equal, deterministic=True)


def compile_filter(chosen: Filter, *, now: float | None = None) -> Where:
    """The condition that a filter is.

    Args:
        chosen: from `filters.parse`.
        now: what ages and the durations of live runs are counted to, unix seconds.
    """
    compiler = _Compiler(time.time() if now is None else now)
    sql = " AND ".join(f"({compiler.term(term)})" for term in chosen.terms) or "true"
    return Where(sql, compiler.parameters)


class _Compiler:
    def __init__(self, now: float) -> None:
        self.parameters: dict[str, Any] = {"now": now}

    def term(self, term: Term) -> str:
        """Never NULL: what is not known does not match, and its negation does."""
        match term:
            case Not(inner):
                return f"NOT ({self.term(inner)})"
            case Word(text):
                wanted = self._bind(fold(text))
                pieces = " OR ".join(f"kladml_holds({wanted}, {column})" for column in ("reference", "word", "note"))
                return f"{pieces} OR id IN (SELECT run FROM tags WHERE kladml_holds({wanted}, tag))"
            case Status(words):
                return f"word IN ({', '.join(map(self._bind, words))})"
            case Star(wanted_star):
                return "star" if wanted_star else "NOT star"
            case Text(field, texts):
                return self._any(self._text(field, text) for text in texts)
            case Has(value):
                return self._has(value)
            case Number(value, sign, wanted_number):
                return self._compares(value, sign, wanted_number)
            case Within(value, begin, end, inside):
                column = _field(value)
                between = f"{column} >= {self._bind(begin)} AND {column} < {self._bind(end)}"
                return f"{column} IS NOT NULL AND {'' if inside else 'NOT '}({between})"
            case Equal(value, equal_texts, wanted_equal):
                found = self._any(self._equals(value, text) for text in equal_texts)
                return found if wanted_equal else f"({self._is_there(value)}) AND NOT ({found})"

    def _text(self, field: str, text: str) -> str:
        if field == "tags":
            return f"id IN (SELECT run FROM tags WHERE kladml_like({self._bind(text)}, tag))"
        if field in CONTAINED:
            return f"kladml_holds({self._bind(fold(text))}, coalesce({field}, ''))"
        if field == "name":
            return f"kladml_named({self._bind(text)}, reference)"
        return f"kladml_like({self._bind(text)}, {field})"

    def _has(self, value: Value) -> str:
        if value.kind == "field":
            return f"coalesce({_field(value)}, '') != ''"
        if value.kind == "metric":
            return self._metric(value, None)
        param = self._param(value.name, "json NOT IN ('null', '\"\"')")
        return param if value.kind == "param" else self._either(value, None, param)

    def _is_there(self, value: Value) -> str:
        """As `_has`, but an empty text is there too."""
        if value.kind == "metric":
            return self._metric(value, None)
        param = self._param(value.name, "json != 'null'")
        return param if value.kind == "param" else self._either(value, None, param)

    def _compares(self, value: Value, sign: str, wanted: float) -> str:
        if math.isnan(wanted):
            return "false"  # nothing is less or greater; what is equal is asked as `Equal`
        number = self._bind(wanted)
        if value.kind == "field":
            return f"coalesce({_field(value)} {sign} {number}, false)"
        if value.kind == "metric":
            return self._metric(value, f"{{}} {sign} {number}")
        param = self._param(value.name, f"number {sign} {number}")
        return param if value.kind == "param" else self._either(value, f"{{}} {sign} {number}", param)

    def _equals(self, value: Value, text: str) -> str:
        wanted = number(text)
        like = f"kladml_like({self._bind(text)}, text)"
        if wanted is None:
            metric, param = f"kladml_equal({self._bind(text)}, {{}})", like
        elif math.isnan(wanted):
            metric, param = "{} IS NULL", like
        else:
            metric = f"{{}} = {self._bind(wanted)}"
            param = f"iif(number IS NULL, {like}, number = {self._bind(wanted)})"
        if value.kind == "metric":
            return self._metric(value, metric)
        found = self._param(value.name, f"json != 'null' AND {param}")
        return found if value.kind == "param" else self._either(value, metric, found)

    def _metric(self, value: Value, condition: str | None) -> str:
        """Runs with a metric; `condition` holds `{}` where its figure goes, None asks only whether it is there."""
        column = value.figure if value.figure != "best" else self._best(value.name)
        conditions = [f"name = {self._bind(value.name)}"]
        if value.figure != "last":
            conditions.append(f"{column} IS NOT NULL")  # of `last`, NULL is NaN
        if condition is not None:
            conditions.append(f"({condition.format(column)})")
        return f"id IN (SELECT run FROM metrics WHERE {' AND '.join(conditions)})"

    def _param(self, name: str, condition: str) -> str:
        return f"id IN (SELECT run FROM params WHERE key = {self._bind(name)} AND {condition})"

    def _either(self, value: Value, metric: str | None, param: str) -> str:
        found = self._metric(value, metric)
        return f"{found} OR (NOT ({self._metric(value, None)}) AND {param})"

    def _best(self, name: str) -> str:
        """The figure of `metrics` that is the best of a metric: as the run's config says where it judges by it."""
        mode, monitor, metric = self._bind(MODE), self._bind(MONITOR), self._bind(name)
        said = f"run IN (SELECT run FROM params WHERE key = {mode})"
        judged = f"run IN (SELECT run FROM params WHERE key = {monitor} AND text = {metric})"
        if name == "val/loss":
            judged = f"({judged} OR run NOT IN (SELECT run FROM params WHERE key = {monitor}))"
        most = f"""run IN (SELECT run FROM params WHERE key = {mode} AND json = '"max"')"""
        usual = "max" if name.lower().endswith(GREATER_IS_BETTER) else "min"
        return f"iif({said} AND {judged}, iif({most}, max, min), {usual})"

    def _bind(self, value: object) -> str:
        name = f"p{len(self.parameters)}"
        self.parameters[name] = stored(value) if isinstance(value, str) else value
        return f":{name}"

    @staticmethod
    def _any(conditions: Any) -> str:
        return " OR ".join(f"({condition})" for condition in conditions)


def _field(value: Value) -> str:
    return _FIELDS.get(value.name, value.name)


def _like(pattern: str | bytes, text: str | bytes) -> bool:
    return text_matches(told(pattern), told(text))


def _named(pattern: str | bytes, reference: str | bytes) -> bool:
    return text_matches(f"*/{told(pattern)}", f"/{told(reference)}")


def _holds(folded: str | bytes, text: str | bytes) -> bool:
    return told(folded) in fold(told(text))


def _equal(text: str | bytes, value: float | None) -> bool:
    return equals(math.nan if value is None else value, told(text))
