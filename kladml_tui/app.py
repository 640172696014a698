"""The app: one workspace, one monitor, the workbench; what is slow is loaded and looked up in threads."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text
from textual import on, work
from textual.app import App
from textual.command import Provider
from textual.screen import Screen
from textual.worker import Worker, WorkerError

from kladml_core.errors import KladMLError
from kladml_core.settings import load_settings
from kladml_tui import faults, themes
from kladml_tui.changes import Changes
from kladml_tui.monitor import Monitor
from kladml_tui.news import SMALL_ROWS
from kladml_tui.screens.workbench import Workbench
from kladml_tui.text import notice

if TYPE_CHECKING:
    from kladml_tui.census import Census
    from kladml_tui.screens.editor import ConfigEditor
    from kladml_tui.view_state import ViewState

SWITCH_SECONDS = 0.001
"""How long a thread that computes keeps the others waiting."""
LOOK_SECONDS = 1.0
"""Between two looks at the workspace: at its names, and at live runs."""
SOON_SECONDS = 0.2
"""Between the first two looks, of which the second takes in every run."""
LOOK_SHARE, LOOK_CEILING = 3.0, 4.0
"""A look that takes long is made again after so many times as long, or after so many seconds."""
FIRST_LOOK_SECONDS = 1.0
"""How long loading what charts need waits for the first look at the workspace."""
WHOLE_LOOKS = 15
"""Each so manieth look takes in every run, for what others did to runs that had ended."""


def _palette() -> type[Provider]:
    from kladml_tui.palette import Commands

    return Commands


class KladMLApp(App[None]):
    """The workbench of one workspace.

    Args:
        workspace: its root.

    Raises:
        ConfigError: kladml.yaml is wrong.
    """

    TITLE = "KladML"
    # Textual loads no stylesheet of the first screen itself.
    CSS_PATH = Path(__file__).with_name("screens") / "workbench.tcss"
    VERTICAL_BREAKPOINTS = [(0, "-short"), (SMALL_ROWS, "-tall")]
    COMMANDS = {_palette}

    def __init__(self, workspace: Path) -> None:
        self.settings = load_settings(workspace)
        theme, self._notices = themes.load_theme(self.settings.ui.theme)
        super().__init__()
        # Before the style sheets are read: a theme that comes later has everything styled twice.
        themes.install(self, {theme.name: theme})
        self.set_reactive(App.theme, theme.name)
        self.stylesheet.set_variables(self.get_css_variables())
        self.monitor = Monitor()
        self.workbench = Workbench(self.settings, self.monitor, self.look_again)
        self._looking = asyncio.Event()
        self._looked = asyncio.Event()
        self._changes = Changes()
        self._census: Census | None = None
        self._saved: ViewState | None = None
        self._theme_faults: frozenset[str] = frozenset()
        self._themes_read = False
        self._queue_fault = ""

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Our own variables, for Textual's own themes."""
        return themes.variable_defaults()

    def get_default_screen(self) -> Screen[Any]:
        """The workbench."""
        return self.workbench

    def on_mount(self) -> None:
        """Everything slow waits for the first frame."""
        self.call_after_refresh(self._begin)

    def run(self, **options: Any) -> None:
        """Runs the app in the terminal; see `App.run`. The mouse is taken as the settings say."""
        super().run(**{"mouse": self.settings.ui.mouse, **options})

    def _begin(self) -> None:
        # A key that is typed changes threads a dozen times; each time it would wait 5 ms for one that reads or filters.
        sys.setswitchinterval(SWITCH_SECONDS)
        self._fill()

    @work(group="start", exit_on_error=False)
    async def _fill(self) -> None:
        """Loads the right side in a thread, then looks at the workspace while numpy is loaded in another."""
        self._apply_keymap()
        state = await asyncio.to_thread(_prepare, self.settings.root)
        from kladml_tui.widgets.main_pane import MainPane  # loaded by now

        self._saved = state
        await self.workbench.fill(MainPane(self.settings, id="main"), state)
        self._look_at_workspace()
        self._load_the_rest()

    def _apply_keymap(self) -> None:
        if self.settings.ui.keymap:
            from kladml_tui import keymap

            self._notices += keymap.apply(self, self.settings.ui.keymap)

    @work(group="load", exit_on_error=False)
    async def _load_the_rest(self) -> None:
        """What needs numpy, and the other themes."""
        # Two threads that work hold each other up: what is there to choose from comes first.
        with suppress(TimeoutError):
            await asyncio.wait_for(self._looked.wait(), FIRST_LOOK_SECONDS)
        try:
            await asyncio.to_thread(self.monitor.open)
        finally:
            self._keep_what_is_loaded()
        self.workbench.prepare()
        self.set_interval(1 / self.settings.ui.fps, self.workbench.drain)
        found, problems = await asyncio.to_thread(themes.load_themes)
        themes.install(self, found)
        self._theme_faults = frozenset(problems)
        self._themes_read = True
        # Only now: what has changed while all this was read is told first, and read again.
        self._changes.watch(self.settings, self.look_again)
        self._tell((*self._notices, *(problem for problem in problems if problem not in self._notices)))

    def _keep_what_is_loaded(self) -> None:
        """Looks for garbage from now on, but not in what was loaded: going through that stops the screen for 0.1 s."""
        if not gc.isenabled():  # off since the command began
            gc.freeze()
            gc.enable()

    async def _look_at_themes(self) -> None:
        """A changed theme file is shown at once, a broken one told once, until it is mended."""
        if self._themes_read and self._changes.take("themes"):
            found, problems = await asyncio.to_thread(themes.load_themes)
            themes.install(self, found)
            told, self._theme_faults = self._theme_faults, frozenset(problems)
            self._tell(tuple(problem for problem in problems if problem not in told))

    def _tell(self, problems: tuple[str, ...]) -> None:
        if problems:
            notice(self, "\n".join(problems), "warning", title="Settings", timeout=12)

    # Looking at the workspace

    @work(group="census", exit_on_error=False)
    async def _look_at_workspace(self) -> None:
        from kladml_core.runs.rundir import RunDirectory
        from kladml_core.workspace.workspace import Workspace
        from kladml_tui.census import Census

        census = self._census = Census(Workspace(self.settings.root, self.settings))
        projects = self.settings.data / "projects"
        round_number = 0
        while True:
            begin = time.monotonic()
            look = await asyncio.to_thread(census.names)
            if round_number == 0 or not look.complete:
                self.workbench.show_look(look)
                self._looked.set()
            also = frozenset(self.workbench.runs.visible_keys()[:100])
            # Not in the first round: what the index knows is shown first, and then looked at a moment later.
            whole = round_number % WHOLE_LOOKS == 1
            look = await asyncio.to_thread(census.states, look, everything=whole, also=also)
            self.workbench.show_look(look)
            self.monitor.keep((reference, RunDirectory(projects / reference)) for reference in look.live)
            for failure in self.monitor.failures():
                notice(self, failure, "error", title="Not readable")
            await self._see_to_the_queue()
            await self._save_state()
            await self._look_at_themes()
            if self._changes.take("configs", "datasets"):
                self.workbench.preview.read_again()
            round_number += 1
            self._looking.clear()
            try:
                # Of very many runs on a slow disk, looking is not to take all the time there is.
                took = time.monotonic() - begin if look.complete else 0.0
                pause = min(max(LOOK_SECONDS, LOOK_SHARE * took), LOOK_CEILING) if round_number > 1 else SOON_SECONDS
                await asyncio.wait_for(self._looking.wait(), pause)
            except TimeoutError:
                pass

    async def _see_to_the_queue(self) -> None:
        """Starts the queue's process where there is work for it and it is gone; what is wrong is told once."""
        from kladml_core.runs.queue_list import ensure_scheduler

        try:
            await asyncio.to_thread(ensure_scheduler, self.settings)
        except KladMLError as error:
            if str(error) != self._queue_fault:
                self._queue_fault = str(error)
                notice(self, error, "error", title="Queue")

    def look_again(self) -> None:
        """Looks at the workspace now."""
        self._looking.set()

    async def _save_state(self) -> None:
        state = self.workbench.state
        if self._saved is not None and state != self._saved:
            from kladml_tui import view_state

            self._saved = state
            try:
                await asyncio.to_thread(view_state.save, view_state.state_file(self.settings.root), state)
            except OSError:
                pass  # the memory of where the person was is not worth a notice

    def on_config_editor_launch_requested(self, message: ConfigEditor.LaunchRequested) -> None:
        """The editor checked and saved a config that is to run: on the workbench one sees it start."""
        if self.screen is not self.workbench:
            self.pop_screen()
        self.workbench.train(message.path)

    # Leaving

    async def action_quit(self) -> None:
        """Leaves the app and says what goes on; an editor with unsaved text asks first."""
        editor = self._editor
        if editor is None or not editor.unsaved:
            await self._leave()
            return
        from kladml_tui.screens.ask import Ask  # loaded with the editor

        if isinstance(self.screen, Ask):
            notice(self, "Answer the question first; esc goes back.", "warning")
        else:
            self._close_and_leave(editor)

    @property
    def _editor(self) -> ConfigEditor | None:
        """The editor that is open, be it under a question or its help."""
        if len(self.screen_stack) == 1:
            return None
        from kladml_tui.screens.editor import ConfigEditor

        return next((screen for screen in reversed(self.screen_stack) if isinstance(screen, ConfigEditor)), None)

    @work(group="quit", exclusive=True, exit_on_error=False)
    async def _close_and_leave(self, editor: ConfigEditor) -> None:
        """Has the editor ask its own closing question, and leaves only once it is closed."""
        while self.screen is not editor:
            self.pop_screen()
        closing: Any = editor.action_close()
        with suppress(WorkerError):  # what went wrong is told where the worker's state changes
            await closing.wait()
        if editor not in self.screen_stack:
            await self._leave()

    async def _leave(self) -> None:
        self.workbench.remember()
        await self._save_state()
        count = len(self.workbench.look.live)
        message = (
            f"{count} run{'s go' if count > 1 else ' goes'} on; kladml-tui shows {'them' if count > 1 else 'it'} again."
        )
        self.exit(message=Text(message) if count else None)

    def action_help_quit(self) -> None:
        """Ctrl-C: says how to leave."""
        if self._editor is not None:
            notice(self, "esc, then q closes the editor; ctrl+q leaves the app. Runs go on.")
            return
        notice(self, "q leaves the app; runs go on.")

    async def on_unmount(self) -> None:
        """Ends the threads."""
        self._changes.close()
        if self._census is not None:
            await asyncio.to_thread(self._census.close)
        await asyncio.to_thread(self.monitor.close)

    @on(Worker.StateChanged)
    def _worker_changed(self, event: Worker.StateChanged) -> None:
        faults.tell(self, event)


def _prepare(workspace: Path) -> ViewState:
    """Loads what the right side needs, and where the person was. Takes a tenth of a second: in a thread."""
    import kladml_tui.census
    import kladml_tui.widgets.main_pane  # noqa: F401
    from kladml_tui import view_state

    return view_state.load(view_state.state_file(workspace))
