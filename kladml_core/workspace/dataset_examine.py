"""Has data looked through by a process of its own, with a limit; what was found is kept by fingerprint in the cache."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kladml_core.errors import ConfigError, ExitCode, UnusableError
from kladml_core.runs.files import read_object, strict_dumps, write_json
from kladml_core.user_folders import user_folder
from kladml_core.workspace.examination import Examination

VERSION = 1
"""Of what is found out; what another version found is looked up anew."""
SECONDS = 60.0
"""How long data is looked through before what was seen so far is the answer."""
_GRACE = 30.0
"""More than that, for the start of the process and its last block."""
_MARK = "kladml-examined:"
_KEPT = 200
_LOOK_SECONDS = 0.2
"""Between two questions whether the answer is still wanted."""


def never() -> bool:
    """Somebody always waits for the answer."""
    return False


def examine_file(
    path: Path,
    params: Mapping[str, Any],
    fingerprint: str | None,
    workspace: Path,
    seconds: float = SECONDS,
    given_up: Callable[[], bool] = never,
) -> Examination:
    """Looks through a data file, or takes what was found when it had the same fingerprint.

    Args:
        path: the file.
        params: which columns are taken, see `TableChoice`.
        fingerprint: of the file as it is; None where nothing is to be kept.
        workspace: its root.
        seconds: after them the rows seen so far are the answer.
        given_up: asked now and then; once nobody wants the answer, looking ends with an UnusableError.

    Raises:
        ConfigError: the parameters are wrong.
        UnusableError: the file is damaged, or takes too much time or memory.
    """
    kept = None if fingerprint is None else _kept_file(fingerprint, path.suffix, params)
    if kept is not None and (known := _read(kept)) is not None:
        return known
    request = {"path": str(path), "params": dict(params), "seconds": seconds}
    found = Examination.read(_ask(request, str(path), workspace, seconds, given_up))
    if kept is not None and found.complete:
        _keep(kept, found)
    return found


def examine_target(
    target: str,
    params: Mapping[str, Any],
    split: str | None,
    workspace: Path,
    seconds: float = SECONDS,
    given_up: Callable[[], bool] = never,
) -> Examination:
    """Calls a person's function in a process of its own and looks at the split that it gives.

    Raises:
        UnusableError: the target is missing, raises, gives no such split, or takes longer than `seconds`.
    """
    from kladml_core.config.targets import find_target

    find_target(target, workspace)
    request = {"target": target, "params": dict(params), "split": split, "seconds": seconds}
    return Examination.read(_ask(request, target, workspace, seconds, given_up))


def _ask(
    request: Mapping[str, Any], what: str, workspace: Path, seconds: float, given_up: Callable[[], bool]
) -> dict[str, Any]:
    # -P: a file of the workspace may be named like a module that this package's own start needs.
    command = [sys.executable, "-P", "-m", "kladml_core.data.examine"]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    limit = seconds + _GRACE
    try:
        child = subprocess.Popen(
            command,
            cwd=workspace,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise UnusableError(f"{what} cannot be looked at: {error.strerror}") from None
    with child:
        try:
            printed, complaints = _talk(child, strict_dumps(request).encode(), limit, given_up)
        except subprocess.TimeoutExpired:
            raise UnusableError(f"{what} took longer than {limit:g} s to be looked at") from None
        finally:
            # Its session: what a person's function started must not outlive the question, nor keep the pipes open.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
    for line in reversed(printed.decode("utf-8", "replace").split("\n")):
        if line.startswith(_MARK):
            answer: dict[str, Any] = json.loads(line.removeprefix(_MARK))
            if "error" in answer:
                wrong_text = answer.get("exit_code") == ExitCode.BAD_TEXT
                raise (ConfigError if wrong_text else UnusableError)(answer["error"], hint=answer.get("hint"))
            return answer
    last = complaints.decode(errors="replace").strip().rpartition("\n")[2]
    raise UnusableError(f"{what} ended the process that looked at it (exit code {child.returncode})", hint=last or None)


def _talk(
    child: subprocess.Popen[bytes], words: bytes, limit: float, given_up: Callable[[], bool]
) -> tuple[bytes, bytes]:
    """What it wrote on its two streams until it ended.

    Raises:
        subprocess.TimeoutExpired: the time is over, or nobody wants the answer any more.
    """
    until = time.monotonic() + limit
    first: bytes | None = words
    while True:
        try:
            return child.communicate(first, timeout=_LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            first = None
            if given_up() or time.monotonic() > until:
                raise


def _kept_file(fingerprint: str, suffix: str, params: Mapping[str, Any]) -> Path:
    text = strict_dumps([VERSION, fingerprint, suffix, dict(sorted(params.items()))])
    return user_folder("CACHE") / "datasets" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def _read(kept: Path) -> Examination | None:
    data = read_object(kept)
    if data is None:
        return None
    try:
        return Examination.read(data)
    except (KeyError, TypeError, ValueError):
        return None  # damaged: it is found out anew


def _keep(kept: Path, found: Examination) -> None:
    """Keeps what was found, and of all that is kept the newest; a cache that cannot be written is no matter."""
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_json(kept, found.to_json(), durable=False)
        files = sorted(kept.parent.glob("*.json"), key=lambda path: path.stat().st_mtime)
        for path in files[:-_KEPT]:
            path.unlink(missing_ok=True)
