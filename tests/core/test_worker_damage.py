"""Proof 10. NaN at any step leaves the weights from before it; a full disk costs checkpoints and not the training; of
a damaged checkpoint the previous one is chosen, and the reject is told and kept.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from kladml_core.runs.rundir import RunDirectory
from tests.core.trainer_workspace import Ended, add_attempt, assert_same_end, make_workspace, new_run, work

FILES = ("MANIFEST.json", "model.safetensors", "optimizer.safetensors", "rng.safetensors", "state.json")
WIDE = {"model": {"target": "models:Net", "params": {"width": 4096}}}
"""Its model takes 190 KiB and a checkpoint nearly 500."""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("damage"))


@pytest.fixture(scope="module")
def undisturbed(workspace: Path) -> Ended:
    ended = work(new_run(workspace), workspace)
    assert ended.code == 0, ended.output
    return ended


@pytest.fixture(scope="module")
def wide(workspace: Path) -> Ended:
    ended = work(new_run(workspace, WIDE), workspace)
    assert ended.code == 0, ended.output
    return ended


# --- NaN --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["nan", "infinite gradient"])
@pytest.mark.parametrize("step", [1, 2, 11, 29])
def test_a_run_that_meets_a_nan_has_the_weights_from_before_it(
    undisturbed: Ended, workspace: Path, step: int, what: str
) -> None:
    # A checkpoint at each step: the newest is that of the step before.
    run = new_run(workspace, {"training": {"checkpoint": {"every_steps": 1}}})
    sick = work(run, workspace, TEST_AT=str(step + 1), TEST_WHAT=what)
    assert (sick.code, sick.status) == (70, "failed"), sick.output
    [event] = sick.of_kind("non_finite")
    assert event["step"] == step
    assert event["metric"] == ("train/loss" if what == "nan" else "train/gradient_norm")
    if step > 1:
        assert sick.content().state["trainer"]["progress"]["step"] == step - 1
        add_attempt(run)
        well = work(run, workspace)
        assert well.code == 0, well.output
        assert_same_end(undisturbed, well)
    else:
        assert not any(path.name.startswith("step-") for path in run.checkpoints.iterdir())


# --- a full disk ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("background", [False, True], ids=["at the step", "in the background"])
def test_training_goes_on_while_the_disk_takes_nothing(wide: Ended, workspace: Path, background: bool) -> None:
    run = new_run(workspace, {**WIDE, "training": {"checkpoint": {"background": background}}})
    hook = {"TEST_HOOK": "tests.core.worker_hooks:small_files", "TEST_SAVE": "2", "TEST_BYTES": str(100 << 10)}
    ended = work(run, workspace, **hook)
    assert (ended.code, ended.status) == (0, "finished"), ended.output
    [failed] = ended.of_kind("checkpoint_failed")
    assert failed["step"] == 20
    assert "File too large" in failed["message"]
    assert [event["step"] for event in ended.of_kind("checkpoint_saved")] == [10, 30, 40]
    assert not [name for name in os.listdir(run.checkpoints) if name.endswith(".tmp")]
    assert_same_end(wide, ended)


def test_a_run_that_ends_on_a_full_disk_is_resumed_once_there_is_space(wide: Ended, workspace: Path) -> None:
    run = new_run(workspace, WIDE)
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=800k", "tmpfs", str(run.checkpoints)]
    if mount is None or subprocess.run([mount, *options], capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        full = work(run, workspace)
        # Two checkpoints do not fit: the first one stays, each later one fails, and so does the last.
        assert (full.code, full.status, full.terminal["resumable"]) == (73, "failed", True), full.output
        assert [event["step"] for event in full.of_kind("checkpoint_saved")] == [10]
        assert [event["step"] for event in full.of_kind("checkpoint_failed")] == [20, 30, 40]
        subprocess.run([mount, "-o", "remount,size=8m", str(run.checkpoints)], check=True)
        add_attempt(run)
        ended = work(run, workspace)
        assert ended.code == 0, ended.output
        assert ended.of_kind("resumed")[0]["step"] == 10
        assert_same_end(wide, ended)
    finally:
        subprocess.run(["umount", "-l", str(run.checkpoints)], check=True)


# --- damage -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stopped(workspace: Path) -> RunDirectory:
    """A run with checkpoints at the steps 10, 20 and 25."""
    run = new_run(workspace)
    assert work(run, workspace, TEST_AT="26", TEST_WHAT="SIGTERM").code == 143
    return run


@pytest.mark.parametrize("damage", ["truncated", "one bit flipped", "missing"])
@pytest.mark.parametrize("file", FILES)
def test_of_a_damaged_checkpoint_the_previous_one_is_chosen(
    undisturbed: Ended, workspace: Path, stopped: RunDirectory, file: str, damage: str
) -> None:
    name = f"run_{FILES.index(file)}_{damage.replace(' ', '_')}"
    run = RunDirectory(Path(shutil.copytree(stopped.path, stopped.path.with_name(name))))
    damaged = run.checkpoints / "step-0000000025"
    path = damaged / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content if damage == "one bit flipped" else content[:-1])
    add_attempt(run)
    ended = work(run, workspace)
    assert ended.code == 0, ended.output
    [reject] = ended.of_kind("checkpoint_rejected")
    assert reject["name"] == "step-0000000025"
    assert reject["reason"]
    assert ended.of_kind("resumed")[0]["checkpoint"] == "step-0000000020"
    assert damaged.is_dir(), "a reject is kept, for whoever wants to look at it"
    assert_same_end(undisturbed, ended)


def test_without_any_valid_checkpoint_there_is_nothing_to_resume(workspace: Path, stopped: RunDirectory) -> None:
    run = RunDirectory(Path(shutil.copytree(stopped.path, stopped.path.with_name("run_9999x"))))
    names = sorted(path.name for path in run.checkpoints.iterdir() if path.is_dir())
    for name in names:
        (run.checkpoints / name / "model.safetensors").write_bytes(b"")
    add_attempt(run)
    ended = work(run, workspace)
    assert (ended.code, ended.terminal["kind"]) == (65, "run_failed")
    assert sorted(event["name"] for event in ended.of_kind("checkpoint_rejected")) == names
