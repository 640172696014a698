"""The process that looks through data: `python -m kladml_core.data.examine`, a request on stdin, the answer on stdout.

It has its own process so that the one that asks stays light, and so that what a file or a person's function does with
memory and time ends with it. See `kladml_core.workspace.dataset_examine` for who asks.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from kladml_core.errors import KladMLError, UnusableError
from kladml_core.runs.files import strict_dumps

MARK = "kladml-examined:"
_MEMORY = 8 << 30
"""Bytes of address space for reading a file, which takes blocks of it: a file that unfolds to more is refused."""
_BATCH = 1024
_SAMPLES = 4096
"""Of data that is no tensors: reading a sample may cost anything."""


def main(out: TextIO) -> int:
    """Answers one request."""
    request = json.loads(sys.stdin.buffer.read())
    try:
        if request.get("target"):
            answer = _target(request)
        else:
            with suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
            answer = _file(request)
    except KladMLError as error:
        answer = {"error": error.message, "hint": error.hint, "exit_code": int(error.exit_code)}
    except MemoryError:
        answer = {"error": f"it takes more than {_MEMORY >> 30} GiB of memory to be looked at", "hint": None}
    out.write(f"\n{MARK}{strict_dumps(answer)}\n")
    out.flush()
    return 3 if "error" in answer else 0


def _file(request: Mapping[str, Any]) -> dict[str, Any]:
    from kladml_core.data.profile import profile_file

    path = Path(request["path"])
    try:
        return profile_file(path, request.get("params") or {}, float(request["seconds"]))
    except (OSError, ValueError, EOFError, KeyError, TypeError, NotImplementedError, zipfile.BadZipFile) as error:
        raise UnusableError(f"{path} cannot be read: {_said(error)}") from error


def _target(request: Mapping[str, Any]) -> dict[str, Any]:
    """Calls a person's function and looks at the split that is meant."""
    from kladml_core.config.inspect import load_target

    target = request["target"]
    try:
        made = load_target(target, Path.cwd())(**(request.get("params") or {}))
    except KladMLError:
        raise
    except (Exception, SystemExit) as error:  # a person's code may raise anything, and that is the answer
        raise UnusableError(f"{target} cannot be called: {_said(error)}") from error
    from kladml_core.data.datamodule import DataModule
    from kladml_core.data.profile import Profile

    splits = DataModule.of(made, target).splits
    wanted = request.get("split") or "train"
    if wanted not in splits:
        raise UnusableError(f"{target} gave no {wanted} split", hint=f"it gave {', '.join(splits)}")
    split = splits[wanted]
    if split.length is None:
        raise UnusableError(f"the {wanted} split of {target} is an iterable, which is not looked at")
    last = split.length if split.tensors is not None else min(split.length, _SAMPLES)
    profile: Profile | None = None
    for batch in _batches(split, last):
        if profile is None:
            columns = [(name, str(part.dtype), tuple(part.shape[1:])) for name, part in batch.items()]
            profile = Profile(columns, "y" if "y" in batch else None, parse=False)
        profile.add(list(batch.values()))
    assert profile is not None  # a split is never empty
    notes = [] if last == split.length else [f"summarised are the first {last:,} of {split.length:,} samples"]
    answer = profile.result(complete=last == split.length, rows=split.length, notes=notes)
    return {**answer, "splits": {name: one.length for name, one in splits.items()}}


def _batches(split: Any, last: int) -> Iterator[dict[str, Any]]:
    import numpy as np
    import torch

    for start in range(0, last, _BATCH):
        batch = split.fetch(torch.arange(start, min(start + _BATCH, last)))
        if isinstance(batch, Mapping):
            parts = {str(name): part for name, part in batch.items()}
        else:
            several = list(batch) if isinstance(batch, list | tuple) else [batch]
            names = ["x", "y", *(f"part {number}" for number in range(3, len(several) + 1))]
            parts = dict(zip(names, several, strict=False))
        arrays = {}
        for name, part in parts.items():
            value = part.detach().cpu() if isinstance(part, torch.Tensor) else part
            if isinstance(value, torch.Tensor) and value.dtype == torch.bfloat16:
                value = value.float()
            arrays[name] = np.asarray(value)
        yield arrays


def _said(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text}"[:500] if text else type(error).__name__


if __name__ == "__main__":
    # What a person's function prints must not mix with the answer, so it goes where errors go.
    _answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.exit(main(_answers))
