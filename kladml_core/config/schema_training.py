"""The `training` section of a run's config: every key with its type, default, meaning and what a change to it does."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, model_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from kladml_core.config import durations
from kladml_core.config.document import describe
from kladml_core.config.names import named
from kladml_core.config.rules import training_faults
from kladml_core.errors import with_hint

IDENTITY: JsonDict = {"kladml": "identity"}
SCHEDULE: JsonDict = {"kladml": "schedule"}
FREE: JsonDict = {"kladml": "free"}


class Section(BaseModel):
    """What all sections share: unknown keys are refused, nothing is coerced, nothing changes after it is read."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        # A model's own parameters may be infinite; the copy of the config in the run directory must say so.
        ser_json_inf_nan="constants",
        protected_namespaces=(),
    )


def refusal(text: str) -> PydanticCustomError:
    """A failed check whose text continues the key's name."""
    return PydanticCustomError("kladml", "{text}", {"text": text})


def _seconds(value: Any) -> Any:
    """Seconds of `90s`, `30m` or `1h30m`; anything that is not text is left for the type check."""
    if isinstance(value, str):
        found = durations.seconds(value)
        if found is None:
            raise refusal(f"must be seconds or a duration such as 30m or 1h30m, not {describe(value)}")
        return found
    return value


def _choice(value: Any) -> Any:
    """A name, or a mapping that holds `name`; which names exist is checked by the rules."""
    if isinstance(value, str) and value:
        return value
    if not isinstance(value, dict):
        raise refusal(f"must be a name, module:function or {{name: …, arguments}}, not {describe(value)}")
    if not isinstance(value.get("name"), str) or not value["name"]:
        raise refusal("needs a key `name` whose value is text")
    return value


Seconds = Annotated[float, BeforeValidator(_seconds)]
Choice = Annotated[Any, PlainValidator(_choice)]


class EarlyStopping(Section):
    """Stops a run that no longer gets better; `monitor` and `mode` also choose the best checkpoint."""

    enabled: bool = Field(False, description="Stop when the monitored metric gets no better.", json_schema_extra=FREE)
    monitor: str = Field(
        "val/loss",
        min_length=1,
        description="The metric that decides which checkpoint is best and when to stop.",
        json_schema_extra=FREE,
    )
    mode: Literal["min", "max"] = Field(
        "min", description="Whether a smaller or a larger value of the metric is better.", json_schema_extra=FREE
    )
    patience: int = Field(
        5, ge=1, description="How many validations without a gain are waited for.", json_schema_extra=FREE
    )
    min_delta: float = Field(
        0.0, ge=0, description="The least change of the metric that counts as a gain.", json_schema_extra=FREE
    )


class CheckpointPolicy(Section):
    """When checkpoints are written and how many are kept."""

    every_epochs: int | None = Field(
        1, ge=1, description="Write a checkpoint after this many epochs; null for never.", json_schema_extra=FREE
    )
    every_steps: int | None = Field(
        None, ge=1, description="Write one after this many optimizer steps too; null for never.", json_schema_extra=FREE
    )
    every_seconds: Seconds | None = Field(
        None,
        gt=0,
        description="Write one when the last is this old too, e.g. 600 or 10m; null for never.",
        json_schema_extra=FREE,
    )
    background: bool = Field(
        False,
        description="Write while training goes on: a step waits only for a copy into host memory.",
        json_schema_extra=FREE,
    )
    keep_last: int = Field(
        2, ge=2, description="How many of the newest are kept, at least two.", json_schema_extra=FREE
    )
    keep_best: int = Field(1, ge=1, description="How many of the best are kept.", json_schema_extra=FREE)


