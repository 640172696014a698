"""What has changed on the disk, told by a watching thread and taken by the app when it looks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kladml_core.settings import Settings


class Changes:
    """Kinds of changes that nobody has taken yet. Its methods belong to the app's thread."""

    def __init__(self) -> None:
        self._kinds: set[str] = set()
        self._stop = threading.Event()
        self._told: Callable[[], None] = lambda: None

    def watch(self, settings: Settings, told: Callable[[], None]) -> None:
        """Begins to watch, in a thread of its own.

        Args:
            settings: the workspace's.
            told: called in the app's thread each time that something has changed.
        """
        loop = asyncio.get_running_loop()
        self._told = told

        def tell(kinds: frozenset[str]) -> None:
            if not self._stop.is_set():
                with suppress(RuntimeError):  # the app was left at this moment
                    loop.call_soon_threadsafe(self._add, kinds)

        def watch() -> None:
            from kladml_core.workspace.watch import FolderWatch, workspace_folders  # not before the first frame
            from kladml_tui.themes import theme_directories

            FolderWatch(lambda: workspace_folders(settings, theme_directories())).run(tell, self._stop)

        threading.Thread(target=watch, name="watch", daemon=True).start()

    def take(self, *kinds: str) -> bool:
        """Whether something of these kinds has changed since they were last taken."""
        found = not self._kinds.isdisjoint(kinds)
        self._kinds.difference_update(kinds)
        return found

    def close(self) -> None:
        """Ends the watching; it does not wait for it."""
        self._stop.set()

    def _add(self, kinds: frozenset[str]) -> None:
        self._kinds |= kinds
        self._told()
