"""The settings of a workspace: kladml.yaml with the environment laid over it, every key with a default."""

from __future__ import annotations

import dataclasses
import os
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kladml_core.config.load import Document

FILE_NAME = "kladml.yaml"
PREFIX = "KLADML_"


@dataclass(frozen=True)
class WorkspaceSettings:
    """What the workspace is called and where its things lie."""

    name: str | None = None
    """What the screen calls it; the folder's name where it is null."""
    data_dir: str = "data"
    """Where runs, datasets and databases are kept."""
    configs: tuple[str, ...] = ("data/configs",)
    """The folders whose YAML files are listed as configs."""


@dataclass(frozen=True)
class LaunchSettings:
    """What a run's config takes where its `launch` says nothing."""

    device: str = field(
        default="auto",
        metadata={"pattern": r"auto|cpu|mps|cuda(:\d{1,3})?", "say": "auto, cpu, cuda, cuda:N or mps"},
    )
    """auto, cpu, cuda, cuda:N or mps."""
    processes: int = field(default=1, metadata={"least": 1})
    """Training processes on this machine."""


@dataclass(frozen=True)
class QueueSettings:
    """How much of this machine the queue uses."""

    slots: int | tuple[str, ...] | None = field(default=None, metadata={"least": 1})
    """Runs at a time: null for one on each GPU, or one where there is none; a number; or the UUIDs of the GPUs."""


@dataclass(frozen=True)
class TrackerSettings:
    """Where the metrics, parameters and files of runs are sent to."""

    backend: str = "local"
    """local (MLflow in a SQLite file), mlflow (a server), none, or module:Class."""
    uri: str | None = None
    """MLflow's server; null with local: mlflow.sqlite in the data folder."""


@dataclass(frozen=True)
class UploadSettings:
    """What of a run is copied into the storage, in the background."""

    artifacts: bool = True
    """What the run saved, and the small files that say what it was, at its end."""
    checkpoints: bool = False
    """Each committed checkpoint, so that the run can go on elsewhere."""


@dataclass(frozen=True)
class StorageSettings:
    """Where copies of artifacts and checkpoints go. With `local` and no `options.root` the run directory is all."""

    backend: str = "local"
    """local (a folder), s3, an installed backend's name, or module:Class."""
    bucket: str = "kladml"
    """The bucket; below a local root a folder."""
    prefix: str | None = None
    """What every key begins with."""
    options: Mapping[str, Any] = field(default_factory=lambda: types.MappingProxyType({}))
    """Arguments of the backend's class; none of them a secret."""
    upload: UploadSettings = field(default_factory=UploadSettings)


@dataclass(frozen=True)
class PublisherSettings:
    """Where headless runs publish."""

    backend: str = "console"
    """A publisher's name, or module:Class."""


@dataclass(frozen=True)
class NoticeSettings:
    """What is told when a run finishes, fails, is lost, stalls, or gives values that are not finite. Off by default."""

    bell: bool = False
    """Whether the terminal rings, in the app and at the end of `--run`."""
    command: str | None = None
    """A shell command that gets each event as JSON on its standard input, with every screen closed too."""


@dataclass(frozen=True)
class UiSettings:
    """How the screen looks and listens."""

    theme: str = "kladml-dark"
    """The theme's name."""
    keymap: Mapping[str, str] = field(default_factory=lambda: types.MappingProxyType({}))
    """Command id → keys, where they differ from the built-in ones."""
    mouse: bool = True
    """Whether the mouse is taken; off leaves selecting text to the terminal."""
    fps: int = field(default=15, metadata={"least": 1, "most": 60})
    """How often a second numbers may change on the screen."""
    drawing: str = field(default="braille", metadata={"options": ("braille", "block", "ascii")})
    """What curves are drawn with."""


