"""Writes metrics into the tables of MLflow's SQLite file in two statements a batch.

MLflow's own `log_batch` builds a dozen objects of each value and takes ten times as long, on the machine that trains.
The tables are MLflow's own definitions; where they are others one day, the caller goes back to `log_batch`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import LifecycleStage, Metric
from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlMetric, SqlRun
from sqlalchemy import create_engine, select, tuple_
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.pool import NullPool

_COLUMNS = ("value", "timestamp", "step", "is_nan")
_LOCK_SECONDS = 20


class MetricTables:
    """The tables of one file, which MLflow has made.

    Args:
        file: the database.
    """

    def __init__(self, file: Path) -> None:
        self._engine = create_engine(f"sqlite:///{file}", poolclass=NullPool, connect_args={"timeout": _LOCK_SECONDS})
        metrics, latest = SqlMetric.__table__, SqlLatestMetric.__table__
        # One that is there already, from an earlier time that the same was sent, stays as it is.
        self._insert = insert(metrics).on_conflict_do_nothing()
        newest = insert(latest)
        order = ("step", "timestamp", "value")
        self._newest = newest.on_conflict_do_update(
            index_elements=["key", "run_uuid"],
            set_={name: newest.excluded[name] for name in _COLUMNS},
            where=tuple_(*(newest.excluded[name] for name in order)) > tuple_(*(latest.c[name] for name in order)),
        )

    def write(self, run_id: str, metrics: Sequence[Metric]) -> None:
        """Stores values as `log_batch` does, each at most once.

        Raises:
            LookupError: the run is not there, or deleted; nothing is stored.
            sqlalchemy.exc.SQLAlchemyError: the file is locked or the tables are others; nothing is stored.
        """
        rows = [_row(run_id, metric) for metric in metrics]
        newest: dict[str, dict[str, Any]] = {}
        for row in rows:
            if row["key"] not in newest or _order(row) > _order(newest[row["key"]]):
                newest[row["key"]] = row
        with self._engine.begin() as connection:
            # Writing first takes the lock; a reader that turns writer may be refused it at once.
            connection.execute(self._insert, rows)
            stage = connection.execute(select(SqlRun.lifecycle_stage).where(SqlRun.run_uuid == run_id)).scalar()
            if stage != LifecycleStage.ACTIVE:
                raise LookupError(run_id)
            connection.execute(self._newest, list(newest.values()))


def _row(run_id: str, metric: Metric) -> dict[str, Any]:
    value, is_nan = metric.value, math.isnan(metric.value)
    if is_nan:
        value = 0.0
    elif math.isinf(value):
        value = math.copysign(sys.float_info.max, value)  # SQL has no word for it
    place = {"key": metric.key, "run_uuid": run_id, "timestamp": metric.timestamp, "step": metric.step}
    return {**place, "value": value, "is_nan": is_nan}


def _order(row: dict[str, Any]) -> tuple[int, int, float]:
    return row["step"], row["timestamp"], row["value"]
