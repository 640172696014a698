"""One run replayed into a tracker: what arrives, what does not, and that a crash at any moment changes neither."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import pytest

from kladml_core.interfaces.tracker import Measurement
from kladml_core.runs.rundir import RunDirectory
from kladml_core.tracking import records, replay
from kladml_core.tracking.replay import FILE_TRIES, Replay, RunGone, Turn
from kladml_core.tracking.state import FILE, read_sent, uid_of
from tests.core.replayed_runs import (
    CONFIG,
    FourMethods,
    Kept,
    Store,
    add_attempt,
    began,
    counted,
    ended,
    killed,
    new_run,
)
from tests.system.faults import fill, small_disk


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return new_run(tmp_path / "data")


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No value waits for a later one of its step."""
    monkeypatch.setattr(replay, "SETTLE_SECONDS", -1.0)


def replay_of(run: RunDirectory, store: Store, target: str = "here") -> Replay:
    return Replay(run, str(uid_of(run)), Kept(store), target)


def work_off(one: Replay, attempt: int = 1) -> Turn:
    """Turns until there is nothing to do at the moment."""
    while (turn := one.turn(attempt)) is Turn.MORE:
        pass
    return turn


def test_a_run_arrives_whole(run: RunDirectory, store: Store) -> None:
    log = began(run)
    for step in range(1, 700):
        log.log_metrics({"train/loss": 1 / step, "lr": 0.1}, step)
    log.log_metrics({"val/loss [%]": math.inf, "a/../b": -1.0}, 700)
    (run.artifacts / "best_model").mkdir()
    (run.artifacts / "best_model" / "weights").write_bytes(b"w")
    (run.artifacts / ".best_model.tmp").mkdir()
    (run.artifacts / ".best_model.tmp" / "half").write_bytes(b"h")
    run.console_log.write_text("said\n")
    run.notes.write_text("tags: [baseline, 'two words']\nnote: good\nstar: true\n")
    ended(log)
    assert work_off(replay_of(run, store)) is Turn.DONE
    found = store.only()
    assert found.values == counted(run)
    assert len(found.values) == 2 * 699 + 2
    assert (found.experiment, found.name, found.status) == ("vision/digits/cnn", run.reference, "FINISHED")
    assert found.params == {
        "project": "vision", "model.target": "m:Net", "model.params.width": 8, "training.max_epochs": 2
    }  # fmt: skip
    assert found.files == {
        "config.yaml": run.config.read_bytes(), "console.log": b"said\n", "artifacts/best_model/weights": b"w"
    }  # fmt: skip
    expected = {
        "kladml.uid": uid_of(run), "kladml.status": "finished", "kladml.git_sha": "abc123", "kladml.host": "here",
        "kladml.user": "me", "kladml.tags": "baseline, two words", "kladml.note": "good", "kladml.star": "yes",
    }  # fmt: skip
    assert expected.items() <= found.tags.items()
    assert found.times["started"] == run.read_run()["created"]
    assert found.times["ended"] == run.read_state()["ended"]


@pytest.mark.parametrize(("status", "code", "expected"), [("failed", 1, "FAILED"), ("stopped", 75, "KILLED")])
def test_the_end_is_told_in_the_tracker_s_words(
    run: RunDirectory, store: Store, status: str, code: int, expected: str
) -> None:
    ended(began(run), status, code)
    assert work_off(replay_of(run, store)) is Turn.DONE
    assert store.only().status == expected


def test_a_lost_run_is_ended_and_runs_again_when_it_is_resumed(run: RunDirectory, store: Store) -> None:
    log = began(run)
    log.log_metrics({"loss": 1.0}, 1)
    log.close()
    killed(run)
    assert work_off(replay_of(run, store)) is Turn.DONE
    assert (store.only().status, store.only().tags["kladml.status"]) == ("FAILED", "lost")
    log = began(run, add_attempt(run))
    log.log_metrics({"loss": 0.5}, 2)
    assert work_off(replay_of(run, store), 2) is Turn.UP_TO_DATE
    assert store.only().status == "RUNNING"
    ended(log)
    assert work_off(replay_of(run, store), 2) is Turn.DONE
    assert store.only().status == "FINISHED"
    assert store.only().tags["kladml.reason"] == ""
    assert store.only().values == counted(run)