@dataclass(frozen=True)
class Settings:
    """All settings of one workspace."""

    root: Path
    """The absolute folder that holds kladml.yaml."""
    workspace: WorkspaceSettings = field(default_factory=WorkspaceSettings)
    launch: LaunchSettings = field(default_factory=LaunchSettings)
    queue: QueueSettings = field(default_factory=QueueSettings)
    storage: StorageSettings = field(default_factory=StorageSettings)
    tracker: TrackerSettings = field(default_factory=TrackerSettings)
    publisher: PublisherSettings = field(default_factory=PublisherSettings)
    notices: NoticeSettings = field(default_factory=NoticeSettings)
    ui: UiSettings = field(default_factory=UiSettings)

    @property
    def data(self) -> Path:
        """The absolute data folder; it need not exist."""
        return self.root / Path(self.workspace.data_dir).expanduser()

    @property
    def config_dirs(self) -> tuple[Path, ...]:
        """The absolute folders of configs; they need not exist."""
        return tuple(self.root / Path(folder).expanduser() for folder in self.workspace.configs)

    @property
    def name(self) -> str:
        """What the workspace is called."""
        return self.workspace.name or self.root.name or "workspace"


SECTIONS: dict[str, Any] = {
    "workspace": WorkspaceSettings,
    "launch": LaunchSettings,
    "queue": QueueSettings,
    "storage": StorageSettings,
    "tracker": TrackerSettings,
    "publisher": PublisherSettings,
    "notices": NoticeSettings,
    "ui": UiSettings,
}
"""Section → its dataclass, in the order of the file."""


def find_workspace(start: Path) -> Path | None:
    """The nearest folder that holds kladml.yaml, from `start` upwards, or None."""
    try:
        start = start.resolve()
    except OSError:
        return None
    for folder in (start, *start.parents):
        if (folder / FILE_NAME).is_file():
            return folder
    return None


def load_settings(workspace: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings of the workspace at `workspace`; without a kladml.yaml they are the defaults.

    `KLADML_UI__THEME=…` in `environ` overrides `ui.theme`; values are read as in YAML.

    Raises:
        ConfigError: an unknown section or key, or a value of the wrong type, with its place and a suggestion.
    """
    from kladml_core.config.load import Document, read

    root = workspace.resolve()
    file = root / FILE_NAME
    document = read(file, empty_ok=True, needs=("workspace",)) if file.exists() else Document({}, str(file))
    return check_settings(with_environment(document, environ), root)


def with_environment(document: Document, environ: Mapping[str, str]) -> Document:
    """`document` with the variables KLADML_SECTION__KEY laid over it; other variables are left alone.

    Raises:
        ConfigError: a value that begins like YAML and is none.
    """
    from kladml_core.config.override import with_value

    for variable in sorted(environ):
        parts = tuple(part.lower() for part in variable.removeprefix(PREFIX).split("__"))
        if not variable.startswith(PREFIX) or len(parts) < 2:
            continue
        value = value_of_text(parts, environ[variable], f"${variable}")
        document = with_value(document, parts, value, f"${variable}")
    return document


def value_of_text(parts: Sequence[str], text: str, source: str) -> Any:
    """What a setting's value is that was said outside of a file: YAML, or the very text where text is wanted.

    Args:
        parts: the setting's key, in parts.
        text: what was said.
        source: where, for messages.

    Raises:
        ConfigError: it begins like YAML and is none.
    """
    from kladml_core.config.override import parse_value

    wanted = type_of_key(parts)
    if wanted is str:
        return text  # a theme may be called 2024
    value = parse_value(text, source)
    return text if wanted == str | None and not isinstance(value, str | None) else value


def check_settings(document: Document, root: Path) -> Settings:
    """The settings that a parsed kladml.yaml says.

    Raises:
        ConfigError: the first unknown key or wrong value, with its place and a suggestion.
    """
    from kladml_core.config.setting_checks import checked_section, unknown_key, wrong_value

    sections: dict[str, Any] = {}
    for name, values in document.data.items():
        if name not in SECTIONS:
            raise unknown_key(document, (name,), list(SECTIONS), "kladml.yaml")
        if values is None:
            continue
        if not isinstance(values, dict):
            raise wrong_value(document, (name,), values, "a mapping of keys to values")
        sections[name] = checked_section(document, (name,), SECTIONS[name], values)
    return Settings(root=root, **sections)


def type_of_key(parts: Sequence[str]) -> Any:
    """The type of the setting under a dotted key's parts; None where there is no such setting."""
    from kladml_core.config.setting_checks import types_of

    wanted: Any = SECTIONS.get(parts[0])
    for part in parts[1:]:
        wanted = types_of(wanted).get(part) if isinstance(wanted, type) and dataclasses.is_dataclass(wanted) else None
    return wanted
