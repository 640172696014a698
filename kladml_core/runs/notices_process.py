"""`python -m kladml_core.runs.notices_process WORKSPACE`: tells the news of the listed attempts, and ends after them.

At most one of these runs for a workspace on a host. What is about to be told is noted before the command is run, so
that a crash may swallow a notice but never repeats one. Where it cannot be noted (a full disk ends many runs, and that
is news) it is told all the same.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from kladml_core.errors import KladMLError
from kladml_core.runs.background import log, work_off
from kladml_core.runs.events import TERMINAL_KINDS, read_events
from kladml_core.runs.files import write_json
from kladml_core.runs.notice_command import run_command
from kladml_core.runs.notices import PROCESS, Watched, document, is_news, lost_event, watched
from kladml_core.runs.status import RunStatus, reconcile
from kladml_core.settings import Settings, load_settings

TICK_SECONDS = 1.0
AT_ONCE = 8
"""Commands that may run side by side; further ones wait, and nothing else waits for them."""
_ONCE = ("run_stalled", "non_finite")


class Telling:
    """Works off the list of a workspace.

    Args:
        settings: of the workspace, as they are now; the command is read anew for each notice.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool = ThreadPoolExecutor(AT_ONCE, "command")
        self._commands: set[Future[None]] = set()
        self._read: dict[Path, Watched] = {}
        self._over: set[Path] = set()

    def listed(self) -> list[Watched]:
        """The attempts that are still listened to, each as far as it has been read."""
        entries = [entry for entry in watched(self._settings.data) if entry.file not in self._over]
        return [self._read.get(entry.file, entry) for entry in entries]

    def left(self) -> bool:
        """Whether any attempt is still listened to."""
        return bool(self.listed())

    def work(self, mine: Callable[[], bool]) -> None:
        """Returns when nothing is listened to any more and the last command has ended, or when it is not `mine`."""
        while mine():
            entries = self.listed()
            self._commands = {command for command in self._commands if not command.done()}
            if not entries and not self._commands:
                return
            for entry in entries:
                self._try_to_look(entry)
            time.sleep(TICK_SECONDS)

    def _try_to_look(self, entry: Watched) -> None:
        try:
            self._look(entry)
        except Exception as error:  # one damaged run must not silence all the others
            log(f"{entry.run.reference} is not listened to any more: {error!r}")
            self._note(entry, over=True)

    def _look(self, entry: Watched) -> None:
        # The state before the events: a worker writes its last event before its last state.
        status = reconcile(entry.run)
        events, offset = read_events(entry.run.events, entry.offset)
        mine = [event for event in events if event.get("attempt") == entry.attempt]
        over = any(event["kind"] in TERMINAL_KINDS for event in mine)
        if not over:
            mine.extend(self._seen(entry, status))
            over = not status.live or (status.attempt or 0) > entry.attempt
        news, told = [], list(entry.told)
        for event in filter(is_news, mine):
            if event["kind"] in _ONCE:
                if event["kind"] in told:
                    continue
                told.append(event["kind"])
            news.append(document(event, entry.run))
        if not status.stalled and "run_stalled" in told:
            told.remove("run_stalled")
        now = self._read[entry.file] = replace(entry, offset=offset, told=tuple(told))
        # What brings no news may be read again after a crash.
        if over or news or now.told != entry.told:
            self._note(now, over=over)
        for event in news:
            self._tell(event)

    def _seen(self, entry: Watched, status: RunStatus) -> list[dict[str, Any]]:
        """What only an observer can say."""
        if (status.attempt or 0) != entry.attempt:
            return []
        if status.status == "lost":
            return [lost_event(entry.run, entry.attempt, status.reason, status.step, status.epoch)]
        if status.stalled:
            event = {"v": 1, "kind": "run_stalled", "attempt": entry.attempt, "time": time.time(), "step": status.step}
            return [{**event, "epoch": status.epoch, "progress_at": status.progress_at}]
        return []

    def _note(self, entry: Watched, *, over: bool) -> None:
        if over:
            self._over.add(entry.file)
            self._read.pop(entry.file, None)
        state = {"run": str(entry.run.path), "attempt": entry.attempt, "offset": entry.offset, "told": list(entry.told)}
        try:
            if over:
                entry.file.unlink(missing_ok=True)
            else:
                write_json(entry.file, {"v": 1, **state})
        except OSError as error:
            log(f"{entry.run.reference}: what has been told cannot be noted: {error}")

    def _tell(self, event: dict[str, Any]) -> None:
        try:
            self._settings = load_settings(self._settings.root)
        except KladMLError as error:
            log(f"kladml.yaml cannot be read, the command is the earlier one: {error}")
        command = self._settings.notices.command
        if command is not None:  # else it was switched off meanwhile
            self._commands.add(self._pool.submit(self._run, command, event))

    def _run(self, command: str, event: dict[str, Any]) -> None:
        try:
            how = str(run_command(command, event, self._settings.root))
        except OSError as error:
            how = f"cannot be run: {error}"
        log(f"{event['text']}: {how}")


def main(workspace: Path) -> None:
    """Works while there is work; leaves at once where another process does it already."""
    settings = load_settings(workspace)
    telling = Telling(settings)
    work_off(settings.data, PROCESS, lambda: telling)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
