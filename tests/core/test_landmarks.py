"""Landmarks: what events say of places on the curves, kept however many events there are."""

from __future__ import annotations

from itertools import pairwise

from kladml_core.runs.landmarks import MOST, Best, landmarks


def ends(*epochs: int) -> list[dict[str, object]]:
    return [{"kind": "epoch_finished", "step": 10 * epoch, "epoch": epoch} for epoch in epochs]


def test_a_resume_takes_back_what_lay_beyond_it() -> None:
    saved = [{"kind": "checkpoint_saved", "step": step, "name": f"step-{step}"} for step in (10, 20, 30)]
    best = [{"kind": "new_best", "step": step, "metric": name, "value": 0.5} for step, name in ((20, "a"), (30, "b"))]
    resumed = {"kind": "resumed", "step": 20, "attempt": 2}
    again = {"kind": "epoch_finished", "step": 28, "epoch": 3}
    found = landmarks([*saved, *best, *ends(1, 2, 3), resumed, again])
    assert found.checkpoints == ((10, "step-10"), (20, "step-20"))
    assert found.resumes == ((20, "2"),)
    assert found.best == {"a": Best(20, 0.5)}
    assert found.epochs == ((10, 1), (20, 2), (28, 3))


def test_ten_million_events_take_no_more_room_than_a_screen_can_show() -> None:
    found = landmarks(event for number in range(1, 20_001) for event in ends(number))
    assert len(found.epochs) <= MOST
    assert list(found.epochs) == sorted(found.epochs)
    assert found.epochs[-1] == (200_000, 20_000)
    gaps = {after - before for (_, before), (_, after) in pairwise(found.epochs[:-1])}
    assert len(gaps) == 1, "they are thinned evenly"
    assert found.epochs[0] == (10, 1)


def test_what_is_no_place_changes_nothing() -> None:
    odd = [{"kind": "checkpoint_saved", "step": "3"}, {"kind": "resumed"}, {"kind": "log", "step": 3}, {"step": 4}]
    assert landmarks(odd) == landmarks([])
