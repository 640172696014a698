"""Claiming run directories and finding them by name."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from kladml_core.errors import UnusableError
from kladml_core.runs.files import number, strict_dumps, write_json, write_text_atomic
from kladml_core.runs.ref import RunRef, find_run
from kladml_core.runs.rundir import RunDirectory


def create(data: Path, experiment: str = "cnn") -> RunDirectory:
    return RunDirectory.create(data, "vision", "digits", experiment, seed=3)


def test_runs_are_numbered_and_a_number_is_not_reused(tmp_path: Path) -> None:
    names = [create(tmp_path).path.name for _ in range(3)]
    assert names == ["run_0001", "run_0002", "run_0003"]
    (tmp_path / "projects/vision/digits/cnn/run_0041").mkdir()
    assert create(tmp_path).path.name == "run_0042"


def test_many_launches_at_once_get_a_run_each(tmp_path: Path) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(create(tmp_path).reference)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 20


def test_run_json_holds_the_identity(tmp_path: Path) -> None:
    run = create(tmp_path)
    content = json.loads(run.run_json.read_text())
    assert (content["reference"], content["seed"]) == ("vision/digits/cnn/run_0001", 3)
    assert len(content["uid"]) == 32
    assert create(tmp_path).read_run() != content


def test_two_claims_of_the_same_attempt_start_one_worker(tmp_path: Path) -> None:
    run = create(tmp_path)
    results: list[object] = []
    barrier = threading.Barrier(8)

    def claim() -> None:
        barrier.wait()
        try:
            results.append(run.claim_attempt())
        except UnusableError as error:
            results.append(error)

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    claimed = [result for result in results if isinstance(result, int)]
    refused = [str(result) for result in results if isinstance(result, UnusableError)]
    assert all(f"is being started by process {os.getpid()} of " in text for text in refused), refused
    assert sorted(claimed) == list(range(1, len(claimed) + 1))
    assert len(list(run.attempts.iterdir())) == len(claimed)


def test_the_loser_of_a_claim_is_told_who_holds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = create(tmp_path)
    run.attempt_dir(1).mkdir()
    write_json(run.attempt_dir(1) / "attempt.json", {"launcher_pid": 77, "user": "ada", "host": "box"})
    monkeypatch.setattr(RunDirectory, "latest_attempt", lambda self: None)  # as seen a moment before the other's mkdir
    with pytest.raises(UnusableError, match="process 77 of ada on box"):
        run.claim_attempt()


@pytest.mark.parametrize(
    "text", ["vision/digits/cnn/run_0001", "cnn/run_0001", "digits/cnn/run_0001/", " cnn/run_0001"]
)
def test_a_run_is_found_by_any_unambiguous_end_of_its_reference(tmp_path: Path, text: str) -> None:
    run = create(tmp_path)
    create(tmp_path, "another")
    assert find_run(tmp_path, text) == run


def test_a_number_alone_names_a_run_where_it_is_unambiguous(tmp_path: Path) -> None:
    create(tmp_path)
    second = create(tmp_path)
    assert find_run(tmp_path, "2") == second
    assert find_run(tmp_path, str(second.path)) == second


def test_an_ambiguous_name_lists_the_candidates(tmp_path: Path) -> None:
    create(tmp_path)
    create(tmp_path, "another")
    with pytest.raises(UnusableError, match="names 2 runs: vision/digits/another/run_0001, vision/digits/cnn"):
        find_run(tmp_path, "run_0001")


@pytest.mark.parametrize("text", ["", "run_0009", "nn/run_0001", "../../etc", "/", "*", "vision/digits/cnn"])
def test_what_names_no_run_is_said_so(tmp_path: Path, text: str) -> None:
    create(tmp_path)
    with pytest.raises(UnusableError, match="no run named"):
        find_run(tmp_path, text)


def test_a_reference_has_four_parts() -> None:
    assert str(RunRef.parse("a/b/c/run_0001")) == "a/b/c/run_0001"
    with pytest.raises(UnusableError, match="is not a run"):
        RunRef.parse("a/b/run_0001")


def test_an_unwritable_data_directory_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "projects").write_text("a file in the way")
    with pytest.raises(UnusableError, match="cannot create a run"):
        create(tmp_path)


def test_json_is_strict_whatever_goes_in() -> None:
    text = strict_dumps({"a": float("nan"), "b": [float("inf"), -float("inf")], 3: {"p": Path("x")}, "s": "\ud800"})
    assert json.loads(text, parse_constant=pytest.fail) == {
        "a": "NaN", "b": ["Infinity", "-Infinity"], "3": {"p": "x"}, "s": "\\ud800",
    }  # fmt: skip
    assert number("-Infinity") == -float("inf")
    with pytest.raises(ValueError, match="not a number"):
        number("many")


def test_an_atomic_write_keeps_the_mode_and_leaves_no_temporary(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("old")
    path.chmod(0o640)
    write_text_atomic(path, "new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o640)
    (tmp_path / "directory").mkdir()
    with pytest.raises(IsADirectoryError):
        write_text_atomic(tmp_path / "directory", "x")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["directory", "x.yaml"]
