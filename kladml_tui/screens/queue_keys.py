"""The queue on the workbench: a config comes to wait, a run that waits is taken out, and the queue is looked at."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual import work

from kladml_core.errors import KladMLError
from kladml_tui.screens.run_keys import RunKeys
from kladml_tui.text import notice

if TYPE_CHECKING:
    from kladml_core.runs.rundir import RunDirectory


class QueueKeys(RunKeys):
    """The actions on the config or the run under the cursor."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """As above; there is nobody to signal in a run that waits."""
        if action == "enqueue":
            return self.ready and self.config_here is not None
        if action == "terminate" and self.ready and self._waits():
            return False
        return super().check_action(action, parameters)

    def _waits(self) -> RunDirectory | None:
        """The run under the cursor, where it waits in the queue."""
        run = self.run_here
        line = self.runs.line_of(run.reference) if run is not None else None
        return run if line is not None and line.status.status == "queued" else None

    @work(group="launch", exit_on_error=False)
    async def action_enqueue(self) -> None:
        """Checks the config under the cursor and has it wait; one that is wrong is told, and the editor is offered."""
        from kladml_tui.screens.changed_data import agreed  # not needed before the first frame

        config = self.config_here
        if config is None:
            return
        if not await agreed(self, config, self.settings.root):
            return
        notice(self.app, f"Checking {config.name} …", timeout=2)
        try:
            run, place = await asyncio.to_thread(
                self._acts.enqueue, config, self.settings.root, self._copies.get(config)
            )
        except KladMLError as error:
            await self._offer_editor(error, config)
            return
        notice(self.app, f"{run.reference} waits as #{place}. Q shows the queue.", title="Queued")
        self.reveal_run(run)
        self.action_look()

    def action_stop(self) -> None:  # type: ignore[override]
        """Takes out of the queue what waits there; anything else is stopped."""
        run = self._waits()
        if run is None:
            super().action_stop()
        else:
            self._take_out(run)

    @work(group="stop", exit_on_error=False)
    async def _take_out(self, run: RunDirectory) -> None:
        question = f"Take {run.reference} out of the queue?\n\nIt stops before it began."
        if await self.ask(question, [("s", "take it out")]) == "s" and await self._try(
            self._acts.take_out, run, "Not taken out"
        ):
            self.action_look()

    def action_queue(self) -> None:
        """Opens the queue."""
        from kladml_tui.screens.queue_screen import QueueScreen

        self.app.push_screen(QueueScreen(self.settings), self._queue_left)

    def _queue_left(self, reference: str | None) -> None:
        from kladml_core.runs.rundir import RunDirectory

        if reference:
            self.reveal_run(RunDirectory(self.settings.data / "projects" / reference))
        self.action_look()
