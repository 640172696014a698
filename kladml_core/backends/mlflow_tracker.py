"""LocalTracker and MLflowTracker: runs in MLflow, in a SQLite file of this machine or on a server."""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow.entities import Experiment, Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from kladml_core.backends.mlflow_names import TAG, encoded
from kladml_core.backends.mlflow_sender import Sender, Write, retried
from kladml_core.backends.mlflow_tables import MetricTables
from kladml_core.backends.network_disks import network_file_system
from kladml_core.config.secrets import mask
from kladml_core.errors import UnusableError
from kladml_core.interfaces.tracker import Measurement, TrackerInterface

UID_TAG = "kladml.uid"
LONGEST_PARAM, LONGEST_TAG = 6000, 5000
_SHOWN = {
    "kladml.note": "mlflow.note.content",
    "kladml.user": "mlflow.user",
    "kladml.git_sha": "mlflow.source.git.commit",
}
_STATUSES = ("FINISHED", "FAILED", "KILLED", "SCHEDULED", "RUNNING")


class MLflowTracker(TrackerInterface):
    """Tracks runs on an MLflow server.

    Logging returns at once; a thread sends batches, and waits out a server that is away. A token or a password comes
    from MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, never from a config.

    Args:
        uri: the server, `http://host:5000`, or any other tracking URI that MLflow knows.
        every: seconds for which values are gathered before they are sent.
        patience: seconds for which `start_run`, `flush` and `end_run` wait for a server that is away.

    Raises:
        UnusableError: the URI is none.
    """

    def __init__(self, uri: str, *, every: float = 1.0, patience: float = 60.0) -> None:
        self.uri = uri
        self._every = every
        self.patience = patience
        with self._told(f"{mask(uri)} cannot be used for tracking"):
            self._client = MlflowClient(tracking_uri=uri)
        self._write: Write | None = None
        self._run_id: str | None = None
        self._sender: Sender | None = None
        self._names: dict[str, str] = {}
        self._refused: list[str] = []
        self._started: float | None = None
        self._ended: float | None = None

    @property
    def refused(self) -> tuple[str, ...]:
        """What MLflow will never take of the open run, or of the last one: a sentence each."""
        return tuple(self._sender.refused if self._sender is not None else self._refused)

    def start_run(self, experiment_name: str, run_name: str | None = None) -> str:
        """Begins a run; the experiment is made where there is none.

        Returns:
            MLflow's id of the run.

        Raises:
            UnusableError: a run is open, or the server refuses or stays out of reach.
        """
        return self._begin(experiment_name, run_name, uuid.uuid4().hex)

    def resume_run(self, uid: str, experiment_name: str, run_name: str | None = None) -> str:
        """Opens the run whose tag `kladml.uid` is `uid`, or begins it.

        Raises:
            UnusableError: as `start_run`, or `uid` is not letters, digits and hyphens.
        """
        if not re.fullmatch(r"[\w\-]{1,100}", uid):
            raise UnusableError(f"{uid!r} cannot be a run's uid")
        return self._begin(experiment_name, run_name, uid, look=True)

    def log_params(self, params: dict[str, Any]) -> None:
        """Records parameters as text; one that has another value already keeps it, and is listed in `refused`."""
        sender = self._open("log parameters")
        for key, value in params.items():
            sender.add(Param(self._name(sender, key), _cut(str(value), LONGEST_PARAM)))

    def log_metric(self, key: str, value: float, step: int | None = None) -> None:
        """Records one value, measured now; `step` counts optimizer steps, 0 unless given."""
        self._log(self._open("log metrics"), Measurement(key, value, step or 0, time.time()))

    def log_metrics(self, metrics: Sequence[Measurement]) -> None:
        """Records many values, each with its own time."""
        sender = self._open("log metrics")
        for metric in metrics:
            self._log(sender, metric)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Records tags; a value longer than 5,000 characters is cut.

        Those that MLflow shows in places of their own (note, user, commit) are recorded under its names as well.
        """
        sender = self._open("set tags")
        for key, value in tags.items():
            for name in (key, _SHOWN.get(key)):
                if name is not None:
                    sender.add(RunTag(encoded(name), _cut(value, LONGEST_TAG)))

    def log_artifact(self, local_path: str, artifact_path: str | None = None) -> None:
        """Stores a file, or a folder with all that is in it; waits for it.

        Raises:
            UnusableError: it cannot be read, or the server refuses or stays out of reach.
        """
        self._open("store files")
        run_id = str(self._run_id)
        with self._told(f"cannot store {local_path} in MLflow"):
            if os.path.isdir(local_path):
                retried(lambda: self._client.log_artifacts(run_id, local_path, artifact_path), self.patience)
            else:
                retried(lambda: self._client.log_artifact(run_id, local_path, artifact_path), self.patience)

    def flush(self) -> None:
        """Returns when MLflow has everything that was logged.

        Raises:
            UnusableError: it has not within `patience` seconds; it goes on being sent.
        """
        sender = self._open("send anything")
        left = sender.flush(self.patience)
        if left:
            why = sender.trouble or "the server is slow"
            raise UnusableError(f"{left} records have not reached {mask(self.uri)} yet: {why}")

    def set_times(self, started: float | None = None, ended: float | None = None) -> None:
        """Says when the run began that is opened next, and when the open one ended (unix seconds)."""
        self._started, self._ended = started or self._started, ended or self._ended

    def close(self) -> None:
        """Lets the open run go without ending it, and what is pending with it."""
        self._close()

    def end_run(self, status: str = "FINISHED") -> None:
        """Sends what is pending and closes the run.

        Args:
            status: FINISHED, FAILED or KILLED.

        Raises:
            UnusableError: not everything was taken within `patience` seconds; the run stays open, so that calling
                this again tries again.
        """
        self._open("end a run")
        if status not in _STATUSES:
            raise UnusableError(f"{status!r} is no status of MLflow", hint=f"Use one of {', '.join(_STATUSES)}")
        self.flush()
        with self._told("the run cannot be ended in MLflow"):
            ended = _milliseconds(self._ended)
            retried(lambda: self._client.set_terminated(str(self._run_id), status, ended), self.patience)
        self._close()

    def _log(self, sender: Sender, metric: Measurement) -> None:
        name = self._names.get(metric.key) or self._name(sender, metric.key)
        sender.add(Metric(name, float(metric.value), round(metric.time * 1e3), metric.step))

    def _name(self, sender: Sender, name: str) -> str:
        """The name as MLflow takes it; the original of an encoded one goes into a tag, once."""
        known = self._names.get(name)
        if known is None:
            known = self._names[name] = encoded(name)
            if known != name:
                sender.add(RunTag(f"{TAG}{known}", _cut(name, LONGEST_TAG)))
        return known

    def _open(self, what: str) -> Sender:
        if self._sender is None:
            raise UnusableError(f"no run is open: cannot {what}", hint="Call start_run first")
        return self._sender

    def _close(self) -> None:
        if self._sender is not None:
            self._sender.close()
            self._refused = self._sender.refused
        self._sender, self._run_id = None, None
        self._started, self._ended = None, None
        self._names.clear()

    def _begin(self, experiment_name: str, run_name: str | None, uid: str, *, look: bool = False) -> str:
        if self._sender is not None:
            raise UnusableError("a run is open already", hint="Call end_run first")
        with self._told(f"no run can be started on {mask(self.uri)}"):
            experiment = retried(lambda: self._experiment(experiment_name), self.patience)
            run = retried(lambda: self._find(experiment, uid), self.patience) if look else None
            if run is None:
                tags, began = {UID_TAG: uid}, _milliseconds(self._started)
                run = retried(
                    lambda: self._client.create_run(experiment.experiment_id, began, tags, run_name), self.patience
                )
            elif run.info.status != "RUNNING":
                retried(lambda: self._client.update_run(run.info.run_id, status="RUNNING"), self.patience)
        self._run_id = str(run.info.run_id)
        self._sender = Sender(self._client, self._run_id, self._every, self._write)
        return self._run_id

    def _experiment(self, name: str) -> Experiment:
        for _ in range(2):
            found = self._client.get_experiment_by_name(name)
            if found is not None:
                if found.lifecycle_stage == "deleted":
                    raise UnusableError(
                        f"the experiment {name!r} is deleted in MLflow",
                        hint=f"Restore it: `mlflow experiments restore -x {found.experiment_id}`",
                    )
                return found
            try:
                self._client.create_experiment(name, artifact_location=self._artifact_location())
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
        raise UnusableError(f"the experiment {name!r} can neither be found nor made")

    def _artifact_location(self) -> str | None:
        return None  # the server knows its own

    def _find(self, experiment: Experiment, uid: str) -> Run | None:
        query = f"tags.`{UID_TAG}` = '{uid}'"
        found = self._client.search_runs([experiment.experiment_id], query, ViewType.ACTIVE_ONLY, max_results=1)
        return found[0] if found else None

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Turns MLflow's errors into one that says what could not be done, and why."""
        try:
            yield
        except MlflowException as error:
            raise UnusableError(f"{what}: {mask(error.message)}") from error
        except OSError as error:
            raise UnusableError(f"{what}: {error.strerror or error}") from error


