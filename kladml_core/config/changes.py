"""Which keys of a config may change when a run is resumed, and which make it another run."""

from __future__ import annotations

from typing import Any

from kladml_core.config.diff import MISSING, differences
from kladml_core.config.document import KeyPath, dotted
from kladml_core.config.schema_run import RunConfig
from kladml_core.config.wording import section_of


def change_kind(path: KeyPath) -> str:
    """What a change of the key at `path` means to a resumed run: `identity` refuses it, `schedule` is allowed and
    recorded, `free` is allowed. Below the schema (an argument of the model) the key above decides."""
    kind = "free"
    for length in range(1, len(path) + 1):
        section = section_of(path[:length])
        entry = section.model_fields.get(str(path[length - 1])) if section else None
        if entry is None:
            break
        extra = entry.json_schema_extra
        kind = str(extra.get("kladml", kind)) if isinstance(extra, dict) else kind
    return kind


def changed_identity(before: RunConfig, after: RunConfig) -> list[tuple[str, Any, Any]]:
    """The identity keys that differ, each as (dotted key, old, new); a value that one side lacks is None."""
    return [
        (dotted(path), None if old is MISSING else old, None if new is MISSING else new)
        for path, (old, new) in differences([before.model_dump(), after.model_dump()])
        if change_kind(path) == "identity"
    ]
