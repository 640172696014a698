"""A model that goes exactly as far as the test lets it, for what has to happen between two steps."""

from __future__ import annotations

from pathlib import Path

from tests.waiting import wait_for

MODEL = '''
import time
from pathlib import Path

from models import Net


class Stepwise(Net):
    """Writes a step's number into the file `reached`, begins it only once the file `until` names it, and prints it."""

    calls = 0

    def training_step(self, module, batch):
        step, Stepwise.calls = Stepwise.calls, Stepwise.calls + 1  # 0 is the preflight's
        Path("reached").write_text(str(step))
        while step > int(Path("until").read_text() or 0):
            time.sleep(0.005)
        print(f"step {step:>200}")
        return super().training_step(module, batch)
'''
CHANGE = {"model": {"target": "stepwise:Stepwise"}, "training": {"log_every": 1}}
"""What makes the config of `tests.core.trainer_workspace` one of this model, with a record for each step."""


def let(workspace: Path, step: int) -> None:
    """Lets a run of this process's count go on to a step; the file is replaced in one piece."""
    new = workspace / "until.new"
    new.write_text(str(step))
    new.rename(workspace / "until")


def write_model(workspace: Path, *, until: int) -> None:
    """Writes the model into a workspace; a worker will begin no step after `until`."""
    (workspace / "stepwise.py").write_text(MODEL)
    (workspace / "reached").write_text("0")
    let(workspace, until)


def reach(workspace: Path, step: int) -> None:
    """Waits until a step is about to begin: those before it are over, with what they write."""
    wait_for(lambda: int((workspace / "reached").read_text() or 0) >= step, 60, f"step {step} is not reached")
