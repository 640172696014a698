"""Runs beside each other: their curves of one metric on one chart, and in what they differ below it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static
from textual.worker import Worker

from kladml_core.errors import KladMLError
from kladml_core.runs.compare import Comparison, compare, identity
from kladml_core.runs.overlay import Overlay, RunCurve, metrics_of
from kladml_core.runs.rundir import RunDirectory
from kladml_tui import faults, themes
from kladml_tui.compare_text import group_names, plain_text, short_names, tables
from kladml_tui.resizing import tell_sizes
from kladml_tui.run_looks import RunLook, run_looks
from kladml_tui.screens.pick import Pick
from kladml_tui.text import notice, one_line, shorten
from kladml_tui.widgets.chart import Chart, Drawing
from kladml_tui.widgets.compare_page import Badge, ComparePage
from kladml_tui.widgets.key_bar import KeyBar
from kladml_tui.widgets.overlay_curves import group_curves, run_curves

CURVE_SECONDS = 0.2
"""Between two looks at the curves."""
READING_SECONDS = 0.5
"""Between two drawings while many curves are read: each takes time away from the reading."""
DRAWING_SECONDS = 1.0
"""How long the tables wait for the first drawing of all curves, for the same reason."""
TABLE_SECONDS = 5.0
"""Between two comparisons while a run is live."""
ROOM_FOR_BOTH = 36
"""Rows from which on chart and tables stand under each other; below, tab changes between them."""

_KEYS: list[BindingType] = [
    Binding("tab", "other", "chart/table", tooltip="Go to the other one, the chart or the tables.", id="compare.other"),
    Binding("v", "metric(1)", "metric", tooltip="Show the next metric.", id="compare.next"),
    Binding("V", "metric(-1)", "Metric back", tooltip="Show the metric before.", show=False, id="compare.previous"),
    Binding("slash", "choose", "choose", tooltip="Choose the metric by its name.", id="compare.choose"),
    Binding(
        "s", "seeds", "seeds", tooltip="Runs that differ in their seed alone as mean ± deviation.", id="compare.seeds"
    ),
    Binding("a", "everything", "all keys", tooltip="Show what the runs have in common, too.", id="compare.all"),
    Binding("y", "copy", "copy", tooltip="Copy the tables, with a tab between the cells.", id="compare.copy"),
    Binding("question_mark", "help", "help", tooltip="Show what the keys do here.", id="compare.help"),
    Binding("escape,q", "dismiss", "close", key_display="q", id="compare.close"),
]


class CompareScreen(Screen[None]):
    """The comparison; it reads in threads, and goes on while runs are live.

    Args:
        runs: those to compare, in the order in which their values are to stand.
        drawing: of which characters curves are made.
        keymap: a person's own keys, for the help.
    """

    CSS_PATH = "compare_screen.tcss"
    BINDINGS = _KEYS
    AUTO_FOCUS = "Chart"

    def __init__(
        self, runs: Sequence[RunDirectory], drawing: Drawing = "braille", keymap: Mapping[str, str] | None = None
    ) -> None:
        super().__init__()
        self._runs = tuple(runs)
        self._drawing = drawing
        self._keymap = keymap or {}
        self._names = short_names([run.reference for run in runs])
        self._looks: tuple[RunLook, ...] = run_looks([run.reference for run in runs])
        self._metrics: tuple[str, ...] = ()
        self._counts: dict[str, int] = {}
        self._metric = ""
        self._comparison: Comparison | None = None
        self._curves: tuple[RunCurve, ...] = ()
        self._seeds = self._everything = False
        self._first_read = asyncio.Event()

    def compose(self) -> ComposeResult:
        """A line on it all, the chart, the tables, the keys."""
        yield Static(id="heading")
        yield Chart(drawing=self._drawing, id="overlay")
        yield ComparePage(id="page")
        yield KeyBar(id="keys")

    def on_mount(self) -> None:
        """Begins to read."""
        tell_sizes(self)
        self._page.say("reading…")
        self._head()
        self._begin()
        self._compare()

    @property
    def _chart(self) -> Chart:
        return self.query_one(Chart)

    @property
    def _page(self) -> ComparePage:
        return self.query_one(ComparePage)

    def on_resize(self) -> None:
        """Both where there is room, else one."""
        self._lay_out()

    def _lay_out(self) -> None:
        both = self.size.height >= ROOM_FOR_BOTH
        at_page = self.focused is self._page
        self._chart.display = both or not at_page
        self._page.display = both or at_page

    @work(group="metrics", exit_on_error=False)
    async def _begin(self) -> None:
        """Learns which metrics there are, and who the runs are, and shows the first metric."""
        counts, identities = await asyncio.to_thread(lambda: (metrics_of(self._runs), [*map(identity, self._runs)]))
        self._looks = run_looks(identities)
        self._counts, self._metrics = counts, tuple(sorted(counts, key=_order))
        if self._metrics:
            self._show_metric(self._metrics[0])
        else:
            self._chart.show((), ended=True)
            self._head()
            self._first_read.set()

    def _show_metric(self, metric: str) -> None:
        self._metric, self._curves = metric, ()
        self._head()
        self._follow(metric)

    @work(group="curves", exclusive=True, exit_on_error=False)
    async def _follow(self, metric: str) -> None:
        """Reads the curves of a metric and goes on reading, until another one is shown."""
        overlay = Overlay(self._runs, metric)
        try:
            while True:
                reading = asyncio.ensure_future(asyncio.to_thread(overlay.read))
                while not reading.done():
                    await asyncio.wait({reading}, timeout=READING_SECONDS)
                    self._curves = overlay.curves
                    await self._draw()
                reading.result()
                self._first_read.set()
                await asyncio.sleep(CURVE_SECONDS)
        finally:
            overlay.stop()

    async def _draw(self) -> None:
        curves, comparison = self._curves, self._comparison
        if self._seeds and comparison is not None:
            places = {row.reference: at for at, row in enumerate(comparison.runs)}
            groups = {
                name: [places[row.reference] for row in group.runs]
                for name, group in zip(group_names(comparison), comparison.groups, strict=True)
            }
            drawn = await asyncio.to_thread(group_curves, curves, groups, self._looks, self._metric)
        else:
            drawn = run_curves(curves, self._names, self._looks, self._metric)
        self._chart.show(drawn, ended=bool(curves) and not any(one.live for one in curves))

    @work(group="compare", exclusive=True, exit_on_error=False)
    async def _compare(self) -> None:
        """Compares once the curves have been read, and again while a run is live."""
        await self._first_read.wait()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._chart.settled(), DRAWING_SECONDS)
        while True:
            try:
                self._comparison = await asyncio.to_thread(compare, self._runs)
            except KladMLError as error:
                self._page.say(f"Not compared: {error}", "$error")
                return
            self._show_tables()
            while True:
                live = any(row.status.live for row in self._comparison.runs)
                await asyncio.sleep(TABLE_SECONDS)
                if live or any(one.live for one in self._curves):
                    break

    @work(group="tables", exclusive=True, exit_on_error=False)
    async def _show_tables(self) -> None:
        comparison = self._comparison
        if comparison is None:
            return
        colours = themes.current(self.app).chart
        badges: dict[str, Badge] = {
            name: (look.marker, colours[look.colour % len(colours)])
            for name, look in zip(self._names, self._looks, strict=True)
        }
        if self._seeds:
            first = {row.reference: at for at, row in enumerate(comparison.runs)}
            for name, group in zip(group_names(comparison), comparison.groups, strict=True):
                badges[name] = badges[self._names[first[group.row.reference]]]
        notes = [f"The config of {reference} is left out: {reason}" for reference, reason in comparison.unread]
        # Values of many runs take their time to be written as YAML.
        found = await asyncio.to_thread(tables, comparison, seeds=self._seeds, everything=self._everything)
        self._page.show(found, badges, notes)
        self._head()

    def _head(self) -> None:
        parts: list[tuple[str, str]] = [(f" {len(self._runs)} runs compared", "$primary bold")]
        if self._metric:
            at = f"  {self._metrics.index(self._metric) + 1}/{len(self._metrics)}"
            parts += [("   ", ""), (shorten(one_line(self._metric), 40, keep="end"), "bold"), (at, "$muted")]
            without = len(self._runs) - self._counts[self._metric]
            parts += [(f"   {without} without it", "$warning")] if without else []
        elif self._counts or self._comparison is not None:
            parts.append(("   no metric has been logged", "$muted"))
        if self._seeds:
            said = f"   {len(self._comparison.groups)} groups, mean ± deviation" if self._comparison else "   reading…"
            parts.append((said, "$accent"))
        self.query_one("#heading", Static).update(Content.assemble(*parts))

    def action_other(self) -> None:
        """Gives the keys to the chart or to the tables."""
        other = self._chart if self.focused is self._page else self._page
        other.display = True
        other.focus()
        self.call_after_refresh(self._lay_out)

    def action_metric(self, by: int) -> None:
        """Goes on to another metric."""
        if self._metrics:
            self._show_metric(self._metrics[(self._metrics.index(self._metric) + by) % len(self._metrics)])

    @work(group="choose", exit_on_error=False)
    async def action_choose(self) -> None:
        """Asks which metric to show."""
        chosen = await self.app.push_screen_wait(Pick("Metric", self._metrics))
        if chosen:
            self._show_metric(chosen)

    async def action_seeds(self) -> None:
        """Groups runs that differ in their seed alone, or shows each again."""
        self._seeds = not self._seeds
        self._show_tables()
        self._head()
        await self._draw()

    def action_everything(self) -> None:
        """Shows what the runs have in common, or hides it."""
        self._everything = not self._everything
        self._show_tables()

    def action_copy(self) -> None:
        """Puts the tables on the clipboard of the terminal."""
        if self._comparison is not None:
            text = plain_text(self._comparison, seeds=self._seeds, everything=self._everything)
            self.app.copy_to_clipboard(text)
            notice(self.app, f"{len(text.splitlines()):,} lines", title="Copied")

    def action_help(self) -> None:
        """What the keys do here."""
        from kladml_tui.screens.help import Help, keys_now

        here: dict[str, Binding] = {}
        for active in self.active_bindings.values():
            if active.node is not self.app and active.binding.id is not None:
                known = here.get(active.binding.id)
                keys = active.binding.key if known is None else f"{known.key},{active.binding.key}"
                here[active.binding.id] = Binding(
                    keys, active.binding.action, active.binding.description, tooltip=active.binding.tooltip
                )
        self.app.push_screen(Help("comparing runs", list(here.values()), keys_now(self._keymap), ("lists",)))

    @on(Worker.StateChanged)
    def _worker_changed(self, event: Worker.StateChanged) -> None:
        faults.tell(self.app, event)


def _order(metric: str) -> tuple[bool, bool, str]:
    """What the runs are judged by first: the losses, of validation before of training."""
    return not metric.endswith("loss"), not metric.startswith("val/"), metric
