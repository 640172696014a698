"""Where a run in this process belongs, and which settings hold for it: kladml.yaml's, and over them given ones."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from kladml_core.backends.choose import make_storage, make_tracker
from kladml_core.config.document import Document
from kladml_core.interfaces import ConfigInterface, StorageInterface, TrackerInterface
from kladml_core.settings import FILE_NAME, SECTIONS, Settings, check_settings, find_workspace, load_settings
from kladml_core.workspace.choose import choose_workspace


@dataclass(frozen=True)
class Surroundings:
    """A workspace, as a run in this process finds it."""

    settings: Settings
    """What holds: kladml.yaml and the environment, and over them what the given config says."""
    written: Settings
    """What kladml.yaml and the environment say, as every other process of the workspace reads them."""

    @property
    def root(self) -> Path:
        """The workspace's folder."""
        return self.settings.root

    @property
    def is_workspace(self) -> bool:
        """Whether the folder is one already."""
        return (self.root / FILE_NAME).exists()

    def own_tracker(self) -> TrackerInterface | None:
        """The tracker that the given config names; None where it is kladml.yaml's, which the background feeds.

        Raises:
            ConfigError: there is no such backend.
            UnusableError: it cannot be used.
        """
        same = (self.settings.tracker, self.settings.data) == (self.written.tracker, self.written.data)
        return None if same else make_tracker(self.settings)

    def own_storage(self) -> StorageInterface | None:
        """The storage that the given config names; None where it is kladml.yaml's, which the background fills.

        Raises:
            ConfigError: there is no such backend, or its class does not take these options.
            UnusableError: it cannot be used.
        """
        return None if self.settings.storage == self.written.storage else make_storage(self.settings)


def look_around(config: ConfigInterface | None, *, must_exist: bool) -> Surroundings:
    """Finds the nearest workspace from the current directory upwards; without one, the current directory is meant.

    Args:
        config: settings by dotted key that win over kladml.yaml.
        must_exist: whether a workspace has to be there.

    Raises:
        UnusableError: there is none, and one has to be.
        ConfigError: a setting is wrong.
    """
    root = choose_workspace(None) if must_exist else find_workspace(Path.cwd()) or Path.cwd()
    written = load_settings(root)
    return Surroundings(written if config is None else _with(config, written), written)


def _with(config: ConfigInterface, settings: Settings) -> Settings:
    given: dict[str, dict[str, object]] = {}
    for section, kind in SECTIONS.items():
        for entry in dataclasses.fields(kind):
            value = config.get(f"{section}.{entry.name}")
            if value is not None:
                given.setdefault(section, {})[entry.name] = value
    checked = check_settings(Document(given, f"the given {type(config).__name__}"), settings.root)
    changed = {
        section: dataclasses.replace(
            getattr(settings, section), **{name: getattr(getattr(checked, section), name) for name in values}
        )
        for section, values in given.items()
    }
    return dataclasses.replace(settings, **changed)
