"""Sends what was logged to MLflow in batches, from a thread of its own, until the server has taken all of it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from mlflow.entities import LifecycleStage, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    BAD_REQUEST,
    INVALID_PARAMETER_VALUE,
    INVALID_STATE,
    PERMISSION_DENIED,
    RESOURCE_ALREADY_EXISTS,
    RESOURCE_DOES_NOT_EXIST,
    ErrorCode,
)
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

Entity = Metric | Param | RunTag
Write = Callable[[str, Sequence[Metric]], None]
"""Stores metrics of a run."""

BATCH = 1000
"""MLflow's limit for the metrics of one request."""
SMALL_BATCH = 100
"""Its limit for parameters, and for tags."""
_FOR_GOOD = frozenset(
    ErrorCode.Name(code)
    for code in (
        BAD_REQUEST,
        INVALID_PARAMETER_VALUE,
        INVALID_STATE,
        PERMISSION_DENIED,
        RESOURCE_ALREADY_EXISTS,
        RESOURCE_DOES_NOT_EXIST,
    )
)
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 10.0


class Sender:
    """One open run's pending metrics, parameters and tags.

    Args:
        every: seconds for which metrics are gathered before they are sent.
        write: stores metrics in a faster way than the client, or raises where that does not work.
    """

    def __init__(self, client: MlflowClient, run_id: str, every: float, write: Write | None = None) -> None:
        self._client = client
        self._run_id = run_id
        self._every = every
        self._write = write
        self._pending: deque[Entity] = deque()
        self._sending: list[Entity] = []
        self._wanted = threading.Event()
        self._idle = threading.Condition()
        self._closed = threading.Event()
        self.refused: list[str] = []
        """What MLflow will never take, a sentence each."""
        self.trouble: str | None = None
        """Why nothing is getting through at the moment."""
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def add(self, entity: Entity) -> None:
        """Keeps something to be sent; costs its caller about a microsecond."""
        self._pending.append(entity)

    def flush(self, patience: float) -> int:
        """Sends what is pending and waits for it, at most `patience` seconds; returns how much is pending still."""
        deadline = time.monotonic() + patience
        self._wanted.set()
        with self._idle:
            while (left := len(self._pending) + len(self._sending)) and time.monotonic() < deadline:
                self._wanted.set()
                self._idle.wait(0.1)
        return left

    def close(self) -> None:
        """Ends the thread; what is pending is let go."""
        self._closed.set()
        self._wanted.set()
        self._thread.join(_LONGEST_WAIT)

    def _work(self) -> None:
        while not self._closed.is_set():
            self._wanted.wait(self._every)
            self._wanted.clear()
            while self._pending and not self._closed.is_set():
                self._sending = self._batch()
                self._send_until_taken(self._sending)
                with self._idle:
                    self._sending = []
                    self._idle.notify_all()

    def _batch(self) -> list[Entity]:
        """The next pending ones of one kind: MLflow's limits are counted by kind."""
        first = self._pending[0]
        limit = BATCH if isinstance(first, Metric) else SMALL_BATCH
        batch: list[Entity] = []
        while self._pending and len(batch) < limit and type(self._pending[0]) is type(first):
            batch.append(self._pending.popleft())
        return batch

    def _send_until_taken(self, batch: Sequence[Entity]) -> None:
        wait = _FIRST_WAIT
        while not self._closed.is_set():
            try:
                self._send(batch)
            except MlflowException as error:
                if error.error_code in _FOR_GOOD:
                    gone = self._gone()
                    if gone is None:
                        self._leave_out(batch, error)
                        return
                    self.trouble = gone
                else:
                    self.trouble = str(error)
            except Exception as error:  # sqlalchemy's and requests' own errors differ by backend; all may pass
                self.trouble = f"{type(error).__name__}: {error}"
            else:
                self.trouble = None
                return
            self._closed.wait(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    def _send(self, batch: Sequence[Entity]) -> None:
        def of(kind: type[Any]) -> list[Any]:
            return [entity for entity in batch if isinstance(entity, kind)]

        if self._write is not None and isinstance(batch[0], Metric):
            try:
                self._write(self._run_id, of(Metric))
            except (LookupError, SQLAlchemyError):
                pass  # the client may do, or says what is wrong
            else:
                return
        self._client.log_batch(self._run_id, metrics=of(Metric), params=of(Param), tags=of(RunTag))

    def _gone(self) -> str | None:
        """Why the run takes nothing at all, which is not the records' fault; None where it does."""
        try:
            stage = self._client.get_run(self._run_id).info.lifecycle_stage
        except MlflowException as error:
            return str(error)
        return None if stage == LifecycleStage.ACTIVE else "the run is deleted in MLflow"

    def _leave_out(self, batch: Sequence[Entity], error: MlflowException) -> None:
        """One record that is refused for good must not hold up the others: the batch is halved until it is found."""
        if len(batch) == 1:
            self.refused.append(f"{batch[0].key}: {error.message}")
            return
        middle = len(batch) // 2
        self._send_until_taken(batch[:middle])
        self._send_until_taken(batch[middle:])


def retried(act: Callable[[], Any], patience: float) -> Any:
    """What `act` returns, tried again while the server is out of reach, at most `patience` seconds.

    Raises:
        MlflowException: it is refused for good, or `patience` has run out.
    """
    deadline, wait = time.monotonic() + patience, _FIRST_WAIT
    while True:
        try:
            return act()
        except MlflowException as error:
            if error.error_code in _FOR_GOOD or time.monotonic() + wait > deadline:
                raise
        time.sleep(wait)
        wait = min(2 * wait, _LONGEST_WAIT)
