"""What is made of runs that exist: a copy of the config to edit, the same run again, a comparison of marked ones."""

from __future__ import annotations

import asyncio
from importlib import import_module
from pathlib import Path
from typing import Any

from textual import work

from kladml_tui.look import Look
from kladml_tui.screens.run_keys import RunKeys
from kladml_tui.text import notice

_ON_RUN = frozenset({"clone", "again", "mark", "diff"})
_MENDED = "\nIt failed over its config; what has been mended in a file since is not in it."


class RepeatKeys(RunKeys):
    """The actions on the run under the cursor and on those that are marked."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """As above; one that lives is not run again, and nothing is unmarked where nothing is marked."""
        if action == "unmark":
            return self.ready and bool(self.runs.marked)
        if action not in _ON_RUN:
            return super().check_action(action, parameters)
        run = self.run_here if self.ready else None
        if run is None or action != "again":
            return run is not None
        line = self.runs.line_of(run.reference)
        return line is not None and not line.status.live

    @work(group="disk", exit_on_error=False)
    async def action_clone(self) -> None:
        """Opens a copy of the run's config in the editor; it becomes a file when it is saved."""
        run = self.run_here
        if run is None:
            return
        copy = await self._try(lambda run: self._acts.copy_of(run, self.settings.root), run, "Not cloned")
        if isinstance(copy, tuple):
            path, text = copy
            self._copies[path] = run
            self.open_editor(path, draft=text)

    @work(group="launch", exit_on_error=False)
    async def action_again(self) -> None:
        """Starts a new run of the config that an ended one recorded."""
        from kladml_core.runs.clone import ended_by_its_config  # with its imports: not before the first frame
        from kladml_core.runs.rundir import RunDirectory
        from kladml_tui.screens.changed_data import agreed  # not needed before the first frame

        run = self.run_here
        line = self.runs.line_of(run.reference) if run is not None else None
        if run is None or line is None or not await agreed(self, run.config, self.settings.root):
            return
        started = await self._try(lambda run: self._acts.again(run, self.settings.root), run, "Not run again")
        if isinstance(started, RunDirectory):
            more = _MENDED if ended_by_its_config(line.status) else ""
            text = f"{started.reference} is starting with the recorded config of {run.ref.run}.{more}"
            notice(self.app, text, title="Run again")
            await self._tell_warnings(started)
            self.reveal_run(started)
            self.action_look()

    def action_mark(self) -> None:
        """Marks the run, or takes its mark off, and goes on to the next one."""
        self.runs.toggle_mark()
        self.refresh_bindings()

    def action_unmark(self) -> None:
        """Takes all marks off."""
        self.runs.clear_marks()
        self.refresh_bindings()

    def keep_marks(self, look: Look) -> None:
        """Runs that are gone are no longer marked."""
        # The workspace may have been looked at before the list of runs is on the screen.
        marked = self.runs.marked if self.ready else ()
        if marked:
            there = {f"{one.key}/{name}" for one in look.experiments for name in one.runs}
            self.runs.clear_marks(reference for reference in marked if reference not in there)

    def action_diff(self) -> None:
        """Shows the curves of the marked runs and in what they differ; with a single one also that under the cursor."""
        here = self.run_here
        chosen = list(self.runs.marked)
        if here is not None and len(chosen) < 2 and here.reference not in chosen:
            chosen.append(here.reference)
        if len(chosen) < 2:
            notice(self.app, "Mark runs with space; d then shows in what they differ.")
            return
        self._compare(chosen)

    @work(group="diff", exclusive=True, exit_on_error=False)
    async def _compare(self, chosen: list[str]) -> None:
        # With all that it needs it takes 0.05 s to load, the first time.
        await asyncio.to_thread(import_module, "kladml_tui.screens.compare_screen")
        from kladml_core.runs.compare import MOST_RUNS
        from kladml_core.runs.rundir import RunDirectory
        from kladml_tui.screens.compare_screen import CompareScreen

        if len(chosen) > MOST_RUNS:
            notice(self.app, f"{len(chosen)} runs are marked; {MOST_RUNS} can be compared.", "error")
            return
        runs = [RunDirectory(Path(self.settings.data) / "projects" / reference) for reference in chosen]
        drawing: Any = self.settings.ui.drawing
        self.app.push_screen(CompareScreen(runs, drawing, self.settings.ui.keymap))
