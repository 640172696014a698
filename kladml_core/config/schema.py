"""The config of a run: its shape, its problems, and what the editor may say about each key."""

from kladml_core.config.changes import change_kind, changed_identity
from kladml_core.config.keys import KeyHelp, schema_keys
from kladml_core.config.names import LOSSES, OPTIMIZERS, SCHEDULES, named
from kladml_core.config.place_names import name_fault
from kladml_core.config.problems import Problem, problems, resolve
from kladml_core.config.schema_run import DataSection, LaunchSection, ModelSection, RunConfig
from kladml_core.config.schema_training import CheckpointPolicy, EarlyStopping, TrainingConfig

__all__ = [
    "LOSSES",
    "OPTIMIZERS",
    "SCHEDULES",
    "CheckpointPolicy",
    "DataSection",
    "EarlyStopping",
    "KeyHelp",
    "LaunchSection",
    "ModelSection",
    "Problem",
    "RunConfig",
    "TrainingConfig",
    "change_kind",
    "changed_identity",
    "name_fault",
    "named",
    "problems",
    "resolve",
    "schema_keys",
]
