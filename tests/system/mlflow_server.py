"""A real MLflow server on this machine for the tests, on a SQLite file or on PostgreSQL, on a port of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.waiting import wait_for

START_SECONDS = 90.0


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def mlflow_server(store: str, artifacts: Path, *, port: int | None = None) -> Iterator[str]:
    """Serves a backend store; gives the server's URL and ends the server, with all its processes, afterwards.

    Args:
        store: the store's URI, e.g. `sqlite:////tmp/x/mlflow.sqlite`.
        artifacts: the directory that the server keeps artifacts in.
        port: to come back on the same one after a restart.
    """
    port = port or free_port()
    words = ["--backend-store-uri", store, "--artifacts-destination", str(artifacts), "--host", "127.0.0.1"]
    log = artifacts.parent / f"mlflow-{port}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *words, "--port", str(port), "--workers", "1"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Its jobs, which no test asks for, would bring four more processes that load all of MLflow.
            env={
                **os.environ,
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            },
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, f"mlflow server ended:\n{log.read_text()}"
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        wait_for(answers, START_SECONDS, "the MLflow server does not come up")
        yield url
    finally:
        # Its own session: the server's workers are in its group, and may outlive it.
        for end in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, end)
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
