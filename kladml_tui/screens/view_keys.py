"""Which runs the list shows, in which order and columns: the filter as it is typed, sort, saved views, export."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from textual import work

from kladml_core.errors import KladMLError
from kladml_tui.screens.pane_keys import PaneKeys
from kladml_tui.text import notice

if TYPE_CHECKING:
    from textual.widgets import Input, Static

    from kladml_core.settings import Settings
    from kladml_core.workspace.filters import Filter
    from kladml_core.workspace.index_rows import Wanted
    from kladml_core.workspace.rows import RunRow
    from kladml_core.workspace.views import View
    from kladml_tui.look import Look
    from kladml_tui.run_store import Choice, RunStore
    from kladml_tui.screens.form import Answers

_ACTIONS = frozenset({"filter", "columns", "save_view", "export"})
_FIRST_CHUNK, _LAST_CHUNK = 200, 800


class ViewKeys(PaneKeys):
    """The actions. The list shows what `choose` finds; nothing is read on the screen's own thread."""

    settings: Settings
    look: Look

    def __init__(self) -> None:
        super().__init__()
        self._store: RunStore | None = None
        self._filter: Filter | None = None
        self._checked: tuple[tuple[str, ...], Wanted] | None = None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """They need a list of runs."""
        if action in _ACTIONS:
            return self.ready and self.runs.display
        return super().check_action(action, parameters)

    @property
    def store(self) -> RunStore:
        """What was read of the runs."""
        if self._store is None:
            from kladml_tui.run_store import RunStore

            self._store = RunStore(self.settings)
        return self._store

    @property
    def shown_as(self) -> View:
        """How the runs are shown."""
        from kladml_core.workspace.views import View

        state = self.state
        return View(state.filter, state.sort, state.reverse, state.columns)

    @property
    def columns_ask_params(self) -> bool:
        """Whether what is in sight shows parameters."""
        if not self.state.columns:
            return False
        from kladml_core.workspace.filters import Filter
        from kladml_tui.run_store import asks_params

        return asks_params(replace(self.shown_as, sort=""), Filter())

    def show_as(self, view: View) -> None:
        """Shows the runs in another way.

        Raises:
            ConfigError: it cannot be understood; nothing changes.
        """
        from kladml_core.workspace.filters import parse

        view.checked()
        self._filter = parse(view.filter)
        self.state = replace(self.state, filter=view.filter, sort=view.sort, reverse=view.reverse, columns=view.columns)
        if self.focused is not self.filter_field:
            self.filter_field.value = view.filter
            self.filter_field.display = bool(view.filter) and self.runs.display
        self._say_fault("")
        self.choose(anew=True)

    def begin_views(self) -> None:
        """Shows the runs as they were shown last; what cannot be understood any more is left out."""
        view = self.shown_as
        try:
            self.show_as(view)
        except KladMLError as error:
            from kladml_core.workspace.views import View

            notice(self.app, error, "warning", title="Filter")
            self.show_as(View())

    # Choosing

    @property
    def _asked(self) -> bool:
        state = self.state
        return bool(state.filter.strip() or state.sort or state.reverse or state.columns)

    def choose(self, *, anew: bool = False) -> None:
        """Looks anew which runs are to be shown, in a thread; at once where nothing is asked for."""
        if not self.ready:
            return
        if not self._asked:
            self.workers.cancel_group(self, "choose")
            self.runs.show_choice(None, anew=anew)
            return
        self._choose(anew)

    @work(group="choose", exclusive=True, exit_on_error=False)
    async def _choose(self, anew: bool) -> None:
        from kladml_core.workspace.filters import Filter
        from kladml_tui import run_store

        view, wanted, store = self.shown_as, self._filter or Filter(), self.store
        runs, states = self.runs.runs, self.look.states
        asked, unknown = run_store.asked_for(view, wanted), list[str]()
        checked = (runs, asked)
        # A letter typed asks for another choice; whether runs changed is asked with each look at the workspace.
        if run_store.needs_files(view, wanted) and not (anew and self._checked == checked):
            self._checked = None
            unknown = await asyncio.to_thread(store.catch_up, runs, states, asked)
        params, indexed = run_store.asks_params(view, wanted), store.has_index and self.look.indexed
        if unknown and not indexed:
            unknown = await asyncio.to_thread(store.stale, unknown, states, params=params)
        chunk = _FIRST_CHUNK
        while True:
            # First by what is known: letters typed into a long list narrow it at once.
            chosen = await asyncio.to_thread(store.choose, runs, states, view, wanted, missing=len(unknown))
            if runs == self.runs.runs:
                self.runs.show_choice(chosen, anew=anew)
                self.chosen(chosen)
            if not unknown or indexed:
                # What the index does not know yet, it will know at one of the next looks.
                self._checked = None if unknown else checked
                return
            now, unknown = unknown[:chunk], unknown[chunk:]
            await asyncio.to_thread(store.read, now, states, params=params)
            chunk = min(2 * chunk, _LAST_CHUNK)

    def chosen(self, chosen: Choice) -> None:
        """Other runs are shown."""

    # The filter

    def action_filter(self) -> None:
        """Asks for what a run must match."""
        self.filter_field.display = True
        self.filter_field.value = self.state.filter
        self.set_focus(self.filter_field)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Each letter narrows the list; what is not understood yet is told below, and the list stays."""
        if event.input is self.filter_field and self.focused is self.filter_field:
            event.stop()
            self._try_filter(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter leaves the filter on and goes to the list."""
        if event.input is self.filter_field:
            event.stop()
            if self._try_filter(event.value):
                self.leave_filter()

    def _try_filter(self, text: str) -> bool:
        try:
            self.show_as(replace(self.shown_as, filter=text))
        except KladMLError as error:
            self._say_fault(str(error))
            return False
        return True

    def leave_filter(self) -> None:
        """Goes from the filter to the list."""
        self.filter_field.display = bool(self.state.filter.strip())
        self._say_fault("")
        self.set_focus(self.runs)
        self.remember()

    def clear_filter(self) -> None:
        """Shows all runs again, in the order and the columns that were chosen."""
        self.filter_field.value = ""
        self.show_as(replace(self.shown_as, filter=""))
        self.leave_filter()

    def _say_fault(self, text: str) -> None:
        from kladml_tui.text import content

        fault: Static = self.query_one("#filter-fault")  # type: ignore[assignment]
        fault.display = bool(text)
        if fault.content != (told := content(text, "$error")):  # an update has the whole screen laid out again
            fault.update(told)

    # Order, columns, views

    @work(group="views", exit_on_error=False)
    async def action_columns(self) -> None:
        """Asks in which order and columns the runs are to be shown."""
        from kladml_core.workspace.columns import split_columns
        from kladml_core.workspace.views import View
        from kladml_tui.screens.form import Field, Form

        view = self.shown_as
        names = await asyncio.to_thread(self._names)

        def said(answers: Answers) -> View:
            return View(
                view.filter, str(answers["sort"]).strip(), bool(answers["reverse"]),
                split_columns(str(answers["columns"])),
            ).checked()  # fmt: skip

        fields = [
            Field("columns", "Columns, parted by commas", ", ".join(view.columns), "the usual ones", suggestions=names),
            Field("sort", "Sort by", view.sort, "the newest first", suggestions=names),
            Field("reverse", "The other way round", view.reverse),
        ]
        answers = await self.app.push_screen_wait(Form("How the runs are shown", fields, check=said, help=_help(names)))
        if answers is not None:
            self.show_as(said(answers))
            self.remember()

    def _names(self) -> tuple[str, ...]:
        """What columns there may be, of the runs that are in the list."""
        from kladml_core.workspace.columns import METRICS, PARAMS, metric_names
        from kladml_core.workspace.values import FIELDS, varying

        runs, states = self.runs.keys[:_FIRST_CHUNK], self.look.states
        self.store.read(self.store.stale(runs, states, params=True), states, params=True)
        rows = self.store.rows(runs)
        metrics = metric_names(rows)
        figures = [f"{figure}:{name}" for name in metrics for figure in ("best", "last", "min", "max")]
        return (PARAMS, METRICS, *FIELDS, *figures, *varying(rows), *metrics)

    @work(group="views", exit_on_error=False)
    async def action_save_view(self) -> None:
        """Saves filter, order and columns under a name."""
        from kladml_core.workspace.views import checked_name, save_view
        from kladml_tui.screens.form import Field, Form

        view = self.shown_as

        def check(answers: Answers) -> None:
            checked_name(str(answers["name"]))

        told = "\n".join(
            f"{key}: {value}"
            for key, value in {
                "filter": view.filter,
                "sort": f"{view.sort}{' reversed' if view.reverse else ''}",
                "columns": ", ".join(view.columns),
            }.items()
            if value
        )
        form = Form(
            "Save the view", [Field("name", "Name")], check=check, help=told or "All runs, as they are usually shown."
        )
        answers = await self.app.push_screen_wait(form)
        if answers is None:
            return
        name = checked_name(str(answers["name"]))
        try:
            await asyncio.to_thread(save_view, self.settings.data, name, view)
        except KladMLError as error:
            notice(self.app, error, "error", title="Not saved")
            return
        notice(self.app, f"{name}: the commands (:) show it again.", title="View saved")

    def show_view(self, view: View) -> None:
        """Shows the runs as a saved view says, wherever the tree's cursor is."""
        self.show_as(view)
        if self.runs.display:
            self.go_to_pane("runs")
        self.remember()

    # Export

    @work(group="views", exit_on_error=False)
    async def action_export(self) -> None:
        """Asks for a file, and writes the runs that are shown into it."""
        from kladml_tui.screens.export_runs import export_shown  # not needed before the first frame

        keys = self.runs.keys

        def rows() -> list[RunRow]:
            return self.store.whole(keys, self.look.states)

        await export_shown(self, self.settings.root, len(keys), rows, self.state.columns)


def _help(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:60])
    more = f", … and {len(names) - 60} more" if len(names) > 60 else ""
    return f"→ completes a word. There are {shown}{more}"
