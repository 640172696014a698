"""What a person does with configs and runs: start, stop, resume, run again. Called in threads only."""

from __future__ import annotations

import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kladml_core.errors import KladMLError, UnusableError
from kladml_core.runs.rundir import RunDirectory

if TYPE_CHECKING:
    from kladml_core.runs.ladder import StopLadder

BY = "the app"
"""Who asks, as the run's event says it."""


def start(config: Path, workspace: Path, copied: RunDirectory | None = None) -> RunDirectory:
    """Checks a config and starts a run of it.

    Args:
        config: the file.
        workspace: the workspace's root.
        copied: the run whose config the file began as a copy of.

    Raises:
        KladMLError: the config is wrong, names what cannot be used, or the worker does not start.
    """
    from kladml_core.runs.clone import origin
    from kladml_core.runs.launch import launch, prepare  # pydantic: not before the first frame

    plan = prepare(config, workspace=workspace)
    return launch(plan if copied is None else replace(plan, cloned_from=origin(copied)))


def enqueue(config: Path, workspace: Path, copied: RunDirectory | None = None) -> tuple[RunDirectory, int | None]:
    """Checks a config and has a run of it wait in the queue; arguments as `start`.

    Returns:
        the run, and its place; None where it has begun already.

    Raises:
        KladMLError: the config is wrong, or this machine can never run it.
    """
    from kladml_core.runs.clone import origin
    from kladml_core.runs.launch import prepare
    from kladml_core.runs.queue import enqueue as enqueue_plan

    plan = prepare(config, workspace=workspace)
    entry = enqueue_plan(plan if copied is None else replace(plan, cloned_from=origin(copied)), by=BY)
    return RunDirectory(plan.settings.data / "projects" / entry.reference), entry.place


def take_out(run: RunDirectory) -> None:
    """Takes a run that waits out of the queue; raises as `kladml_core.runs.queue.remove_run`."""
    from kladml_core.runs.queue import remove_run

    remove_run(run)


def resume(run: RunDirectory, workspace: Path) -> RunDirectory:
    """Starts the run's next attempt; raises as `kladml_core.runs.launch.resume`."""
    from kladml_core.runs.launch import resume as resume_run

    return resume_run(run, workspace=workspace)


def warnings_of(run: RunDirectory) -> tuple[str, ...]:
    """What its launcher had to say about the run's newest attempt."""
    return run.warnings(run.latest_attempt() or 1)


def stop_ladder(run: RunDirectory, *, now: bool) -> StopLadder:
    """The ladder on which a run is stopped; raises as `StopLadder`."""
    from kladml_core.runs.ladder import StopLadder

    return StopLadder(run, by=BY, now=now)


def again(run: RunDirectory, workspace: Path) -> RunDirectory:
    """Starts a new run of an ended run's recorded config; raises as `kladml_core.runs.clone.rerun`."""
    from kladml_core.runs.clone import rerun

    return rerun(run, workspace=workspace)


def copy_of(run: RunDirectory, workspace: Path) -> tuple[Path, str]:
    """A free name for a copy of the run's config, and the copy's text; makes nothing.

    Raises:
        UnusableError: the run has no config.
    """
    from kladml_core.runs.clone import copy_path, copy_text

    return copy_path(run, workspace), copy_text(run)


def outside_editor() -> list[str]:
    """The words of $VISUAL or $EDITOR.

    Raises:
        UnusableError: neither is set, or its quotes are wrong.
    """
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not command:
        raise UnusableError("$EDITOR is not set", hint="Press e to edit it here")
    try:
        return shlex.split(command)
    except ValueError as error:
        raise UnusableError(f"$EDITOR cannot be read: {error}") from error


def edit_outside(editor: list[str], path: Path) -> None:
    """Runs an editor on a file and waits for it, in the terminal that the app has left for it.

    Raises:
        UnusableError: it cannot be run.
    """
    try:
        subprocess.run([*editor, str(path)], check=False)
    except OSError as error:
        raise UnusableError(f"{editor[0]} cannot be run: {error.strerror}") from error


def place_of(error: KladMLError, workspace: Path) -> tuple[Path, int] | None:
    """The file and line that an error is about, where the editor can go there."""
    if not error.file or error.line is None or not str(error.file).endswith((".yaml", ".yml")):
        return None
    path = Path(error.file)
    return (path if path.is_absolute() else workspace / path), error.line
