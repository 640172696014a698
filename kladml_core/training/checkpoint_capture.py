"""Copies model and optimizer out into a checkpoint's content, and puts them back bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from kladml_core.errors import UnusableError, kind_of
from kladml_core.training.checkpoint_content import Content, Unstorable, encode
from kladml_core.training.checkpoint_generators import capture_generators, restore_generators
from kladml_core.training.checkpoint_tensors import unstorable_dtype
from kladml_core.training.sharding import is_sharded, whole

_COMPILED = "_orig_mod"


def capture(
    module: nn.Module,
    optimizer: Any,
    scaler: Any = None,
    *,
    rank: int = 0,
    averages: Mapping[str, Tensor] | None = None,
) -> Content:
    """A copy of all that training changes, in host memory; training may go on while it is written.

    Of a model in pieces every rank must call it, and rank 0 alone gets a copy, of the whole.

    Args:
        module: wrapped (DDP, compiled) or not; names are those of the bare module.
        optimizer: a torch optimizer, prepared by Accelerate or not.
        scaler: the fp16 gradient scaler, where there is one.
        rank: whose generators these are. Those of other ranks are added to `rng` by the caller.
        averages: of the weights, by bare name.

    Returns:
        Content whose `state` has the keys "model", "optimizer" and "scaler"; the caller adds its own beside them.

    Raises:
        UnusableError: something in it cannot be expressed in a file.
    """
    content = Content(rng=capture_generators(rank))
    if rank and is_sharded(bare(module)):
        content.model, content.optimizer = _Nothing(), _Nothing()
    content.averages = {name: _copy(value) for name, value in (averages or {}).items()}
    try:
        content.state["model"] = _capture_model(bare(module), content.model)
        content.state["optimizer"] = _capture_optimizer(_torch_optimizer(optimizer), bare(module), content.optimizer)
        content.state["scaler"] = None if scaler is None else dict(scaler.state_dict())
        encode(content.state, {}, "state")
    except Unstorable as error:
        raise UnusableError(f"a checkpoint cannot hold this run's state: {error}") from None
    return content


def restore(content: Content, module: nn.Module, optimizer: Any, scaler: Any = None, *, rank: int = 0) -> list[str]:
    """Puts a captured content back: weights, strides and ties, optimizer state as it was (no cast), generators.

    Call it before wrapping the module in DDP, which lays its buckets out by the parameters' strides.

    Returns:
        What could not be put back exactly, one sentence each; empty when the continuation is exact.

    Raises:
        UnusableError: the content belongs to another model or another optimizer.
    """
    _restore_model(bare(module), content)
    _restore_optimizer(_torch_optimizer(optimizer), bare(module), content)
    notes = []
    if scaler is not None and content.state.get("scaler"):
        scaler.load_state_dict(content.state["scaler"])
    elif scaler is not None:
        notes.append("the checkpoint was written without an fp16 gradient scaler; it starts anew")
    return notes + restore_generators(content.rng, rank)


def unsupported_reason(optimizer: Any) -> str | None:
    """Why an optimizer cannot be trained with, because its state would not survive a checkpoint; None where it can."""
    inner = _torch_optimizer(optimizer)
    name = type(inner).__name__
    if isinstance(inner, torch.optim.LBFGS):
        return f"{name} calls the model several times a step and keeps a history that no checkpoint can hold"
    if not isinstance(inner, Optimizer):
        return f"{name} is not a torch.optim.Optimizer"
    if (
        type(inner).state_dict is not Optimizer.state_dict
        or type(inner).load_state_dict is not Optimizer.load_state_dict
    ):
        return f"{name} saves its state in a way of its own"
    known = {id(parameter) for group in inner.param_groups for parameter in group["params"]}
    if any(id(key) not in known for key in inner.state):
        return f"{name} keeps state that belongs to no parameter"
    try:
        _capture_optimizer(inner, nn.Module(), {})
    except Unstorable as error:
        return f"{name} has state that cannot be stored: {error}"
    return None


class _Nothing(dict[str, Tensor]):
    """Keeps nothing: what this rank helps to put together it does not need."""

    def __setitem__(self, name: str, value: Tensor) -> None:
        """Lets it go."""


def bare(module: nn.Module) -> nn.Module:
    """The person's own module inside what Accelerate, DDP and torch.compile put around it."""
    while True:
        if isinstance(module, nn.parallel.DistributedDataParallel | nn.DataParallel):
            module = module.module
        elif isinstance(inner := getattr(module, _COMPILED, None), nn.Module):
            module = inner
        else:
            return module


