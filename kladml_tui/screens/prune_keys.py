"""Freeing disk space on the workbench: what could go is shown, moved into the trash, put back, deleted for good."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual import work

from kladml_core.errors import KladMLError
from kladml_tui.screens.pane_keys import PaneKeys
from kladml_tui.text import notice

if TYPE_CHECKING:
    from kladml_core.runs.prune import Proposal
    from kladml_core.settings import Settings

_ACTIONS = frozenset({"prune", "undo_prune"})
_TOLD = 4
"""Reasons that a notice has room for."""


class PruneKeys(PaneKeys):
    """The actions."""

    settings: Settings

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Pruning needs runs under the cursor."""
        if action not in _ACTIONS:
            return super().check_action(action, parameters)
        return self.ready and (action == "undo_prune" or self._prunable is not None)

    @property
    def _prunable(self) -> str | None:
        """What would be pruned: the branch under the tree's cursor, or the run under that of the list; "" means all."""
        if not self.runs.display:
            return None
        node = self.nodes.node
        if self.pane == "tree" and node is not None and node.prefix is not None:
            return node.prefix
        return self.runs.cursor_key

    @work(group="prune", exit_on_error=False)
    async def action_prune(self) -> None:
        """Shows what could go, and moves it into the trash once a person agrees."""
        from kladml_tui.screens.prune_screen import PruneScreen  # not needed before the first frame

        reference = self._prunable
        if reference is None:
            return
        answer = await self.app.push_screen_wait(PruneScreen(self.settings.data, reference))
        if isinstance(answer, str):
            await self._empty()
        elif answer is not None:
            await self._prune(answer)

    @work(group="prune", exit_on_error=False)
    async def delete_run(self, reference: str) -> None:
        """Asks, then moves a run into the trash, whole; says why where it has to stay."""
        from kladml_core.runs.prune import propose
        from kladml_core.runs.prune_rules import RUN
        from kladml_tui.run_line import size
        from kladml_tui.screens.ask import Ask

        try:
            proposal = await asyncio.to_thread(propose, self.settings.data, [reference], runs=True)
        except KladMLError as error:
            notice(self.app, error, "error", title="Not deleted")
            return
        line = next((line for line in proposal.lines if line.kind == RUN), None)
        if line is None:
            why = proposal.left[0].why if proposal.left else "it is live; stop it first"
            notice(self.app, f"{reference} stays: {why}", "error", title="Not deleted")
            return
        question = f"Delete the run {reference}? {size(line.bytes)}\n\nIt goes into the trash; b brings it back."
        if await self.app.push_screen_wait(Ask(question, [("D", "move it into the trash")])) == "D":
            await self._prune(proposal, "deleted")

    async def _prune(self, proposal: Proposal, verb: str = "pruned") -> None:
        from kladml_core.runs.prune import prune
        from kladml_tui.run_line import size

        notice(self.app, f"Moving {size(proposal.bytes)} into the trash …", timeout=2)
        try:
            done = await asyncio.to_thread(prune, proposal)
        except KladMLError as error:
            notice(self.app, error, "error", title=f"Not {verb}")
            return
        if done.entry is not None:
            text = f"{size(done.bytes)} in the trash. b brings it back; x, then e frees the space for good."
            notice(self.app, text, title=verb.capitalize(), timeout=10)
        self._tell_left(f"Not {verb}", [f"{one.run} {one.what} stays: {one.why}" for one in done.left])
        self._disk_changed()

    @work(group="prune", exit_on_error=False)
    async def action_undo_prune(self) -> None:
        """Asks, then puts back what was pruned last."""
        from kladml_core.runs.trash import entries, restore
        from kladml_tui.run_line import moment, size
        from kladml_tui.screens.ask import Ask

        data = self.settings.data
        newest = next(iter(await asyncio.to_thread(entries, data)), None)
        if newest is None:
            notice(self.app, "The trash is empty.")
            return
        shown = "\n".join(f"{thing.run or thing.kind} {thing.what}" for thing in newest.things[:_TOLD])
        more = f"\n… and {len(newest.things) - _TOLD} more" if len(newest.things) > _TOLD else ""
        question = (
            f"Put back what was moved into the trash at {moment(newest.time)}? {size(newest.bytes)}\n\n{shown}{more}"
        )
        if await self.app.push_screen_wait(Ask(question, [("b", "bring it back")])) != "b":
            return
        try:
            done = await asyncio.to_thread(restore, data, newest.name)
        except KladMLError as error:
            notice(self.app, error, "error", title="Not put back")
            return
        if done.things:
            count = len(done.things)
            notice(self.app, f"{count} {'thing is' if count == 1 else 'things are'} back.", title="Put back")
        self._tell_left(
            "Still in the trash", [f"{thing.run or thing.kind} {thing.what}: {reason}" for thing, reason in done.left]
        )
        self._disk_changed()

    async def _empty(self) -> None:
        from kladml_core.runs.trash import empty, entries
        from kladml_tui.run_line import size
        from kladml_tui.screens.ask import Ask

        data = self.settings.data
        found = await asyncio.to_thread(entries, data)
        total = size(sum(entry.bytes for entry in found))
        question = f"Empty the trash?\n\n{total} are deleted for good and cannot be brought back."
        if await self.app.push_screen_wait(Ask(question, [("e", "delete it")])) != "e":
            return
        problems = await asyncio.to_thread(empty, data, [entry.name for entry in found])
        self._tell_left("Not deleted", [text for _, text in problems])
        if not problems:
            notice(self.app, f"{total} are free.", title="Trash emptied")

    def _tell_left(self, title: str, reasons: list[str]) -> None:
        if reasons:
            more = [f"… and {len(reasons) - _TOLD} more"] if len(reasons) > _TOLD else []
            notice(self.app, "\n".join([*reasons[:_TOLD], *more]), "warning", title=title, timeout=12)

    def _disk_changed(self) -> None:
        self.view.checkpoints_changed()
        self.action_look()

    def action_look(self) -> None:
        """Looks at the workspace again."""
        raise NotImplementedError
