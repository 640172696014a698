"""Keys of the trainer as they are written: what cannot work is refused by name, and two machines meet."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from kladml_core.config.load import dump, parse
from kladml_core.config.schema import RunConfig, problems
from kladml_core.runs.events import read_events
from kladml_core.runs.launch import launch, prepare
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status
from tests.core.trainer_workspace import CONFIG, make_workspace, merged
from tests.waiting import wait_for

HEAD = 'model: {target: "models:Net"}\n'
TARGET = 'data: {target: "models:load"}\n'


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("launch"))


@pytest.mark.parametrize(
    ("training", "launched", "says"),
    [
        ("checkpoint: {every_seconds: often}", "", "must be seconds or a duration such as 30m"),
        ("checkpoint: {every_seconds: 0}", "", "training.checkpoint.every_seconds must be greater than 0"),
        ("checkpoint: {async: true}", "", "Did you mean background?"),
        ("hang_timeout: 0", "", "training.hang_timeout must be greater than 0"),
        ("watchdog: 10m", "", "Did you mean hang_timeout?"),
        ("", "device: mps, processes: 2", "launch.device: mps is one device. which several processes cannot share"),
        ("", "device: 'cuda:1', processes: 2", "Write device: cuda, and choose devices with CUDA_VISIBLE_DEVICES"),
        ("", "device: 'cuda:1', distributed: true", "names one device"),
        ("", "machines: 2", "needs launch.machine_rank and launch.rendezvous"),
        ("", "machines: 2, rendezvous: 'a:1'", "needs launch.machine_rank. Write rendezvous"),
        ("", "machines: 2, machine_rank: 2, rendezvous: 'a:1'", "They count from 0 to 1"),
        ("", "machines: 2, machine_rank: 0, rendezvous: here", "launch.rendezvous must be host:port, not 'here'"),
        ("", "machines: 2, machine_rank: 0, rendezvous: 'a:99999'", "must be host:port"),
        ("", "machine_rank: 0", "launch.machine_rank is for several machines"),
        ("", "rendezvous: 'a:1'", "launch.rendezvous is for several machines"),
        ("", "fsdp: {}", "launch.fsdp cuts the model over several processes, and there is one. Add processes: 2"),
        ("", "fsdp: {}, device: mps, processes: 2", "launch.device: mps is one device"),
        ("", "fsdp: yes please, processes: 2", "launch.fsdp must be"),
        ("", "fsdp: {cpu_offload: true}, processes: 2", "launch.fsdp.cpu_offload cannot be set: weights stay"),
        ("", "fsdp: {fsdp_version: 1}, processes: 2", "it is always version 2"),
        ("", "fsdp: {auto_wrap: no_wrap}, processes: 2", "has no argument 'auto_wrap'. Did you mean auto_wrap_policy?"),
        ("", "fsdp: {auto_wrap_policy: big}, processes: 2", "'big' is not known. One of no_wrap"),
        ("", "fsdp: {auto_wrap_policy: size_based_wrap}, processes: 2", "Add min_num_params: 1000000"),
        ("", "fsdp: {auto_wrap_policy: transformer_based_wrap}, processes: 2", "needs transformer_cls_names_to_wrap"),
        ("", "fsdp: {min_num_params: some}, processes: 2", "min_num_params must be a whole number"),
        ("", "fsdp: {transformer_cls_names_to_wrap: Block}, processes: 2", "must be a list of class names"),
        ("", "fsdp: {reshard_after_forward: 3}, processes: 2", "reshard_after_forward must be true or false"),
        ("compile: true", "fsdp: {}, processes: 2", "training.compile cannot be used with launch.fsdp"),
        ("ema_decay: 0.9", "fsdp: {}, processes: 2", "training.ema_decay cannot be used with launch.fsdp"),
        ("mixed_precision: fp16", "fsdp: {}, processes: 2", "training.mixed_precision cannot be used. Write bf16"),
        ("optimizer: 'mine:Own'", "fsdp: {}, processes: 2", "training.optimizer cannot be used with launch.fsdp"),
        ("", "deepspeed: {zero_stage: 2}", "launch.deepspeed cannot be used. launch.fsdp: {} cuts the model"),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_write_instead(
    place: Path, training: str, launched: str, says: str
) -> None:
    inner = f"max_epochs: 1, {training}" if training else "max_epochs: 1"
    text = f"{HEAD}{TARGET}training: {{{inner}}}\nlaunch: {{{launched}}}\n"
    [problem] = problems(parse(text, "c.yaml"), workspace=place)
    for part in says.split(". "):
        assert part in str(problem)


def test_a_schedule_that_waits_for_validation_needs_some(place: Path) -> None:
    (place / "numbers.npz").write_bytes(b"")
    text = f"{HEAD}data: {{train: numbers.npz}}\ntraining: {{max_epochs: 1, lr_scheduler: plateau}}\n"
    assert any("plateau lowers the rate by what validation gives" in str(it) for it in problems(parse(text, "c.yaml"),
               workspace=place))  # fmt: skip


def test_the_new_keys_survive_the_copy_in_the_run_directory(place: Path) -> None:
    policy = {"every_seconds": "10m", "background": True}
    config = merged(CONFIG, {"training": {"checkpoint": policy, "hang_timeout": None}})
    read = RunConfig.model_validate(config)
    assert read.training.checkpoint.every_seconds == 600.0
    assert read.training.hang_timeout is None
    assert RunConfig.model_validate(parse(dump(read.model_dump(mode="json")), "c.yaml").data) == read


def test_two_machines_train_one_model(place: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    file = place / "machines.yaml"
    file.write_text(dump(merged(CONFIG, {"training": {"batch_size": 2}})))
    meeting = [f"launch.rendezvous=127.0.0.1:{port}", "launch.machines=2"]
    runs: list[RunDirectory] = []
    for rank in (0, 1):
        runs.append(launch(prepare(file, workspace=place, overrides=[*meeting, f"launch.machine_rank={rank}"])))
    wait_for(lambda: not read_status(runs[0]).live, 90, "the two machines did not come to an end")
    output = runs[0].console_log.read_text(errors="replace")
    assert read_status(runs[0]).status == "finished", output
    [started] = [event for event in read_events(runs[0].events)[0] if event["kind"] == "run_started"]
    assert started["processes"] == 2
    # Machine 0 writes the run; of machine 1's own directory nothing claims to have trained.
    assert not runs[1].events.exists() or read_events(runs[1].events)[0] == []
    wait_for(lambda: not read_status(runs[1]).live, 60, "machine 1 did not end")
