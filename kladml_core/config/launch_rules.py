"""Rules of the launch section: how many processes, where, and whether each holds the whole model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kladml_core.config.document import describe
from kladml_core.config.faults import Fault, mapping, number, suggestion
from kladml_core.config.names import is_target

_WRAPPING = ("no_wrap", "size_based_wrap", "transformer_based_wrap")
_PIECES = ("auto_wrap_policy", "min_num_params", "reshard_after_forward", "transformer_cls_names_to_wrap")
_NOT_PASSED_ON = {
    "activation_checkpointing": "call torch.utils.checkpoint in the model",
    "cpu_offload": "weights stay on the device",
    "fsdp_version": "it is always version 2",
    "mixed_precision_policy": "training.mixed_precision decides it",
    "sharding_strategy": "write reshard_after_forward: true or false",
    "state_dict_type": "a checkpoint always holds the whole model",
}


def launch_faults(launch: Mapping[str, Any], training: Mapping[str, Any]) -> Iterator[Fault]:
    """Faults of a `launch` section, and between it and `training`."""
    processes = launch.get("processes")
    if launch.get("distributed") is True and number(processes) and processes > 1:
        yield Fault(
            ("launch", "processes"),
            "launch.distributed: true starts one process for each visible device, and launch.processes says how many",
            "Remove one of the two",
        )
    yield from _device_faults(launch)
    yield from _machine_faults(launch)
    if launch.get("deepspeed") is not None:
        yield Fault(
            ("launch", "deepspeed"),
            "launch.deepspeed cannot be used: its engine accumulates, clips and steps by itself, so that neither an "
            "exact resume nor the equal weight of each sample could be kept",
            "Remove it; launch.fsdp: {} cuts the model over the processes too",
            at_key=True,
        )
    if isinstance(launch.get("fsdp"), Mapping):
        yield from _fsdp_faults(launch, training)


def _device_faults(launch: Mapping[str, Any]) -> Iterator[Fault]:
    device = str(launch.get("device", "auto"))
    if _several(launch) and device == "mps":
        yield Fault(
            ("launch", "device"),
            "launch.device: mps is one device, which several processes cannot share",
            "Write processes: 1, or device: cpu",
        )
    elif _several(launch) and device.startswith("cuda:"):
        yield Fault(
            ("launch", "device"),
            f"launch.device: {device} names one device, but several processes take one each",
            "Write device: cuda, and choose devices with CUDA_VISIBLE_DEVICES",
        )


def _machine_faults(launch: Mapping[str, Any]) -> Iterator[Fault]:
    machines, rank, meeting = (launch.get(key) for key in ("machines", "machine_rank", "rendezvous"))
    machines = 1 if machines is None else machines
    if not number(machines):
        return
    if machines > 1:
        missing = [key for key, value in (("machine_rank", rank), ("rendezvous", meeting)) if value is None]
        if missing:
            yield Fault(
                ("launch", "machines"),
                f"launch.machines is {machines}, which needs launch.{' and launch.'.join(missing)}",
                "Write rendezvous: host:29500 (of machine 0), and on each machine its own machine_rank, from 0",
            )
        if number(rank) and rank >= machines:
            yield Fault(
                ("launch", "machine_rank"),
                f"launch.machine_rank is {rank}, but there are {machines} machines",
                f"They count from 0 to {machines - 1}",
            )
    else:
        for key, value in (("machine_rank", rank), ("rendezvous", meeting)):
            if value is not None:
                yield Fault(("launch", key), f"launch.{key} is for several machines", "Add machines: 2, or remove it")
    if isinstance(meeting, str) and machines > 1:
        host, _, port = meeting.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            message = f"launch.rendezvous must be host:port, not {describe(meeting)}"
            yield Fault(("launch", "rendezvous"), message, "Write the address of machine 0, e.g. 10.0.0.1:29500")


def _fsdp_faults(launch: Mapping[str, Any], training: Mapping[str, Any]) -> Iterator[Fault]:
    arguments = launch["fsdp"]
    if not _several(launch):
        yield Fault(
            ("launch", "fsdp"),
            "launch.fsdp cuts the model over several processes, and there is one",
            "Add processes: 2, or remove fsdp",
            at_key=True,
        )
    yield from _argument_faults(arguments)
    optimizer = training.get("optimizer")
    name = mapping(optimizer).get("name", optimizer)
    for key, wrong, why, instead in (
        (
            "compile",
            training.get("compile") is True,
            "a model in pieces cannot be compiled yet",
            "Write compile: false",
        ),
        (
            "ema_decay",
            training.get("ema_decay") is not None,
            "no moving average is kept of a model in pieces",
            "Remove it",
        ),
        (
            "mixed_precision",
            training.get("mixed_precision") == "fp16",
            "fp16 would scale each piece by itself",
            "Write bf16",
        ),
        (
            "optimizer",
            isinstance(name, str) and is_target(name),
            "an optimizer of one's own may need whole weights, of which each process has a piece",
            "Write adamw, or another one by name",
        ),
    ):
        if wrong:
            yield Fault(
                ("training", key),
                f"training.{key} cannot be used with launch.fsdp: {why}",
                f"{instead}, or remove launch.fsdp",
            )


def _argument_faults(arguments: Mapping[str, Any]) -> Iterator[Fault]:
    for key in arguments:
        if key in _NOT_PASSED_ON:
            message = f"launch.fsdp.{key} cannot be set"
            yield Fault(("launch", "fsdp", key), f"{message}: {_NOT_PASSED_ON[key]}", "Remove it", at_key=True)
        elif key not in _PIECES:
            hint = suggestion(str(key), _PIECES, "the arguments of fsdp are")
            yield Fault(("launch", "fsdp", key), f"launch.fsdp has no argument {key!r}", hint, at_key=True)
    policy, least = arguments.get("auto_wrap_policy", "no_wrap"), arguments.get("min_num_params")
    names, reshard = arguments.get("transformer_cls_names_to_wrap"), arguments.get("reshard_after_forward")
    if policy not in _WRAPPING:
        hint = f"One of {', '.join(_WRAPPING)}"
        yield Fault(("launch", "fsdp", "auto_wrap_policy"), f"auto_wrap_policy {describe(policy)} is not known", hint)
    if policy == "size_based_wrap" and least is None:
        message, hint = "auto_wrap_policy size_based_wrap needs min_num_params", "Add min_num_params: 1000000"
        yield Fault(("launch", "fsdp", "auto_wrap_policy"), message, hint)
    if policy == "transformer_based_wrap" and names is None:
        message = "auto_wrap_policy transformer_based_wrap needs transformer_cls_names_to_wrap"
        hint = "Add the names of the classes of its blocks, e.g. [Block]"
        yield Fault(("launch", "fsdp", "auto_wrap_policy"), message, hint)
    if least is not None and (type(least) is not int or least < 1):
        message = f"min_num_params must be a whole number of weights, at least 1, not {describe(least)}"
        yield Fault(("launch", "fsdp", "min_num_params"), message)
    if names is not None and not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
        message = f"transformer_cls_names_to_wrap must be a list of class names, not {describe(names)}"
        yield Fault(("launch", "fsdp", "transformer_cls_names_to_wrap"), message)
    if reshard is not None and not isinstance(reshard, bool):
        message = f"reshard_after_forward must be true or false, not {describe(reshard)}"
        yield Fault(("launch", "fsdp", "reshard_after_forward"), message)


def _several(launch: Mapping[str, Any]) -> bool:
    counts = (launch.get("processes"), launch.get("machines"))
    return launch.get("distributed") is True or any(number(count) and count > 1 for count in counts)
