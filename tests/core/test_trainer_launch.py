"""Keys of the trainer as they are written: what cannot work is refused by name, and two machines meet."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import pytest

from kladml_core.config.load import dump, parse
from kladml_core.config.schema import RunConfig, problems
from kladml_core.errors import ConfigError, UnusableError
from kladml_core.runs import machines
from kladml_core.runs.events import read_events
from kladml_core.runs.launch import launch, prepare, resume
from kladml_core.runs.process_tree import ProcessTree
from kladml_core.runs.queue import enqueue
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status
from kladml_core.training import device
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


@pytest.fixture
def two_machines(tmp_path: Path) -> tuple[Path, list[str]]:
    """A workspace's config, and what both machines set."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    file = make_workspace(tmp_path) / "machines.yaml"
    file.write_text(dump(merged(CONFIG, {"training": {"batch_size": 2, "checkpoint": {"every_steps": 5}}})))
    return file, [f"launch.rendezvous=127.0.0.1:{port}", "launch.machines=2"]


@pytest.mark.timeout(300)
def test_two_machines_train_one_run_and_resume_it(two_machines: tuple[Path, list[str]]) -> None:
    """One host plays both: two launches that meet over the rendezvous, as they would from two."""
    file, meeting = two_machines
    root = file.parent

    def launched(rank: int) -> RunDirectory:
        words = [*meeting, f"launch.machine_rank={rank}", "training.max_steps=10"]
        return launch(prepare(file, workspace=root, overrides=words))

    run = launched(0)
    assert launched(1).path == run.path  # the second machine joins the first one's run
    _end(run, "finished")
    [started] = [event for event in read_events(run.events)[0] if event["kind"] == "run_started"]
    assert started["processes"] == 2
    joined = run.machine_json(1, 1)
    assert json.loads(joined.read_text())["machine"] == 1
    assert joined.with_suffix(".log").is_file()
    assert sorted(path.name for path in run.path.parent.iterdir()) == ["run_0001"]

    further = "training.max_steps=20"
    resume(run, workspace=root, overrides=[further])
    resume(run, workspace=root, overrides=["launch.machine_rank=1", further])
    _end(run, "finished")
    [resumed] = [event for event in read_events(run.events)[0] if event["kind"] == "resumed"]
    assert (resumed["step"], resumed["exact"]) == (10, True)
    assert run.machine_json(2, 1).is_file()
    assert read_status(run).step == 20


def test_a_machine_joins_only_a_run_that_waits_for_it(
    two_machines: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, meeting = two_machines
    root = file.parent
    monkeypatch.setattr(machines, "JOIN_SECONDS", 0.5)
    second = [*meeting, "launch.machine_rank=1"]
    with pytest.raises(UnusableError, match=r"waits for machine 1 at 127\.0\.0\.1") as none:
        launch(prepare(file, workspace=root, overrides=second))
    assert "launch.machine_rank=0" in str(none.value.hint)
    run = launch(prepare(file, workspace=root, overrides=[*meeting, "launch.machine_rank=0"]))
    try:
        with pytest.raises(ConfigError, match=r"training.batch_size: 2 there, 8 here"):
            launch(prepare(file, workspace=root, overrides=[*second, "training.batch_size=8"]))
        run.machine_json(1, 1).write_text('{"pid": 7, "host": "elsewhere"}')
        with pytest.raises(UnusableError, match="waits for machine 1"):
            launch(prepare(file, workspace=root, overrides=second))
        assert read_status(run).status == "starting"
    finally:
        for member in ProcessTree(run, 1).look():
            member.signal(signal.SIGKILL)


def _end(run: RunDirectory, status: str) -> None:
    wait_for(lambda: not read_status(run).live, 120, "the two machines did not come to an end")
    assert read_status(run).status == status, run.console_log.read_text(errors="replace")


def test_several_processes_on_a_tpu_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "has_tpu", lambda: True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UnusableError, match="is a TPU here, on which one process trains"):
        device.make_accelerator("auto", "no")


def test_a_machine_that_joins_does_not_queue(two_machines: tuple[Path, list[str]]) -> None:
    file, meeting = two_machines
    with pytest.raises(UnusableError, match="machine 1 joins a run as soon as machine 0 starts it"):
        enqueue(prepare(file, workspace=file.parent, overrides=[*meeting, "launch.machine_rank=1"]))


def test_a_rendezvous_that_is_taken_is_told(
    two_machines: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, meeting = two_machines
    monkeypatch.setattr(machines, "FREE_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = [*meeting, "launch.machine_rank=0", f"launch.rendezvous=127.0.0.1:{taken.getsockname()[1]}"]
        with pytest.raises(UnusableError, match="is taken: something listens there already"):
            launch(prepare(file, workspace=file.parent, overrides=words))
    assert not list(file.parent.glob("data/projects/*/*/*/run_*"))
