"""The backends that kladml.yaml names: built-in ones, installed ones, and `module:Class` of a person's own.

A package installs backends through the entry-point group `kladml.backends`, e.g. in its pyproject.toml:

[project.entry-points."kladml.backends"]
"storage.nas" = "my_package.nas:NasStorage"
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal

from kladml_core.config.import_file import import_file
from kladml_core.config.secrets import mask
from kladml_core.errors import ConfigError, KladMLError, NotSupportedError, UnusableError
from kladml_core.interfaces import (
    ConfigInterface,
    PublisherInterface,
    StorageInterface,
    TrackerInterface,
)
from kladml_core.settings import FILE_NAME, Settings, with_environment

Kind = Literal["storage", "config", "tracker", "publisher"]
GROUP = "kladml.backends"
NONE = "none"
"""Names no backend at all, for trackers and publishers."""

_INTERFACES: dict[Kind, type] = {
    "storage": StorageInterface,
    "config": ConfigInterface,
    "tracker": TrackerInterface,
    "publisher": PublisherInterface,
}
_BUILT_IN: dict[Kind, dict[str, str]] = {
    "storage": {
        "local": "kladml_core.backends.local_storage:LocalStorage",
        "s3": "kladml_core.backends.s3_storage:S3Storage",
    },
    "config": {
        "yaml": "kladml_core.backends.yaml_config:YamlConfig",
        "env": "kladml_core.backends.env_config:EnvConfig",
    },
    "tracker": {
        "local": "kladml_core.backends.mlflow_tracker:LocalTracker",
        "mlflow": "kladml_core.backends.mlflow_tracker:MLflowTracker",
    },
    "publisher": {"console": "kladml_core.backends.console_publisher:ConsolePublisher"},
}


def make_storage(settings: Settings) -> StorageInterface | None:
    """The storage of a workspace; None where the run directories are all the storage there is.

    Raises:
        ConfigError: there is no such backend, or its class does not take these options.
        UnusableError: the class cannot be imported, implements too little, or cannot be used.
    """
    chosen = settings.storage
    if not copies(settings):
        return None
    options = dict(chosen.options)
    if chosen.backend == "local":
        options["root"] = settings.root / Path(str(options["root"])).expanduser()
    made: StorageInterface = _make("storage", chosen.backend, settings, (), options)
    return made


def copies(settings: Settings) -> bool:
    """Whether the workspace has a storage beside its run directories; reading this imports no backend."""
    return settings.storage.backend != "local" or settings.storage.options.get("root") is not None


def make_tracker(settings: Settings) -> TrackerInterface | None:
    """The tracker of a workspace, with no run open; None where runs are not tracked.

    A class of a person's own is given `tracker.uri` where it is set.

    Raises:
        ConfigError: there is no such backend, or a server without its uri.
        UnusableError: the class cannot be imported, implements too little, or its store cannot be used.
    """
    backend, uri = settings.tracker.backend, settings.tracker.uri
    if backend == NONE:
        return None
    given: tuple[Any, ...] = () if uri is None else (uri,)
    if backend == "local":
        # An address with `local` is an MLflow server at that address.
        backend, given = ("local", (settings.data / "mlflow.sqlite",)) if uri is None else ("mlflow", given)
    elif backend == "mlflow" and uri is None:
        place = _place(settings, "tracker")
        raise ConfigError("tracker.backend mlflow needs a server", hint="Set tracker.uri: http://host:5000", **place)
    made: TrackerInterface = _make("tracker", backend, settings, given, {})
    return made


def make_publisher(settings: Settings) -> PublisherInterface | None:
    """The publisher of a workspace's runs; None where nobody is to hear of them.

    Raises:
        ConfigError: there is no such backend.
        UnusableError: the class cannot be imported, implements too little, or cannot be made.
    """
    if settings.publisher.backend == NONE:
        return None
    made: PublisherInterface = _make("publisher", settings.publisher.backend, settings, (), {})
    return made


def backend_class(kind: Kind, name: str, settings: Settings) -> type:
    """The class that a backend's name stands for.

    Args:
        kind: what it is a backend of.
        name: a built-in one's, an installed one's, or `module:Class`, for which the workspace is looked into first.
        settings: where the name was read; errors tell its place.

    Raises:
        ConfigError: nothing has this name.
        UnusableError: it cannot be imported, is no class, or lacks what the interface asks for.
    """
    place = _place(settings, kind)
    with _workspace_first(settings.root):
        found = _import(kind, name, settings.root, place)
    if not isinstance(found, type):
        raise UnusableError(f"{name} is no class", hint=f"{kind}.backend names a class", **place)
    interface = _INTERFACES[kind]
    missing = sorted(
        method
        for method in getattr(interface, "__abstractmethods__", ())
        if not callable(getattr(found, method, None)) or getattr(getattr(found, method), "__isabstractmethod__", False)
    )
    if missing or not issubclass(found, interface):
        what = f"lacks {', '.join(missing)}" if missing else f"is no subclass of {interface.__name__}"
        hint = f"derive it from kladml_core.interfaces.{interface.__name__}"
        raise UnusableError(f"{name} {what}", hint=hint, **place)
    return found


def _make(kind: Kind, name: str, settings: Settings, given: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
    kind_of_backend = backend_class(kind, name, settings)
    place = _place(settings, kind)
    try:
        inspect.signature(kind_of_backend).bind(*given, **options)
    except TypeError as error:
        told = f"{kind_of_backend.__name__} does not take {'these options' if options else 'this'}: {error}"
        takes = ", ".join(inspect.signature(kind_of_backend).parameters)
        raise ConfigError(told, hint=f"It takes {takes or 'nothing'}", **place) from None
    except ValueError:
        pass  # a class written in C may have no signature to look at
    try:
        return kind_of_backend(*given, **options)
    except NotSupportedError as error:  # what it needs is not installed: say where it is asked for
        raise NotSupportedError(error.message, hint=error.hint, **place) from error
    except KladMLError:
        raise
    except Exception as error:  # a backend is somebody else's code
        told = mask(f"{name} cannot be made: {type(error).__name__}: {error}")
        raise UnusableError(told, **place) from error


def _import(kind: Kind, name: str, root: Path, place: Mapping[str, Any]) -> Any:
    target = _BUILT_IN[kind].get(name, name)
    installed = {} if target != name or ":" in name else _installed(kind)
    try:
        if name in installed:
            return installed[name].load()
        module, colon, attribute = target.rpartition(":")
        if not colon:
            known = [*_BUILT_IN[kind], *([NONE] if kind in ("tracker", "publisher") else []), *sorted(installed)]
            close = get_close_matches(name, known, n=1)
            hint = f"Did you mean {close[0]}?" if close else f"It is {', '.join(known)}, or module:Class"
            raise ConfigError(f"{kind}.backend {name!r} is not known", hint=hint, **place)
        found: Any = import_file(root / module) if module.endswith(".py") else importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
        return found
    except KladMLError:
        raise
    except (Exception, SystemExit) as error:  # a person's module may raise anything while it is imported
        told = f"{kind}.backend {name} cannot be imported: {type(error).__name__}: {error}"
        raise UnusableError(told, **place) from error


def _installed(kind: Kind) -> dict[str, EntryPoint]:
    """Installed backends of a kind by name."""
    found = entry_points(group=GROUP)
    return {entry.name.removeprefix(f"{kind}."): entry for entry in found if entry.name.startswith(f"{kind}.")}


@contextmanager
def _workspace_first(root: Path) -> Iterator[None]:
    """The workspace is looked into before anything installed, as it is for a worker."""
    folder = os.fspath(root)
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with suppress(ValueError):  # what was imported may have changed the path itself
            sys.path.remove(folder)


def _place(settings: Settings, kind: Kind) -> dict[str, Any]:
    """`file`, `line` and `column` of the backend's name in kladml.yaml, or the variable that says it."""
    from kladml_core.config.load import Document, read

    path = settings.root / FILE_NAME
    try:
        written = read(path, empty_ok=True, needs=("workspace",)) if path.exists() else Document({}, str(path))
        document = with_environment(written, os.environ)
    except KladMLError:
        return {}  # the settings were not read from it, else they would not be here
    if document.get((kind, "backend")) is None:
        return {}
    found = document.place((kind, "backend"))
    return {"file": found.file, "line": found.line, "column": found.column}
