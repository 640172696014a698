"""`training.profile` leaves a trace of the steps it recorded, and the run is the same with it and without."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from kladml_core.training.profiling import TRACE
from tests.core.trainer_workspace import assert_same_end, make_workspace, new_run, work


@pytest.mark.parametrize(("change", "steps"), [({}, 3), ({"max_steps": 7}, 2)], ids=["whole", "ends before"])
def test_a_profile_holds_the_recorded_steps_and_changes_nothing(
    tmp_path: Path, change: dict[str, Any], steps: int
) -> None:
    workspace = make_workspace(tmp_path)
    plain = work(new_run(workspace, {"training": change}), workspace)
    run = new_run(workspace, {"training": {**change, "profile": 3}})
    ended = work(run, workspace)
    assert (ended.code, ended.status) == (0, "finished"), ended.output
    with gzip.open(run.artifacts / TRACE) as file:
        names = [event.get("name", "") for event in json.load(file)["traceEvents"]]
    assert len({name for name in names if name.startswith("ProfilerStep#")}) in (steps, steps + 1)
    assert any("addmm" in name for name in names)
    assert [event["message"] for event in ended.of_kind("log") if "profile" in event["message"]]
    assert_same_end(plain, ended)
