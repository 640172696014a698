"""The data that a run's config names, as it is when it is launched: fingerprints, and what changed since."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kladml_core.config.references import is_data_path
from kladml_core.workspace.dataset_state import CHANGED, compare
from kladml_core.workspace.datasets import find_dataset
from kladml_core.workspace.fingerprints import describe_target, fingerprint

if TYPE_CHECKING:
    from kladml_core.config.schema import RunConfig


def look_at_data(config: RunConfig, workspace: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """Fingerprints of the data that a config names, and a warning for each that changed since its registration.

    A file is read only where its size or times are others than when this user's machine read it last. Of a registered
    target it is known how it is called; what that gives, the worker fingerprints, which alone may import it.

    Raises:
        ConfigError, UnusableError: a dataset or file is not there, or cannot be read.
    """
    fingerprints: dict[str, str] = {}
    warnings: list[str] = []
    for split in ("train", "val", "test"):
        name = getattr(config.data, split)
        if name is None or name in fingerprints:
            continue
        if is_data_path(name):
            fingerprints[name] = fingerprint(workspace / Path(name).expanduser()).text
            continue
        registration = find_dataset(workspace, name)
        location = registration.location(workspace)
        if location is None:
            params = {**registration.params, **config.data.params}
            fingerprints[name] = describe_target(str(registration.target), params, registration.split)
            continue
        fingerprints[name] = fingerprint(location).text
        if compare(registration, workspace).state == CHANGED:
            warnings.append(
                f"dataset {name!r} has changed since it was registered: {location}; "
                f"`kladml-tui datasets add` records it as a new version"
            )
    return fingerprints, tuple(warnings)


def changed_since(before: object, now: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the data whose fingerprint is another than a run recorded when it was made.

    Args:
        before: `fingerprints` of a run.json.
        now: from `look_at_data`.
    """
    if not isinstance(before, dict):
        return ()
    return tuple(name for name, found in now.items() if before.get(name) not in (None, found))
