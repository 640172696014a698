"""The configs of a workspace: listed, checked, made, copied, renamed, and held against what a run recorded."""

from __future__ import annotations

import itertools
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kladml_core.config.document import dotted
from kladml_core.config.load import read
from kladml_core.config.place_names import MAX_BYTES, name_fault, normal_name
from kladml_core.errors import ConfigError, KladMLError, UnusableError
from kladml_core.runs.files import write_text_atomic
from kladml_core.runs.rundir import RunDirectory
from kladml_core.settings import Settings
from kladml_core.workspace.config_places import place_of
from kladml_core.workspace.init import configs_of
from kladml_core.workspace.workspace import Workspace

if TYPE_CHECKING:
    from kladml_core.config.schema import Problem

_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class ConfigRow:
    """A config in a list."""

    path: Path
    place: tuple[str, str, str] | None
    """Project, family and experiment of its runs; None where it cannot be read."""
    model: str
    problems: tuple[Problem, ...]

    def to_json(self) -> dict[str, Any]:
        """The row as commands print it."""
        keys = ("message", "file", "line", "column", "hint", "exit_code")
        problems = [{key: getattr(problem, key) for key in keys} for problem in self.problems]
        runs = "/".join(self.place) if self.place else None
        return {"config": str(self.path), "runs": runs, "model": self.model or None, "problems": problems}


@dataclass(frozen=True)
class Difference:
    """A key in which a config is another than a run's."""

    key: str
    config: object
    """The config's value, with defaults filled in; `kladml_core.config.diff.MISSING` where it has none."""
    run: object
    change: str
    """What the change means to a resume: identity, schedule or free."""


def listing(settings: Settings) -> list[ConfigRow]:
    """Every config in the workspace's folders with what is wrong with it, as `config check` would say it."""
    return [config_row(path, settings) for path in Workspace(settings.root, settings).configs()]


def config_row(path: Path, settings: Settings) -> ConfigRow:
    """One config, checked."""
    from kladml_core.config.schema import Problem, problems

    try:
        document = read(path)
    except KladMLError as error:
        where = (error.line, error.column, error.hint, error.exit_code)
        return ConfigRow(path, None, "", (Problem(error.message, (), str(path), *where),))
    model = document.data.get("model")
    target = model.get("target") if isinstance(model, dict) else None
    found = problems(document, workspace=settings.root, settings=settings)
    return ConfigRow(path, place_of(path), target if isinstance(target, str) else "", tuple(found))


def new_path(settings: Settings, name: str, folder: Path | None = None) -> Path:
    """Where a config of a name lies, by default in the workspace's first folder of configs; makes nothing.

    Args:
        settings: the workspace's.
        name: with or without .yaml.
        folder: another folder.

    Raises:
        ConfigError: it cannot be a file's name.
    """
    name = normal_name(name)
    stem = next((name.removesuffix(suffix) for suffix in _SUFFIXES if name.endswith(suffix)), name)
    # The name of the experiment, where the config writes none.
    fault = name_fault(stem)
    file = f"{stem}{'.yml' if name.endswith('.yml') else '.yaml'}"
    if fault is None and len(file.encode()) > MAX_BYTES:
        fault = "is too long for the name of a file"
    if fault:
        raise ConfigError(f"{stem!r} cannot name a config: it {fault}")
    return (folder or configs_of(settings)) / file


def write_new(path: Path, text: str) -> Path:
    """Writes a config that is not there yet, whole or not at all.

    Raises:
        UnusableError: it is there, or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("x").close()  # the name is ours from here on
    except FileExistsError:
        raise UnusableError(f"{path} is there already", hint="choose another name") from None
    except OSError as error:
        raise UnusableError(f"cannot write {path}: {error.strerror}") from error
    try:
        write_text_atomic(path, text)
    except OSError as error:
        with suppress(OSError):
            path.unlink()
        raise UnusableError(f"cannot write {path}: {error.strerror}") from error
    return path


def free_name(config: Path) -> str:
    """A name for a copy of a config that no other one beside it has: digits.yaml gives digits-2.yaml."""
    names = (f"{config.stem}-{number}{config.suffix}" for number in itertools.count(2))
    return next(name for name in names if not os.path.lexists(config.parent / name))


def duplicate(config: Path, settings: Settings, name: str) -> Path:
    """Copies a config, as it stands, under another name beside it.

    Raises:
        ConfigError: the name cannot be one.
        UnusableError: there is one of that name, or the config cannot be read.
    """
    path = new_path(settings, name, config.parent)
    try:
        text = config.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise UnusableError(f"{config} cannot be read: {error.strerror}") from error
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{config} is not UTF-8", hint="Save it as UTF-8") from None
    return write_new(path, text)


def rename(config: Path, settings: Settings, name: str) -> tuple[Path, str]:
    """Gives a config another name in its folder, never over another.

    Returns:
        the new path, and what a person should know of it: a config that writes no experiment files its runs under its
        file's name. Empty where there is nothing to say.

    Raises:
        ConfigError: the name cannot be one.
        UnusableError: there is one of that name, or it cannot be renamed.
    """
    path = new_path(settings, name, config.parent)
    before = place_of(config)
    same = path.exists() and path.samefile(config)
    try:
        if not same:
            path.open("x").close()
        os.replace(config, path)
    except FileExistsError:
        raise UnusableError(f"{path} is there already", hint="choose another name") from None
    except OSError as error:
        with suppress(OSError):
            if not same and path.stat().st_size == 0:
                path.unlink()
        raise UnusableError(f"{config} cannot be renamed: {error.strerror}") from error
    after = place_of(path)
    if before is None or after is None or before == after:
        return path, ""
    told = f"it writes no experiment, so its runs go to {'/'.join(after)} now"
    return path, f"{told}; `experiment: {before[2]}` in it keeps the one before"


def differences(config: Path, run: RunDirectory, settings: Settings) -> list[Difference]:
    """In what a config, with all defaults, is another than the one that a run recorded.

    Raises:
        ConfigError, UnusableError: the config is wrong, or the run has none that can be read.
    """
    from kladml_core.config import diff
    from kladml_core.config.schema import change_kind, resolve
    from kladml_core.runs.recorded_place import with_present_names

    mine = resolve(read(config), workspace=settings.root, settings=settings).model_dump(mode="json")
    theirs = with_present_names(read(run.config), run).data
    return [
        Difference(dotted(path), values[0], values[1], change_kind(path))
        for path, values in diff.differences([mine, theirs])
    ]
