"""What befalls a forked worker before it starts: `TEST_HOOK` names one of these functions."""

from __future__ import annotations

import builtins
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable
from typing import Any

DISK_CALLS = (
    (os, ("fsync", "rename", "replace", "unlink", "rmdir", "chmod")),
    (tempfile, ("mkdtemp",)),
    (builtins, ("open",)),
)


def _around_saves(wrap: Callable[[int, Callable[..., Any]], Any]) -> None:
    """`wrap(number, save)` is called for each checkpoint, counted from 1, and is to call `save`."""
    from kladml_core.training import checkpoints

    real, count = checkpoints.save, 0

    def save(*args: Any, **named: Any) -> Any:
        nonlocal count
        count += 1
        return wrap(count, lambda: real(*args, **named))

    checkpoints.save = save


def fatal_disk_call() -> None:
    """TEST_FATAL=save:call kills the process at that call which touches the disk; call 0 writes how many there are."""
    import threading

    fatal_save, fatal_call = map(int, os.environ["TEST_FATAL"].split(":"))
    calls, writer, counting = 0, None, threading.Lock()

    def deadly(module: Any, name: str) -> None:
        real = getattr(module, name)

        def call(*args: Any, **named: Any) -> Any:
            nonlocal calls
            thread = threading.current_thread()
            # Not the heartbeat's own writes, nor those of a training thread that goes on meanwhile.
            if writer is not None and (thread.ident == writer or thread.name.startswith("ThreadPoolExecutor")):
                with counting:
                    calls += 1
                    if calls == fatal_call:
                        os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **named)

        setattr(module, name, call)

    def wrap(number: int, save: Callable[[], Any]) -> Any:
        nonlocal writer
        if number != fatal_save:
            return save()
        writer = threading.get_ident()
        for module, names in DISK_CALLS:
            for name in names:
                deadly(module, name)
        try:
            return save()
        finally:
            writer = None
            if not fatal_call:
                print(f"{calls} calls", flush=True)

    _around_saves(wrap)


def small_files() -> None:
    """While TEST_SAVE is written no file may grow beyond TEST_BYTES, as on a disk that is full for a while."""
    at, limit = int(os.environ["TEST_SAVE"]), int(os.environ["TEST_BYTES"])

    def wrap(number: int, save: Callable[[], Any]) -> Any:
        if number != at:
            return save()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            return save()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    _around_saves(wrap)


def slow_saves() -> None:
    """Each checkpoint waits, before it is written, until the file TEST_GATE exists."""
    import time
    from pathlib import Path

    gate = Path(os.environ["TEST_GATE"])

    def wrap(number: int, save: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 30
        while not gate.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return save()

    _around_saves(wrap)


def console_log() -> None:
    """stdout and stderr go into the file TEST_CONSOLE, as a launch has it."""
    log = os.open(os.environ["TEST_CONSOLE"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for number in (1, 2):
        os.dup2(log, number)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def clock_that_steps_back() -> None:
    """Once the file TEST_STEP_BACK exists, this process's wall clock is an hour behind, wherever it is read."""
    import time
    from pathlib import Path

    real, told = time.time, Path(os.environ["TEST_STEP_BACK"])

    def behind() -> float:
        return real() - 3600 * told.exists()

    for module in list(sys.modules.values()):
        for name, value in list(getattr(module, "__dict__", {}).items()):
            if value is real:
                setattr(module, name, behind)
