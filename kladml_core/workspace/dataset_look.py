"""Looking through a registered dataset as it is on the disk now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kladml_core.errors import UnusableError
from kladml_core.workspace.dataset_examine import SECONDS, examine_file, examine_target, never
from kladml_core.workspace.dataset_headers import require_data_file
from kladml_core.workspace.datasets import DatasetRegistration
from kladml_core.workspace.examination import Examination
from kladml_core.workspace.fingerprints import fingerprint


def look(
    registration: DatasetRegistration,
    workspace: Path,
    *,
    call: bool = False,
    seconds: float = SECONDS,
    given_up: Callable[[], bool] = never,
) -> Examination | None:
    """What is in it; what was found in the same bytes earlier is taken from the cache.

    Args:
        registration: the dataset.
        workspace: its root.
        call: call the function of a target, in a process of its own; without this the answer for a target is None.
        seconds: how long it may take; see `examine_file` and `examine_target`.
        given_up: asked now and then; once nobody wants the answer, looking ends with an UnusableError.

    Raises:
        ConfigError: its parameters are wrong.
        UnusableError: its data is gone, damaged, or takes too much time or memory.
    """
    location = registration.location(workspace)
    if location is None:
        if not call:
            return None
        return examine_target(
            str(registration.target), registration.params, registration.split, workspace, seconds, given_up
        )
    if not location.exists():
        raise UnusableError(f"the data of {registration.file.stem!r} is gone: there is no {location}")
    require_data_file(location)
    return examine_file(location, registration.params, fingerprint(location).text, workspace, seconds, given_up)
