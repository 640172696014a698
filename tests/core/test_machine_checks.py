"""What a launch looks at before it starts anything: folders, the disk, and who holds a device's memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kladml_core.config.load import dump
from kladml_core.errors import UnusableError
from kladml_core.runs.gpus import Gpu, gpus, visible
from kladml_core.runs.launch import Plan, launch, prepare, resume
from kladml_core.runs.machine_checks import check_disk, memory_warnings
from tests.core.trainer_workspace import CONFIG, make_workspace, merged, new_run, work
from tests.system.faults import fill, small_disk
from tests.system.training import runs_of

GIB = 2**30
H200 = Gpu(0, "GPU-aaaa-1", "NVIDIA H200", 140 * GIB, 139 * GIB, ())
BUSY = Gpu(1, "GPU-bbbb-2", "NVIDIA H200", 140 * GIB, 3 * GIB, (77, 99))
T4 = Gpu(2, "GPU-cccc-3", "Tesla T4", 15 * GIB, 15 * GIB, ())


def plan(workspace: Path, **change: object) -> Plan:
    (workspace / "config.yaml").write_text(dump({**merged(CONFIG, change), "experiment": "e", "family": "f"}))
    return prepare(workspace / "config.yaml", workspace=workspace, overrides=["project=p"])


def test_a_workspace_that_cannot_be_written_is_one_error_at_the_key_that_names_it(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "lab")
    with small_disk(tmp_path / "shelf", "1m") as remount:
        (workspace / "kladml.yaml").write_text(f"workspace:\n  data_dir: {tmp_path}/shelf\n")
        run = new_run(workspace)
        remount("ro")
        with pytest.raises(UnusableError, match="is on a read-only file system") as raised:
            launch(plan(workspace))
        error = raised.value
        assert (error.file, error.line, error.column) == (str(workspace / "kladml.yaml"), 2, 13)
        (workspace / "kladml.yaml").write_text("workspace: {name: test}\n")
        assert runs_of(workspace) == [run]


def test_a_full_disk_refuses_a_launch_before_anything_is_made(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "lab")
    with small_disk(workspace / "data", "8m"):
        fill(workspace / "data", leave=1 << 20)
        with pytest.raises(UnusableError, match=r"has only 1\.0 MB free"):
            launch(plan(workspace))
        assert runs_of(workspace) == []


def test_the_experiments_last_checkpoint_tells_how_much_space_the_next_takes(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "lab")
    wide = {"target": "models:Net", "params": {"width": 131072}}
    with small_disk(workspace / "data", "64m"):
        run = new_run(workspace)
        first = plan(workspace, model=wide, training={"max_steps": 5})
        run.config.write_text(dump(first.config.model_dump(mode="json")))  # as a launch writes it
        assert work(run, workspace).code == 0
        hog = fill(workspace / "data", leave=6 << 20)
        alike = plan(workspace, model=wide)
        with pytest.raises(UnusableError, match=r"a checkpoint takes about 1\d\.\d MB, and .* has 6\.\d MB free"):
            launch(alike)
        with pytest.raises(UnusableError, match="a checkpoint takes about"):
            resume(run, workspace=workspace, overrides=["training.max_steps=6"])
        assert runs_of(workspace) == [run] and run.latest_attempt() == 1
        narrow = plan(workspace, model={"target": "models:Net", "params": {"width": 8}})
        check_disk(narrow.settings, narrow.config)  # of another model the checkpoints are no measure
        hog.unlink()
        check_disk(alike.settings, alike.config)


def test_a_device_whose_memory_others_hold_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    two = (H200, BUSY)
    assert memory_warnings("auto", 1, {}, two) == ()
    (warning,) = memory_warnings("cuda:1", 1, {}, two)
    assert warning == "GPU 1 (NVIDIA H200) has 3.2 GB of 150.3 GB free; other processes hold the rest (process 77, 99)"
    assert memory_warnings("auto", 2, {}, two) == (warning,)
    assert memory_warnings("cuda", 1, {"CUDA_VISIBLE_DEVICES": "1"}, two) == (warning,)
    assert memory_warnings("cuda:5", 1, {}, two) == () == memory_warnings("cpu", 2, {}, two)
    (nameless,) = memory_warnings("cuda", 1, {}, [replace(BUSY, pids=())])
    assert nameless.endswith("other processes hold the rest")


def test_the_visible_devices_are_cudas() -> None:
    devices = (H200, BUSY, T4)
    ordered = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert visible(devices, ordered) == devices
    assert visible(devices, {**ordered, "CUDA_VISIBLE_DEVICES": "2, 0"}) == (T4, H200)
    assert visible(devices, {**ordered, "CUDA_VISIBLE_DEVICES": "1,-1,0"}) == (BUSY,)
    assert visible(devices, {**ordered, "CUDA_VISIBLE_DEVICES": ""}) == ()
    assert visible(devices, {"CUDA_VISIBLE_DEVICES": "GPU-cccc"}) == (T4,)
    assert visible(devices, {}) == (), "the fastest comes first, and which that is CUDA alone knows"
    assert visible(devices[:2], {}) == devices[:2]


def test_without_a_driver_there_are_no_devices_and_no_words() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a driver")
    assert gpus() == () == memory_warnings("auto", 1, {})


@pytest.mark.gpu
def test_the_driver_tells_of_every_device_that_torch_sees() -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("there is no device")
    found = visible(gpus())
    assert len(found) == torch.cuda.device_count()
    free, total = torch.cuda.mem_get_info(0)
    assert found[0].name == torch.cuda.get_device_name(0)
    assert abs(found[0].total - total) < total / 10 and abs(found[0].free - free) < total / 10
