"""What is recorded of the code: a patch that git can apply, without secrets, and without touching the repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kladml_core.runs import provenance
from kladml_core.runs.provenance import git_state, mask_argv


def git(directory: Path, *words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(["git", *identity, *words], cwd=directory, check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "code [x]"
    (root / "package").mkdir(parents=True)
    git(root, "init", "-q")
    (root / "package" / "model.py").write_text("width = 1\n")
    (root / "gone.py").write_text("old\n")
    (root / ".gitignore").write_text("ignored/\n")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    return root


def test_a_clean_repository_has_a_sha_and_no_patch(repository: Path) -> None:
    state = git_state(repository / "package" / "model.py")
    assert state is not None
    assert (state.sha, state.dirty, state.patch) == (git(repository, "rev-parse", "HEAD").strip(), False, b"")


def test_the_patch_restores_the_working_tree_on_a_fresh_checkout(repository: Path, tmp_path: Path) -> None:
    (repository / "package" / "model.py").write_text("width = 2\n")
    (repository / "gone.py").unlink()
    (repository / "new file [red].py").write_text("new\n")
    (repository / "weights.bin").write_bytes(bytes(range(256)))
    (repository / "ignored").mkdir()
    (repository / "ignored" / "big.txt").write_text("x")
    state = git_state(repository / "package" / "model.py")
    assert state is not None and state.dirty and state.left_out == ()
    fresh = tmp_path / "fresh"
    git(tmp_path, "clone", "-q", str(repository), str(fresh))
    (tmp_path / "change.patch").write_bytes(state.patch)
    git(fresh, "apply", str(tmp_path / "change.patch"))
    assert (fresh / "package" / "model.py").read_text() == "width = 2\n"
    assert not (fresh / "gone.py").exists()
    assert (fresh / "new file [red].py").read_text() == "new\n"
    assert (fresh / "weights.bin").read_bytes() == bytes(range(256))
    assert not (fresh / "ignored").exists()


def test_secrets_and_large_files_are_left_out_and_listed(repository: Path) -> None:
    names = [".env", ".env.local", "id_rsa", "package/server.pem"]
    for name in names:
        (repository / name).write_text("SECRET")
    (repository / "large.bin").write_bytes(b"\0" * ((1 << 20) + 1))
    (repository / "small.txt").write_text("kept")
    state = git_state(repository)
    assert state is not None
    assert sorted(state.left_out) == sorted([*names, "large.bin"])
    assert b"SECRET" not in state.patch
    assert b"kept" in state.patch


def test_looking_changes_nothing_in_the_repository(repository: Path) -> None:
    (repository / "staged.py").write_text("1")
    git(repository, "add", "staged.py")
    (repository / "untracked.py").write_text("2")
    before = git(repository, "status", "--porcelain"), git(repository, "count-objects")
    git_state(repository)
    assert (git(repository, "status", "--porcelain"), git(repository, "count-objects")) == before


def test_a_repository_without_a_commit_has_no_sha(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    state = git_state(tmp_path)
    assert state is not None and state.sha is None and state.dirty


def test_no_repository_is_no_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert git_state(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(Path(__file__)) is None


def test_secrets_of_the_command_line_are_masked() -> None:
    argv = ["--set", "model.params.api_key=abc", "tracker.uri=https://me:hunter2@host/x", "training.max_epochs=3"]
    argv += ["model.params.tokens=512", "db_password=x=y"]
    assert mask_argv(argv) == [
        "--set",
        "model.params.api_key=***",
        "tracker.uri=https://me:***@host/x",
        "training.max_epochs=3",
        "model.params.tokens=***",
        "db_password=***",
    ]


def test_only_the_variables_that_change_a_computation_are_recorded_with_their_values() -> None:
    environ = {"CUDA_VISIBLE_DEVICES": "0", "LANG": "C", "AWS_SECRET": "s3", "OMP_NUM_THREADS": "2", "LANGUAGE": "de"}
    assert provenance.environment(environ) == {
        "values": {"CUDA_VISIBLE_DEVICES": "0", "LANG": "C", "OMP_NUM_THREADS": "2"},
        "names": ["AWS_SECRET", "LANGUAGE"],
    }
