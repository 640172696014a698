"""Where the configs of a workspace file their runs, and what a renamed project, family or experiment changes of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kladml_core.config.edit_key import set_key
from kladml_core.config.load import read
from kladml_core.config.place_names import normal_name
from kladml_core.errors import KladMLError
from kladml_core.settings import Settings
from kladml_core.workspace.workspace import Workspace

_KEYS = ("project", "family", "experiment")
_DEFAULT = "default"


def place_of(config: Path) -> tuple[str, str, str] | None:
    """Project, family and experiment of the runs of a config; None where it cannot be read, or names none that can be.

    The experiment is the file's name where the config names none.
    """
    try:
        data = read(config).data
    except KladMLError:
        return None
    defaults = (_DEFAULT, _DEFAULT, config.stem)
    found = [default if data.get(key) is None else data[key] for key, default in zip(_KEYS, defaults, strict=True)]
    if not all(isinstance(name, str) for name in found):
        return None
    project, family, experiment = map(normal_name, found)
    return project, family, experiment


def naming(settings: Settings, reference: str) -> list[Path]:
    """The workspace's configs whose runs are filed below a project, a family or an experiment.

    Args:
        settings: the workspace's.
        reference: e.g. `vision/digits`; it need not exist any more.
    """
    wanted = tuple(normal_name(name) for name in reference.split("/"))
    configs = Workspace(settings.root, settings).configs()
    return [path for path in configs if (place := place_of(path)) is not None and place[: len(wanted)] == wanted]


def rename_in_configs(configs: Iterable[Path], old: str, new: str) -> list[str]:
    """Writes new names into configs, all other lines as they are.

    Args:
        configs: from `naming` with `old`.
        old: the reference before.
        new: the reference now, of as many parts.

    Returns:
        what could not be changed, each in a sentence.
    """
    left = []
    for path in configs:
        try:
            for key, before, now in zip(_KEYS, old.split("/"), new.split("/"), strict=False):
                if normal_name(before) != now:
                    set_key(path, key, now)
        except KladMLError as error:
            left.append(str(error))
    return left
