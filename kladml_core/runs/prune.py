"""Freeing disk space: what of ended runs could go, and moving it into the trash. Never anything of a live run.

Kept of each run are its best checkpoint, its newest valid one and those that a person pinned. Pruning claims the run's
next attempt, as a resume does: of the two that come at the same moment one is refused. What is to go is looked at once
more under that claim, and the checkpoints that stay are read and their hashes compared before another one goes.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kladml_core.errors import KladMLError, UnusableError
from kladml_core.runs import run_numbers, trash
from kladml_core.runs.checkpoint_list import verify
from kladml_core.runs.files import write_json
from kladml_core.runs.prune_rules import CHECKPOINT, DAMAGED, RUN, Candidate, Left, Wish, candidates, kept
from kladml_core.runs.ref import all_runs, find_run
from kladml_core.runs.rundir import CLAIM_SECONDS, PRUNE, RunDirectory
from kladml_core.runs.status import RunStatus, read_status

_PARTS = 4
"""Parts of a run's reference."""
OTHER_DEVICE = "it lies on another file system than the trash, where moving would be copying; delete it by hand"


@dataclass(frozen=True)
class Proposal:
    """What could go; nothing has been touched."""

    data: Path
    wish: Wish
    lines: tuple[Candidate, ...]
    left: tuple[Left, ...]
    """What somebody might expect here and why it stays."""
    live: tuple[str, ...]
    """References of live runs, of which nothing goes."""

    @property
    def bytes(self) -> int:
        """Bytes on the disk that the lines take together."""
        return sum(line.bytes for line in self.lines)

    def to_json(self) -> dict[str, Any]:
        """The proposal as commands print it."""
        return {
            "bytes": self.bytes,
            "lines": [line.to_json() for line in self.lines],
            "left": [vars(one) for one in self.left],
            "live": list(self.live),
        }


@dataclass(frozen=True)
class Trashed:
    """What was moved into the trash."""

    entry: str | None
    """The trash entry's name; None when nothing was moved."""
    lines: tuple[Candidate, ...]
    left: tuple[Left, ...]
    """What was proposed and stayed after all."""

    @property
    def bytes(self) -> int:
        """Bytes on the disk that were moved; they are free once the trash is emptied."""
        return sum(line.bytes for line in self.lines)

    def to_json(self) -> dict[str, Any]:
        """What was done, as commands print it."""
        return {
            "entry": self.entry,
            "bytes": self.bytes,
            "lines": [line.to_json() for line in self.lines],
            "left": [vars(one) for one in self.left],
        }


def propose(
    data: Path, references: Sequence[str] = (), *, runs: bool = False, older_than: float | None = None
) -> Proposal:
    """What could go to free space. Reads only.

    Of ended runs these are the checkpoints but the best, the newest valid one and the pinned ones; what a crash left
    half written; damaged checkpoints where a valid one is there.

    Args:
        data: the workspace's data directory.
        references: runs, or projects, families and experiments (`vision`, `vision/digits`, …); empty means all.
        runs: also whole runs: those named by `references` themselves; else those that failed, stopped or were lost
            without a valid checkpoint and bear no star.
        older_than: seconds; only what is at least so old.

    Raises:
        UnusableError: a reference names nothing, or several runs.
    """
    before = None if older_than is None else time.time() - older_than
    chosen, named = _choose(data, references)
    wish = Wish(runs, before, frozenset(named))
    lines: list[Candidate] = []
    left: list[Left] = []
    live: list[str] = []
    device = _device(trash.folder(data)) or _device(data)
    for run in chosen:
        status = read_status(run)
        if status.live:
            live.append(run.reference)
            continue
        found, stays = candidates(run, status, wish)
        left += stays
        for line in found:
            if _device(line.path) == device:
                lines.append(line)
            else:
                left.append(Left(line.run, line.what, OTHER_DEVICE))
    return Proposal(data, wish, tuple(lines), tuple(left), tuple(live))


def prune(proposal: Proposal, *, say: Callable[[str], None] = lambda _: None) -> Trashed:
    """Moves what was proposed into the trash, each thing by one rename.

    What is no longer as it was proposed stays, and so does everything of a run that has come to life meanwhile.

    Args:
        proposal: from `propose`.
        say: told, before each run whose checkpoints are read to be sure of them, in a few words.

    Raises:
        UnusableError: the trash cannot be written.
    """
    things = [
        trash.Thing(
            f"{number:04d}",
            line.path.relative_to(proposal.data).as_posix(),
            line.run,
            line.what,
            line.kind,
            line.bytes,
        )
        for number, line in enumerate(proposal.lines, 1)
    ]
    if not things:
        return Trashed(None, (), ())
    entry = trash.begin(proposal.data, things)
    places = {line.path: entry / thing.number for line, thing in zip(proposal.lines, things, strict=True)}
    by_run: dict[Path, list[Candidate]] = {}
    for line in proposal.lines:
        by_run.setdefault(line.directory, []).append(line)
    moved: list[Candidate] = []
    left: list[Left] = []
    try:
        for directory, lines in by_run.items():
            run, done = RunDirectory(directory), len(moved)
            try:
                for line, reason in _prune_run(run, lines, proposal.wish, places, say):
                    if reason is None:
                        moved.append(line)
                    else:
                        left.append(Left(line.run, line.what, reason))
            except KladMLError as error:
                left += [Left(line.run, line.what, error.message) for line in lines if line not in moved[done:]]
    finally:
        trash.drop_if_empty(entry)
    return Trashed(entry.name if moved else None, tuple(moved), tuple(left))


