"""What is told of the workspace's runs and how that went, and a try of the command."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from textual import work
from textual.binding import Binding
from textual.content import Content

from kladml_core.errors import KladMLError
from kladml_core.runs.notice_command import Ran
from kladml_core.runs.notices import Overview, overview, rehearse
from kladml_core.settings import load_settings
from kladml_tui.screens.reading import Reading
from kladml_tui.text import block, content, lines, one_line, pad

_LABEL = 14


class NoticesScreen(Reading):
    """The notices.

    Args:
        workspace: its root; kladml.yaml is read anew, so that who has just written the command can try it.
    """

    BINDINGS = [Binding("t", "try", "Try")]
    KEYS = f"t tries the command · {Reading.KEYS}"

    def __init__(self, workspace: Path) -> None:
        super().__init__("Notices")
        self._workspace = workspace
        self._overview: Overview | None = None
        self._try = ""

    def on_mount(self) -> None:
        """Looks."""
        self._look()

    @work(group="look", exclusive=True, exit_on_error=False)
    async def _look(self) -> None:
        try:
            self._overview = await asyncio.to_thread(_overview_of, self._workspace)
        except KladMLError as error:
            self._try = str(error)
        self.draw_again()

    @work(group="try", exclusive=True, exit_on_error=False)
    async def action_try(self) -> None:
        """Runs the command with a marked event, and shows how it went."""
        self._try = "running…"
        self.draw_again()
        try:
            ran = await asyncio.to_thread(_try_in, self._workspace)
        except KladMLError as error:
            self._try = str(error)
        else:
            self._try = str(ran)
        self._look()

    def draw(self, width: int) -> Sequence[Content]:
        """The facts, the try, the log."""
        found: list[Content] = []
        for label, value in self._overview.facts if self._overview is not None else ():
            first, *rest = content(value).wrap(max(2, width - _LABEL)) or [Content()]
            found.append(Content.assemble((pad(label, _LABEL), "$muted"), first))
            found += [Content.assemble(" " * _LABEL, line) for line in rest]
        if self._try:
            found += [Content(""), Content.styled("The try", "$primary bold"), *_lines(self._try)]
        if self._overview is not None and self._overview.log:
            found += [Content(""), content(str(self._overview.log_file), "$primary bold")]
            found += _lines("\n".join(self._overview.log))
        return found

    def copied(self) -> str:
        """As the command prints it."""
        facts = self._overview.facts if self._overview is not None else []
        log = self._overview.log if self._overview is not None else ()
        rows = [f"{label}\t{one_line(value)}" for label, value in facts]
        return "\n".join([*rows, *([lines(self._try)] if self._try else []), *map(one_line, log)]) + "\n"


def _lines(text: str) -> Sequence[Content]:
    return block(text).split("\n", allow_blank=True)


def _overview_of(workspace: Path) -> Overview:
    return overview(load_settings(workspace))


def _try_in(workspace: Path) -> Ran:
    return rehearse(load_settings(workspace))[1]
