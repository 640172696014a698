"""`python -m kladml_core.runs.notices_process WORKSPACE`: tells the news of the listed attempts, and ends after them.

At most one of these runs for a workspace on a host. What is about to be told is noted before the command is run, so
that a crash may swallow a notice but never repeats one.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from kladml_core.errors import KladMLError
from kladml_core.runs.background import hold
from kladml_core.runs.events import TERMINAL_KINDS, read_events
from kladml_core.runs.files import write_json
from kladml_core.runs.notice_command import run_command
from kladml_core.runs.notices import PROCESS, Watched, document, is_news, lost_event, watched
from kladml_core.runs.status import RunStatus, reconcile
from kladml_core.settings import Settings, load_settings

TICK_SECONDS = 1.0
AT_ONCE = 8
"""Commands that may run side by side; a slow one holds up no other."""
_ONCE = ("run_stalled", "non_finite")


class Telling:
    """Works off the list of a workspace."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._commands: list[threading.Thread] = []

    def work(self) -> None:
        """Returns when nothing is listened to any more and the last command has ended."""
        while entries := watched(self._settings.data):
            for entry in entries:
                self._look(entry)
            time.sleep(TICK_SECONDS)
        for command in self._commands:
            command.join()

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
        self._note(replace(entry, offset=offset, told=tuple(told)), entry, over=over)
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

    def _note(self, now: Watched, before: Watched, *, over: bool) -> None:
        if over:
            now.file.unlink(missing_ok=True)
        elif now != before:
            entry = {"run": str(now.run.path), "attempt": now.attempt, "offset": now.offset, "told": list(now.told)}
            write_json(now.file, {"v": 1, **entry})

    def _tell(self, event: dict[str, Any]) -> None:
        try:
            self._settings = load_settings(self._settings.root)
        except KladMLError as error:
            print(f"{_now()}  kladml.yaml cannot be read, the command is the earlier one: {error}", flush=True)
        command = self._settings.notices.command
        if command is None:
            return  # switched off meanwhile
        self._slots.acquire()
        thread = threading.Thread(target=self._run, args=(command, event))
        self._commands = [one for one in self._commands if one.is_alive()] + [thread]
        thread.start()

    def _run(self, command: str, event: dict[str, Any]) -> None:
        try:
            how = str(run_command(command, event, self._settings.root))
        except OSError as error:
            how = f"cannot be run: {error}"
        finally:
            self._slots.release()
        print(f"{_now()}  {event['text']}: {how}", flush=True)


def main(workspace: Path) -> None:
    """Works while there is work; leaves at once where another process does it already."""
    settings = load_settings(workspace)
    while (held := hold(settings.data, PROCESS)) is not None:
        try:
            Telling(settings).work()
        finally:
            held.release()
        # Something may have been listed after the last look and before the release.
        if not watched(settings.data):
            return


def _now() -> str:
    return time.strftime("%F %T")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
