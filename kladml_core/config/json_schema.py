"""The JSON Schema of a run's config, for editors: every key with its description, its type and what it may be.

It says what a key may hold by itself. Rules over several keys, and whether a target exists, are `config check`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kladml_core.config import durations
from kladml_core.config.names import LOSSES, OPTIMIZER_ARGUMENTS, OPTIMIZERS, SCHEDULES
from kladml_core.config.place_names import MAX_NAME
from kladml_core.config.schema_run import RunConfig
from kladml_core.config.schema_training import TrainingConfig

DIALECT = "http://json-schema.org/draft-07/schema#"
"""What editors know best; nothing newer is used."""
_TARGET = {"type": "string", "pattern": r".:."}
_NAME = {"type": "string", "minLength": 1, "maxLength": MAX_NAME, "pattern": r"^(?!\.|run_[0-9]+$)[^/]+$"}
_DURATION = {"type": "string", "pattern": durations.PATTERN}
_DEVICES = ("auto", "cpu", "cuda", "mps")
_CHANGES = {
    "identity": "Part of what a run is: a resume cannot change it.",
    "schedule": "A resume may change it, which is recorded.",
    "free": "A resume may change it.",
}
_MAY_BE_EMPTY = ("project", "family", "experiment", "seed", "launch")
"""Keys of the top level after which nothing need stand."""


def json_schema() -> dict[str, Any]:
    """The schema as plain data, in JSON Schema draft 7."""
    schema = _plain(RunConfig.model_json_schema())
    top, sections = schema["properties"], schema["$defs"]
    for model, entries in ((RunConfig, top), (TrainingConfig, sections["TrainingConfig"]["properties"])):
        for key, field in model.model_fields.items():
            # pydantic leaves out what a section says of itself already, and draft 7 reads nothing beside a reference.
            if "description" not in entries[key]:
                entries[key] = {"description": field.description, "allOf": [entries[key]]}
    training, checkpoint = sections["TrainingConfig"]["properties"], sections["CheckpointPolicy"]["properties"]
    for key in ("project", "family", "experiment"):
        top[key] |= _NAME
    del top["experiment"]["default"]  # it is the file's name
    top["loss"] = _about(top["loss"], [{"enum": [*LOSSES]}, _TARGET, {"type": "null"}])
    for section, key in (("ModelSection", "target"), ("DataSection", "target")):
        entry = sections[section]["properties"][key]
        options = [_TARGET, {"type": "null"}] if section == "DataSection" else [_TARGET]
        sections[section]["properties"][key] = _about(entry, options)
    device = sections["LaunchSection"]["properties"]["device"]
    sections["LaunchSection"]["properties"]["device"] = _about(
        device, [{"enum": list(_DEVICES)}, {"type": "string", "pattern": r"^cuda:[0-9]{1,3}$"}]
    )
    training["optimizer"] = _about(training["optimizer"], _choice(tuple(OPTIMIZERS), OPTIMIZER_ARGUMENTS))
    training["lr_scheduler"] = _about(training["lr_scheduler"], _choice(tuple(SCHEDULES), SCHEDULES))
    for entries, key in (
        (training, "max_time"),
        (training, "hang_timeout"),
        (training, "grace_seconds"),
        (checkpoint, "every_seconds"),
    ):
        null = [] if key == "grace_seconds" else [{"type": "null"}]
        entries[key] = _about(entries[key], [{"type": "number", "exclusiveMinimum": 0}, _DURATION, *null])
    sections["TrainingConfig"]["anyOf"] = [{"required": ["max_epochs"]}, {"required": ["max_steps"]}]
    for key in _MAY_BE_EMPTY:
        top[key] = {"description": top[key].pop("description", ""), "anyOf": [top[key], {"type": "null"}]}
    return {"$schema": DIALECT, "title": "KladML run", **schema}


def _choice(names: Sequence[str], arguments: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """A name, a target, or a mapping of one of them and its arguments."""
    known: dict[str, Any] = {argument: {} for each in arguments.values() for argument in each}
    by_name = [
        {
            "properties": {"name": {"const": name}, **{key: {} for key in arguments[name]}},
            "additionalProperties": False,
        }
        for name in names
    ]
    named = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"anyOf": [{"enum": list(names)}, _TARGET]}, **known},
        "anyOf": [*by_name, {"properties": {"name": _TARGET}}],
    }
    return [{"enum": list(names)}, _TARGET, named]


def _about(entry: Mapping[str, Any], options: list[dict[str, Any]]) -> dict[str, Any]:
    """An entry with other values; what is said of it stays."""
    kept = {key: entry[key] for key in ("description", "default") if key in entry}
    return {**kept, **(options[0] if len(options) == 1 else {"anyOf": options})}


def _plain(node: Any) -> Any:
    """Without pydantic's titles, and with our own words for what a change to a key means."""
    if isinstance(node, list):
        return [_plain(one) for one in node]
    if not isinstance(node, dict):
        return node
    found = {key: _plain(value) for key, value in node.items() if key not in ("title", "kladml")}
    if node.get("kladml") in _CHANGES and "description" in found:
        found["description"] = f"{found['description']} {_CHANGES[node['kladml']]}"
    if "$ref" in found and len(found) > 1:
        # Draft 7 reads nothing beside a reference.
        found = {key: value for key, value in found.items() if key != "$ref"} | {"allOf": [{"$ref": found["$ref"]}]}
    return found
