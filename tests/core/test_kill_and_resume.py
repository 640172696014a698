"""README's command that kills a run, resumes it and compares: it does what README says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULE = "kladml_core.examples.kill_and_resume"


@pytest.mark.timeout(300)
def test_a_killed_and_resumed_run_ends_bit_identical(tmp_path: Path) -> None:
    assert f"python -m {MODULE}" in (ROOT / "README.md").read_text()
    done = subprocess.run(
        [sys.executable, "-m", MODULE, "--kills=1", "--set=model.params.width=8", "--set=training.max_epochs=4"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"kill -9 \d+ +# after step \d+: lost", done.stdout), done.stdout
    assert "attempt 2 went on from step-" in done.stdout and ", exact" in done.stdout
    assert len(re.findall(r"(\w+)\.safetensors +(\w+) +\2 +equal", done.stdout)) == 3
    assert done.stdout.endswith("bit-identical\n")
    assert not list(tmp_path.glob("kladml-*")), "it takes its workspace away again"


def test_a_config_that_cannot_be_run_is_told(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", MODULE, "--set", "training.max_epoch=1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "max_epochs" in done.stderr
