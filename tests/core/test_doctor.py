"""The doctor finds what is wrong with a workspace, says what to do, and lets the rest alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kladml_core.backends.sqlite_metadata import SqliteMetadata
from kladml_core.runs import background
from kladml_core.workspace import doctor
from kladml_core.workspace.doctor import Check, examine
from kladml_core.workspace.doctor_machine import examine_machine
from tests.core.indexed_workspace import LONG_AGO, a_run, a_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return a_workspace(tmp_path / "w")


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_all_is_well_with_a_good_workspace(workspace: Path) -> None:
    for _ in range(3):
        a_run(workspace)
    told: list[str] = []
    checks = examine(workspace, done=lambda check: told.append(check.name))
    assert {check.state for check in checks} == {"ok"}
    assert told == [check.name for check in checks]
    assert "3 runs" in by_name(checks)["index"].text


def test_damaged_runs_are_listed_with_what_to_do(workspace: Path) -> None:
    good = a_run(workspace)
    empty = good.path.parent / "run_0002"
    empty.mkdir()
    os.utime(empty, (1, 1))
    (good.path.parent / "run_0003").write_text("")
    good.notes.write_text("tags: [a\n")
    runs = by_name(examine(workspace))["runs"]
    assert (runs.state, runs.text) == ("wrong", "3 of 3 are damaged")
    found = {one.what.rpartition("/")[2]: one for one in runs.findings}
    assert "notes.yaml is damaged" in found["run_0001"].text
    assert (
        found["run_0002"].hint == "`kladml-tui prune --runs vision/digits/cnn/run_0002 --yes` moves it into the trash"
    )
    assert "move it out" in found["run_0003"].hint


def test_foreign_and_left_over_files_are_told_and_left_alone(workspace: Path) -> None:
    run = a_run(workspace)
    foreign = [run.path.parent / "old [red]x", workspace / "data" / "projects" / "notes.txt"]
    foreign[0].mkdir()
    foreign[1].write_text("")
    stale, fresh = run.path / ".state.json.abc.tmp", run.path / ".state.json.def.tmp"
    for file in (stale, fresh):
        file.write_text("")
    os.utime(stale, (LONG_AGO, LONG_AGO))
    checks = by_name(examine(workspace))
    assert [one.what for one in checks["foreign files"].findings] == [
        "projects/notes.txt", "projects/vision/digits/cnn/old [red]x"
    ]  # fmt: skip
    assert [one.what.rpartition("/")[2] for one in checks["temporary files"].findings] == [stale.name]
    assert {checks["foreign files"].state, checks["temporary files"].state} == {"note"}
    assert all(path.exists() for path in (*foreign, stale, fresh))


def test_wrong_settings_end_it(workspace: Path) -> None:
    (workspace / "kladml.yaml").write_text("workspace: {naem: x}\n")
    (only,) = examine(workspace)
    assert (only.name, only.state) == ("settings", "wrong")
    assert "naem" in only.text


def test_a_full_disk_and_one_on_the_network_are_told(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "network_file_system", lambda path: "nfs4")
    monkeypatch.setattr(doctor, "TOO_LITTLE_SPACE", 1 << 62)
    monkeypatch.setattr(doctor, "LITTLE_SPACE", 1 << 62)
    monkeypatch.setenv("KLADML_TRACKER__BACKEND", "local")
    checks = by_name(examine(workspace))
    assert checks["network disk"].state == "wrong"
    assert "tracker.uri" in checks["network disk"].hint
    assert (checks["free space"].state, checks["free space"].hint) == ("wrong", "`kladml-tui prune` says what could go")


def test_a_dataset_whose_data_is_gone_is_wrong(workspace: Path) -> None:
    folder = workspace / "data" / "datasets"
    folder.mkdir()
    (folder / "gone.yaml").write_text("name: gone\npath: nowhere.npz\n")
    (folder / "bad.yaml").write_text("nmae: bad\n")
    checks = by_name(examine(workspace))["datasets"]
    assert [one.what for one in checks.findings] == ["bad", "gone"]
    assert checks.state == "wrong"


def test_rebuilding_reads_everything_anew(workspace: Path) -> None:
    run = a_run(workspace)
    examine(workspace)
    metadata = SqliteMetadata(workspace)
    with metadata.writing() as connection:
        connection.execute("UPDATE runs SET status = 'lost', note = 'not in a file'")
    metadata.close()
    progress: list[tuple[int, int]] = []
    checks = examine(workspace, rebuild=True, progress=lambda done, total: progress.append((done, total)))
    assert "1 runs (read in" in by_name(checks)["index"].text
    assert progress == [(1, 1)]
    assert SqliteMetadata(workspace).run(run.reference).note == ""


def test_background_processes_are_told_with_their_state(workspace: Path) -> None:
    held = background.hold(workspace / "data", "queue")
    assert held is not None
    try:
        (found,) = by_name(examine(workspace))["background"].findings
        assert (found.what, found.text.partition(" for ")[0]) == ("queue", f"process {os.getpid()} runs")
    finally:
        held.release()


def test_what_trains_is_asked_in_another_process() -> None:
    checks = by_name(examine_machine())
    assert checks["training"].state == "ok"
    assert "accelerate" in checks["training"].text


def test_the_command_says_it_in_lines_and_in_json(workspace: Path) -> None:
    good = a_run(workspace)
    main = "import sys; from kladml_tui.cli import main; main()"

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", main, "doctor", *words]
        return subprocess.run(command, cwd=workspace, capture_output=True, text=True, timeout=200)

    fine = run()
    assert fine.returncode == 0, fine.stdout + fine.stderr
    assert fine.stdout.splitlines()[-1] == "all is well"
    assert fine.stderr == ""
    good.state_json.write_text("{")
    import json

    told = run("--json", "--rebuild")
    assert told.returncode == 1
    said = json.loads(told.stdout)
    assert said["ok"] is False
    (runs,) = [one for one in said["checks"] if one["check"] == "runs"]
    assert runs["found"][0]["text"] == "state.json is damaged"
