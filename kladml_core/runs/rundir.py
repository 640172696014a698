"""A run's directory: the names of its files, how it is claimed, and what can be read of it without a worker."""

from __future__ import annotations

import os
import re
import shutil
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kladml_core.errors import UnusableError
from kladml_core.runs.files import read_object, write_json
from kladml_core.runs.moving import refuse_if_moving
from kladml_core.runs.processes import host_name
from kladml_core.runs.ref import RunRef
from kladml_core.runs.run_numbers import next_number

_ATTEMPT = re.compile(r"\d{3,}")
_SIGN_SECONDS = 1.0
CLAIM_SECONDS = 60.0
"""How long a claimed attempt may lack a state that names it before it counts as abandoned."""

PRUNE = "prune"
"""`purpose` in the attempt.json of one that was claimed so that nobody resumes the run while it is pruned."""


@dataclass(frozen=True)
class RunDirectory:
    """One run on disk. Holds no state: every read looks at the files again."""

    path: Path

    @property
    def ref(self) -> RunRef:
        """The reference, which is the path's last four names (a moved run is named by where it lies now)."""
        return RunRef(*self.path.parts[-4:])

    @property
    def reference(self) -> str:
        """`project/family/experiment/run_0001`."""
        return str(self.ref)

    @property
    def run_json(self) -> Path:
        return self.path / "run.json"

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def attempts(self) -> Path:
        return self.path / "attempts"

    @property
    def state_json(self) -> Path:
        return self.path / "state.json"

    @property
    def lost_json(self) -> Path:
        return self.path / "lost.json"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics"

    @property
    def summary(self) -> Path:
        return self.path / "summary.json"

    @property
    def console_log(self) -> Path:
        return self.path / "console.log"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def artifacts(self) -> Path:
        return self.path / "artifacts"

    @property
    def control(self) -> Path:
        return self.path / "control"

    @property
    def notes(self) -> Path:
        return self.path / "notes.yaml"

    @property
    def inode(self) -> int | None:
        """What tells the directory from a copy of it, here and on other hosts of a shared file system."""
        try:
            return self.path.stat().st_ino
        except OSError:
            return None

    @classmethod
    def create(
        cls,
        data: Path,
        project: str,
        family: str,
        experiment: str,
        *,
        seed: int,
        fingerprints: Mapping[str, str] | None = None,
    ) -> RunDirectory:
        """Claims the next run number of an experiment and writes run.json.

        The number is claimed by an exclusive mkdir, so that two launches at once get two runs.

        Args:
            data: the workspace's data directory; made when missing.
            seed: the run's seed, part of its identity.
            fingerprints: data set name to fingerprint, where known before the worker starts.

        Raises:
            UnusableError: the directory cannot be written, or what it lies in is being renamed or deleted.
        """
        parent = data / "projects" / project / family / experiment
        claimed: Path | None = None
        try:
            parent.mkdir(parents=True, exist_ok=True)
            number = next_number(parent)
            while True:
                path = parent / f"run_{number:04d}"
                try:
                    path.mkdir()
                    claimed = path
                    break
                except FileExistsError:
                    number += 1
            refuse_if_moving(parent)
            run = cls(path)
            for directory in (run.attempts, run.metrics, run.checkpoints, run.artifacts, run.control):
                directory.mkdir()
            write_json(
                run.run_json,
                {
                    "v": 1,
                    "uid": uuid.uuid4().hex,
                    "created": time.time(),
                    "reference": run.reference,
                    "seed": seed,
                    "fingerprints": dict(fingerprints or {}),
                },
            )
        except OSError as error:
            if claimed is not None:
                shutil.rmtree(claimed, ignore_errors=True)  # an empty run would be shown as a damaged one for ever
            raise UnusableError(
                f"cannot create a run in {parent}: {error.strerror}",
                hint="free some space or make the workspace's data directory writable",
            ) from error
        except UnusableError:
            shutil.rmtree(path, ignore_errors=True)
            raise
        return run

    def claim_attempt(self, after: int | None = None) -> int:
        """Claims the next attempt by an exclusive mkdir and returns its number, counted from 1.

        Args:
            after: the attempt that the caller found at an end; None means the newest there is. Of two callers who
                found the same end, one gets the next attempt.

        Raises:
            UnusableError: another process has claimed it, the directory cannot be written, or what it lies in is being
                renamed or deleted.
        """
        number = (self.latest_attempt() or 0 if after is None else after) + 1
        try:
            self.attempts.mkdir(exist_ok=True)
            while True:
                try:
                    self.attempt_dir(number).mkdir()
                    self._stay(number)
                    self._sign(number)
                    return number
                except FileExistsError:
                    if not self._abandoned(number):
                        raise
                    number += 1
        except FileExistsError:
            raise self._held(number) from None
        except OSError as error:
            raise UnusableError(f"cannot start an attempt in {self.attempts}: {error.strerror}") from error

    def is_claimed(self) -> bool:
        """Whether somebody has claimed an attempt a moment ago of which no state tells yet."""
        newest, reached = self.latest_attempt(), (self.read_state() or {}).get("attempt")
        begun = reached if isinstance(reached, int) else 0
        return newest is not None and newest > begun and not self._abandoned(newest)

    def attempt_dir(self, number: int) -> Path:
        """Where one attempt keeps its attempt.json, config.yaml and patch."""
        return self.attempts / f"{number:03d}"

    def machine_json(self, attempt: int, machine: int) -> Path:
        """Who trains an attempt on another machine than 0; `.log` beside it is what its processes print."""
        return self.attempt_dir(attempt) / f"machine-{machine}.json"

    def latest_attempt(self) -> int | None:
        """The newest attempt's number, or None before the first."""
        return max((int(name) for name in _names(self.attempts) if _ATTEMPT.fullmatch(name)), default=None)

    def read_run(self) -> dict[str, Any] | None:
        """run.json, or None when it is missing or damaged."""
        return read_object(self.run_json)

    def read_state(self) -> dict[str, Any] | None:
        """state.json, or None when it is missing or damaged."""
        return read_object(self.state_json)

    def read_attempt(self, number: int) -> dict[str, Any] | None:
        """attempt.json of one attempt, or None when it is missing or damaged."""
        return read_object(self.attempt_dir(number) / "attempt.json")

    def warnings(self, number: int) -> tuple[str, ...]:
        """What the launcher of an attempt had to say about it."""
        found = (self.read_attempt(number) or {}).get("warnings")
        return tuple(map(str, found)) if isinstance(found, list) else ()

    def _stay(self, number: int) -> None:
        """Gives a claim back where the run is on its way to another place."""
        try:
            refuse_if_moving(self.path.parent)
        except UnusableError:
            shutil.rmtree(self.attempt_dir(number), ignore_errors=True)
            raise

    def _sign(self, number: int) -> None:
        """Says at once who holds an attempt, for what else is recorded of it takes a moment."""
        from kladml_core.runs.provenance import user_name  # not needed by those who only look

        holder = {"launcher_pid": os.getpid(), "user": user_name(), "host": host_name()}
        with suppress(OSError):  # the claim is the directory; on a full disk nobody is told who holds it
            write_json(self.attempt_dir(number) / "attempt.json", {"v": 1, "attempt": number, **holder}, durable=False)

    def _abandoned(self, number: int) -> bool:
        """Whether an attempt was claimed a while ago by a launcher that never came to start it."""
        reached = (self.read_state() or {}).get("attempt")
        if isinstance(reached, int) and reached >= number:
            return False
        try:
            return time.time() - self.attempt_dir(number).stat().st_mtime > CLAIM_SECONDS
        except OSError:
            return False

    def _held(self, number: int) -> UnusableError:
        deadline = time.monotonic() + _SIGN_SECONDS
        while (signed := self.read_attempt(number)) is None and time.monotonic() < deadline:
            time.sleep(0.01)  # it was claimed this moment
        attempt = signed or {}
        holder = (
            f"process {attempt.get('launcher_pid', '?')} of {attempt.get('user', '?')} on {attempt.get('host', '?')}"
        )
        if attempt.get("purpose") == PRUNE:
            return UnusableError(f"{self.reference} is being pruned by {holder}", hint="try again in a moment")
        return UnusableError(f"{self.reference} is being started by {holder}", hint="watch that attempt instead")


def _names(directory: Path) -> list[str]:
    try:
        return [path.name for path in directory.iterdir()]
    except OSError:
        return []
