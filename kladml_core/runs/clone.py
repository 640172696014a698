"""New runs from what an earlier one recorded: its config with changes, the same config again, or a copy to edit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from kladml_core.config.load import dump, read
from kladml_core.config.override import with_overrides
from kladml_core.errors import ConfigError, UnusableError
from kladml_core.runs.launch import Plan, launch, prepare
from kladml_core.runs.plain import inert
from kladml_core.runs.recorded_place import text_with_present_names, with_present_names
from kladml_core.runs.ref import all_runs
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import RunStatus, read_status
from kladml_core.settings import load_settings
from kladml_core.workspace.places import left_out

FAILED = ("failed", "lost")
"""Statuses of runs that did not end as anybody wished."""
_COPIES = 1000


@dataclass(frozen=True)
class FailedRuns:
    """The runs of a workspace that failed or were lost."""

    waiting: tuple[RunDirectory, ...]
    """Those that nobody has run again, the oldest of an experiment first."""
    run_again: tuple[RunDirectory, ...]
    """Those of which a later run of the same experiment was made."""
    archived: int = 0
    """How many more there are in archived projects, families and experiments."""


def prepare_clone(run: RunDirectory, *, workspace: Path, overrides: Sequence[str] = ()) -> Plan:
    """Checks a new run of a run's recorded config; writes nothing. `launch` starts it.

    Args:
        run: the run whose newest config is taken; it may be live.
        workspace: the workspace's root.
        overrides: `KEY=VALUE` texts with dotted keys; any key may be changed.

    Raises:
        ConfigError: an override is wrong (exit code 2).
        UnusableError: there is no config, or it names something that cannot be used (exit code 3).
    """
    plan = prepare(run.config, workspace=workspace, overrides=overrides, recorded_by=run)
    _refuse_given_data(run, plan)
    return replace(plan, cloned_from=origin(run))


def clone(run: RunDirectory, *, workspace: Path, overrides: Sequence[str] = ()) -> RunDirectory:
    """Starts a new run of a run's recorded config and returns it; arguments and errors as `prepare_clone`."""
    return launch(prepare_clone(run, workspace=workspace, overrides=overrides))


def prepare_rerun(run: RunDirectory, *, workspace: Path) -> Plan:
    """Checks a new run of the config that an ended run recorded, unchanged; writes nothing.

    Raises:
        UnusableError: it has not ended, or its config cannot be used any more.
    """
    status = read_status(run)
    if status.live:
        raise UnusableError(
            f"{run.reference} is {status.status} still", hint="clone it, or stop it first; resume goes on with a run"
        )
    return prepare_clone(run, workspace=workspace)


def rerun(run: RunDirectory, *, workspace: Path) -> RunDirectory:
    """Starts a new run of the config that an ended run recorded; errors as `prepare_rerun` and `launch`."""
    return launch(prepare_rerun(run, workspace=workspace))


def failed_runs(data: Path, prefixes: Sequence[str] = (), *, archived: bool = False) -> FailedRuns:
    """Every run that failed or was lost, by its reference.

    Args:
        data: the workspace's data directory.
        prefixes: only runs below one of these, e.g. `vision` or `vision/digits/cnn`; empty for all.
        archived: those of archived projects, families and experiments too.

    Raises:
        UnusableError: there is no run below one of the prefixes.
    """
    chosen: dict[Path, None] = {}
    runs = sorted(all_runs(data))
    for prefix in prefixes or [""]:
        below = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        found = [path for path in runs if f"{RunDirectory(path).reference}/".startswith(below)]
        if not found and below:
            raise UnusableError(f"there is no run below {prefix!r}", hint="`kladml-tui runs` lists them")
        chosen.update(dict.fromkeys(found))
    stati = {run: read_status(run) for run in map(RunDirectory, chosen)}
    every = failed = [run for run, status in stati.items() if status.status in FAILED]
    if not archived:
        hidden = left_out(data, [run.reference for run, status in stati.items() if status.live])
        named = {prefix.strip("/") for prefix in prefixes}
        failed = [run for run in every if run.reference in named or not hidden(run.reference)]
    again = _origins({run.path.parent for run in failed})
    waiting = [run for run in failed if _uid(run) not in again]
    run_again = tuple(run for run in failed if run not in waiting)
    return FailedRuns(tuple(waiting), run_again, len(every) - len(failed))


