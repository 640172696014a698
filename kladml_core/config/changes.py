"""Which keys of a config may change when a run is resumed, and which make it another run."""

from __future__ import annotations

from typing import Any

from kladml_core.config.diff import MISSING, flatten
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
    old, new = flatten(before.model_dump()), flatten(after.model_dump())
    changed = []
    for path in {**old, **new}:
        was, now = old.get(path, MISSING), new.get(path, MISSING)
        if was != now and change_kind(path) == "identity":
            changed.append((dotted(path), None if was is MISSING else was, None if now is MISSING else now))
    return changed