def bare_name(name: str) -> str:
    """A parameter's name without what torch.compile puts into it where only a part of a model is compiled."""
    return ".".join(part for part in name.split(".") if part != _COMPILED)


def _torch_optimizer(optimizer: Any) -> Any:
    # Accelerate's wrapper is itself an Optimizer; a person's own that holds another one is not to be taken apart.
    while type(optimizer).__module__.startswith("accelerate."):
        optimizer = optimizer.optimizer
    return optimizer


def _capture_model(module: nn.Module, into: dict[str, Tensor]) -> dict[str, Any]:
    aliases: dict[str, str] = {}
    extra: dict[str, Any] = {}
    seen: dict[tuple[Any, ...], str] = {}
    for name, value in _named_state(module):
        if not isinstance(value, Tensor):
            extra[name] = value
            continue
        if reason := unstorable_dtype(value):
            raise Unstorable(f"{name}: {reason}")
        # A weight in pieces has no address; tied ones are one object.
        address = id(value) if isinstance(value, DTensor) else value.data_ptr()
        place = (address, value.device, value.dtype, tuple(value.shape), value.stride())
        first = seen.setdefault(place, name) if value.numel() else name
        if first != name:
            aliases[name] = first
        else:
            into[name] = _copy(value)
    return {"aliases": aliases, "extra": extra}


