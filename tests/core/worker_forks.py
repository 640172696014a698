"""Worker processes without the seconds that importing torch takes: forks of one that has imported it and done nothing.

Each is a process of its own with a session, signals and files of its own, which runs the worker's `main`; what a fork
leaves out, Python's start and end and the launcher for several processes, other tests run for real.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_SERVER: list[tuple[subprocess.Popen[bytes], str]] = []


@dataclass
class Forked:
    """One run's worker processes; to be used in a `with`, which kills what is left of them."""

    pids: list[int]
    output_file: Path
    _connection: socket.socket
    _lines: Any

    def wait(self, timeout: float = 90.0) -> list[int]:
        """Their exit codes by rank, minus the signal's number where one killed it."""
        self._connection.settimeout(timeout)
        try:
            line = self._lines.readline()
        except TimeoutError:
            raise AssertionError(f"the workers did not end:\n{self.output}") from None
        return list(json.loads(line))

    @property
    def output(self) -> str:
        return self.output_file.read_text(errors="replace")

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def fork_workers(run: Path, workspace: Path, *, processes: int = 1, environ: Mapping[str, str] | None = None) -> Forked:
    """Starts the workers of one attempt. `TEST_HOOK=module:function` in `environ` is called in each of them first."""
    descriptor, output = tempfile.mkstemp(prefix="worker-", suffix=".log", dir=workspace)
    os.close(descriptor)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(_server())
    order = {"run": str(run), "workspace": str(workspace), "processes": processes, "environ": dict(environ or {})}
    connection.sendall((json.dumps({**order, "output": output}) + "\n").encode())
    connection.settimeout(30.0)
    lines = connection.makefile()
    return Forked(json.loads(lines.readline()), Path(output), connection, lines)


def _server() -> str:
    if not _SERVER or _SERVER[0][0].poll() is not None:
        _SERVER.clear()
        place = str(Path(tempfile.mkdtemp(prefix="workers-")) / "socket")
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.core.worker_forks", place],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        _SERVER.append((process, place))
        atexit.register(process.kill)
    return _SERVER[0][1]


def _serve(place: str) -> None:
    """Accepts orders until stdin ends, which it does when the tests are over."""
    import torch._dynamo  # noqa: F401 torch's optimizers import it, for seconds

    import kladml_core.training.attempt
    import kladml_core.training.worker  # noqa: F401

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place)
    listener.listen(16)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _carry_out(connection)
        connection.close()


def _carry_out(connection: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    order = json.loads(connection.makefile().readline())
    count = order["processes"]
    environ = dict(order["environ"])
    if count > 1:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        environ |= {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    pids = []
    for rank in range(count):
        ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank)} if count > 1 else {}
        pid = os.fork()
        if pid == 0:
            connection.close()
            _work(order, {**environ, **ranks})
        pids.append(pid)
    connection.sendall((json.dumps(pids) + "\n").encode())
    codes: dict[int, int] = {}
    while len(codes) < count:
        for pid in pids:
            if pid not in codes:
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    codes[pid] = os.waitstatus_to_exitcode(status)
        if select.select([connection], [], [], 0.01)[0]:  # the test has gone
            for pid in set(pids) - codes.keys():
                os.kill(pid, signal.SIGKILL)
            os._exit(0)
    connection.sendall((json.dumps([codes[pid] for pid in pids]) + "\n").encode())
    os._exit(0)


def _work(order: dict[str, Any], environ: dict[str, str]) -> None:
    code = 1
    try:
        os.setsid()
        output = os.open(order["output"], os.O_WRONLY | os.O_APPEND)
        for number in (1, 2):
            os.dup2(output, number)
        os.environ.update(environ)
        os.chdir(order["workspace"])
        sys.path[0] = order["workspace"]
        hook = os.environ.get("TEST_HOOK")
        if hook:
            module, _, name = hook.partition(":")
            getattr(importlib.import_module(module), name)()
        from kladml_core.training.worker import main

        code = main(["worker", order["run"]])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait_until_gone(pids: list[int], timeout: float = 20.0) -> bool:
    """Whether all these processes have ended in time."""
    deadline = time.monotonic() + timeout
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


if __name__ == "__main__":
    _serve(sys.argv[1])