class TrainingConfig(Section):
    """How a model is trained. `max_epochs` or `max_steps` is required; every other key has a default."""

    max_epochs: int | None = Field(
        None, ge=1, description="Passes over the training data; the run ends after them.", json_schema_extra=SCHEDULE
    )
    max_steps: int | None = Field(
        None, ge=1, description="Optimizer steps after which the run ends.", json_schema_extra=SCHEDULE
    )
    max_time: Seconds | None = Field(
        None, gt=0, description="Stop after this long, e.g. 3600 or 1h30m; resumable.", json_schema_extra=FREE
    )
    batch_size: int = Field(
        32, ge=1, description="Samples in a micro-batch of one process.", json_schema_extra=IDENTITY
    )
    gradient_accumulation_steps: int = Field(
        1, ge=1, description="Micro-batches that make up one optimizer step.", json_schema_extra=IDENTITY
    )
    learning_rate: float = Field(
        1e-3, gt=0, description="The peak learning rate that the schedule scales.", json_schema_extra=SCHEDULE
    )
    optimizer: Choice = Field(
        "adamw",
        description="A name such as adamw or sgd, module:function, or {name: …, weight_decay: …}.",
        json_schema_extra=IDENTITY,
    )
    lr_scheduler: Choice = Field(
        "constant",
        description="constant, linear, cosine, wsd or plateau, module:function, or {name: …, warmup: …}.",
        json_schema_extra=SCHEDULE,
    )
    gradient_clipping: float | None = Field(
        None, description="The largest allowed norm of all gradients; null for no clipping.", json_schema_extra=SCHEDULE
    )
    mixed_precision: Literal["no", "fp16", "bf16"] = Field(
        "no", description="The precision of forward and backward: no, fp16 or bf16.", json_schema_extra=IDENTITY
    )
    early_stopping: EarlyStopping = Field(
        default_factory=EarlyStopping,
        description="When to stop early, and which metric decides what is best.",
        json_schema_extra=FREE,
    )
    checkpoint: CheckpointPolicy = Field(
        default_factory=CheckpointPolicy,
        description="When checkpoints are written and how many are kept.",
        json_schema_extra=FREE,
    )
    validate_every: int = Field(
        1, ge=1, description="Validate after this many epochs, and at the end.", json_schema_extra=FREE
    )
    log_every: int = Field(10, ge=1, description="Log metrics every this many optimizer steps.", json_schema_extra=FREE)
    deterministic: bool = Field(
        False, description="Use only deterministic algorithms, at some cost in speed.", json_schema_extra=FREE
    )
    num_workers: int = Field(
        0, ge=0, description="Processes that load data beside each training process.", json_schema_extra=FREE
    )
    non_finite: Literal["stop", "skip"] = Field(
        "stop", description="What a NaN or infinite loss does: stop the run, or skip that step.", json_schema_extra=FREE
    )
    oom: Literal["fail", "halve"] = Field(
        "fail",
        description="What running out of memory does: fail the run, or go on in micro-batches of half the size.",
        json_schema_extra=FREE,
    )
    ema_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Validate and keep a moving average of the weights with this decay, e.g. 0.999; null for none.",
        json_schema_extra=SCHEDULE,
    )
    compile: bool = Field(
        False, description="Compile the model with torch.compile before training.", json_schema_extra=FREE
    )
    profile: int | None = Field(
        None,
        ge=1,
        description="Record where the time of this many early steps goes, into artifacts/profile.json.gz.",
        json_schema_extra=FREE,
    )
    hang_timeout: Seconds | None = Field(
        1800.0,
        gt=0,
        description="End the run when nothing moves for this long, compilation left out; null for never.",
        json_schema_extra=FREE,
    )
    grace_seconds: Seconds = Field(
        30.0, gt=0, description="How long a stop may take before the worker ends at once.", json_schema_extra=FREE
    )

    @property
    def optimizer_choice(self) -> tuple[str, dict[str, Any]]:
        """The optimizer's name or target, and its arguments."""
        return named(self.optimizer)

    @property
    def lr_scheduler_choice(self) -> tuple[str, dict[str, Any]]:
        """The schedule's name or target, and its arguments."""
        return named(self.lr_scheduler)

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        for fault in training_faults(self.model_dump()):
            raise PydanticCustomError(
                "kladml_rule",
                "{message}",
                {"message": with_hint(f"training.{fault.message}", fault.hint)},
            )
        return self
