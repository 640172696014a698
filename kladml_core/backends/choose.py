"""The backends that kladml.yaml names."""

from __future__ import annotations

from kladml_core.errors import ConfigError
from kladml_core.interfaces.tracker import TrackerInterface
from kladml_core.settings import Settings


def make_tracker(settings: Settings) -> TrackerInterface | None:
    """The tracker of a workspace, with no run open; None where runs are not tracked.

    A class that is named by module:Class is given `tracker.uri` where it is set.

    Raises:
        ConfigError: there is no such backend, or a server without its uri.
        UnusableError: the class cannot be imported, or the store cannot be used.
    """
    backend, uri = settings.tracker.backend, settings.tracker.uri
    if backend == "none":
        return None
    if ":" in backend:
        from kladml_core.models.resolve import resolve_callable

        made: TrackerInterface = resolve_callable(backend, "tracker.backend")(*([] if uri is None else [uri]))
        return made
    if backend not in ("local", "mlflow"):
        raise ConfigError(f"tracker.backend {backend!r} is not known", hint="local, mlflow, none, or module:Class")
    from kladml_core.backends.mlflow_tracker import LocalTracker, MLflowTracker

    if uri is not None:
        return MLflowTracker(uri)
    if backend == "mlflow":
        raise ConfigError("tracker.backend mlflow needs a server", hint="Set tracker.uri: http://host:5000")
    return LocalTracker(settings.data / "mlflow.sqlite")