def test_a_claimed_attempt_that_has_no_state_yet_is_waited_for(run: RunDirectory, store: Store) -> None:
    ended(began(run))
    assert work_off(replay_of(run, store)) is Turn.DONE
    add_attempt(run)
    assert work_off(replay_of(run, store), 2) is Turn.UP_TO_DATE


@pytest.mark.usefixtures("at_once")
def test_what_a_resume_gave_up_is_not_sent_and_counted_where_it_was(run: RunDirectory, store: Store) -> None:
    log = began(run)
    for step in range(1, 11):
        log.log_metrics({"loss": 1.0}, step)
    one = replay_of(run, store)
    assert work_off(one) is Turn.UP_TO_DATE
    for step in range(11, 21):
        log.log_metrics({"loss": 1.0}, step)
    offsets = log._series.offsets()
    log.close()
    resumed = began(run, add_attempt(run))
    resumed.event("resumed", step=5, offsets=offsets)
    for step in range(6, 9):
        resumed.log_metrics({"loss": 2.0}, step)
    ended(resumed)
    assert work_off(one, 2) is Turn.DONE
    assert one.sent.given_up == 5
    values = store.only().values
    assert counted(run) < values, "steps 6 to 10 of the first attempt had been sent"
    assert sorted(step for _, step, _, _ in values) == sorted([*range(1, 11), 6, 7, 8])
    anew = Store()
    assert work_off(replay_of(run, anew, "elsewhere"), 2) is Turn.DONE
    assert anew.only().values == counted(run)
    assert read_sent(run, str(uid_of(run)), "elsewhere").given_up == 0


def test_the_last_value_of_a_step_wins_across_pages(
    run: RunDirectory, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "PAGE", records.LEAST)
    log = began(run)
    for step in range(1, 70):
        for value in range(3):
            log.log_metrics({"loss": float(value)}, step, 1000.0 + step)
    ended(log)
    assert work_off(replay_of(run, store)) is Turn.DONE
    assert store.only().values == Counter({("loss", step, 1000.0 + step, 2.0): 1 for step in range(1, 70)})


def test_a_step_of_a_live_run_waits_a_moment_for_its_last_value(run: RunDirectory, store: Store) -> None:
    log = began(run)
    log.log_metrics({"loss": 1.0}, 1, 1000.0)
    log.log_metrics({"loss": 2.0}, 2)
    one = replay_of(run, store)
    assert work_off(one) is Turn.UP_TO_DATE
    assert [step for _, step, _, _ in store.only().values] == [1]
    log.log_metrics({"loss": 3.0}, 2)
    ended(log)
    assert work_off(one) is Turn.DONE
    assert sorted((step, value) for _, step, _, value in store.only().values) == [(1, 1.0), (2, 3.0)]


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("moment", ["_note", "_send_files", "_end"])
def test_a_crash_at_any_moment_sends_nothing_twice_and_forgets_nothing(
    run: RunDirectory, store: Store, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "PAGE", 50)
    log = began(run)
    for step in range(200):
        log.log_metrics({"loss": 1 / (step + 1), "other": math.nan}, step)
    ended(log)

    class Crash(Exception):
        pass

    crashes = cycle((True, False, True, False, False, True, False, False, False, False))
    lives = 0
    while lives < 100:
        lives += 1
        one = replay_of(run, store)  # what a new process does
        unharmed: Callable[..., object] = getattr(one, moment)

        def crash(*args: object, unharmed: Callable[..., object] = unharmed, **words: object) -> object:
            if next(crashes):
                raise Crash
            return unharmed(*args, **words)

        setattr(one, moment, crash)
        try:
            if one.turn(1) is Turn.DONE:
                break
        except Crash:
            continue
    assert 1 < lives < 100
    found = store.only()
    assert found.values == counted(run)
    assert (found.status, found.files.keys()) == ("FINISHED", {"config.yaml"})


