"""A checkpoint on disk is whole or it is rejected: every file, every byte, every name."""

from __future__ import annotations

import json
import math
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from kladml_core.errors import CheckpointWriteError, UnusableError
from kladml_core.runs.checkpoint_list import list_checkpoints
from kladml_core.runs.rundir import RunDirectory
from kladml_core.training.checkpoints import (
    CheckpointInfo,
    Content,
    load,
    newest,
    read_hint,
    save,
    valid,
    verify,
    write_hint,
)

FILES = ("MANIFEST.json", "model.safetensors", "optimizer.safetensors", "rng.safetensors", "state.json")


def content(seed: int = 0) -> Content:
    generator = torch.Generator().manual_seed(seed)
    return Content(
        model={"weight": torch.randn(5, 3, generator=generator), "bias": torch.randn(3, generator=generator)},
        optimizer={"weight/exp_avg": torch.randn(5, 3, generator=generator)},
        rng={"rank0/torch": torch.arange(7, dtype=torch.uint8)},
        state={"trainer": {"step": seed, "best": float("inf"), "history": (1.5, float("nan"), None)}},
    )


def written(directory: Path, step: int, *, best: bool = False, seed: int | None = None) -> CheckpointInfo:
    return save(
        directory,
        content(step if seed is None else seed),
        step=step,
        epoch=step // 10,
        metrics={"val/loss": 1 / step, "val/odd": math.nan},
        world_size=1,
        config_hash="abc",
        best=best,
    )


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    info = written(tmp_path, 12, best=True)
    assert (info.name, info.step, info.epoch, info.best) == ("step-0000000012", 12, 1, True)
    assert info.bytes == sum(file.stat().st_size for file in info.path.iterdir())
    assert info.metrics["val/loss"] == 1 / 12
    assert math.isnan(info.metrics["val/odd"])
    back = load(info.path)
    expected = content(12)
    for name in ("model", "optimizer", "rng"):
        assert {key: value.tolist() for key, value in getattr(back, name).items()} == {
            key: value.tolist() for key, value in getattr(expected, name).items()
        }
    trainer = back.state["trainer"]
    assert trainer["best"] == math.inf
    assert trainer["history"][0] == 1.5
    assert math.isnan(trainer["history"][1])
    assert isinstance(trainer["history"], tuple)


def test_files_are_strict_json_and_plain_safetensors(tmp_path: Path) -> None:
    path = written(tmp_path, 1).path

    def refuse(word: str) -> None:
        raise AssertionError(word)

    for name in ("MANIFEST.json", "state.json"):
        json.loads((path / name).read_text(), parse_constant=refuse)
    assert torch.equal(load_file(path / "model.safetensors")["weight"], content(1).model["weight"])
    assert sorted(file.name for file in path.iterdir()) == sorted(FILES)
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
        torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
    ],
)  # fmt: skip
def test_every_type_and_shape_comes_back(dtype: torch.dtype, tmp_path: Path) -> None:
    tensors = {
        "scalar": torch.tensor(1.0).to(dtype),
        "empty": torch.empty(0, 3).to(dtype),
        "matrix": torch.arange(12).reshape(3, 4).to(dtype),
        "transposed": torch.arange(12).reshape(3, 4).to(dtype).t(),
        "name with spaces/ünïcode": torch.ones(3).to(dtype),
    }
    info = save(tmp_path, Content(model=tensors), step=1, epoch=0, metrics={}, world_size=1, config_hash="", best=False)
    back = load(info.path).model
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert back[name].dtype == dtype
        assert back[name].shape == tensor.shape
        assert back[name].stride() == tensor.stride() or not tensor.numel()
        assert torch.equal(back[name].to(torch.float64), tensor.to(torch.float64))


def test_an_empty_content_can_be_saved(tmp_path: Path) -> None:
    info = save(tmp_path, Content(), step=0, epoch=0, metrics={}, world_size=1, config_hash="", best=False)
    assert load(info.path) == Content()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "longer", "flipped"])
