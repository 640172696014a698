"""One process of a kind per workspace and host: taken once, given back by death, found by whoever asks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kladml_core.errors import UnusableError
from kladml_core.runs.background import LOG_BYTES, end, ensure, exclusive, hold, holder, log_file
from kladml_core.runs.processes import is_alive
from tests.waiting import wait_for

HOLDER = """
import signal, sys
from pathlib import Path
from kladml_core.runs.background import hold
held = hold(Path(sys.argv[1]), "queue")
print("held" if held else "taken", flush=True)
if held:
    signal.pause()
"""


def start_holder(data: Path, module: Path) -> None:
    module.write_text(HOLDER)
    ensure(data, "queue", module.stem, str(data))


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    return tmp_path / "a_service.py"


def test_a_second_process_of_the_kind_is_told_that_it_is_taken(tmp_path: Path, module: Path) -> None:
    start_holder(tmp_path, module)
    first = wait_for(lambda: holder(tmp_path, "queue"))
    try:
        assert hold(tmp_path, "queue") is None
        start_holder(tmp_path, module)
        wait_for(lambda: "taken" in log_file(tmp_path, "queue").read_text())
        assert holder(tmp_path, "queue") == first
        other = hold(tmp_path, "sync")
        assert other is not None, "another kind is free"
        other.release()
    finally:
        os.kill(first["pid"], signal.SIGKILL)


def test_a_killed_holder_gives_its_place_back(tmp_path: Path, module: Path) -> None:
    start_holder(tmp_path, module)
    first = wait_for(lambda: holder(tmp_path, "queue"))
    os.kill(first["pid"], signal.SIGKILL)
    held = wait_for(lambda: hold(tmp_path, "queue"))
    assert (holder(tmp_path, "queue") or {})["pid"] == os.getpid()
    held.release()
    assert holder(tmp_path, "queue") is None


def test_a_holder_is_ended_whatever_it_does_with_sigterm_and_its_place_is_free_then(
    tmp_path: Path, module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end(tmp_path, "queue")  # there is none
    monkeypatch.setattr("kladml_core.runs.background.END_SECONDS", 0.5)
    deaf = HOLDER.replace("print(", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint(")
    for text in (HOLDER, deaf):
        module.write_text(text)
        ensure(tmp_path, "queue", module.stem, str(tmp_path))
        wait_for(lambda: holder(tmp_path, "queue"))
        end(tmp_path, "queue")
        held = hold(tmp_path, "queue")
        assert held is not None, "the place is still taken"
        held.release()


def test_what_is_started_is_nobodys_child_and_has_a_session_of_its_own(tmp_path: Path, module: Path) -> None:
    start_holder(tmp_path, module)
    started = wait_for(lambda: holder(tmp_path, "queue"))
    try:
        parent = int(Path(f"/proc/{started['pid']}/stat").read_text().rpartition(")")[2].split()[1])
        assert parent != os.getpid()
        assert os.getsid(started["pid"]) != os.getsid(0)
    finally:
        os.kill(started["pid"], signal.SIGKILL)
    wait_for(lambda: is_alive(started) is False)


def test_two_paths_to_one_workspace_are_one_place(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    held = hold(tmp_path / "data", "queue")
    assert held is not None
    assert hold(tmp_path / "link", "queue") is None
    held.release()


def test_a_holder_notices_that_its_lock_file_was_cleaned_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    held = hold(tmp_path, "queue")
    assert held is not None
    assert held.holds()
    for lock in tmp_path.glob("kladml-*/*.lock"):
        lock.unlink()
    assert not held.holds()
    held.release()


def test_a_lock_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / f"kladml-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(UnusableError, match="somebody else"):
        hold(tmp_path, "queue")


def test_a_long_log_is_put_aside(tmp_path: Path, module: Path) -> None:
    start_holder(tmp_path, module)
    first = wait_for(lambda: holder(tmp_path, "queue"))
    os.kill(first["pid"], signal.SIGKILL)
    log = log_file(tmp_path, "queue")
    wait_for(lambda: log.read_text() == "held\n")
    os.truncate(log, LOG_BYTES + 1)
    start_holder(tmp_path, module)
    second = wait_for(lambda: holder(tmp_path, "queue"))
    os.kill(second["pid"], signal.SIGKILL)
    wait_for(lambda: log.read_text() == "held\n")
    assert Path(f"{log}.1").stat().st_size == LOG_BYTES + 1


def test_the_command_only_forks_and_ends(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "kladml_core.runs.background", "this"]
    assert subprocess.run(words, timeout=60, stdout=subprocess.DEVNULL).returncode == 0


def test_who_inherits_the_lock_keeps_others_out_when_its_taker_is_gone(tmp_path: Path) -> None:
    taker = (
        "import subprocess, sys; from pathlib import Path; from kladml_core.runs.background import exclusive\n"
        "with exclusive(Path(sys.argv[1]), 'items') as lock:\n"
        "    print(subprocess.Popen(['sleep', '100'], pass_fds=(lock,), stdout=subprocess.DEVNULL).pid, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    words = [sys.executable, "-c", taker, str(tmp_path)]
    inside = threading.Event()

    def enter() -> None:
        with exclusive(tmp_path, "items"):
            inside.set()

    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.kill()
    try:
        thread = threading.Thread(target=enter)
        thread.start()
        assert not inside.wait(0.5), "the child still holds it"
    finally:
        os.kill(child, signal.SIGKILL)
    assert inside.wait(60)
    thread.join()