def test_another_target_gets_all_of_it(run: RunDirectory, store: Store) -> None:
    log = began(run)
    log.log_metrics({"loss": 1.0}, 1)
    ended(log)
    work_off(replay_of(run, store, "one"))
    other = Store()
    work_off(replay_of(run, other, "two"))
    assert other.only() == store.only()


def test_a_store_that_was_emptied_gets_all_of_it_again(run: RunDirectory, store: Store) -> None:
    log = began(run)
    log.log_metrics({"loss": 1.0}, 1, 1000.0)
    assert work_off(replay_of(run, store)) is Turn.UP_TO_DATE
    emptied = Store()
    tracker = Kept(emptied)
    tracker.resume_run = lambda *names: f"other {Kept.resume_run(tracker, *names)}"  # type: ignore[method-assign]
    ended(log)
    assert work_off(Replay(run, str(uid_of(run)), tracker, "here")) is Turn.DONE
    assert emptied.only().values == counted(run)


def test_a_config_that_a_resume_changes_is_told_in_tags(run: RunDirectory, store: Store) -> None:
    ended(began(run))
    work_off(replay_of(run, store))
    add_attempt(run, {**CONFIG, "training": {"max_epochs": 9, "max_time": 60}})
    ended(began(run, 2))
    assert work_off(replay_of(run, store), 2) is Turn.DONE
    found = store.only()
    assert found.params["training.max_epochs"] == 2
    assert found.params["training.max_time"] == 60
    assert found.tags["kladml.changed.training.max_epochs"] == "9"


def test_notes_that_change_while_it_trains_arrive(run: RunDirectory, store: Store) -> None:
    log = began(run)
    run.notes.write_text("tags: [first]\nnote: one\n")
    one = replay_of(run, store)
    work_off(one)
    run.notes.write_text("tags: [second]\n")
    work_off(one)
    log.close()
    assert store.only().tags["kladml.tags"] == "second"
    assert store.only().tags["kladml.note"] == ""


def test_notes_that_change_after_the_end_arrive_with_the_next_turn(run: RunDirectory, store: Store) -> None:
    ended(began(run))
    work_off(replay_of(run, store))
    assert replay_of(run, store).turn(1) is Turn.DONE
    run.notes.write_text("note: it was good\n")
    assert work_off(replay_of(run, store)) is Turn.DONE
    assert (store.only().tags["kladml.note"], store.only().status) == ("it was good", "FINISHED")
    run.notes.write_text("note: [it was")
    assert work_off(replay_of(run, store)) is Turn.DONE
    assert store.only().tags["kladml.note"] == "it was good"


def test_a_server_that_is_away_takes_it_all_later(run: RunDirectory, store: Store) -> None:
    log = began(run)
    log.log_metrics({"loss": 1.0}, 1, 1000.0)
    one = replay_of(run, store)
    work_off(one)
    store.away = True
    log.log_metrics({"loss": 0.5}, 2, 1001.0)
    with pytest.raises(ConnectionError):
        one.turn(1)
    one.fail("the server is away")
    told = read_sent(run, str(uid_of(run)), "here")
    assert told.error == "the server is away"
    assert told.error_since is not None
    ended(log)
    store.away = False
    assert work_off(one) is Turn.DONE
    assert store.only().values == counted(run)
    assert read_sent(run, str(uid_of(run)), "here").error is None


def test_what_is_handed_over_and_not_stored_yet_is_not_the_end(run: RunDirectory, store: Store) -> None:
    log = began(run)
    log.log_metrics({"loss": 1.0}, 1, 1000.0)
    tracker = Kept(store)
    tracker.flush = lambda: (_ for _ in ()).throw(ConnectionError("slow"))  # type: ignore[method-assign]
    one = Replay(run, str(uid_of(run)), tracker, "here")
    with pytest.raises(ConnectionError):
        one.turn(1)
    log.log_metrics({"loss": 0.5}, 2, 1001.0)
    ended(log)
    tracker.flush = lambda: None  # type: ignore[method-assign]
    assert work_off(one) is Turn.DONE
    assert store.only().values == counted(run)