def ended_by_its_config(status: RunStatus) -> bool:
    """Whether a run failed over what its config says: exit code 2 or 3, which the same config will bring again."""
    return status.status == "failed" and status.exit_code in (2, 3)


def origin(run: RunDirectory) -> dict[str, str]:
    """What a new run records of the run whose config it took."""
    return {"reference": run.reference, "uid": _uid(run)}


def copy_text(run: RunDirectory, overrides: Sequence[str] = ()) -> str:
    """A run's recorded config as a text to edit, which says in its first line where it comes from.

    Raises:
        ConfigError: an override is wrong.
        UnusableError: the run has no config.
    """
    if overrides:
        text = dump(with_overrides(with_present_names(read(run.config), run), overrides).data)
    else:
        # As it stands, damaged or not: a copy may be made in order to mend it.
        try:
            text = run.config.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise UnusableError(f"{run.reference} has no config to copy: {error.strerror}") from error
        with suppress(ConfigError):
            text = text_with_present_names(text, run)
    return f"# Copied from {inert(run.reference)}\n{text}"


def copy_path(run: RunDirectory, workspace: Path) -> Path:
    """A free name for a copy of a run's config, in the workspace's first folder of configs; makes nothing.

    Raises:
        UnusableError: a thousand copies are there already.
    """
    settings = load_settings(workspace)
    folder = settings.config_dirs[0] if settings.config_dirs else settings.root
    return _free_path(run, folder)


def write_copy(run: RunDirectory, to: Path, *, workspace: Path, overrides: Sequence[str] = ()) -> Path:
    """Writes a copy of a run's recorded config, never over a file that is there, and returns its path.

    Args:
        run: the run.
        to: the file, or a folder in which it gets a name of its own.
        workspace: the workspace's root, against which a config with overrides is checked.
        overrides: changes to it.

    Raises:
        ConfigError: an override is wrong.
        UnusableError: the run has no config, or the file cannot be written.
    """
    if overrides:
        prepare(run.config, workspace=workspace, overrides=overrides, recorded_by=run)
    text = copy_text(run, overrides)
    path = _free_path(run, to) if to.is_dir() else to
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UnusableError(f"{path} is there already", hint="name another file") from None
    except OSError as error:
        raise UnusableError(f"cannot write {path}: {error.strerror}") from error
    return path


def _free_path(run: RunDirectory, folder: Path) -> Path:
    number = run.ref.run.removeprefix("run_")
    name = re.sub(r"[^\w.-]+", "-", f"{run.ref.experiment}-{number}").strip("-.") or "copy"
    for copy in range(1, _COPIES):
        path = folder / (f"{name}.yaml" if copy == 1 else f"{name}-{copy}.yaml")
        if not path.exists():
            return path
    raise UnusableError(f"there are a thousand copies named {name} in {folder}")


def _refuse_given_data(run: RunDirectory, plan: Plan) -> None:
    from kladml_core.config.references import GIVEN_DATA  # with the schema: not needed before the first frame

    if plan.config.data.target == GIVEN_DATA:
        raise UnusableError(
            f"the data of {run.reference} was given in memory by the program that started it",
            hint="run that program again, or set another data.target",
        )


def _origins(experiments: set[Path]) -> set[str]:
    """The uids of all runs of which a run of these experiments was made."""
    found = set()
    for experiment in experiments:
        for path in experiment.glob("run_*"):
            taken = (RunDirectory(path).read_attempt(1) or {}).get("cloned_from")
            if isinstance(taken, dict):
                found.add(str(taken.get("uid")))
    return found


def _uid(run: RunDirectory) -> str:
    return str((run.read_run() or {}).get("uid", ""))
