"""How a run is named: `project/family/experiment/run_0007`, or any unambiguous end of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kladml_core.errors import UnusableError

if TYPE_CHECKING:
    from kladml_core.runs.rundir import RunDirectory

RUN_NAME = re.compile(r"run_\d{4,}")
_SHOWN = 8


@dataclass(frozen=True, order=True)
class RunRef:
    """The four names that make a run's path below `data/projects`."""

    project: str
    family: str
    experiment: str
    run: str

    def __str__(self) -> str:
        return f"{self.project}/{self.family}/{self.experiment}/{self.run}"

    @classmethod
    def parse(cls, text: str) -> RunRef:
        """Reads a whole reference.

        Raises:
            UnusableError: it has not four parts.
        """
        parts = text.strip("/").split("/")
        if len(parts) != len(cls.__dataclass_fields__) or not all(parts):
            raise UnusableError(f"{text!r} is not a run", hint="a run is named project/family/experiment/run_0001")
        return cls(*parts)


def all_runs(data: Path) -> Iterator[Path]:
    """Every run directory below `<data>/projects`, in no promised order."""
    for path in (data / "projects").glob("*/*/*/run_*"):
        if RUN_NAME.fullmatch(path.name) and path.is_dir():
            yield path


def find_run(data: Path, text: str) -> RunDirectory:
    """The one run that a reference, or any unambiguous end of one, names.

    Args:
        data: the workspace's data directory.
        text: e.g. `vision/digits/cnn-baseline/run_0007`, `cnn-baseline/run_0007`, `run_0007` or just `7`;
            a path to the run directory is taken too.

    Raises:
        UnusableError: no run, or several, end so.
    """
    from kladml_core.runs.rundir import RunDirectory  # rundir needs RunRef first

    wanted = text.strip().rstrip("/")
    if wanted.isdigit():
        wanted = f"run_{int(wanted):04d}"
    whole = data / "projects" / wanted
    if wanted.count("/") == len(RunRef.__dataclass_fields__) - 1 and whole.is_dir():
        return RunDirectory(whole)
    if wanted and Path(wanted).is_absolute() and RUN_NAME.fullmatch(Path(wanted).name) and Path(wanted).is_dir():
        return RunDirectory(Path(wanted))
    found = sorted(path for path in all_runs(data) if f"/{path.as_posix()}".endswith(f"/{wanted}")) if wanted else []
    if len(found) == 1:
        return RunDirectory(found[0])
    if not found:
        raise UnusableError(f"no run named {text!r} in {data}", hint="`kladml-tui runs` lists them")
    names = ", ".join(str(RunDirectory(path).ref) for path in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    raise UnusableError(f"{text!r} names {len(found)} runs: {names}{more}", hint="write more of the reference")
