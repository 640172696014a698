"""Replays one run's directory into a tracker, a turn at a time, and notes in tracking.json what the tracker has.

What is noted is always less than what was sent: after a crash the last turn is sent again. A tracker with `resume_run`
and timed `log_metrics` stores that once. One without them gets the run anew, from the start.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from kladml_core.interfaces.tracker import TrackerInterface
from kladml_core.interfaces.unsupported import UnsupportedOperation
from kladml_core.metrics.columns import Cut
from kladml_core.runs.events import Event, read_events, resume_cuts
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import GRACE_SECONDS, RunStatus, reconcile
from kladml_core.tracking import facts
from kladml_core.tracking.records import PAGE, SETTLE_SECONDS, given_up, next_page
from kladml_core.tracking.state import REFUSED_KEPT, Sent, read_sent, uid_of, with_error, write_sent

UNTIMED_PAGE = 500
"""Values sent between two notes to a tracker that would store them twice."""
FILES_SECONDS = 2.0
"""How long a turn goes on with files."""
FILE_TRIES = 10
"""How often a file is tried by a tracker that takes everything else, before it counts as refused."""


class RunGone(Exception):
    """The run's directory is not where it was: deleted, moved, or another run's by now."""


class Turn(Enum):
    """What a turn leaves to do."""

    MORE = auto()
    """There is more to send at once."""
    UP_TO_DATE = auto()
    """The tracker has all there is so far; the run goes on."""
    DONE = auto()
    """The tracker has all of the run, its end too."""


@dataclass(frozen=True)
class _Fed:
    """What has been handed to the tracker, which may not have stored it yet."""

    sent: Sent
    more: bool


class Replay:
    """One run and one tracker, which is its own. Used by one thread at a time.

    Args:
        run: the run.
        uid: its uid.
        tracker: no run is open in it.
        target: the tracker's name, see `target_of`.
    """

    def __init__(self, run: RunDirectory, uid: str, tracker: TrackerInterface, target: str) -> None:
        self._run = run
        self._uid = uid
        self._tracker = tracker
        self.sent = read_sent(run, uid, target)
        self._opened = False
        self._fed: _Fed | None = None
        self._refused_before = (self.sent.refused, self.sent.refused_count)
        self._refused_files: list[str] = []
        self._event_offset = 0
        self._resumes: list[Event] = []
        self._cuts: Mapping[str, Sequence[Cut]] = {}
        self._file_tries: Counter[str] = Counter()
        self._unnoted = False

    def turn(self, attempt: int) -> Turn:
        """Sends what fits into a turn.

        Args:
            attempt: the newest attempt that was listed to be sent.

        Raises:
            RunGone: the directory is not there any more.
            Exception: whatever the tracker raises; the next turn tries again.
        """
        self._require_there()
        # The status before all else: what a worker writes it writes before its last state.
        status = reconcile(self._run)
        ended = self._has_ended(status, attempt)
        left = self._fed
        if left is None:
            if ended and not self._opened and self._complete(status):
                self._note(with_error(self.sent, None))
                return self._done()
            self._open(status)
            self._fed = self._feed(status, ended=ended)
        self._tracker.flush()
        assert self._fed is not None
        fed, self._fed = self._fed, None
        self._note(with_error(self._with_refused(fed.sent), None))
        # What an earlier turn has handed over is not all that there is by now.
        if left is not None or fed.more or not self._send_files(ended=ended):
            return Turn.MORE
        if not ended:
            return Turn.UP_TO_DATE
        self._end(status)
        return self._done()

    def fail(self, text: str) -> None:
        """Notes why it does not go on."""
        if text != self.sent.error:
            self._note(with_error(self.sent, text))

    def close(self) -> None:
        """Lets the tracker go; what it has not stored is sent again by the next one."""
        self._tracker.close()

    def gone(self) -> None:
        """Ends the tracker's run, which nobody will go on with: its directory is gone."""
        if self._opened:
            self._tracker.end_run("KILLED")

    def _require_there(self) -> None:
        if uid_of(self._run) != self._uid:
            raise RunGone(self._run.reference)

    def _has_ended(self, status: RunStatus, attempt: int) -> bool:
        """Whether the listed attempt is over; one that is claimed and has no state yet is not."""
        if status.live:
            return False
        if (status.attempt or 0) >= attempt and status.status != "damaged":
            return True
        # It has just been claimed, or its state is being mended.
        here = self._run.state_json if status.status == "damaged" else self._run.attempt_dir(attempt)
        try:
            return time.time() - here.stat().st_mtime > GRACE_SECONDS
        except OSError:
            return True

    def _complete(self, status: RunStatus) -> bool:
        """Whether nothing has come since the end was sent."""
        return self.sent.ended == (status.attempt or 1) and not facts.left(self._run, self.sent, status, self._uid)

    def _open(self, status: RunStatus) -> None:
        if self._opened:
            return
        experiment = self.sent.experiment or facts.experiment(self._run)
        name = self.sent.name or self._run.reference
        self._tracker.set_times(started=status.created or status.started)
        try:
            run_id, found_again = self._tracker.resume_run(self._uid, experiment, name), True
        except UnsupportedOperation:
            run_id, found_again = self._tracker.start_run(experiment, name), False
        timed = type(self._tracker).log_metrics is not TrackerInterface.log_metrics
        if not found_again or run_id != self.sent.run_id:
            # A run that has nothing yet, or one of which it is not known what it has.
            self.sent = Sent(self.sent.target, self._uid)
            self._refused_before = ((), 0)
        lacks = () if timed else ("times",)
        self.sent = replace(
            self.sent,
            run_id=run_id,
            experiment=experiment,
            name=name,
            exactly_once=found_again and timed,
            lacks=lacks,
            ended=0,
        )
        self._opened = True

    def _feed(self, status: RunStatus, *, ended: bool) -> _Fed:
        self._read_resumes()
        sent = self._send_facts(self.sent, status)
        page = next_page(
            self._run,
            sent.offsets,
            self._cuts,
            unsettled=None if ended else time.time() - SETTLE_SECONDS,
            size=PAGE if sent.exactly_once else UNTIMED_PAGE,
        )
        self._tracker.log_metrics(page.values)
        return _Fed(replace(sent, offsets=page.offsets, records=sent.records + len(page.values)), page.more)

    def _read_resumes(self) -> None:
        """Learns where resumed attempts took over, and counts what had been sent and is given up by that."""
        events, self._event_offset = read_events(self._run.events, self._event_offset)
        for event in events:
            if event["kind"] != "resumed":
                continue
            newest = {name: Cut(*cuts[0]) for name, cuts in resume_cuts([event]).items()}
            if len(self._resumes) >= self.sent.resumes:
                lost = given_up(self._run, self.sent.offsets, self._cuts, newest)
                self.sent = replace(self.sent, given_up=self.sent.given_up + lost, resumes=self.sent.resumes + 1)
            self._resumes.append(event)
            every = resume_cuts(self._resumes)
            self._cuts = {name: [Cut(*cut) for cut in cuts] for name, cuts in every.items()}

    def _send_facts(self, sent: Sent, status: RunStatus) -> Sent:
        attempt = status.attempt or 1
        tags = facts.new_tags(self._run, status, self._uid, sent.tags)
        if sent.attempt < attempt:
            params = facts.params(self._run, attempt)
            before = facts.params(self._run, sent.attempt) if sent.attempt else {}
            self._tracker.log_params({key: value for key, value in params.items() if key not in before})
            changed = {key: value for key, value in params.items() if before.get(key, value) != value}
            tags |= {f"{facts.CHANGED}{key}": str(value) for key, value in changed.items()}
            sent = replace(sent, attempt=attempt)
        return self._tag(sent, tags) if tags else sent

    def _tag(self, sent: Sent, new: Mapping[str, str]) -> Sent:
        if "tags" in sent.lacks:
            return sent
        try:
            self._tracker.set_tags(new)
        except UnsupportedOperation:
            return replace(sent, lacks=(*sent.lacks, "tags"))
        return replace(sent, tags={**sent.tags, **new})

    def _send_files(self, *, ended: bool) -> bool:
        """Whether all files are sent."""
        deadline = time.monotonic() + FILES_SECONDS
        failure: Exception | None = None
        for name, stamp in facts.files(self._run, ended=ended):
            if "files" in self.sent.lacks:
                return True
            if self.sent.files.get(name) == stamp:
                continue
            if time.monotonic() > deadline:
                return False
            folder = name.rpartition("/")[0] or None
            try:
                self._tracker.log_artifact(str(self._run.path / name), folder)
            except UnsupportedOperation:
                self.sent = replace(self.sent, lacks=(*self.sent.lacks, "files"))
            except Exception as error:  # the others may be taken all the same
                self._file_tries[name] += 1
                if self._file_tries[name] < FILE_TRIES or not self._answers():
                    failure = failure or error
                    continue
                self._refused_files.append(f"{name}: {error}")
            self._note(self._with_refused(replace(self.sent, files={**self.sent.files, name: stamp})))
        if failure is not None:
            raise failure
        return True

    def _answers(self) -> bool:
        """Whether the tracker takes anything at all."""
        try:
            self._tracker.set_tags({facts.UID_TAG: self._uid})
            self._tracker.flush()
        except Exception:  # it is away, whatever it raises
            return False
        return True

    def _end(self, status: RunStatus) -> None:
        self._require_there()  # a directory that has just vanished looks like an end
        self._tracker.set_times(ended=status.ended or status.heartbeat)
        self._tracker.end_run(facts.TRACKER_STATUS.get(status.status, "FAILED"))
        self._opened = False
        self._note(replace(self._with_refused(self.sent), ended=status.attempt or 1))

    def _done(self) -> Turn:
        if self._unnoted:
            raise OSError("all is sent, which cannot be noted in tracking.json")
        return Turn.DONE

    def _with_refused(self, sent: Sent) -> Sent:
        told, count = self._refused_before
        new = [*self._tracker.refused, *self._refused_files]
        return replace(sent, refused=(*told, *new)[:REFUSED_KEPT], refused_count=count + len(new))

    def _note(self, sent: Sent) -> None:
        changed = sent != self.sent or self._unnoted
        self.sent = sent
        if not changed:
            return
        try:
            write_sent(self._run, sent)
        except OSError:
            self._unnoted = True  # a full disk; what was sent is known here, and noted once there is room
        else:
            self._unnoted = False
