"""Notices on the workbench: what is told of runs, how that went, and a try of the command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kladml_tui.screens.pane_keys import PaneKeys

if TYPE_CHECKING:
    from kladml_core.settings import Settings


class NoticesKeys(PaneKeys):
    """The action."""

    settings: Settings

    def action_notices(self) -> None:
        """Shows them."""
        from kladml_tui.screens.notices_screen import NoticesScreen  # not needed before the first frame

        self.app.push_screen(NoticesScreen(self.settings.root))
