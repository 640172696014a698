"""The optimizers, schedules and losses that a config may name, and the arguments of each."""

from __future__ import annotations

from typing import Any

OPTIMIZERS: dict[str, str] = {
    "adamw": "AdamW",
    "adam": "Adam",
    "sgd": "SGD",
    "adagrad": "Adagrad",
    "rmsprop": "RMSprop",
    "adadelta": "Adadelta",
    "adamax": "Adamax",
    "nadam": "NAdam",
    "radam": "RAdam",
    "asgd": "ASGD",
}
"""Config name → class in torch.optim."""

_BETAS = ("betas", "eps", "weight_decay", "maximize", "foreach", "capturable", "differentiable")
OPTIMIZER_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "adamw": (*_BETAS, "amsgrad", "fused"),
    "adam": (*_BETAS, "amsgrad", "fused", "decoupled_weight_decay"),
    "sgd": ("momentum", "dampening", "weight_decay", "nesterov", "maximize", "foreach", "differentiable", "fused"),
    "adagrad": (
        "lr_decay",
        "weight_decay",
        "initial_accumulator_value",
        "eps",
        "foreach",
        "maximize",
        "differentiable",
        "fused",
    ),
    "rmsprop": (
        "alpha",
        "eps",
        "weight_decay",
        "momentum",
        "centered",
        "capturable",
        "foreach",
        "maximize",
        "differentiable",
    ),
    "adadelta": ("rho", "eps", "weight_decay", "foreach", "capturable", "maximize", "differentiable"),
    "adamax": _BETAS,
    "nadam": (*_BETAS, "momentum_decay", "decoupled_weight_decay"),
    "radam": (*_BETAS, "decoupled_weight_decay"),
    "asgd": ("lambd", "alpha", "t0", "weight_decay", "foreach", "maximize", "differentiable", "capturable"),
}
"""Config name → the arguments that its torch class takes besides the parameters and `lr`."""

SCHEDULES: dict[str, tuple[str, ...]] = {
    "constant": ("warmup",),
    "linear": ("warmup", "final"),
    "cosine": ("warmup", "final"),
    "wsd": ("warmup", "decay", "final"),
    "plateau": ("warmup", "factor", "patience", "min_delta", "cooldown", "final"),
}
"""Schedule → its arguments. `warmup` and `decay`: optimizer steps, or a share of all steps when below 1;
`final`: the learning rate at the end (or the least one of plateau) as a share of the peak."""

LOSSES: dict[str, str] = {
    "cross_entropy": "cross_entropy",
    "binary_cross_entropy": "binary_cross_entropy",
    "binary_cross_entropy_with_logits": "binary_cross_entropy_with_logits",
    "nll": "nll_loss",
    "mse": "mse_loss",
    "l1": "l1_loss",
    "smooth_l1": "smooth_l1_loss",
    "huber": "huber_loss",
    "kl_div": "kl_div",
    "poisson_nll": "poisson_nll_loss",
}
"""Config name → function in torch.nn.functional."""


def is_target(text: str) -> bool:
    """Whether a name is `module:attribute` or `file.py:attribute` rather than a known name."""
    return ":" in text


def named(value: str | dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name and the arguments of an `optimizer` or `lr_scheduler` value, however it is written."""
    if isinstance(value, str):
        return value, {}
    return str(value["name"]), {key: argument for key, argument in value.items() if key != "name"}
