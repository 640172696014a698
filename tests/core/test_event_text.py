"""Events in words."""

from __future__ import annotations

from typing import Any

import pytest

from kladml_core.runs.event_text import event_detail, event_kind, seconds_text, size_text


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (
            {
                "kind": "checkpoint_saved",
                "step": 1200,
                "name": "step-1200",
                "bytes": 1_234_567,
                "seconds": 0.0141,
                "best": True,
            },
            "checkpoint saved: step 1200  best  1.2 MB  14 ms",
        ),
        (
            {"kind": "validation", "step": 9, "metrics": {"val/loss": 0.04112345, "val/[/x]": "NaN"}},
            "validation: step 9  val/loss 0.041123  val/[/x] nan",
        ),
        ({"kind": "new_best", "step": 3, "metric": "val/loss", "value": 0.5}, "new best: step 3  val/loss 0.5"),
        (
            {"kind": "run_failed", "file": "a.yaml", "line": 3, "message": "no such module", "exit_code": 3},
            "run failed: a.yaml:3: no such module  exit code 3",
        ),
        (
            {
                "kind": "run_finished",
                "step": 460,
                "reason": "max_epochs",
                "exit_code": 0,
                "seconds": 131.0,
                "best": {"metric": "val/loss", "value": 0.25, "step": 440},
            },
            "run finished: step 460  max_epochs  best val/loss 0.25 @440  2m11s",
        ),
        (
            {
                "kind": "out_of_memory",
                "step": 7,
                "message": "8 do not fit",
                "hint": "Less\x1b[2J",
                "before": 8,
                "after": 4,
            },
            "out of memory: step 7  8 do not fit  Less\\x1b[2J",
        ),
        ({"kind": "dropped", "count": 3, "message": "disk\x1b[2J"}, "dropped: count 3  disk\\x1b[2J"),
        ({"kind": "something_new", "ratio": 0.123456789, "x": None}, "something new: ratio 0.12346"),
        ({"kind": "validation", "metrics": 7}, "validation: "),
        ({"kind": "checkpoint_saved", "bytes": "many", "seconds": []}, "checkpoint saved: many  []"),
    ],
)
def test_an_event_reads_as_a_sentence(event: dict[str, Any], text: str) -> None:
    assert f"{event_kind(event)}: {event_detail(event)}" == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0141, "14 ms"),
        (3.21, "3.2 s"),
        (131, "2m11s"),
        (18240, "5h04m"),
        (-1, "-1"),
        ("NaN", "NaN"),
        (1e300, "1e+300"),
    ],
)
def test_durations(seconds: Any, text: str) -> None:
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(412, "412 B"), (1.24e6, "1.2 MB"), (3.4e9, "3.4 GB"), (5e15, "5000.0 TB")]
)
def test_sizes(count: float, text: str) -> None:
    assert size_text(count) == text
