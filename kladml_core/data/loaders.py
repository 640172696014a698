"""Loads the data that a config names: a target's, a registered dataset, or a .npz, .safetensors or .csv file."""

from __future__ import annotations

import csv
import math
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from kladml_core.data.datamodule import SPLITS, DataModule, as_split
from kladml_core.errors import ConfigError, UnusableError

SUFFIXES = (".npz", ".safetensors", ".csv")
INPUTS, TARGETS = "x", "y"


def load_data(data: Mapping[str, Any], workspace: Path, resolve: Callable[[str], Any]) -> DataModule:
    """The data of a run.

    Args:
        data: the config's `data` section: `target` and `params`, or `train`, `val` and `test`, each the name of a
            registered dataset or a path, relative to the workspace.
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
    return DataModule(**{split: _named(name, split, workspace, resolve) for split, name in named.items()})


def load_arrays(path: Path, *, target_column: str | None = None) -> tuple[Tensor, ...]:
    """The tensors of a data file, inputs first, one row a sample.

    A .npz (never unpickled) or .safetensors file holds `x` and `y`, or one array alone. A .csv file has a header and
    nothing but numbers; its last column, or `target_column`, is y: int64 where every value is written as a whole
    number (a class), float32 [n, 1] otherwise, with the other columns as x, float32 [n, columns].

    Raises:
        UnusableError: the file is missing, damaged, or holds something else; a .csv fault with its line.
    """
    if path.suffix not in SUFFIXES:
        raise UnusableError(f"{path} is no data file", hint="the formats are .npz, .safetensors and .csv")
    if not path.is_file():
        raise UnusableError(f"there is no data file {path}", hint="paths are looked up from the workspace")
    try:
        if path.suffix == ".csv":
            return _csv(path, target_column)
        arrays = _npz(path) if path.suffix == ".npz" else load_file(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, SafetensorError) as error:
        raise UnusableError(f"{path} cannot be read: {error}") from error
    tensors = _pick(arrays, path)
    lengths = {tensor.shape[0] if tensor.ndim else None for tensor in tensors}
    if len(lengths) > 1 or None in lengths:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
        raise UnusableError(f"the arrays of {path} do not have one row a sample: {shapes}")
    return tensors


def _named(name: str, split: str, workspace: Path, resolve: Callable[[str], Any]) -> Any:
    if "/" in name or name.endswith(SUFFIXES):
        return load_arrays(workspace / Path(name).expanduser())
    # Here and not above: registered datasets are a matter of the workspace, which most uses of this module lack.
    from kladml_core.workspace.datasets import find_dataset

    registration = find_dataset(workspace, name)
    location = registration.location(workspace)
    if location is not None:
        return load_arrays(location, target_column=registration.params.get("target_column"))
    target = str(registration.target)
    whole = DataModule.of(resolve(target)(**registration.params), target)
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


def _pick(arrays: Mapping[str, Tensor], path: Path) -> tuple[Tensor, ...]:
    if INPUTS in arrays:
        return tuple(arrays[name] for name in (INPUTS, TARGETS) if name in arrays)
    if len(arrays) == 1:
        return tuple(arrays.values())
    found = ", ".join(arrays) or "nothing"
    raise UnusableError(f"{path} holds {found}", hint="name the inputs x and the targets y")


def _csv(path: Path, target_column: str | None) -> tuple[Tensor, ...]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        if len(header) < 2:
            raise UnusableError(f"{path} needs a header with at least two columns", file=str(path), line=1)
        if target_column is not None and target_column not in header:
            raise UnusableError(
                f"there is no column {target_column!r}",
                hint=f"the columns are {', '.join(header)}",
                file=str(path),
                line=1,
            )
        place = len(header) - 1 if target_column is None else header.index(target_column)
        rows: list[list[float]] = []
        whole = True
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise UnusableError(
                    f"{len(cells)} cells in a table of {len(header)} columns", file=str(path), line=reader.line_num
                )
            whole = whole and _is_whole(cells[place])
            rows.append([_cell(cell, header[at], path, reader.line_num) for at, cell in enumerate(cells)])
    if not rows:
        raise UnusableError(f"{path} holds a header and no rows")
    table = torch.tensor(rows, dtype=torch.float64)
    inputs = torch.cat([table[:, :place], table[:, place + 1 :]], dim=1).to(torch.get_default_dtype())
    targets = table[:, place]
    return inputs, targets.to(torch.int64) if whole else targets[:, None].to(torch.get_default_dtype())


def _is_whole(cell: str) -> bool:
    return cell.strip().removeprefix("-").isdecimal()


def _cell(cell: str, column: str, path: Path, line: int) -> float:
    try:
        value = float(cell)
    except ValueError:
        raise UnusableError(
            f"{cell!r} in column {column!r} is not a number",
            hint="turn categories into numbers first",
            file=str(path),
            line=line,
        ) from None
    if not math.isfinite(value):
        raise UnusableError(f"{cell!r} in column {column!r} is not a finite number", file=str(path), line=line)
    return value