class LocalTracker(MLflowTracker):
    """Tracks runs in a SQLite file; `mlflow ui --backend-store-uri sqlite:///…` shows them.

    Args:
        file: the database, made when missing; `data/mlflow.sqlite` of the nearest workspace unless given, or below the
            current directory where there is no workspace. Artifacts lie in `mlartifacts` beside it.
        every, patience: as for MLflowTracker.

    Raises:
        UnusableError: the file is on a network file system, where SQLite's locks do not hold, or cannot be made.
    """

    def __init__(
        self, file: str | os.PathLike[str] | None = None, *, every: float = 1.0, patience: float = 60.0
    ) -> None:
        self.file = (_default_file() if file is None else Path(file).expanduser()).absolute()
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnusableError(f"{self.file.parent} cannot be made: {error.strerror}") from error
        kind = network_file_system(self.file.parent)
        if kind is not None:
            raise UnusableError(
                f"{self.file.parent} is on a network file system ({kind}), where SQLite loses data",
                hint="Set tracker.uri in kladml.yaml to a server, or to a file on a local disk",
            )
        super().__init__(f"sqlite:///{self.file}", every=every, patience=patience)
        self._write = MetricTables(self.file).write

    def _artifact_location(self) -> str:
        return (self.file.parent / "mlartifacts" / uuid.uuid4().hex).as_uri()


def _default_file() -> Path:
    from kladml_core.settings import find_workspace, load_settings

    workspace = find_workspace(Path.cwd())
    return (load_settings(workspace).data if workspace is not None else Path.cwd() / "data") / "mlflow.sqlite"


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1e3)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
