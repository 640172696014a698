"""The whole config of a run: what it is called, its model, data, training and launch."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from kladml_core.config.document import describe
from kladml_core.config.place_names import name_fault, normal_name
from kladml_core.config.rules import loss_faults, run_faults
from kladml_core.config.schema_training import FREE, IDENTITY, Section, TrainingConfig, refusal
from kladml_core.errors import with_hint


def _name(value: Any) -> Any:
    if isinstance(value, str):
        value = normal_name(value)
        fault = name_fault(value)
        if fault:
            raise refusal(fault)
    return value


def _target(value: Any) -> Any:
    """The form `module:Name`; whether it exists is checked where the workspace is known."""
    if isinstance(value, str):
        module, colon, name = value.rpartition(":")
        if not colon or not module or not name:
            raise refusal(f"must be module:Name or path/to/file.py:Name, not {describe(value)}")
    return value


Name = Annotated[str, BeforeValidator(_name)]
Target = Annotated[str, BeforeValidator(_target)]


class ModelSection(Section):
    """Which model is trained."""

    target: Target = Field(
        description="The model's class or function as module:Name or path/to/file.py:Name.", json_schema_extra=IDENTITY
    )
    params: dict[str, Any] = Field(
        default_factory=dict, description="Arguments for the model's constructor.", json_schema_extra=IDENTITY
    )


class DataSection(Section):
    """What it is trained on: a target that loads everything, or named data for each split."""

    target: Target | None = Field(
        None,
        description="A function that loads the data, as module:function or path/to/file.py:function.",
        json_schema_extra=IDENTITY,
    )
    params: dict[str, Any] = Field(
        default_factory=dict,
        description="Arguments for the data target; of named data, which columns are taken.",
        json_schema_extra=IDENTITY,
    )
    train: str | None = Field(
        None, min_length=1, description="A registered dataset or a path to train on.", json_schema_extra=IDENTITY
    )
    val: str | None = Field(
        None, min_length=1, description="A registered dataset or a path to validate on.", json_schema_extra=IDENTITY
    )
    test: str | None = Field(
        None, min_length=1, description="A registered dataset or a path to test on.", json_schema_extra=FREE
    )


class LaunchSection(Section):
    """Where and in how many processes the run trains."""

    processes: int = Field(1, ge=1, description="Training processes on this machine.", json_schema_extra=FREE)
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d{1,3})?)$",
        description="auto, cpu, cuda, cuda:N or mps.",
        json_schema_extra=FREE,
    )
    distributed: bool = Field(False, description="Start one process for each visible device.", json_schema_extra=FREE)
    machines: int = Field(
        1, ge=1, description="Machines that train together, each with as many processes.", json_schema_extra=FREE
    )
    machine_rank: int | None = Field(
        None, ge=0, description="Which of them this one is, from 0; machine 0 writes the run.", json_schema_extra=FREE
    )
    rendezvous: str | None = Field(
        None,
        min_length=1,
        description="Where they meet: host:port of machine 0, reachable from all.",
        json_schema_extra=FREE,
    )
    fsdp: dict[str, Any] | None = Field(
        None,
        description="Cut the model over the processes: {} or arguments of Accelerate's FSDP plugin.",
        json_schema_extra=FREE,
    )


class RunConfig(Section):
    """A run's config as it is written to the run directory and read by the worker."""

    project: Name = Field("default", description="The project that the run belongs to.", json_schema_extra=FREE)
    family: Name = Field("default", description="The family of experiments in the project.", json_schema_extra=FREE)
    experiment: Name = Field(
        "default", description="The experiment; the config file's name where it is not written.", json_schema_extra=FREE
    )
    seed: int = Field(
        0,
        ge=0,
        le=2**32 - 1,
        description="Seeds weights, order of samples and every other random number.",
        json_schema_extra=IDENTITY,
    )
    model: ModelSection = Field(description="Which model is trained.", json_schema_extra=IDENTITY)
    loss: str | None = Field(
        None,
        min_length=1,
        description="For a plain nn.Module: a name such as cross_entropy, or module:function.",
        json_schema_extra=IDENTITY,
    )
    data: DataSection = Field(description="What the model is trained on.", json_schema_extra=IDENTITY)
    training: TrainingConfig = Field(description="How the model is trained.", json_schema_extra=FREE)
    launch: LaunchSection = Field(
        default_factory=LaunchSection, description="Where the run trains.", json_schema_extra=FREE
    )

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        for fault in (*loss_faults(self.loss), *run_faults(self.model_dump())):
            raise PydanticCustomError("kladml_rule", "{message}", {"message": with_hint(fault.message, fault.hint)})
        return self
