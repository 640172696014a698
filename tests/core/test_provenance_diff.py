"""What differs in how runs came about: only that, by key, with patches told apart by their content."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from kladml_core.backends.run_log import RunLog
from kladml_core.config.diff import MISSING
from kladml_core.runs import provenance
from kladml_core.runs.files import read_json, write_json
from kladml_core.runs.provenance_diff import provenance_diff
from kladml_core.runs.rundir import RunDirectory
from tests.core.test_provenance import git, repository

__all__ = ["repository"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def recorded(data: Path, code: Path, *, seed: int = 0, fingerprint: str = "sha256:1") -> RunDirectory:
    run = RunDirectory.create(data, "p", "f", "e", seed=seed, fingerprints={"digits": fingerprint})
    directory = run.attempt_dir(run.claim_attempt())
    record = provenance.record(directory, code, {"LANG": "C"})
    write_json(directory / "attempt.json", {"argv": ["kladml-tui", "--run", "a.yaml"], "overrides": [], **record})
    return run


def test_runs_of_the_same_origin_differ_in_nothing(data: Path, repository: Path) -> None:
    (repository / "new.py").write_text("x = 1\n")
    assert provenance_diff([recorded(data, repository), recorded(data, repository)]) == []


def test_what_differs_is_named_with_the_value_of_each_run(data: Path, repository: Path) -> None:
    one = recorded(data, repository)
    sha = git(repository, "rev-parse", "HEAD").strip()
    (repository / "gone.py").write_text("new\n")
    other = recorded(data, repository, seed=7, fingerprint="sha256:2")
    attempt = other.attempt_dir(1) / "attempt.json"
    write_json(attempt, {**read_json(attempt), "argv": ["python", "train.py"], "host": "elsewhere", "in_process": True})
    packages = other.attempt_dir(1) / provenance.PACKAGES_FILE
    packages.write_text(packages.read_text().replace(f"torch=={version('torch')}", "torch==0.1") + "only-here==2\n")
    found = dict(provenance_diff([one, other]))
    patch = found.pop("code.uncommitted")
    assert patch[0] == "none" and str(patch[1]).startswith("sha256:")
    assert found == {
        "seed": (0, 7),
        "data.digits": ("sha256:1", "sha256:2"),
        "code.dirty": (False, True),
        "packages.torch": (version("torch"), "0.1"),
        "packages.only-here": (MISSING, "2"),
        "argv": (["kladml-tui", "--run", "a.yaml"], ["python", "train.py"]),
        "in_process": (MISSING, True),
        "host": (provenance.machine()["host"], "elsewhere"),
    }
    git(repository, "commit", "-qam", "second")
    third = dict(provenance_diff([one, other, recorded(data, repository)]))
    assert third["code.sha"] == (sha, sha, git(repository, "rev-parse", "HEAD").strip())


def test_the_data_of_a_function_is_compared_as_the_worker_saw_it(data: Path, repository: Path) -> None:
    runs = []
    for content in ("sha256:1", "sha256:2"):
        run = RunDirectory.create(data, "p", "f", "e", seed=0)
        log = RunLog(run, run.claim_attempt())
        log.event("run_started", fingerprints={"train": content, "val": "sha256:9"})
        log.close()
        runs.append(run)
    assert provenance_diff(runs) == [("data.train", ("sha256:1", "sha256:2"))]


def test_a_run_whose_records_are_damaged_is_compared_all_the_same(data: Path, repository: Path) -> None:
    whole, torn = recorded(data, repository), recorded(data, repository)
    (torn.attempt_dir(1) / "attempt.json").write_text('{"argv": [')
    (torn.attempt_dir(1) / provenance.PACKAGES_FILE).unlink()
    torn.run_json.write_text("[1]")
    found = dict(provenance_diff([whole, torn]))
    assert found["seed"] == (0, MISSING) and found["host"][1] is MISSING
    assert provenance_diff([torn, torn]) == [] and provenance_diff([]) == []


def test_the_packages_are_written_as_pip_takes_them_back(data: Path, repository: Path) -> None:
    run = recorded(data, repository)
    text = (run.attempt_dir(1) / provenance.PACKAGES_FILE).read_text()
    assert f"\ntorch=={version('torch')}\n" in text and f"\npytest=={pytest.__version__}\n" in text
    assert (read_json(run.attempt_dir(1) / "attempt.json"))["versions"]["python"] == sys.version.split()[0]
