"""Pruning: what is proposed, what is moved into the trash, and that a live run loses nothing."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from kladml_core.errors import UnusableError
from kladml_core.runs import prune as pruning
from kladml_core.runs import trash
from kladml_core.runs.disk_use import disk_use, run_use
from kladml_core.runs.files import write_json
from kladml_core.runs.pins import pin
from kladml_core.runs.prune import propose, prune
from kladml_core.runs.queue_items import Item, queue_dir, write_item, write_run_state
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.slots import Need
from kladml_core.runs.trash import entries, restore
from tests.core.pruned_runs import SIZE, a_checkpoint, a_run, name, set_status, tree

DAY = 86400.0


def there(run: RunDirectory) -> list[str]:
    return sorted(path.name for path in run.checkpoints.glob("step-*"))


def proposed(data: Path, *references: str, runs: bool = False, older_than: float | None = None) -> list[str]:
    return [line.what for line in propose(data, references, runs=runs, older_than=older_than).lines]


# What is proposed


def test_all_but_the_best_the_newest_and_the_pinned_is_proposed_and_nothing_touched(tmp_path: Path) -> None:
    run = a_run(tmp_path, steps=(10, 20, 30, 40, 50))
    pin(run, "30")
    before = tree(tmp_path)
    proposal = propose(tmp_path)
    assert [(line.what, line.kind, line.run) for line in proposal.lines] == [
        (name(10), "checkpoint", run.reference),
        (name(40), "checkpoint", run.reference),
    ]
    assert proposal.bytes == sum(line.bytes for line in proposal.lines) > 2 * SIZE
    assert tree(tmp_path) == before


@pytest.mark.parametrize("status", ["starting", "running", "stopping"])
def test_of_a_live_run_nothing_is_proposed(tmp_path: Path, status: str) -> None:
    run = a_run(tmp_path, status=status)
    proposal = propose(tmp_path, [run.reference], runs=True)
    assert (proposal.lines, proposal.live) == ((), (run.reference,))


def test_a_run_that_waits_in_the_queue_is_live_also_when_it_came_there_a_moment_ago(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(tmp_path, status="stopped", steps=())
    proposal = propose(tmp_path, runs=True)
    uid = str((run.read_run() or {})["uid"])
    item = Item(1, run.reference, uid, 1, os.getuid(), "ada", 1.0, Need("cpu"), 1.0, "a test")
    queue_dir(tmp_path).mkdir(parents=True)
    real = RunDirectory.claim_attempt

    def claim(self: RunDirectory, after: int | None = None) -> int:
        write_item(tmp_path, item)
        write_run_state(tmp_path, item, "queued")
        return real(self, after)

    with monkeypatch.context() as patched:
        patched.setattr(RunDirectory, "claim_attempt", claim)
        assert "is queued" in prune(proposal).left[0].why
    assert run.path.is_dir() and run.latest_attempt() == 1
    assert propose(tmp_path, [run.reference], runs=True).live == (run.reference,)


def test_a_run_of_another_machine_that_was_not_proved_dead_is_live(tmp_path: Path) -> None:
    run = a_run(tmp_path, status="running")
    write_json(run.state_json, {**(run.read_state() or {}), "host": "elsewhere", "heartbeat": 1.0})
    assert propose(tmp_path, runs=True).live == (run.reference,)


def test_the_newest_that_is_damaged_is_not_the_newest_and_goes_where_another_is_valid(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    (run.checkpoints / name(40) / "model.safetensors").write_bytes(b"short")
    lines = {line.what: line for line in propose(tmp_path).lines}
    assert lines.keys() == {name(10), name(40)}
    assert lines[name(40)].kind == "damaged" and "instead of" in lines[name(40)].why


def test_damaged_ones_stay_where_there_is_nothing_else(tmp_path: Path) -> None:
    run = a_run(tmp_path, steps=(10, 20))
    for step in (10, 20):
        (run.checkpoints / name(step) / "MANIFEST.json").unlink()
    assert proposed(tmp_path) == []


def test_what_crashes_left_goes_once_nobody_can_be_writing_it(tmp_path: Path) -> None:
    run = a_run(tmp_path, steps=(10,))
    rejected = run.checkpoints / f"{name(10)}.rejected-1f"
    rejected.mkdir()
    half, state = run.checkpoints / f".{name(20)}.x.tmp", run.path / ".state.json.abc.tmp"
    half.mkdir()
    state.write_text("{")
    assert proposed(tmp_path) == [rejected.name]
    for path in (half, state):
        os.utime(path, (1, 1))
    kinds = {line.what: line.kind for line in propose(tmp_path).lines}
    assert kinds == {rejected.name: "damaged", half.name: "temporary", state.name: "temporary"}


def test_whole_runs_only_where_asked_for_and_nothing_is_lost_with_them(tmp_path: Path) -> None:
    a_run(tmp_path, status="failed", steps=(20, 40))
    failed = a_run(tmp_path, status="failed", steps=())
    starred = a_run(tmp_path, status="failed", steps=())
    starred.notes.write_text("star: true\n")
    a_run(tmp_path, status="finished", steps=())
    assert proposed(tmp_path) == []
    assert proposed(tmp_path, runs=True) == [failed.path.name]


def test_a_run_that_is_named_goes_whole_unless_a_checkpoint_is_pinned(tmp_path: Path) -> None:
    run, other = a_run(tmp_path), a_run(tmp_path)
    assert proposed(tmp_path, run.reference, runs=True) == [run.path.name]
    assert proposed(tmp_path, "vision/digits", runs=True) == [name(10), name(30)] * 2
    pin(other, "best")
    proposal = propose(tmp_path, [other.reference], runs=True)
    assert proposal.lines == () and f"{name(20)} is pinned" in proposal.left[0].why


def test_references_choose_runs_by_their_beginning_or_as_ever(tmp_path: Path) -> None:
    a_run(tmp_path, experiment="vision/digits/cnn", steps=(1, 2, 3), best=1)
    a_run(tmp_path, experiment="vision/letters/cnn", steps=(4, 5, 6), best=4)
    a_run(tmp_path, experiment="text/gpt/tiny", steps=(7, 8, 9), best=7)
    assert proposed(tmp_path, "vision") == [name(2), name(5)]
    assert proposed(tmp_path, "vision/letters", "tiny/run_0001") == [name(5), name(8)]
    odd = a_run(tmp_path, experiment=" a/b\x85/c\n", steps=(1, 2, 3), best=1)
    assert proposed(tmp_path, " a/b\x85") == proposed(tmp_path, odd.reference) == [name(2)]
    for wrong in ("nothing", "visio", "..", "../..", "vision//digits"):
        with pytest.raises(UnusableError, match="no run named"):
            propose(tmp_path, [wrong])


def test_only_what_is_old_enough(tmp_path: Path) -> None:
    now = time.time()
    run = a_run(tmp_path, steps=(10, 40), best=40, ended=now - DAY)
    a_checkpoint(run, 20, written=now - 9 * DAY)
    assert proposed(tmp_path, older_than=7 * DAY) == [name(20)]
    assert proposed(tmp_path) == [name(10), name(20)]
    old = a_run(tmp_path, status="failed", steps=(), ended=now - 9 * DAY)
    a_run(tmp_path, status="failed", steps=(), ended=now)
    assert proposed(tmp_path, runs=True, older_than=7 * DAY) == [name(20), old.path.name]


def test_a_run_whose_state_is_damaged_is_left_alone_until_it_has_been_silent_for_long(tmp_path: Path) -> None:
    run = a_run(tmp_path, steps=(), status="failed")
    run.state_json.write_text("{torn")
    (left,) = propose(tmp_path, runs=True).left
    assert "it is damaged, but was written to of late" in left.why
    for path in (run.path, *run.path.iterdir()):
        os.utime(path, (1, 1))
    assert proposed(tmp_path, runs=True) == [run.path.name]


def test_a_run_that_was_lost_elsewhere_is_left_alone_until_it_has_been_silent_for_long(tmp_path: Path) -> None:
    """Who found it lost may have been wrong: only its own machine can prove it."""
    run = a_run(tmp_path, status="running")
    write_json(run.state_json, {**(run.read_state() or {}), "host": "elsewhere"})
    write_json(run.lost_json, {"attempt": 1, "by": {"host": "elsewhere"}, "cause": "gone"})
    (left,) = propose(tmp_path).left
    assert "may live elsewhere" in left.why
    for path in run.path.iterdir():
        os.utime(path, (1, 1))
    assert proposed(tmp_path) == [name(10), name(30)]


def test_a_link_is_not_a_checkpoint_to_move(tmp_path: Path) -> None:
    run = a_run(tmp_path / "data", steps=(20, 40))
    elsewhere = tmp_path / "elsewhere"
    a_checkpoint(run, 10).rename(elsewhere)
    (run.checkpoints / name(10)).symlink_to(elsewhere)
    proposal = propose(tmp_path / "data")
    assert proposal.lines == () and [left.why for left in proposal.left] == ["it is a symbolic link"]


# What is moved


def test_what_is_pruned_lies_in_the_trash_and_comes_back_exactly(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    (run.path / "notes.yaml").write_text("note: mine\n")
    failed = a_run(tmp_path, status="failed", steps=())
    before = tree(tmp_path / "projects")
    done = prune(propose(tmp_path, runs=True))
    assert [line.what for line in done.lines] == [name(10), name(30), failed.path.name] and done.left == ()
    assert there(run) == [name(20), name(40)]
    assert not failed.path.exists()
    assert run.latest_attempt() == 1  # the claim is gone
    (entry,) = entries(tmp_path)
    assert (entry.name, entry.bytes) == (done.entry, done.bytes)
    restored = restore(tmp_path)
    assert len(restored.things) == 3 and restored.left == ()
    after = tree(tmp_path / "projects")
    assert after.pop("vision/digits/cnn/experiment.yaml") == b"last_run: 2\n"
    assert after == before
    assert entries(tmp_path) == [] and list(trash.folder(tmp_path).iterdir()) == []


def test_a_resume_that_comes_first_keeps_everything(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    proposal = propose(tmp_path, [run.reference], runs=True)
    run.claim_attempt(1)  # it has its attempt, and no state yet
    before = tree(run.path)
    done = prune(proposal)
    assert done.entry is None and "is being started" in done.left[0].why
    set_status(run, "running", 2)
    assert "running" in prune(proposal).left[0].why
    assert {**tree(run.path), "state.json": b""} == {**before, "state.json": b""}
    assert not list(trash.folder(tmp_path).iterdir())


def test_a_resume_that_comes_second_is_refused_while_things_are_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(tmp_path)
    refused: list[str] = []
    real = os.rename

    def rename(source: Path, target: Path) -> None:
        with pytest.raises(UnusableError, match=f"is being pruned by process {os.getpid()}") as error:
            run.claim_attempt(1)
        refused.append(str(error.value))
        real(source, target)

    monkeypatch.setattr(pruning.os, "rename", rename)
    assert len(prune(propose(tmp_path)).lines) == 2
    assert len(refused) == 2
    monkeypatch.undo()
    assert run.claim_attempt(1) == 2


def test_of_many_prunings_and_resumes_at_once_none_hurts_another(tmp_path: Path) -> None:
    """Whoever gets the attempt resumes; from then on its checkpoints are those that stay."""
    for round_number in range(15):
        run = a_run(tmp_path / str(round_number))
        barrier = threading.Barrier(3)
        resumed: list[list[str]] = []

        def press_prune(data: Path = tmp_path / str(round_number), barrier: threading.Barrier = barrier) -> None:
            proposal = propose(data)
            barrier.wait()
            prune(proposal)

        def press_resume(run: RunDirectory = run, barrier: threading.Barrier = barrier, out: list = resumed) -> None:  # type: ignore[type-arg]
            barrier.wait()
            try:
                attempt = run.claim_attempt(1)
            except UnusableError:
                return
            before = there(run)
            set_status(run, "running", attempt)
            out.append(before)

        threads = [threading.Thread(target=target) for target in (press_prune, press_prune, press_resume)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for before in resumed:
            assert there(run) == before
        assert {name(20), name(40)} <= set(there(run))


def test_another_checkpoint_under_the_same_name_stays(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    proposal = propose(tmp_path)
    (run.checkpoints / name(10)).rename(tmp_path / "aside")
    a_checkpoint(run, 10)
    pin(run, "30")
    done = prune(proposal)
    assert done.entry is None and {left.what for left in done.left} == {name(10), name(30)}
    assert len(there(run)) == 4


def test_older_ones_stay_where_the_newest_turns_out_damaged(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    content = run.checkpoints / name(40) / "model.safetensors"
    content.write_bytes(b"\x00" + content.read_bytes()[1:])
    said: list[str] = []
    done = prune(propose(tmp_path), say=said.append)
    assert done.entry is None and "has changed since it was written" in done.left[0].why
    assert said == [f"checking {run.reference} {name(20)}", f"checking {run.reference} {name(40)}"]
    assert len(there(run)) == 4


def test_another_file_system_is_said_plainly_and_nothing_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(tmp_path)
    before = tree(run.checkpoints)

    def rename(source: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    proposal = propose(tmp_path)
    monkeypatch.setattr(pruning.os, "rename", rename)
    done = prune(proposal)
    assert done.entry is None and all("another file system" in left.why for left in done.left)
    assert tree(run.checkpoints) == before


@pytest.mark.skipif(
    not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == os.stat("/tmp").st_dev, reason="one file system"
)
def test_checkpoints_on_a_mounted_disk_are_not_proposed(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    mounted = Path(f"/dev/shm/kladml-{os.getpid()}")
    os.system(f"cp -a '{run.checkpoints}' '{mounted}' && rm -r '{run.checkpoints}'")
    try:
        run.checkpoints.symlink_to(mounted)
        proposal = propose(tmp_path)
        assert proposal.lines == ()
        assert [left.what for left in proposal.left] == [name(10), name(30)]
        assert all("another file system" in left.why for left in proposal.left)
    finally:
        os.system(f"rm -r '{mounted}'")


def test_a_full_disk_moves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_run(tmp_path)
    before = tree(run.path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    proposal = propose(tmp_path)
    monkeypatch.setattr(trash, "write_json", full)
    with pytest.raises(UnusableError, match=r"cannot write into the trash.*a few kilobytes have to be free"):
        prune(proposal)
    assert tree(run.path) == before and not list(trash.folder(tmp_path).iterdir())


def test_a_trash_that_may_not_be_written_is_not_taken_for_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_run(tmp_path)

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    proposal = propose(tmp_path)
    monkeypatch.setattr(trash, "write_json", refused)
    with pytest.raises(UnusableError, match=r"Permission denied$") as found:
        prune(proposal)
    assert found.value.hint is None


def killed_at(data: Path, call: int) -> bool:
    """Prunes in a process that is killed at its `call`-th rename; whether it was."""
    pid = os.fork()
    if pid:
        return os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    calls, real = 0, os.rename

    def deadly(source: Path, target: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        real(source, target)
        if calls + 1 == -call:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        os.rename = deadly  # type: ignore[assignment]
        prune(propose(data, runs=True))
    finally:
        os._exit(0)


@pytest.mark.parametrize("call", [1, 2, 3, -2, -3, -4])
def test_a_crash_anywhere_loses_nothing_and_can_be_undone(tmp_path: Path, call: int) -> None:
    """Killed before the first, second, third rename, and after each."""
    a_run(tmp_path)
    a_run(tmp_path, status="failed", steps=())
    before = tree(tmp_path / "projects")
    assert killed_at(tmp_path, call)
    for claim in (tmp_path).rglob("attempts/002/attempt.json"):
        os.utime(claim, (1, 1))
    for _ in entries(tmp_path):
        assert restore(tmp_path).left == ()
    after = tree(tmp_path / "projects")
    after.pop("vision/digits/cnn/experiment.yaml", None)
    left_behind = {path for path in after if "attempts/002" in path}
    assert {path: after[path] for path in after.keys() - left_behind} == before
    # Killed before anything of a run was moved, so that there was nothing to put back.
    assert bool(left_behind) == (call in (1, 3))


# Numbers, sizes


def test_the_number_of_a_run_that_is_gone_is_never_given_again(tmp_path: Path) -> None:
    first, second = a_run(tmp_path), a_run(tmp_path, status="failed", steps=())
    experiment = first.path.parent / "experiment.yaml"
    experiment.write_text("# ours\ntitle: Digits  # the first\n")
    assert prune(propose(tmp_path, runs=True)).lines[-1].what == second.path.name
    assert experiment.read_text() == "# ours\ntitle: Digits  # the first\nlast_run: 2\n"
    trash.empty(tmp_path, [entry.name for entry in entries(tmp_path)])
    assert a_run(tmp_path, steps=()).path.name == "run_0003"
    prune(propose(tmp_path, ["cnn/run_0003"], runs=True))
    assert a_run(tmp_path).path.name == "run_0004"
    experiment.write_text("title: [open\nlast_run: 9\n")
    assert a_run(tmp_path).path.name == "run_0010"


def test_a_run_stays_where_its_number_cannot_be_remembered(tmp_path: Path) -> None:
    run = a_run(tmp_path, status="failed", steps=())
    (run.path.parent / "experiment.yaml").write_text("title: [open\n")
    done = prune(propose(tmp_path, runs=True))
    assert done.entry is None and "experiment.yaml:" in done.left[0].why
    assert run.path.is_dir() and run.latest_attempt() == 1


def test_sizes_are_what_the_disk_gives(tmp_path: Path) -> None:
    file = tmp_path / "a" / "file"
    file.parent.mkdir()
    file.write_bytes(bytes(100_000))
    alone = disk_use(tmp_path / "a")
    os.link(file, file.with_name("again"))
    file.with_name("link").symlink_to("/etc")
    assert disk_use(tmp_path / "a") - alone < 8192
    with file.with_name("sparse").open("wb") as sparse:
        sparse.truncate(1 << 30)
    assert 100_000 <= disk_use(tmp_path / "a") < 1 << 20
    assert disk_use(tmp_path / "nothing") == 0


def test_the_use_of_a_run_is_told_by_checkpoint(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    use = run_use(run)
    assert list(use.checkpoints) == [name(40), name(30), name(20), name(10)]
    assert all(SIZE <= size < 2 * SIZE for size in use.checkpoints.values())
    assert use.bytes > sum(use.checkpoints.values())


def test_a_run_that_has_lost_its_run_json_can_be_moved_away(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "projects" / "vision/digits/cnn/run_0001")
    run.path.mkdir(parents=True)
    os.utime(run.path, (1, 1))
    result = prune(propose(tmp_path, [run.reference], runs=True))
    assert not run.path.exists(), result
    assert restore(tmp_path)
    assert run.path.is_dir()
