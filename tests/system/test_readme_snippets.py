"""What README shows of ExperimentRunner, run as it stands there, as a notebook's kernel runs it.

That it runs in a plain script, with nothing installed but the base, is held by test_core_alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import yaml

from tests.system.command import environment
from tests.system.readme import runner_snippet
from tests.system.same_numbers import assert_same_numbers

KERNEL = """
# As a kernel does: cells are compiled one by one, __main__ has no file, and a loop runs around them.
import asyncio, json, sys

async def kernel():
    for number, cell in enumerate(json.load(sys.stdin)):
        exec(compile(cell, f"<ipython-input-{number}>", "exec"), vars(sys.modules["__main__"]))

asyncio.run(kernel())
"""


def test_the_snippet_of_experiment_runner_runs_in_a_notebook_and_mlflow_shows_its_numbers(tmp_path: Path) -> None:
    cells = runner_snippet().split("\n\n\n")
    assert len(cells) == 3
    done = subprocess.run(
        [sys.executable, "-c", KERNEL],
        input=json.dumps(cells),
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    path = tmp_path / "data/projects/default/default/notebook/run_0001"
    reference, macro_f1 = done.stdout.splitlines()[-2].split()
    summary = json.loads((path / "summary.json").read_text())
    assert (reference, float(macro_f1)) == ("default/default/notebook/run_0001", summary["val/macro_f1"]["last"])
    run = assert_same_numbers(path, f"sqlite:///{tmp_path}/data/mlflow.sqlite", "notebook")
    assert (run.info.run_name, run.info.status) == (reference, "FINISHED")
    assert run.data.params["training.learning_rate"] == "0.003"
    assert run.data.tags["kladml.uid"] == json.loads((path / "run.json").read_text())["uid"]
    stored = tmp_path / "data/storage/kladml" / reference / "artifacts/best_model/model.safetensors"
    assert stored.read_bytes() == (path / "artifacts/best_model/model.safetensors").read_bytes()
    assert yaml.safe_load((path / "config.yaml").read_text())["model"]["target"] == "__main__:Net"
