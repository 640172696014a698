"""Proof 11. Whatever happens, and wherever the process dies, enough checkpoints are left: two valid ones once there
were two, best, last and protected.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kladml_core.training.checkpoints import CheckpointInfo, Content, newest, retire, save, valid
from tests.core.worker_hooks import DISK_CALLS

NAME = "step-{:010d}".format


def write(directory: Path, step: int) -> str:
    content = Content(model={"weight": torch.tensor([float(step)])})
    return save(directory, content, step=step, epoch=0, metrics={}, world_size=1, config_hash="", best=False).name


def names(directory: Path) -> list[str]:
    return [info.name for info in valid(directory)]


def test_the_newest_the_best_and_the_protected_stay(tmp_path: Path) -> None:
    for step in range(1, 9):
        write(tmp_path, step)
    removed = retire(tmp_path, keep_last=2, keep_best=2, best=[NAME(99), NAME(3), NAME(5), NAME(1)], protect={NAME(4)})
    assert removed == [NAME(1), NAME(2), NAME(6)]
    assert names(tmp_path) == [NAME(3), NAME(4), NAME(5), NAME(7), NAME(8)]


def test_two_stay_even_where_fewer_are_asked_for(tmp_path: Path) -> None:
    for step in range(1, 5):
        write(tmp_path, step)
    assert retire(tmp_path, keep_last=0, keep_best=0) == [NAME(1), NAME(2)]
    assert retire(tmp_path, keep_last=0, keep_best=0) == []


def test_a_damaged_one_neither_counts_nor_goes(tmp_path: Path) -> None:
    for step in range(1, 5):
        write(tmp_path, step)
    (tmp_path / NAME(4) / "model.safetensors").write_bytes(b"")
    assert retire(tmp_path, keep_last=2, keep_best=0) == [NAME(1)]
    assert (tmp_path / NAME(4)).exists()


@settings(max_examples=60, deadline=None)
@given(
    losses=st.lists(st.floats(allow_nan=False), min_size=1, max_size=10),
    keep_last=st.integers(0, 4),
    keep_best=st.integers(0, 3),
    damaged=st.sets(st.integers(1, 10)),
    resumed_from=st.integers(1, 10),
)
def test_random_runs_never_lose_what_they_need(
    losses: list[float], keep_last: int, keep_best: int, damaged: set[int], resumed_from: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        history: dict[str, float] = {}
        for step, loss in enumerate(losses, start=1):
            history[write(directory, step)] = loss
            before = names(directory)
            ranked = sorted((name for name in history if name in before), key=history.__getitem__)
            protect = {NAME(resumed_from)}
            removed = retire(directory, keep_last=keep_last, keep_best=keep_best, best=ranked, protect=protect)
            after = names(directory)
            assert set(removed) | set(after) == set(before)
            assert len(after) >= min(2, len(before))
            assert before[-1] in after
            assert set(before[len(before) - keep_last :] if keep_last else []) <= set(after)
            assert set(ranked[:keep_best]) <= set(after)
            assert protect & set(before) <= set(after)
            found, _ = newest(directory)
            assert found is not None
            if step in damaged:
                (directory / NAME(step) / "MANIFEST.json").write_text("torn")
                assert newest(directory)[0] is None or newest(directory)[0].name != NAME(step)  # type: ignore[union-attr]


def rank(found: list[CheckpointInfo]) -> list[str]:
    return [info.name for info in sorted(found, key=lambda info: (info.metrics["val/loss"], info.step))]


def save_and_retire(directory: Path, step: int, loss: float, fatal: int) -> bool:
    """One step of a run in a process of its own, killed at its `fatal`-th call that touches the disk.

    Returns:
        Whether it was killed: it may end before so many calls.
    """
    pid = os.fork()
    if pid:
        return os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    calls = 0

    def deadly(real: object) -> object:
        def call(*args: object, **named: object) -> object:
            nonlocal calls
            calls += 1
            if calls == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **named)  # type: ignore[operator]

        return call

    try:
        for module, functions in DISK_CALLS:
            for function in functions:
                setattr(module, function, deadly(getattr(module, function)))
        content = Content(model={"weight": torch.tensor([float(step)])})
        metrics = {"val/loss": loss}
        save(directory, content, step=step, epoch=0, metrics=metrics, world_size=1, config_hash="", best=False)
        retire(directory, keep_last=2, keep_best=1, best=rank(valid(directory)))
    finally:
        os._exit(0)


def test_random_runs_that_die_anywhere_keep_two_valid_ones_and_the_best(tmp_path: Path) -> None:
    died = 0
    for seed in range(20):
        chance = random.Random(seed)
        directory = tmp_path / str(seed)
        directory.mkdir()
        for step in range(1, 9):
            before = valid(directory)
            died += save_and_retire(directory, step, chance.choice([0.1, 0.2, 0.5, 1.0]), chance.randint(1, 45))
            after = valid(directory)
            assert len(after) >= min(2, len(before)), (seed, step)
            everything = {info.name: info for info in (*before, *after)}
            # The best of all there ever were, the new one among them if it came to stand.
            assert rank(list(everything.values()))[:1] == rank(after)[:1], (seed, step)
            found, rejects = newest(directory)
            assert rejects == []
            assert (found is None) == (not after)
    assert 40 < died < 160, "some died and some did not"
