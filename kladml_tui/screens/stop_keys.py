"""Stopping runs from the workbench: the stop ladder climbs in a worker, its countdown stands in the run's line."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual import work

from kladml_core.errors import KladMLError
from kladml_tui.screens.pane_keys import PaneKeys
from kladml_tui.text import notice

if TYPE_CHECKING:
    from kladml_core.runs.ladder import StopLadder
    from kladml_core.runs.ladder_view import LadderView
    from kladml_core.runs.rundir import RunDirectory

LOOK_SECONDS = 0.2
STOP_ACTIONS = frozenset({"stop", "terminate", "keep"})


class StopKeys(PaneKeys):
    """The actions. Leaving the app leaves a run that is being stopped as it is: asked, or signalled once."""

    def __init__(self) -> None:
        super().__init__()
        self._ladders: dict[str, StopLadder] = {}
        self._stops: dict[str, LadderView | None] = {}

    def may_stop(self, action: str) -> bool:
        """Whether one of these actions makes sense for the run under the cursor."""
        run = self.run_here
        line = self.runs.line_of(run.reference) if run is not None else None
        if run is None or line is None:
            return False
        if action == "keep":
            view = self._stops.get(run.reference)
            return view is not None and view.cancellable
        return line.status.live or run.reference in self._stops

    @work(group="stop", exit_on_error=False)
    async def action_stop(self) -> None:
        """Asks, then begins to stop the run; of a run that is being stopped, says what further can be done."""
        run = self.run_here
        if run is None:
            return
        view = self._stops.get(run.reference)
        if run.reference in self._stops:
            await self._ask_further(run, view)
            return
        question = (
            f"Stop {run.reference}?\n\nIt saves a checkpoint at its next step and can be resumed from there. "
            "If it does not, signals follow."
        )
        if await self.ask(question, [("s", "stop it")]) == "s":
            self._begin(run, now=False)

    @work(group="stop", exit_on_error=False)
    async def action_terminate(self) -> None:
        """Asks, then goes on to SIGTERM."""
        run = self.run_here
        if run is None:
            return
        question = (
            f"Send SIGTERM to {run.reference}?\n\nIt saves a checkpoint if it still can. "
            "A second SIGTERM and SIGKILL follow."
        )
        if await self.ask(question, [("S", "send it")]) == "S":
            self._term(run)

    def action_keep(self) -> None:
        """Leaves the run to go on, where it was only asked so far."""
        run = self.run_here
        ladder = self._ladders.get(run.reference) if run is not None else None
        if ladder is not None:
            self._cancel(ladder)

    async def _ask_further(self, run: RunDirectory, view: LadderView | None) -> None:
        answers = [("S", "send SIGTERM now")]
        if view is not None and view.cancellable:
            answers.append(("u", "let it go on"))
        elif view is not None:
            answers = []
        standing = view.text if view is not None else "being asked to stop"
        answer = await self.ask(f"{run.reference}: {standing}", answers)
        if answer == "S":
            self._term(run)
        elif answer == "u" and run.reference in self._ladders:
            self._cancel(self._ladders[run.reference])

    def _term(self, run: RunDirectory) -> None:
        ladder = self._ladders.get(run.reference)
        if ladder is not None:
            ladder.hurry()
        else:
            self._begin(run, now=True)

    def _begin(self, run: RunDirectory, *, now: bool) -> None:
        if run.reference not in self._stops:
            self._stops[run.reference] = None
            self._climb(run, now=now)

    @work(group="ladder", exit_on_error=False)
    async def _climb(self, run: RunDirectory, *, now: bool) -> None:
        from kladml_tui import run_actions

        try:
            ladder = await asyncio.to_thread(run_actions.stop_ladder, run, now=now)
            self._ladders[run.reference] = ladder
            while (view := await asyncio.to_thread(ladder.look)).rung != "over":
                self._show(run, view)
                await asyncio.sleep(LOOK_SECONDS)
            if view.outcome != "ended":  # how a run ended is told wherever it came from
                notice(self.app, f"{run.ref.run}: {view.text}", "warning", title="Not stopped")
        except KladMLError as error:
            notice(self.app, error, "error", title="Not stopped")
        finally:
            self._ladders.pop(run.reference, None)
            self._stops.pop(run.reference, None)
            if self.is_attached:
                self.view.show_stop(run.reference, "")
                self.refresh_bindings()

    @work(group="stop", exit_on_error=False)
    async def _cancel(self, ladder: StopLadder) -> None:
        await asyncio.to_thread(ladder.cancel)  # what has come of it, the climbing worker finds and tells

    def _show(self, run: RunDirectory, view: LadderView) -> None:
        before, self._stops[run.reference] = self._stops.get(run.reference), view
        self.view.show_stop(run.reference, f"{view.brief}, u undoes" if view.cancellable else view.brief)
        if before is None or before.rung != view.rung:
            self.refresh_bindings()
