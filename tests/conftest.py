"""What every test starts from: an environment without the person's own settings, and workspaces that clean up."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from kladml_core.runs.process_tree import ProcessTree
from kladml_core.runs.ref import all_runs
from kladml_core.runs.rundir import RunDirectory

_FOREIGN = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "COLUMNS", "LINES", "TEXTUAL", "RICH")


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing of the person's own home, colours or KLADML_ settings reaches a test."""
    for name in list(os.environ):
        if name.startswith(("KLADML_", *_FOREIGN)):
            monkeypatch.delenv(name)
    # A test that wants its runs tracked sets this itself: two thousand tests are not to start MLflow.
    monkeypatch.setenv("KLADML_TRACKER__BACKEND", "none")
    home = tmp_path_factory.getbasetemp() / "xdg"
    for kind in ("CONFIG", "CACHE", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(home / kind.lower()))


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Path]:
    """An empty workspace; workers that a test leaves behind in it are killed."""
    root = tmp_path / "workspace"
    (root / "data" / "configs").mkdir(parents=True)
    (root / "kladml.yaml").write_text("workspace: {name: test}\n")
    yield root
    for run in map(RunDirectory, all_runs(root / "data")):
        attempt = run.latest_attempt()
        if attempt is not None:
            for member in ProcessTree(run, attempt).look():  # never this process, which may have written a run itself
                member.signal(signal.SIGKILL)
