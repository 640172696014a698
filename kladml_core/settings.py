"""The settings of a workspace: kladml.yaml with the environment laid over it, every key with a default."""

from __future__ import annotations

import dataclasses
import os
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kladml_core.errors import ConfigError

if TYPE_CHECKING:
    from kladml_core.config.load import Document, KeyPath

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
    from kladml_core.config.load import parse_value, with_value

    for variable in sorted(environ):
        parts = tuple(part.lower() for part in variable.removeprefix(PREFIX).split("__"))
        if not variable.startswith(PREFIX) or len(parts) < 2:
            continue
        text = environ[variable]
        # A theme may be called 2024: where text is wanted, the variable's text is the value.
        wanted = type_of_key(parts)
        value = text if wanted is str else parse_value(text, f"${variable}")
        document = with_value(document, parts, value, f"${variable}")
    return document


def check_settings(document: Document, root: Path) -> Settings:
    """The settings that a parsed kladml.yaml says.

    Raises:
        ConfigError: the first unknown key or wrong value, with its place and a suggestion.
    """
    sections: dict[str, Any] = {}
    for name, values in document.data.items():
        if name not in SECTIONS:
            raise _unknown(document, (name,), list(SECTIONS), "kladml.yaml")
        if values is None:
            continue
        if not isinstance(values, dict):
            raise _wrong(document, (name,), values, "a mapping of keys to values")
        sections[name] = _section(document, (name,), SECTIONS[name], values)
    return Settings(root=root, **sections)


def type_of_key(parts: Sequence[str]) -> Any:
    """The type of the setting under a dotted key's parts; None where there is no such setting."""
    wanted: Any = SECTIONS.get(parts[0])
    for part in parts[1:]:
        wanted = _types(wanted).get(part) if isinstance(wanted, type) and dataclasses.is_dataclass(wanted) else None
    return wanted


def _section(document: Document, path: KeyPath, kind: Any, values: dict[str, Any]) -> Any:
    known = {entry.name: entry for entry in dataclasses.fields(kind)}
    found: dict[str, Any] = {}
    for key, value in values.items():
        below = (*path, key)
        if key not in known:
            raise _unknown(document, below, list(known), ".".join(map(str, path)))
        # `key:` with nothing after it means the default.
        if value is not None:
            found[key] = _checked(document, below, value, _types(kind)[key], known[key].metadata)
    return kind(**found)


def _checked(document: Document, path: KeyPath, value: Any, wanted: Any, limits: Mapping[str, Any]) -> Any:
    """`value` in the type that the setting has, or a ConfigError."""
    if wanted == int | tuple[str, ...] | None:
        if isinstance(value, int) and not isinstance(value, bool):
            return _checked(document, path, value, int, limits)
        if not isinstance(value, list):
            raise _wrong(document, path, value, "a whole number, or a list of the UUIDs of GPUs")
        return _checked(document, path, value, tuple[str, ...], limits)
    if isinstance(wanted, type) and dataclasses.is_dataclass(wanted):
        if not isinstance(value, dict):
            raise _wrong(document, path, value, "a mapping of keys to values")
        return _section(document, path, wanted, value)
    if wanted == Mapping[str, Any]:
        if not isinstance(value, dict):
            raise _wrong(document, path, value, "a mapping of names to values")
        _refuse_secrets(document, path, value)
        return types.MappingProxyType(dict(value))
    if wanted is bool:
        if not isinstance(value, bool):
            raise _wrong(document, path, value, "true or false")
        return value
    if wanted is int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise _wrong(document, path, value, "a whole number")
        least, most = limits.get("least", value), limits.get("most", value)
        if not least <= value <= most:
            raise _wrong(document, path, value, f"from {least} to {most}" if "most" in limits else f"at least {least}")
        return value
    if wanted == tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise _wrong(document, path, value, "a list of texts", "Write it in brackets: [data/configs]")
        return tuple(value)
    if wanted == Mapping[str, str]:
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise _wrong(document, path, value, "a mapping of text to text", "Write it as {command: key}")
        return types.MappingProxyType(dict(value))
    if not isinstance(value, str) or not value:
        raise _wrong(document, path, value, "text")
    _refuse_password(document, path, value)
    options = limits.get("options")
    if options and value not in options:
        close = get_close_matches(value, options, n=1)
        hint = f"Did you mean {close[0]}?" if close else None
        raise _wrong(document, path, value, f"one of {', '.join(options)}", hint)
    if "pattern" in limits and not re.fullmatch(limits["pattern"], value):
        raise _wrong(document, path, value, limits["say"])
    return value


def _refuse_secrets(document: Document, path: KeyPath, values: Mapping[Any, Any]) -> None:
    """Raises where a file holds what belongs into the environment; a variable may say it."""
    from kladml_core.config.secrets import is_secret_name

    for key, value in values.items():
        below = (*path, key)
        place = document.place(below)
        if isinstance(value, dict):
            _refuse_secrets(document, below, value)
        # `token_file: /run/secrets/s3` says where the secret is, not what it is.
        elif is_secret_name(str(key)) and not str(key).endswith(("_file", "_path")) and place.line is not None:
            raise ConfigError(
                f"{'.'.join(map(str, below))} is a secret, which has no place in a file that is shared and recorded",
                hint="Keep it in the environment or in a file that the backend reads, e.g. AWS_SECRET_ACCESS_KEY",
                file=place.file,
                line=place.line,
                column=place.column,
            )
        elif isinstance(value, str):
            _refuse_password(document, below, value)


def _refuse_password(document: Document, path: KeyPath, text: str) -> None:
    from kladml_core.config.secrets import mask

    place = document.place(path)
    if place.line is not None and mask(text) != text:
        variable = PREFIX + "__".join(str(part).upper() for part in path)
        raise ConfigError(
            f"{'.'.join(map(str, path))} has a password in it, which has no place in a file that is shared",
            hint=f"Set {variable} in the environment, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
            file=place.file,
            line=place.line,
            column=place.column,
        )


def _unknown(document: Document, path: KeyPath, known: list[str], where: str) -> ConfigError:
    name = str(path[-1])
    close = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    homes = [section for section, kind in SECTIONS.items() if name in _types(kind) and section != where]
    if close:
        hint = f"Did you mean {close[0]}?"
    elif homes:
        hint = f"Did you mean {homes[0]}.{name}?"
    else:
        hint = f"The keys are {', '.join(known)}"
    place = document.place(path, key=True)
    return ConfigError(
        f"{name!r} is no key of {where}", hint=hint, file=place.file, line=place.line, column=place.column
    )


def _wrong(document: Document, path: KeyPath, value: Any, wanted: str, hint: str | None = None) -> ConfigError:
    from kladml_core.config.load import describe, dotted

    place = document.place(path)
    return ConfigError(
        f"{dotted(path)} must be {wanted}, not {describe(value)}",
        hint=hint,
        file=place.file,
        line=place.line,
        column=place.column,
    )


@cache
def _types(kind: Any) -> dict[str, Any]:
    """The type of each setting of a section."""
    return typing.get_type_hints(kind)
