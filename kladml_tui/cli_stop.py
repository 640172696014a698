"""The command stop: climbs the stop ladder, with a countdown on a terminal and plain or JSON lines off it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kladml_core.errors import ExitCode
from kladml_core.runs.plain import inert
from kladml_tui.cli_runs import Json, Run, Workspace, find, status_words
from kladml_tui.cli_shared import print_json, print_rows

if TYPE_CHECKING:
    from kladml_core.runs.ladder_view import LadderView
    from kladml_core.runs.rundir import RunDirectory

BY = "kladml-tui stop"


def stop(
    context: typer.Context,
    run: Run,
    now: Annotated[bool, typer.Option("--now", help="Begin with SIGTERM instead of asking first.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Or ask, return at once, and signal nothing.")] = True,
    ask: Annotated[
        float | None,
        typer.Option("--ask", metavar="SECONDS", min=0, help="From asking to SIGTERM; else by grace_seconds."),
    ] = None,
    term: Annotated[
        float | None,
        typer.Option("--term", metavar="SECONDS", min=0, help="From SIGTERM to a second one; else grace_seconds."),
    ] = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Stops a run: asks it to save a checkpoint, then SIGTERM, then SIGKILL for every process of it.

    It returns when no process of the run is left. Ctrl-C leaves the run alone where it was only asked so far. Exit code
    3 means that it still runs: it is on another machine, inside a notebook, or held by the system.
    """
    from kladml_core.runs.status import read_status

    directory: RunDirectory = find(context, run, workspace)
    if not wait or read_status(directory).status == "queued":  # what waits has no process: it leaves the queue at once
        _ask(directory, json=json)
        return
    raise typer.Exit(_climb(directory, now=now, ask=ask, term=term, json=json))


def _ask(run: RunDirectory, *, json: bool) -> None:
    from kladml_core.runs.status import reconcile
    from kladml_core.runs.stop import request_stop

    request_stop(run, by=BY)
    status = reconcile(run)
    if json:
        print_json({"run": run.reference, "status": status.status, "exit_code": status.exit_code})
    else:
        words = "asked to stop" if status.live else f"{status_words(status)}: {status.why or status.reason}"
        print_rows(("run", "status"), [(run.reference, words)])


def _climb(run: RunDirectory, *, now: bool, ask: float | None, term: float | None, json: bool) -> int:
    from kladml_core.runs.follow_signals import Signals
    from kladml_core.runs.ladder import StopLadder, climb
    from kladml_core.runs.patience import patience_of

    ladder = StopLadder(run, by=BY, now=now, patience=patience_of(run, ask=ask, term=term))
    shown = _Shown(json=json)
    with Signals() as signals:
        for view in climb(ladder):
            shown.show(view)
            if signals.hangup:
                return signals.exit_code  # nobody is there to see the rest; it stays asked
            if signals.stops:
                ladder.cancel()
    shown.end(view)
    if view.outcome == "cancelled":
        return signals.exit_code
    return int(ExitCode.FINISHED if view.outcome == "ended" else ExitCode.UNUSABLE)


class _Shown:
    """What the person or the program reading this has seen of the ladder."""

    def __init__(self, *, json: bool) -> None:
        self._json = json
        self._terminal = sys.stderr.isatty()
        self._told = 0
        self._line = ""

    def show(self, view: LadderView) -> None:
        """Tells what is new, and on a terminal counts down in one line."""
        for told in view.told[self._told :]:
            self._countdown("")
            if self._json and told is not view.told[-1]:
                self._print(view, told.time, told.rung, told.message)
            elif self._json:
                self._print(view, told.time, told.rung, told.message, **_standing(view))
            if not self._json or self._terminal:
                print(inert(told.message), file=sys.stderr, flush=True)
        self._told = len(view.told)
        if view.rung != "over":
            keys = "  (Ctrl-C cancels)" if view.cancellable else ""
            self._countdown(f"{view.text}{keys}")

    def end(self, view: LadderView) -> None:
        """The run as it was left, on stdout."""
        self._countdown("")
        if not self._json:
            status = view.status
            print_rows(("run", "status", ""), [(view.reference, status_words(status), status.why or "")])

    def _print(self, view: LadderView, at: float, rung: str, message: str, **more: Any) -> None:
        line = {"kind": "stop", "run": view.reference, "time": at, "rung": rung, "message": message}
        print_json({**line, **more})
        sys.stdout.flush()

    def _countdown(self, text: str) -> None:
        if self._terminal and text != self._line:
            # One line that is written over, and cleared to its end.
            print(f"\r\x1b[K{inert(text)}", end="", file=sys.stderr, flush=True)
            self._line = text


def _standing(view: LadderView) -> dict[str, Any]:
    seconds = None if view.seconds is None else round(view.seconds, 1)
    standing = {"next": view.next or None, "seconds": seconds, "processes": view.processes}
    status = {"status": view.status.status, "exit_code": view.status.exit_code, "reason": view.status.reason}
    return {**standing, **status, "outcome": view.outcome or None}