def _prune_run(
    run: RunDirectory, lines: Sequence[Candidate], wish: Wish, places: Mapping[Path, Path], say: Callable[[str], None]
) -> list[tuple[Candidate, str | None]]:
    """Moves what may go of one run; each line with the reason why it stays, or None.

    Raises:
        UnusableError: the run is live or claimed, and nothing of it was moved.
    """
    stay = {row.name for row in kept(run)}
    doubt = _doubt(run, stay, say) if any(line.kind in (CHECKPOINT, DAMAGED) for line in lines) else None
    status = read_status(run)
    if status.live:
        raise UnusableError(f"the run is {status.status}")
    outcomes: list[tuple[Candidate, str | None]] = []
    with _claimed(run, status) as claim:
        again = read_status(run)
        # Without a run.json the directory's time tells how old a run is, and the claim has just renewed that.
        renewed = status.status == "damaged" and again.status == "starting" and run.read_run() is None
        if again.live and not renewed:  # the queue takes an attempt back that it had claimed before
            raise UnusableError(f"the run is {again.status}")
        until = time.monotonic() + CLAIM_SECONDS / 2
        if {row.name for row in kept(run)} != stay:
            doubt = "its checkpoints have changed meanwhile"
        now = {(line.path, line.kind, line.stamp) for line in candidates(run, status, wish)[0]}
        for line in lines:
            if (line.path, line.kind, line.stamp) not in now:
                reason: str | None = "it is no longer what it was when it was proposed"
            elif line.kind in (CHECKPOINT, DAMAGED) and doubt is not None:
                reason = doubt
            elif time.monotonic() > until:
                # A claim that grows old is taken for abandoned, and a resume may begin beside it.
                reason = "it took too long; prune once more"
            else:
                reason = _move(line, places[line.path])
                if reason is None and line.kind == RUN:
                    shutil.rmtree(places[line.path] / claim.relative_to(run.path), ignore_errors=True)
            outcomes.append((line, reason))
    return outcomes


def _doubt(run: RunDirectory, stay: Iterable[str], say: Callable[[str], None]) -> str | None:
    """Why the checkpoints that stay are not to be relied on, so that no other may go; or None."""
    for name in sorted(stay):
        say(f"checking {run.reference} {name}")
        problem = verify(run.checkpoints / name)
        if problem is not None:
            return f"{name}, which would stay, is damaged: {problem}"
    return None


@contextmanager
def _claimed(run: RunDirectory, status: RunStatus) -> Iterator[Path]:
    """Holds the run's next attempt, so that no resume can begin one; gives the claim's directory."""
    number = run.claim_attempt(status.attempt or 0)
    claim = run.attempt_dir(number)
    try:
        with suppress(OSError):  # on a full disk it is only not said what the claim is for
            signed = run.read_attempt(number) or {}
            write_json(claim / "attempt.json", {**signed, "purpose": PRUNE}, durable=False)
        yield claim
    finally:
        shutil.rmtree(claim, ignore_errors=True)


def _move(line: Candidate, target: Path) -> str | None:
    """Moves one thing into the trash; why not, or None."""
    try:
        if line.kind == RUN:
            run_numbers.remember(line.path)
        os.rename(line.path, target)
    except KladMLError as error:
        return str(error)
    except OSError as error:
        # The device numbers agree where one file system is mounted twice: the rename alone is sure.
        return OTHER_DEVICE if error.errno == errno.EXDEV else f"it cannot be moved: {error.strerror}"
    return None


def _choose(data: Path, references: Sequence[str]) -> tuple[list[RunDirectory], set[Path]]:
    """The runs that are meant, and the paths of those that are named themselves."""
    if not references:
        return [RunDirectory(path) for path in sorted(all_runs(data))], set()
    chosen: dict[Path, RunDirectory] = {}
    named: set[Path] = set()
    for text in references:
        # As it is before it is read kindly: the screen gives whole names, which may begin or end with a space.
        parts = text.strip("/").split("/")
        top = (data / "projects").joinpath(*parts)
        whole = all(part not in ("", ".", "..") for part in parts) and top.is_dir()
        if whole and len(parts) < _PARTS:
            chosen |= {path: RunDirectory(path) for path in sorted(all_runs(data)) if path.is_relative_to(top)}
            continue
        run = RunDirectory(top) if whole and len(parts) == _PARTS else find_run(data, text)
        if run.path.parents[_PARTS - 1] != data / "projects":
            raise UnusableError(f"{run.path} is not in this workspace", hint=f"its runs are in {data / 'projects'}")
        chosen[run.path] = run
        named.add(run.path)
    return list(chosen.values()), named


def _device(path: Path) -> int | None:
    try:
        return os.lstat(path).st_dev
    except OSError:
        return None
