"""What a run needs of a machine, and which devices are free: told from what the driver says, no device touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kladml_core.config.schema import RunConfig
from kladml_core.errors import ConfigError, UnusableError
from kladml_core.runs.gpus import Gpu
from kladml_core.runs.slots import HELD_BYTES, Need, free_devices, need_of
from kladml_core.settings import load_settings

GB = 1 << 30


def gpu(index: int, *, pids: tuple[int, ...] = (), used: int = 0) -> Gpu:
    return Gpu(index, f"GPU-{index}", "Big One", 80 * GB, 80 * GB - used, pids)


TWO = (gpu(0), gpu(1))


def config(**launch: Any) -> RunConfig:
    return RunConfig.model_validate(
        {
            "model": {"target": "m:M"},
            "loss": "mse",
            "data": {"target": "m:d"},
            "training": {"max_epochs": 1},
            "launch": launch,
        }
    )


@pytest.fixture(autouse=True)
def every_device_is_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_a_run_needs_a_gpu_for_each_process_and_the_cpu_where_there_is_none() -> None:
    assert need_of(config(), None, TWO) == Need("gpu", 1)
    assert need_of(config(processes=2), None, TWO) == Need("gpu", 2)
    assert need_of(config(distributed=True), None, TWO) == Need("gpu", 2)
    assert need_of(config(device="cuda:1"), None, TWO) == Need("gpu", 1, 1)
    assert need_of(config(), None, ()) == Need("cpu")
    assert need_of(config(processes=2), None, ()) == Need("cpu")
    assert need_of(config(device="cpu", processes=4), None, TWO) == Need("cpu")


@pytest.mark.parametrize(
    ("launch", "slots", "says"),
    [
        ({"processes": 3}, None, "needs 3 GPUs, and the queue of this machine has 2 of its 2 visible GPUs"),
        ({"processes": 2}, 1, "has 1 of its 2"),
        ({"processes": 2}, ("GPU-1",), "has 1 of its 2"),
        ({"device": "cuda:2"}, None, "needs cuda:2"),
        ({"device": "cuda:0"}, ("GPU-1",), "needs cuda:0"),
        ({"machines": 2, "machine_rank": 0, "rendezvous": "a:1"}, None, "over several machines"),
    ],
)
def test_what_this_machine_can_never_give_is_refused(launch: dict[str, Any], slots: Any, says: str) -> None:
    with pytest.raises(UnusableError, match=says):
        need_of(config(**launch), slots, TWO)


def test_a_gpu_that_is_asked_for_is_not_replaced_by_the_cpu() -> None:
    with pytest.raises(UnusableError, match="has no GPU"):
        need_of(config(device="cuda"), None, ())


def free(need: Need, slots: int | tuple[str, ...] | None = None, *machine: Gpu, **held: Any) -> tuple[str, ...] | None:
    return free_devices(need, slots, machine or TWO, **{"runs": 0, "taken": (), **held})


def test_a_gpu_is_free_when_nobody_holds_memory_of_it_and_no_run_was_given_it() -> None:
    one = Need("gpu")
    assert free(one) == ("GPU-0",)
    assert free(one, taken={"GPU-0"}) == ("GPU-1",)
    assert free(one, taken={"GPU-0", "GPU-1"}) is None
    assert free(one, None, gpu(0, pids=(7,)), gpu(1)) == ("GPU-1",)
    assert free(one, None, gpu(0, used=HELD_BYTES + 1), gpu(1, used=HELD_BYTES)) == ("GPU-1",)
    assert free(Need("gpu", 2)) == ("GPU-0", "GPU-1")
    assert free(Need("gpu", 2), taken={"GPU-1"}) is None
    assert free(Need("gpu", 1, 1)) == ("GPU-1",)
    assert free(Need("gpu", 1, 1), taken={"GPU-1"}) is None


def test_the_settings_say_how_many_and_which() -> None:
    assert free(Need("gpu"), 1, taken={"GPU-1"}) is None
    assert free(Need("gpu"), ("GPU-1",)) == ("GPU-1",)
    assert free(Need("cpu"), None, runs=1) is None
    assert free(Need("cpu"), 2, runs=1) == ()
    assert free(Need("cpu"), ("GPU-1",)) == ()


def test_what_cuda_visible_devices_hides_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert need_of(config(distributed=True), None, TWO) == Need("gpu", 1)
    assert need_of(config(device="cuda:0"), None, TWO) == Need("gpu", 1, 0)
    assert free(Need("gpu", 1, 0)) == ("GPU-1",)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert need_of(config(), None, TWO) == Need("cpu")


@pytest.mark.parametrize(("text", "value"), [("null", None), ("3", 3), ("[GPU-a, GPU-b]", ("GPU-a", "GPU-b"))])
def test_slots_are_a_number_or_devices(tmp_path: Path, text: str, value: Any) -> None:
    (tmp_path / "kladml.yaml").write_text(f"queue: {{slots: {text}}}\n")
    assert load_settings(tmp_path, {}).queue.slots == value
    assert load_settings(tmp_path, {"KLADML_QUEUE__SLOTS": "2"}).queue.slots == 2


@pytest.mark.parametrize("text", ["0", "true", "all", "[1, 2]", "1.5"])
def test_any_other_slots_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "kladml.yaml").write_text(f"queue: {{slots: {text}}}\n")
    with pytest.raises(ConfigError, match=r"queue\.slots must be"):
        load_settings(tmp_path, {})