def test_what_is_refused_for_good_is_listed_and_holds_up_nothing(run: RunDirectory) -> None:
    store = Store(refuses=("bad",), refuses_files=("artifacts/bad",))
    log = began(run)
    log.log_metrics({"bad": 1.0, "good": 2.0}, 1, 1000.0)
    for name in ("bad", "good"):
        (run.artifacts / name).write_text(name)
    ended(log)
    one = replay_of(run, store)
    for _ in range(FILE_TRIES - 1):
        with pytest.raises(ValueError, match="not taken"):
            work_off(one)
    assert work_off(one) is Turn.DONE
    assert [value[0] for value in store.only().values] == ["good"]
    assert "artifacts/good" in store.only().files
    told = read_sent(run, str(uid_of(run)), "here")
    assert told.refused_count == 2
    assert [text.partition(":")[0] for text in told.refused] == ["bad", "artifacts/bad"]


def test_a_tracker_of_four_methods_gets_everything_and_after_a_crash_a_whole_run(
    run: RunDirectory, store: Store
) -> None:
    log = began(run)
    for step in range(900):
        log.log_metrics({"loss": float(step)}, step, 1000.0)
    uid = str(uid_of(run))
    one = Replay(run, uid, FourMethods(store), "four")
    one.turn(1)
    store.away = True
    with pytest.raises(ConnectionError):
        work_off(one)
    store.away = False
    ended(log)
    expected = Counter({("loss", step, 0.0, float(step)): 1 for step in range(900)})
    assert work_off(one) is Turn.DONE
    assert store.runs["1"].values == expected
    assert one.sent.exactly_once is False
    assert set(one.sent.lacks) == {"times", "tags", "files"}
    assert work_off(Replay(run, uid, FourMethods(store), "four")) is Turn.DONE
    assert len(store.runs) == 1, "what is sent is not sent again"
    (run.path / FILE).unlink()
    assert work_off(Replay(run, uid, FourMethods(store), "four")) is Turn.DONE
    assert store.runs["2"].values == expected


def test_a_directory_that_vanishes_is_no_end(run: RunDirectory, store: Store) -> None:
    log = began(run)
    log.log_metrics({"loss": 1.0}, 1, 1000.0)
    one = replay_of(run, store)
    work_off(one)
    log.close()
    shutil.rmtree(run.path)
    with pytest.raises(RunGone):
        one.turn(1)
    assert store.only().status == "RUNNING"
    one.gone()
    assert store.only().status == "KILLED"


def test_a_full_disk_delays_only_the_note(tmp_path: Path, store: Store) -> None:
    with small_disk(tmp_path / "data", "1m"):
        run = new_run(tmp_path / "data")
        log = began(run)
        log.log_metrics({"loss": 1.0}, 1, 1000.0)
        ended(log)
        hog = fill(tmp_path / "data")
        one = replay_of(run, store)
        with pytest.raises(OSError, match="noted"):
            work_off(one)
        assert store.only().values == counted(run)
        assert store.only().status == "FINISHED"
        assert not (run.path / FILE).exists()
        hog.unlink()
        store.away = True  # nothing is sent a second time
        assert work_off(one) is Turn.DONE
        assert read_sent(run, str(uid_of(run)), "here").ended == 1


@pytest.mark.parametrize("text", ["", "[]", '{"v": 1, "target": "here", "uid": "?", "offsets": 3}', "{"])
def test_a_damaged_note_is_no_note(run: RunDirectory, text: str) -> None:
    uid = str(uid_of(run))
    (run.path / FILE).write_text(text.replace("?", uid))
    assert read_sent(run, uid, "here").records == 0


def test_a_page_shares_itself_out_among_the_series(run: RunDirectory) -> None:
    log = began(run)
    for step in range(300):
        log.log_metrics({"one": 1.0, "two": 2.0}, step)
    log.log_metrics({"three": 3.0}, 1)
    ended(log)
    page = records.next_page(run, {}, {}, size=300)
    assert Counter(one.key for one in page.values) == {"one": 100, "two": 100, "three": 1}
    assert page.more
    assert isinstance(page.values[0], Measurement)
