"""Loads the data that a config names: a target's, a registered dataset, or a file."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from kladml_core.config.references import DATA_SUFFIXES as SUFFIXES
from kladml_core.config.references import is_data_path
from kladml_core.data.datamodule import SPLITS, DataModule, as_split
from kladml_core.data.table_choice import TableChoice
from kladml_core.data.table_files import load_csv, load_parquet
from kladml_core.errors import ConfigError, UnusableError

INPUTS, TARGETS = "x", "y"
_TABLES = {".csv": load_csv, ".parquet": load_parquet}


def load_data(data: Mapping[str, Any], workspace: Path, resolve: Callable[[str], Any]) -> DataModule:
    """The data of a run.

    Args:
        data: the config's `data` section: `target` and `params`, or `train`, `val` and `test`, each the name of a
            registered dataset or a path, relative to the workspace, with `params` over those of the registrations.
        workspace: its root.
        resolve: imports a target, `module:function`.

    Raises:
        ConfigError: a name that is not registered.
        UnusableError: a file is missing, damaged or of another shape, or a target gives what is no data.
    """
    if target := data.get("target"):
        return DataModule.of(resolve(target)(**(data.get("params") or {})), target)
    named = {split: data[split] for split in SPLITS if data.get(split)}
    if "train" not in named:
        raise ConfigError(
            "the data section names no training data", hint="give data.target, or data.train and data.val"
        )
    params = data.get("params") or {}
    return DataModule(**{split: _named(name, split, params, workspace, resolve) for split, name in named.items()})


def load_arrays(path: Path, params: Mapping[str, Any] | None = None) -> tuple[Tensor, ...]:
    """The tensors of a data file, inputs first, one row a sample.

    A .npz (never unpickled) or .safetensors file holds `x` and `y`, or one array alone. A .csv file with a header and a
    .parquet file hold numbers: the last column is y, int64 [n] where every value is a whole number (a class), float32
    [n, 1] otherwise; the other columns are x, float32 [n, columns].

    Args:
        path: the file.
        params: what is taken of it instead, see `TableChoice`.

    Raises:
        ConfigError: the parameters are wrong.
        UnusableError: the file is missing, damaged, or holds something else; a .csv fault with its line.
    """
    if path.suffix not in SUFFIXES:
        raise UnusableError(f"{path} is no data file", hint=f"the formats are {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise UnusableError(f"there is no data file {path}", hint="paths are looked up from the workspace")
    choice = TableChoice.of(params or {})
    try:
        if path.suffix in _TABLES:
            return _TABLES[path.suffix](path, choice)
        arrays = _npz(path) if path.suffix == ".npz" else load_file(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, csv.Error, SafetensorError) as error:
        raise UnusableError(f"{path} cannot be read: {error}") from error
    tensors = _pick(arrays, path, choice)
    lengths = {tensor.shape[0] if tensor.ndim else None for tensor in tensors}
    if len(lengths) > 1 or None in lengths:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
        raise UnusableError(f"the arrays of {path} do not have one row a sample: {shapes}")
    return tensors


def _named(name: str, split: str, params: Mapping[str, Any], workspace: Path, resolve: Callable[[str], Any]) -> Any:
    if is_data_path(name):
        return load_arrays(workspace / Path(name).expanduser(), params)
    # Here and not above: registered datasets are a matter of the workspace, which most uses of this module lack.
    from kladml_core.workspace.datasets import find_dataset

    registration = find_dataset(workspace, name)
    location = registration.location(workspace)
    wanted_params = {**registration.params, **params}
    if location is not None:
        return load_arrays(location, wanted_params)
    target = str(registration.target)
    whole = DataModule.of(resolve(target)(**wanted_params), target)
    wanted = registration.split or split
    if wanted not in whole.splits:
        raise UnusableError(f"{target} gave no {wanted} split, which dataset {name!r} is registered as")
    return as_split(whole.splits[wanted], split)


def _npz(path: Path) -> dict[str, Tensor]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: _from_numpy(archive[name], name) for name in archive.files}


def _from_numpy(array: np.ndarray[Any, Any], name: str) -> Tensor:
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} is of type {array.dtype}, which is not a number")
    # In memory of its own and in this machine's byte order, both of which torch asks for.
    tensor = torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))
    return tensor.to(torch.get_default_dtype()) if tensor.dtype == torch.float64 else tensor


def _pick(arrays: Mapping[str, Tensor], path: Path, choice: TableChoice) -> tuple[Tensor, ...]:
    if choice.inputs or choice.targets:
        return _chosen(arrays, path, choice)
    if INPUTS in arrays:
        return tuple(arrays[name] for name in (INPUTS, TARGETS) if name in arrays)
    if len(arrays) == 1:
        return tuple(arrays.values())
    found = ", ".join(arrays) or "nothing"
    hint = "name the inputs x and the targets y, or choose with params: {columns: [inputs], target_column: targets}"
    raise UnusableError(f"{path} holds {found}", hint=hint)


def _chosen(arrays: Mapping[str, Tensor], path: Path, choice: TableChoice) -> tuple[Tensor, ...]:
    """The arrays that the parameters name; x and y where only the other one is named."""
    if len(choice.inputs) > 1 or len(choice.targets) > 1 or choice.classes or choice.target_type:
        raise UnusableError(
            f"of {path} one array can be the inputs and one the targets, as they are",
            hint="write params: {columns: [inputs], target_column: targets}",
        )
    names = [*(choice.inputs or (INPUTS,)), *(choice.targets or (TARGETS,) * (TARGETS in arrays))]
    missing = next((name for name in names if name not in arrays), None)
    if missing is not None:
        raise UnusableError(f"{path} holds no array {missing!r}", hint=f"it holds {', '.join(arrays) or 'nothing'}")
    return tuple(arrays[name] for name in names)