def test_a_damaged_file_makes_the_previous_checkpoint_the_newest(name: str, damage: str, tmp_path: Path) -> None:
    good, bad = written(tmp_path, 1), written(tmp_path, 2)
    file = bad.path / name
    raw = file.read_bytes()
    changed = {
        "missing": b"",
        "empty": b"",
        "truncated": raw[:-1],
        "longer": raw + b"\0",
        "flipped": raw[: len(raw) // 2] + bytes([raw[len(raw) // 2] ^ 1]) + raw[len(raw) // 2 + 1 :],
    }
    file.write_bytes(changed[damage])
    if damage == "missing":
        file.unlink()
    found, rejects = newest(tmp_path)
    assert found is not None
    assert found.name == good.name
    assert [rejected for rejected, _ in rejects] == [bad.name]
    assert name in rejects[0][1]
    assert bad.path.exists(), "rejects are kept"
    with pytest.raises(UnusableError, match="cannot be used"):
        load(bad.path)


def test_every_single_flipped_bit_of_a_manifest_is_seen(tmp_path: Path) -> None:
    file = written(tmp_path, 3).path / "MANIFEST.json"
    raw = file.read_bytes()
    for place in range(len(raw)):
        for bit in range(8):
            file.write_bytes(raw[:place] + bytes([raw[place] ^ (1 << bit)]) + raw[place + 1 :])
            assert valid(tmp_path) == [], (place, bit)
    file.write_bytes(raw)
    assert len(valid(tmp_path)) == 1


def test_flips_anywhere_in_the_other_files_are_seen(tmp_path: Path) -> None:
    path = written(tmp_path, 3).path
    for name in FILES[1:]:
        raw = (path / name).read_bytes()
        for place in range(0, len(raw), 97):
            (path / name).write_bytes(raw[:place] + bytes([raw[place] ^ 16]) + raw[place + 1 :])
            assert verify(path) == f"{name} has changed since it was written"
        (path / name).write_bytes(raw)
    assert verify(path) is None


def test_nothing_valid_is_no_error(tmp_path: Path) -> None:
    assert newest(tmp_path / "nowhere") == (None, [])
    (tmp_path / "step-0000000004").mkdir()
    (tmp_path / "step-0000000005").write_text("a file")
    (tmp_path / "step-4").mkdir()
    found, rejects = newest(tmp_path)
    assert found is None
    assert [name for name, _ in rejects] == ["step-0000000005", "step-0000000004"]


def test_the_same_step_again_replaces_the_checkpoint(tmp_path: Path) -> None:
    written(tmp_path, 4)
    info = written(tmp_path, 4, seed=99)
    assert [one.name for one in valid(tmp_path)] == ["step-0000000004"]
    assert torch.equal(load(info.path).model["weight"], content(99).model["weight"])
    assert sorted(os.listdir(tmp_path)) == ["latest.json", "step-0000000004"]


def test_a_damaged_checkpoint_of_the_same_step_is_kept_aside(tmp_path: Path) -> None:
    (written(tmp_path, 4).path / "state.json").write_text("{}")
    info = written(tmp_path, 4)
    assert verify(info.path) is None
    kept = [name for name in os.listdir(tmp_path) if name.startswith("step-0000000004.rejected-")]
    assert len(kept) == 1
    assert (tmp_path / kept[0] / "state.json").read_text() == "{}"
    assert [one.name for one in valid(tmp_path)] == ["step-0000000004"]


def test_hints_name_the_latest_and_the_best(tmp_path: Path) -> None:
    written(tmp_path, 1, best=True)
    written(tmp_path, 2)
    assert (read_hint(tmp_path, "latest"), read_hint(tmp_path, "best")) == ("step-0000000002", "step-0000000001")
    write_hint(tmp_path, "best", "step-0000000002")
    assert read_hint(tmp_path, "best") == "step-0000000002"
    (tmp_path / "best.json").write_text('{"name": "../../etc"}')
    assert read_hint(tmp_path, "best") is None


def test_leftovers_of_a_dead_attempt_go_with_the_next_save(tmp_path: Path) -> None:
    leftover = tmp_path / ".step-0000000007.abcd.tmp"
    leftover.mkdir()
    (leftover / "model.safetensors").write_bytes(b"half")
    (tmp_path / "mine.tmp").mkdir()
    written(tmp_path, 8)
    assert sorted(os.listdir(tmp_path)) == ["latest.json", "mine.tmp", "step-0000000008"]


def test_the_list_for_people_shows_damaged_ones_with_the_reason(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "a" / "b" / "c" / "run_0001")
    assert list_checkpoints(run) == []
    written(run.checkpoints, 1, best=True)
    written(run.checkpoints, 2)
    bad = written(run.checkpoints, 3)
    (bad.path / "model.safetensors").write_bytes(b"short")
    rows = list_checkpoints(run)
    assert [(row.step, row.valid, row.best, row.latest) for row in rows] == [
        (3, False, False, False),
        (2, True, False, True),
        (1, True, True, False),
    ]
    assert "model.safetensors has 5 bytes" in rows[0].problem
    (run.checkpoints / "best.json").unlink()
    assert [row.best for row in list_checkpoints(run)] == [False, False, True]


def test_the_list_needs_no_torch_and_no_numpy() -> None:
    code = "import sys, kladml_core.runs.checkpoint_list; print([n for n in ('torch', 'numpy') if n in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert out.stdout.strip() == "[]"


def big() -> Content:
    return Content(model={"weight": torch.zeros(1 << 20)}, state={"trainer": {"step": 2}})


def save_big(directory: Path) -> CheckpointInfo:
    return save(directory, big(), step=2, epoch=0, metrics={}, world_size=1, config_hash="", best=True)


def refused(directory: Path, action: Callable[[Path], object]) -> None:
    before = sorted(os.listdir(directory))
    with pytest.raises(CheckpointWriteError, match="step-0000000002 cannot be written") as caught:
        action(directory)
    assert caught.value.exit_code == 73
    assert sorted(os.listdir(directory)) == before, "nothing may be left"
    found, rejects = newest(directory)
    assert found is not None
    assert (found.step, rejects) == (1, [])


def test_a_file_size_limit_leaves_the_earlier_checkpoints_and_nothing_else(tmp_path: Path) -> None:
    written(tmp_path, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        refused(tmp_path, save_big)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert save_big(tmp_path).step == 2


def test_a_full_disk_leaves_the_earlier_checkpoints_and_nothing_else(tmp_path: Path) -> None:
    mount = shutil.which("mount")
    made = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], capture_output=True
    )
    if not made or made.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        written(tmp_path, 1)
        refused(tmp_path, save_big)
        written(tmp_path, 2)
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_a_directory_that_cannot_be_written_is_a_write_error(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file where the directory should be")
    with pytest.raises(CheckpointWriteError):
        save_big(tmp_path / "checkpoints")


def test_state_that_cannot_be_stored_is_a_write_error_and_leaves_nothing(tmp_path: Path) -> None:
    written(tmp_path, 1)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(CheckpointWriteError, match=r"state/callback is a builtins\.object"):
        save(
            tmp_path, Content(state={"callback": object()}), step=2, epoch=0, metrics={}, world_size=1,
            config_hash="", best=False,
        )  # fmt: skip
    assert sorted(os.listdir(tmp_path)) == before