def _named_state(module: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, value in module.state_dict(keep_vars=True).items():
        yield bare_name(name), value


def _restore_model(module: nn.Module, content: Content) -> None:
    saved = content.state.get("model") or {}
    aliases, extra = saved.get("aliases", {}), saved.get("extra", {})
    source = {**content.model, **{alias: content.model[name] for alias, name in aliases.items()}}
    current = dict(_named_state(module))
    missing = sorted(current.keys() - source.keys() - extra.keys())
    unknown = sorted((source.keys() | extra.keys()) - current.keys())
    if missing or unknown:
        what = f"lacks {missing[0]}" if missing else f"has {unknown[0]}, which the model lacks"
        raise UnusableError("the checkpoint belongs to another model: it " + what, hint="was the model's code changed?")
    for name, tensor in source.items():
        if current[name].shape != tensor.shape or current[name].dtype != tensor.dtype:
            raise UnusableError(
                f"the checkpoint belongs to another model: {name} is {_shape(tensor)} in it "
                f"and {_shape(current[name])} in the model"
            )
    laid_out: dict[str, Tensor] = {}
    with torch.no_grad():
        for name, tensor in source.items():
            target = current[name]
            first = aliases.get(name, name)
            # The strides choose the kernels, so a model that was channels_last must be it again to go on bit for bit.
            # Tied names must keep sharing one memory, so the first of them moves and the others follow.
            if first in laid_out:
                target.data = laid_out[first]
            elif target.stride() != tensor.stride():
                target.data = torch.empty_strided(
                    tensor.shape, tensor.stride(), dtype=tensor.dtype, device=target.device
                )
                laid_out[first] = target.data
            target.copy_(tensor)
    if extra:
        actual = {bare_name(name): name for name in module.state_dict()}
        module.load_state_dict({actual[name]: value for name, value in extra.items()}, strict=False)


def _capture_optimizer(optimizer: Optimizer, module: nn.Module, into: dict[str, Tensor]) -> dict[str, Any]:
    names = _parameter_names(optimizer, module)
    groups: list[dict[str, Any]] = []
    for index, group in enumerate(optimizer.param_groups):
        options: dict[str, Any] = {}
        for key, value in group.items():
            if isinstance(value, Tensor):
                into[f"/group{index}/{key}"] = _copy(value)
            elif key not in ("params", "param_names"):
                options[key] = value
        groups.append({"params": [names[id(parameter)] for parameter in group["params"]], "options": options})
    tensors: dict[str, list[str]] = {}
    on_host: list[str] = []
    others: dict[str, dict[str, Any]] = {}
    for parameter, state in optimizer.state.items():
        name = names[id(parameter)]
        for key, value in state.items():
            if type(key) is not str:
                raise Unstorable(f"the optimizer state of {name} has the key {key!r}")
            if isinstance(value, Tensor):
                if reason := unstorable_dtype(value):
                    raise Unstorable(f"{key} of {name}: {reason}")
                into[f"{name}/{key}"] = _copy(value)
                tensors.setdefault(name, []).append(key)
                if value.device.type == "cpu" and parameter.device.type != "cpu":
                    on_host.append(f"{name}/{key}")
            else:
                held: dict[str, Tensor] = {}
                encode(value, held, f"{name}/{key}")
                if held:
                    raise Unstorable(f"{key} of {name} is {kind_of(value)} of tensors")
                others.setdefault(name, {})[key] = value
    return {
        "class": type(optimizer).__qualname__,
        "groups": groups,
        "tensors": tensors,
        "others": others,
        "on_host": on_host,
    }


def _restore_optimizer(optimizer: Optimizer, module: nn.Module, content: Content) -> None:
    saved = content.state["optimizer"]
    names = _parameter_names(optimizer, module)
    kind = type(optimizer).__qualname__
    if kind != saved["class"]:
        raise UnusableError(f"the checkpoint was written by the optimizer {saved['class']}, the run has {kind}")
    here = [[names[id(parameter)] for parameter in group["params"]] for group in optimizer.param_groups]
    if here != [group["params"] for group in saved["groups"]]:
        raise UnusableError(
            "the checkpoint's optimizer has other parameter groups", hint="was the model's code changed?"
        )
    for index, (group, old) in enumerate(zip(optimizer.param_groups, saved["groups"], strict=True)):
        group.update(old["options"])
        for place, tensor in content.optimizer.items():
            if place.startswith(f"/group{index}/"):
                key = place.removeprefix(f"/group{index}/")
                device = group[key].device if isinstance(group.get(key), Tensor) else tensor.device
                group[key] = _copy(tensor).to(device)
    # Set here and not by load_state_dict, which casts the state to its parameter's type: fp32 moments of a bf16
    # parameter would lose their bits.
    optimizer.state.clear()
    on_host = set(saved["on_host"])
    for group in optimizer.param_groups:
        counts_on_device = bool(group.get("capturable") or group.get("fused"))
        for parameter in group["params"]:
            name = names[id(parameter)]
            keys = saved["tensors"].get(name, [])
            state = dict(saved["others"].get(name, {}))
            for key in keys:
                place = f"{name}/{key}"
                host = place in on_host or (key == "step" and not counts_on_device)
                copied = _copy(content.optimizer[place])
                state[key] = copied if host else copied.to(parameter.device)
            if state:
                optimizer.state[parameter] = state


def _parameter_names(optimizer: Optimizer, module: nn.Module) -> dict[int, str]:
    names: dict[int, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), bare_name(name))
    for index, group in enumerate(optimizer.param_groups):
        for place, parameter in enumerate(group["params"]):
            # A parameter that the module does not own, a learned weight of a loss say.
            names.setdefault(id(parameter), f"/parameter{index}.{place}")
    return names


def _copy(tensor: Tensor) -> Tensor:
    """A copy on the CPU with memory of its own and, where they say anything, the same strides."""
    return whole(tensor.detach()).to("cpu", copy=True, memory_format=torch.preserve_format)


def _shape(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
