"""Finds every problem of a config at its place in the file, in words, and makes a RunConfig of one that has none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from kladml_core.config import rules
from kladml_core.config.document import Document, KeyPath, dotted
from kladml_core.config.faults import Fault
from kladml_core.config.place_names import name_fault, normal_name
from kladml_core.config.references import reference_faults
from kladml_core.config.schema_run import RunConfig
from kladml_core.config.wording import worded
from kladml_core.errors import ConfigError, ExitCode, KladMLError, UnusableError

if TYPE_CHECKING:
    from kladml_core.settings import Settings


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a config, and where."""

    message: str
    path: KeyPath
    file: str
    line: int | None = None
    column: int | None = None
    hint: str | None = None
    exit_code: ExitCode = ExitCode.BAD_TEXT

    def error(self) -> KladMLError:
        """The problem as the exception with its exit code."""
        kind = UnusableError if self.exit_code == ExitCode.UNUSABLE else ConfigError
        return kind(self.message, hint=self.hint, file=self.file, line=self.line, column=self.column)

    def __str__(self) -> str:
        return str(self.error())


def problems(document: Document, *, workspace: Path, settings: Settings | None = None) -> list[Problem]:
    """Every problem of a config, in the order of the file; empty where it can be launched as far as text can tell.

    Nothing of the user's is imported; targets, datasets and paths are looked up in `workspace`.
    """
    return _check(document, workspace, settings)[1]


def resolve(document: Document, *, workspace: Path, settings: Settings | None = None) -> RunConfig:
    """The config with every default filled in: `experiment` from the file's name, `launch` from the settings.

    Raises:
        ConfigError: the text is wrong (exit code 2); the first problem of the file.
        UnusableError: it names a target, dataset or file that cannot be used (exit code 3).
    """
    config, found = _check(document, workspace, settings)
    if config is None or found:
        # What the text says wrong is mended before what it names is looked for.
        raise min(found, key=lambda problem: problem.exit_code).error()
    return config


def _check(document: Document, workspace: Path, settings: Settings | None) -> tuple[RunConfig | None, list[Problem]]:
    data, found = _with_defaults(document, settings)
    config: RunConfig | None = None
    faults = list(_rule_faults(data))
    try:
        config = RunConfig.model_validate(data)
    except ValidationError as error:
        # A rule knows better what to write instead than the type check at the same place.
        ruled = {fault.path for fault in faults}
        details = [detail for detail in error.errors(include_url=False) if detail["type"] != "kladml_rule"]
        faults += [fault for fault in (worded(detail, document.texts) for detail in details) if fault.path not in ruled]
    faults = _without_echoes(faults)
    found += [_placed(document, fault) for fault in faults]
    broken = {fault.path for fault in faults}
    for fault, exit_code in reference_faults(data, workspace):
        if fault.path not in broken:
            found.append(_placed(document, fault, exit_code))
    found.sort(key=lambda problem: (problem.line is not None, problem.line or 0, problem.column or 0))
    return config, found


def _without_echoes(faults: list[Fault]) -> list[Fault]:
    """The faults without those that a misspelt key beside them explains: `modle` is also a missing `model`."""
    meant = {(*fault.path[:-1], fault.meant) for fault in faults if fault.meant}
    return [fault for fault in faults if not any((*path, name) in meant for path, name in _lacks(fault))]


def _lacks(fault: Fault) -> list[tuple[KeyPath, str]]:
    """The keys for whose absence a fault stands."""
    return [(fault.path, name) for name in fault.lacks]


def _rule_faults(data: dict[str, Any]) -> Iterator[Fault]:
    training = data.get("training")
    if isinstance(training, dict):
        for fault in rules.training_faults(training):
            yield replace(fault, path=("training", *fault.path), message=f"training.{fault.message}")
    for fault in rules.loss_faults(data.get("loss")):
        yield replace(fault, path=("loss", *fault.path))
    yield from rules.run_faults(data)


def _with_defaults(document: Document, settings: Settings | None) -> tuple[dict[str, Any], list[Problem]]:
    """The document's data with the defaults that are not constants, and the problems of those defaults."""
    data = dict(document.data)
    found: list[Problem] = []
    # `key:` with nothing after it means the default, as if the line were not there.
    for name in ("project", "family", "experiment", "seed", "launch"):
        if name in data and data[name] is None:
            del data[name]
    if "experiment" not in data:
        stem = normal_name(Path(document.file).stem)
        fault = name_fault(stem)
        if fault:
            message = f"the file's name {stem!r} names the experiment, and {fault}"
            found.append(Problem(message, (), document.file, 1, 1, "Write experiment: with a name"))
        else:
            data["experiment"] = stem
    launch = data.get("launch", {})
    if settings is not None and isinstance(launch, dict):
        launch = dict(launch)
        launch.setdefault("device", settings.launch.device)
        if launch.get("distributed") is not True:
            launch.setdefault("processes", settings.launch.processes)
        data["launch"] = launch
    return data, found


def _placed(document: Document, fault: Fault, exit_code: ExitCode = ExitCode.BAD_TEXT) -> Problem:
    place = document.place(fault.path, key=fault.at_key)
    return Problem(fault.message, fault.path, place.file, place.line, place.column, fault.hint, exit_code)


def dotted_path(problem: Problem) -> str:
    """The problem's key as it is written in `--set`."""
    return dotted(problem.path)
