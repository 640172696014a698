"""What would end a run with the session: read from the system's files as they stand on machines of many kinds."""

from __future__ import annotations

from pathlib import Path

import pytest

from kladml_core.runs.session_killers import session_killers

PID = 700
SSH_V2 = "0::/user.slice/user-4242.slice/session-3.scope\n"
SSH_V1 = "9:name=systemd:/user.slice/user-4242.slice/session-c2.scope\n8:pids:/user.slice/user-4242.slice\n0::/\n"
DESKTOP = "0::/user.slice/user-4242.slice/user@4242.service/app.slice/app-org.gnome.Terminal.slice/vte-spawn-1.scope\n"
SERVICE = "0::/system.slice/jupyter.service\n"
SLURM = "0::/system.slice/slurmstepd.scope/job_8123/step_0/user/task_0\n"
DEBIAN = "[Login]\n#NAutoVTs=6\n#KillUserProcesses=no\n#KillOnlyUsers=\n#KillExcludeUsers=root\n"
UPSTREAM = DEBIAN.replace("#KillUserProcesses=no", "#KillUserProcesses=yes")
YES = "[Login]\nKillUserProcesses=yes\n"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A host with systemd as process 1, on which process 700 was started over SSH."""
    process(tmp_path, 1, "systemd")
    process(tmp_path, PID, "kladml-tui", session=650, terminal=34816)
    write(tmp_path / f"proc/{PID}/cgroup", SSH_V2)
    write(tmp_path / "etc/systemd/logind.conf", DEBIAN)
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def process(root: Path, pid: int, name: str, *, session: int | None = None, terminal: int = 0) -> None:
    leader = pid if session is None else session
    write(root / f"proc/{pid}/stat", f"{pid} ({name} (x) y) S 1 {pid} {leader} {terminal} -1 4194560 0 0\n")
    write(root / f"proc/{pid}/comm", f"{name}\n")


def told(root: Path, **environ: str) -> tuple[str, ...]:
    return session_killers(root, environ, PID)


def test_a_machine_as_distributions_set_it_up_needs_no_word(machine: Path) -> None:
    assert told(machine) == ()
    (machine / "etc/systemd/logind.conf").unlink()
    assert told(machine) == ()


@pytest.mark.parametrize("group", [SSH_V2, SSH_V1], ids=["cgroup v2", "cgroup v1"])
@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("etc/systemd/logind.conf", YES),
        ("etc/systemd/logind.conf", UPSTREAM),
        ("etc/systemd/logind.conf.d/50-lab.conf", " KillUserProcesses = 1 \n"),
        ("run/systemd/logind.conf.d/z.conf", YES),
        ("usr/lib/systemd/logind.conf.d/z.conf", YES),
    ],
)
def test_processes_that_systemd_kills_at_logout_are_told(machine: Path, group: str, path: str, text: str) -> None:
    write(machine / f"proc/{PID}/cgroup", group)
    write(machine / path, text)
    (warning,) = told(machine)
    assert "KillUserProcesses=yes" in warning and "loginctl enable-linger" in warning
    assert "systemd-run --user --scope" in warning and "\n" not in warning


@pytest.mark.parametrize(
    "files",
    [
        {"usr/lib/systemd/logind.conf": YES},  # /etc has one, which counts alone
        {"usr/lib/systemd/logind.conf.d/a.conf": YES, "etc/systemd/logind.conf.d/a.conf": "[Login]\n"},
        {"etc/systemd/logind.conf.d/a.conf": YES, "run/systemd/logind.conf.d/b.conf": "KillUserProcesses=no\n"},
        {"etc/systemd/logind.conf": YES + "KillExcludeUsers=root 4242\n"},
        {"etc/systemd/logind.conf": YES + "KillOnlyUsers=mallory\n"},
    ],
)
def test_a_setting_that_another_one_overrules_is_not_told(machine: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        write(machine / path, text)
    assert told(machine) == ()


def test_roots_processes_are_spared_unless_it_is_said_otherwise(machine: Path) -> None:
    write(machine / f"proc/{PID}/cgroup", SSH_V2.replace("4242", "0"))
    write(machine / "etc/systemd/logind.conf", YES)
    assert told(machine) == ()
    write(machine / "etc/systemd/logind.conf", YES + "KillExcludeUsers=\n")
    assert len(told(machine)) == 1


def test_a_service_of_the_system_outlives_every_session(machine: Path) -> None:
    write(machine / f"proc/{PID}/cgroup", SERVICE)
    write(machine / "etc/systemd/logind.conf", YES)
    assert told(machine) == ()


def test_the_persons_own_services_end_with_the_last_session_unless_they_linger(machine: Path) -> None:
    write(machine / f"proc/{PID}/cgroup", DESKTOP)
    (warning,) = told(machine)
    assert "last session" in warning and "loginctl enable-linger" in warning
    write(machine / "var/lib/systemd/linger/4242", "")
    assert told(machine) == ()


def test_a_container_that_is_somebodys_shell_is_told(machine: Path) -> None:
    process(machine, 1, "bash", terminal=34816)
    (warning,) = told(machine)
    assert "first process (bash)" in warning and "docker exec" in warning


def test_a_container_that_ends_with_its_script_is_told(machine: Path) -> None:
    process(machine, 1, "sh")
    process(machine, PID, "kladml-tui", session=1)
    (warning,) = told(machine)
    assert "first process (sh)" in warning and "--detach" in warning


def test_a_container_that_stays_and_is_entered_is_not_told(machine: Path) -> None:
    process(machine, 1, "sleep")
    assert told(machine) == ()
    process(machine, 1, "sleep", session=0)
    process(machine, PID, "kladml-tui", session=0)  # both sessions are led from outside of the container
    assert told(machine) == ()


def test_a_slurm_job_is_told_with_its_end(machine: Path) -> None:
    (warning,) = told(machine, SLURM_JOB_ID="77", SLURM_JOB_END_TIME="1700000000")
    assert "Slurm ends this run with job 77, at the latest at 2023-11-1" in warning and "training.max_time" in warning
    (warning,) = told(machine, SLURM_JOB_ID="77", SLURM_JOB_END_TIME="soon")
    assert "job 77:" in warning
    write(machine / f"proc/{PID}/cgroup", SLURM)
    (warning,) = told(machine)
    assert "job 8123:" in warning


def test_where_nothing_can_be_read_nothing_is_told(tmp_path: Path) -> None:
    assert told(tmp_path) == ()
    assert isinstance(session_killers(), tuple)
