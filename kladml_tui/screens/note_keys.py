"""Writing on runs from the workbench: tags, a note and a star, while they train too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from textual import work

from kladml_core.errors import KladMLError
from kladml_tui.screens.pane_keys import PaneKeys
from kladml_tui.text import notice

if TYPE_CHECKING:
    from kladml_core.runs.notes import Notes
    from kladml_core.runs.rundir import RunDirectory
    from kladml_core.settings import Settings
    from kladml_tui.screens.form import Answers

_ACTIONS = frozenset({"note", "star"})


class NoteKeys(PaneKeys):
    """The actions on the run under the cursor."""

    settings: Settings

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """They need a run."""
        if action in _ACTIONS:
            return self.ready and self.run_here is not None
        return super().check_action(action, parameters)

    @work(group="note", exit_on_error=False)
    async def action_note(self) -> None:
        """Asks for note, tags and star, and writes them."""
        from kladml_core.runs.notes import checked_tag, edit_notes, read_notes
        from kladml_tui.screens.form import Field, Form

        run = self.run_here
        if run is None:
            return
        try:
            before = await asyncio.to_thread(read_notes, run)
        except KladMLError as error:
            notice(self.app, error, "error", title="The notes are damaged")
            return

        def check(answers: Answers) -> None:
            for tag in _tags(answers):
                checked_tag(tag)

        fields = [
            Field("note", "Note", before.note, lines=4),
            Field("tags", "Tags, parted by commas", ", ".join(before.tags)),
            Field("star", "Star", before.star),
        ]
        answers = await self.app.push_screen_wait(Form(run.reference, fields, check=check))
        if answers is None:
            return
        tags = _tags(answers)
        # What another wrote meanwhile stays, where it was not changed here.
        note = str(answers["note"]) if answers["note"] != before.note else None
        added, gone = [tag for tag in tags if tag not in before.tags], [tag for tag in before.tags if tag not in tags]
        star = bool(answers["star"]) if answers["star"] != before.star else None
        await self._write(run, lambda: edit_notes(run, note=note, tag=added, untag=gone, star=star))

    @work(group="note", exit_on_error=False)
    async def action_star(self) -> None:
        """Gives the run a star, or takes it."""
        from kladml_core.runs.notes import edit_notes, read_notes

        run = self.run_here
        if run is not None:
            await self._write(run, lambda: edit_notes(run, star=not read_notes(run).star))

    async def _write(self, run: RunDirectory, act: Callable[[], Notes]) -> None:
        try:
            await asyncio.to_thread(act)
        except KladMLError as error:
            notice(self.app, error, "error", title="Not written")
            return
        self.read_again(run.reference)

    def read_again(self, reference: str) -> None:
        """What is shown of a run has changed."""
        raise NotImplementedError


def _tags(answers: Answers) -> list[str]:
    return [tag for part in str(answers["tags"]).split(",") if (tag := part.strip())]
