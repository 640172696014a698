"""Looks up what a config names outside itself: targets, registered datasets and files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from kladml_core.config.document import KeyPath
from kladml_core.config.faults import Fault
from kladml_core.config.names import is_target
from kladml_core.config.targets import find_target
from kladml_core.errors import ExitCode, KladMLError, UnusableError

DATA_SUFFIXES = (".npz", ".safetensors", ".csv", ".parquet")
"""What a data file's name may end in."""
GIVEN_DATA = "kladml_core.runner:given_data"
"""What stands as `data.target` in the config of a run whose data was given in memory."""
_TARGETS: tuple[KeyPath, ...] = (
    ("model", "target"),
    ("loss",),
    ("data", "target"),
    ("training", "optimizer"),
    ("training", "optimizer", "name"),
    ("training", "lr_scheduler"),
    ("training", "lr_scheduler", "name"),
)


def reference_faults(data: dict[str, Any], workspace: Path) -> Iterator[tuple[Fault, ExitCode]]:
    """What `data` names and `workspace` does not have, each with the exit code it would end a launch with."""
    for path in _TARGETS:
        value = _value(data, path)
        if isinstance(value, str) and is_target(value) and all(value.rpartition(":")[::2]):
            try:
                find_target(value, workspace)
            except KladMLError as error:
                yield _fault(path, error), error.exit_code
    for split in ("train", "val", "test"):
        value = _value(data, ("data", split))
        if isinstance(value, str) and value:
            yield from _data_fault(("data", split), value, workspace, data["data"].get("params"))
    yield from _params_fault(data.get("data"), workspace)


def is_data_path(text: str) -> bool:
    """Whether a `data.train` value is a path rather than the name of a registered dataset."""
    return "/" in text or text.endswith(DATA_SUFFIXES)


def _data_fault(path: KeyPath, text: str, workspace: Path, params: Any) -> Iterator[tuple[Fault, ExitCode]]:
    if is_data_path(text):
        file = workspace / Path(text).expanduser()
        if file.suffix not in DATA_SUFFIXES:
            hint = f"Use a file that ends in {', '.join(DATA_SUFFIXES)}, or a data.target that loads it"
            yield Fault(path, f"{text!r} is no data file", hint), ExitCode.UNUSABLE
        elif not file.is_file():
            yield Fault(path, f"there is no file {text!r}", _similar(file, workspace)), ExitCode.UNUSABLE
        return
    # Imported here because registered datasets are a matter of the workspace, which itself reads configs.
    from kladml_core.workspace.dataset_texts import text_fault
    from kladml_core.workspace.datasets import find_dataset

    try:
        found = find_dataset(workspace, text)
        location = found.location(workspace)
        # Of another size it is other data than was registered, of whose columns nothing is known.
        if location is not None and location.stat().st_size == found.bytes:
            fault = text_fault(found, params if isinstance(params, dict) else {})
            if fault is not None:
                yield _fault(path, fault), fault.exit_code
    except OSError as error:
        yield Fault(path, f"the data of {text!r} cannot be read: {error.strerror}"), ExitCode.UNUSABLE
    except KladMLError as error:
        yield _fault(path, error), error.exit_code


def _params_fault(source: Any, workspace: Path) -> Iterator[tuple[Fault, ExitCode]]:
    """What files cannot be asked for; the parameters of a function are looked at where its signature is."""
    params = source.get("params") if isinstance(source, dict) and not source.get("target") else None
    if not isinstance(params, dict) or not params:
        return
    from kladml_core.data.table_choice import TableChoice
    from kladml_core.workspace.datasets import find_dataset

    try:
        for name in filter(None, map(source.get, ("train", "val", "test"))):
            if isinstance(name, str) and not is_data_path(name) and find_dataset(workspace, name).target is not None:
                return
        TableChoice.of(params)
    except UnusableError:
        return  # there is no such dataset, which is told at its name
    except KladMLError as error:
        yield _fault(("data", "params"), error), error.exit_code


def _fault(path: KeyPath, error: KladMLError) -> Fault:
    """An error of what is named, told at the place that names it; its own place goes into the message."""
    return Fault(path, f"{error.location}: {error.message}" if error.location else error.message, error.hint)


def _similar(file: Path, workspace: Path) -> str:
    try:
        names = [entry.name for entry in os.scandir(file.parent)]
    except OSError:
        return f"The folder {file.parent} does not exist"
    close = get_close_matches(file.name, names, n=1)
    if close:
        return f"Did you mean {os.path.relpath(file.parent / close[0], workspace)}?"
    return f"Paths are looked up from the workspace {workspace}"


def _value(data: Any, path: KeyPath) -> Any:
    for part in path:
        if not isinstance(data, dict):
            return None
        data = data.get(part)
    return data
