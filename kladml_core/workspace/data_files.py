"""The data files that a run's config names, as they are when it is launched: their fingerprints, and what changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kladml_core.config.references import is_data_path
from kladml_core.workspace.datasets import file_fingerprint, find_dataset

if TYPE_CHECKING:
    from kladml_core.config.schema import RunConfig


def look_at_data(config: RunConfig, workspace: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """Fingerprints of the data files that a config names, and a warning for each that changed since its registration.

    The data of a `target` is fingerprinted by the worker, which alone may import it.
    """
    fingerprints: dict[str, str] = {}
    warnings: list[str] = []
    for split in ("train", "val", "test"):
        name = getattr(config.data, split)
        if name is None:
            continue
        if is_data_path(name):
            fingerprints[name] = file_fingerprint(workspace / Path(name).expanduser())
            continue
        registration = find_dataset(workspace, name)
        location = registration.location(workspace)
        if location is None:
            continue
        fingerprints[name] = file_fingerprint(location)
        if registration.fingerprint not in (None, fingerprints[name]):
            warnings.append(f"dataset {name!r} has changed since it was registered: {location}")
    return fingerprints, tuple(warnings)
