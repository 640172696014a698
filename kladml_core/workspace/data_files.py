"""The data that a run's config names, as it is when it is launched: fingerprints, and what changed since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kladml_core.config.load import read
from kladml_core.config.references import is_data_path
from kladml_core.errors import KladMLError
from kladml_core.workspace.dataset_state import CHANGED, DatasetState, compare
from kladml_core.workspace.datasets import find_dataset
from kladml_core.workspace.fingerprints import describe_target, fingerprint

if TYPE_CHECKING:
    from kladml_core.config.schema import RunConfig

SPLITS = ("train", "val", "test")


def look_at_data(config: RunConfig, workspace: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """Fingerprints of the data that a config names, and a warning for each that changed since its registration.

    A file is read only where its size or times are others than when this user's machine read it last. Of a registered
    target it is known how it is called; what that gives, the worker fingerprints, which alone may import it.

    Raises:
        ConfigError, UnusableError: a dataset or file is not there, or cannot be read.
    """
    fingerprints: dict[str, str] = {}
    warnings: list[str] = []
    for split in SPLITS:
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


def changed_data(config: Path, workspace: Path, seen: object = None) -> tuple[DatasetState, ...]:
    """The registered datasets that a config names and that changed on the disk, before anything is launched.

    What is wrong with the config or a registration is not told here: a launch tells it, with its place.

    Args:
        config: a run's config file.
        workspace: its root.
        seen: `fingerprints` of the run.json of a run that is to go on; what differs from them counts as changed.
    """
    try:
        section = read(config).data.get("data")
    except KladMLError:
        return ()
    names = [section.get(split) for split in SPLITS] if isinstance(section, Mapping) else []
    found = []
    for name in dict.fromkeys(name for name in names if isinstance(name, str) and not is_data_path(name)):
        try:
            state = compare(find_dataset(workspace, name), workspace)
        except KladMLError:
            continue
        earlier = seen.get(name) if isinstance(seen, Mapping) else None
        if earlier is not None and state.fingerprint not in (None, earlier):
            state = replace(state, state=CHANGED, how="it is no longer what the run was made with")
        if state.state == CHANGED:
            found.append(state)
    return tuple(found)
