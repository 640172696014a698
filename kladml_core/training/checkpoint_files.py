"""One checkpoint on disk: written whole or not at all, verified by hash, loaded without pickle."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from kladml_core.errors import CheckpointWriteError, UnusableError
from kladml_core.runs.checkpoint_list import (
    MANIFEST,
    REPLACED_SUFFIX,
    CheckpointInfo,
    checkpoint_directories,
    read_manifest,
    seal,
    verify,
)
from kladml_core.runs.files import fsync_directory, read_object, strict_dumps, to_jsonable, write_json
from kladml_core.training.checkpoint_content import Content, Unstorable, decode, encode
from kladml_core.training.checkpoint_tensors import WrittenFile, read_tensors, write_chunks, write_tensors

MODEL = "model.safetensors"
OPTIMIZER = "optimizer.safetensors"
AVERAGES = "ema.safetensors"
GENERATORS = "rng.safetensors"
STATE_TENSORS = "state.safetensors"
STATE = "state.json"
_TEMPORARIES = (".step-", ".latest.json.", ".best.json.")


def save(
    run_checkpoints: Path,
    content: Content,
    *,
    step: int,
    epoch: int,
    metrics: Mapping[str, float],
    world_size: int,
    config_hash: str,
    best: bool,
) -> CheckpointInfo:
    """Writes `step-<step>`; a crash at any moment leaves the earlier checkpoints and, of this one, all or nothing.

    The directory's temporary leftovers of attempts that died are removed first: a run has one writer.

    Args:
        run_checkpoints: the run's checkpoints directory; made when missing.
        metrics: the last value of each metric, for lists and for ranking.
        best: also names it in best.json.

    Raises:
        CheckpointWriteError: it could not be written; nothing of it is left, and the earlier ones are untouched.
    """
    name = f"step-{step:010d}"
    started = time.perf_counter()
    temporary: Path | None = None
    try:
        run_checkpoints.mkdir(parents=True, exist_ok=True)
        _tidy(run_checkpoints)
        temporary = Path(tempfile.mkdtemp(dir=run_checkpoints, prefix=f".{name}.", suffix=".tmp"))
        os.chmod(temporary, 0o777 & ~_UMASK)
        manifest = {
            "v": 1,
            "step": step,
            "epoch": epoch,
            "best": best,
            "time": time.time(),
            "world_size": world_size,
            "config_hash": config_hash,
            "versions": {"python": platform.python_version(), "torch": torch.__version__, "safetensors": _SAFETENSORS},
            "metrics": to_jsonable(metrics),
            "files": {file: {"size": it.size, "sha256": it.sha256} for file, it in _write(temporary, content).items()},
        }
        write_chunks(temporary / MANIFEST, [seal(manifest)])
        fsync_directory(temporary)
        _put_in_place(temporary, run_checkpoints / name)
    except (OSError, Unstorable) as error:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        what = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        raise CheckpointWriteError(
            f"checkpoint {name} cannot be written: {what}",
            hint=f"the earlier ones are untouched; look at the space and the permissions of {run_checkpoints}",
        ) from error
    except BaseException:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        raise
    for which in ("latest", "best") if best else ("latest",):
        write_hint(run_checkpoints, which, name)
    info = read_manifest(run_checkpoints / name)
    return CheckpointInfo(**{**vars(info), "seconds": time.perf_counter() - started})


def load(path: Path, *, verified: bool = False) -> Content:
    """Reads a checkpoint into host memory.

    Args:
        verified: True skips comparing the hashes, where `verify` or `newest` has just done it.

    Raises:
        UnusableError: it is damaged or cannot be read.
    """
    problem = None if verified else verify(path)
    if problem is not None:
        raise UnusableError(f"checkpoint {path.name} cannot be used: {problem}", hint="choose an earlier one")
    try:
        state = read_object(path / STATE)
        if state is None:
            raise ValueError(f"{STATE} is damaged")
        tensors = read_tensors(path / STATE_TENSORS) if (path / STATE_TENSORS).exists() else {}
        layouts = state["layouts"]
        return Content(
            model=_laid_out(read_tensors(path / MODEL), layouts["model"]),
            optimizer=_laid_out(read_tensors(path / OPTIMIZER), layouts["optimizer"]),
            averages=read_tensors(path / AVERAGES) if (path / AVERAGES).exists() else {},
            rng=read_tensors(path / GENERATORS),
            state=decode(state["state"], tensors),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnusableError(f"checkpoint {path.name} cannot be read: {error}", hint="choose an earlier one") from error


def write_hint(checkpoints: Path, which: str, name: str) -> None:
    """Names a checkpoint in latest.json or best.json. A hint and no more, so that a full disk is no error here."""
    try:
        hint = {"name": name, "step": int(name.removeprefix("step-"))}
        write_json(checkpoints / f"{which}.json", hint, durable=False)
    except OSError:
        # The checkpoint itself is written; the manifests say the same as the hint.
        pass


def _write(directory: Path, content: Content) -> dict[str, WrittenFile]:
    tensors: dict[str, Tensor] = {}
    state = {
        "v": 1,
        "layouts": {"model": _layouts(content.model), "optimizer": _layouts(content.optimizer)},
        "state": encode(content.state, tensors, "state"),
    }
    text = (strict_dumps(state, indent=1) + "\n").encode()
    optional = {AVERAGES: content.averages, STATE_TENSORS: tensors}
    parts = {MODEL: content.model, OPTIMIZER: content.optimizer, GENERATORS: content.rng}
    parts |= {name: part for name, part in optional.items() if part}
    # Side by side: while the disk takes one file in, the next one is hashed. Leaving waits for all, even after a fault.
    with ThreadPoolExecutor(len(parts)) as writers:
        writing = {name: writers.submit(write_tensors, directory / name, part) for name, part in parts.items()}
        written = {STATE: write_chunks(directory / STATE, [text])}
    return {**{name: writing[name].result() for name in writing}, **written}


def _put_in_place(temporary: Path, target: Path) -> None:
    """Gives the finished directory its name, at no moment leaving fewer valid checkpoints than there were."""
    aside = None
    if target.exists():
        # A run that was continued from an earlier checkpoint passes this step again. A valid one still counts under
        # its second name until the new one stands; a damaged one is kept, as all rejects are.
        suffix = REPLACED_SUFFIX if verify(target) is None else f".rejected-{time.time_ns():x}"
        aside = target.with_name(target.name + suffix)
        os.rename(target, aside)
    try:
        os.rename(temporary, target)
    except OSError:
        if aside is not None:
            os.rename(aside, target)
        raise
    fsync_directory(target.parent)
    if aside is not None and aside.name.endswith(REPLACED_SUFFIX):
        discard(aside)


def discard(path: Path) -> bool:
    """Removes a checkpoint: first its name, in one step, so that half of it never looks like a damaged one.

    Returns:
        Whether it is gone.
    """
    hidden = path.with_name(f".{path.name}.{time.time_ns():x}.tmp")
    try:
        os.rename(path, hidden)
    except OSError:
        return False
    shutil.rmtree(hidden, ignore_errors=True)
    return True


def _tidy(checkpoints: Path) -> None:
    for path in checkpoints.iterdir():
        if path.name.startswith(_TEMPORARIES) and path.name.endswith(".tmp"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    for path in checkpoint_directories(checkpoints):
        if path.name.endswith(REPLACED_SUFFIX):
            original = path.with_name(path.name.removesuffix(REPLACED_SUFFIX))
            if not original.exists():
                os.rename(path, original)
            elif verify(original) is None:
                discard(path)


def _layouts(tensors: Mapping[str, Tensor]) -> dict[str, list[int]]:
    """The strides of the tensors that are not laid out in the plain order (channels_last and the like)."""
    found = {}
    for name, tensor in tensors.items():
        plain = torch.empty(tensor.shape, device="meta").stride()
        if tensor.stride() != plain and tensor.numel():
            found[name] = list(tensor.stride())
    return found


def _laid_out(tensors: dict[str, Tensor], layouts: Mapping[str, Any]) -> dict[str, Tensor]:
    for name, strides in layouts.items():
        plain = tensors[name]
        tensors[name] = torch.empty_strided(plain.shape, strides, dtype=plain.dtype).copy_(plain)
    return tensors


def _read_umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


# mkdtemp makes a directory that only its owner may read; a checkpoint is as readable as the rest of the run.
_UMASK = _read_umask()
_SAFETENSORS = str(getattr(safetensors, "__version__", "unknown"))
