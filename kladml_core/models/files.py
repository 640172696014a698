"""A module's weights on disk: model.safetensors beside model.json, no pickle, tied tensors stored once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from kladml_core.errors import UnusableError
from kladml_core.runs.files import read_object, write_json

WEIGHTS = "model.safetensors"
ABOUT = "model.json"


def write_model(directory: Path, module: nn.Module, about: Mapping[str, Any]) -> None:
    """Writes a module's state and what is needed to build it again.

    Args:
        directory: made when missing.
        module: parameters and buffers are written contiguous, on whatever device they are.
        about: goes into model.json.

    Raises:
        OSError: the directory cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    owners: dict[tuple[Any, ...], str] = {}
    tensors: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    for name, value in module.state_dict().items():
        place = (value.device, value.data_ptr(), value.shape, value.stride(), value.dtype)
        if value.numel() and place in owners:
            aliases[name] = owners[place]
            continue
        owners[place] = name
        # A view into a larger storage must not drag that storage along, nor share it with another entry.
        tensors[name] = value.detach().clone().contiguous()
    try:
        save_file(tensors, directory / WEIGHTS)
    except SafetensorError as error:
        raise OSError(f"{directory / WEIGHTS}: {error}") from error
    write_json(directory / ABOUT, {"v": 1, **about, "aliases": aliases})


def read_about(directory: Path) -> dict[str, Any]:
    """What model.json says.

    Raises:
        UnusableError: it is missing or damaged.
    """
    about = read_object(directory / ABOUT)
    if about is None:
        raise UnusableError(f"{directory} holds no model", hint=f"a model's directory has {ABOUT} and {WEIGHTS}")
    return about


def read_weights(directory: Path, module: nn.Module) -> None:
    """Loads model.safetensors into a module of the same shape.

    Raises:
        UnusableError: the file is missing or damaged, or its tensors do not fit the module.
    """
    about = read_about(directory)
    try:
        tensors = load_file(directory / WEIGHTS)
        for name, owner in dict(about.get("aliases") or {}).items():
            tensors[name] = tensors[owner]
        module.load_state_dict(tensors)
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise UnusableError(f"{directory / WEIGHTS} does not fit {type(module).__name__}: {error}") from error
