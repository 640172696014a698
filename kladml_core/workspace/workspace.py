"""A workspace seen from its files: its runs, datasets and configs. Looking creates nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from kladml_core.runs.ref import RUN_NAME
from kladml_core.runs.rundir import RunDirectory
from kladml_core.settings import Settings, load_settings

_YAML = (".yaml", ".yml")


@dataclass(frozen=True)
class Workspace:
    """A directory with a kladml.yaml. Every method looks at the disk anew; a missing directory is an empty one."""

    root: Path
    settings: Settings

    @classmethod
    def open(cls, root: Path) -> Workspace:
        """Reads the workspace's settings.

        Raises:
            ConfigError: kladml.yaml is wrong.
        """
        return cls(root.resolve(), load_settings(root.resolve()))

    @property
    def data(self) -> Path:
        """The data directory: projects, datasets, trash and the default stores."""
        return self.settings.data

    def projects(self) -> list[str]:
        """Names of the projects, sorted."""
        return _directories(self.data / "projects")

    def families(self, project: str) -> list[str]:
        """Names of a project's families, sorted."""
        return _directories(self.data / "projects" / project)

    def experiments(self, project: str, family: str) -> list[str]:
        """Names of a family's experiments, sorted."""
        return _directories(self.data / "projects" / project / family)

    def runs(self, project: str, family: str, experiment: str) -> list[RunDirectory]:
        """An experiment's runs, newest first."""
        parent = self.data / "projects" / project / family / experiment
        names = [name for name in _directories(parent) if RUN_NAME.fullmatch(name)]
        names.sort(key=lambda name: int(name[4:]), reverse=True)
        return [RunDirectory(parent / name) for name in names]

    def all_runs(self) -> list[RunDirectory]:
        """Every run of the workspace, by project, family and experiment, newest first within each."""
        return [
            run
            for project in self.projects()
            for family in self.families(project)
            for experiment in self.experiments(project, family)
            for run in self.runs(project, family, experiment)
        ]

    def configs(self) -> list[Path]:
        """The config files in the configured folders, in their order, sorted by name within each."""
        return [path for directory in self.settings.config_dirs for path in _yaml_files(directory)]

    def datasets(self) -> list[Path]:
        """The registration files of the datasets, sorted by name."""
        return _yaml_files(self.data / "datasets")


def _directories(parent: Path) -> list[str]:
    try:
        with os.scandir(parent) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
    except OSError:
        return []


def _yaml_files(parent: Path) -> list[Path]:
    try:
        with os.scandir(parent) as entries:
            names = sorted(
                entry.name
                for entry in entries
                if entry.name.endswith(_YAML) and not entry.name.startswith(".") and entry.is_file()
            )
    except OSError:
        return []
    return [parent / name for name in names]
