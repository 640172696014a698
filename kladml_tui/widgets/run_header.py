"""One line about the run on the screen: its name, its state, how far it is and how long it will take."""

from __future__ import annotations

from textual.content import Content
from textual.widget import Widget

from kladml_tui.run_line import GLYPHS, RunLine, duration, number, progress
from kladml_tui.text import one_line, shorten
from kladml_tui.text import width as cells_of

_BAR_CELLS = 12


class RunHeader(Widget):
    """The line."""

    DEFAULT_CSS = """
    RunHeader { height: 1; background: $surface; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._line: RunLine | None = None
        self._said = ""
        self._stops: dict[str, str] = {}

    def show_stop(self, reference: str, text: str) -> None:
        """How the stopping of a run stands, on the screen or not; an empty text when it is over."""
        if text != self._stops.get(reference, ""):
            self._stops[reference] = text
            if not text:
                del self._stops[reference]
            self.refresh()

    def show(self, line: RunLine | None, *, said: str = "") -> None:
        """Shows a run; `said` is what stands there while nothing is known of it."""
        if (line, said) != (self._line, self._said):
            self._line, self._said = line, said
            self.refresh()

    def render(self) -> Content:
        """What fits, the most telling first."""
        line = self._line
        if line is None:
            return Content.assemble(" ", (one_line(self._said), "$muted"))
        width = self.size.width - 2
        style = f"$state-{line.word}"
        name = shorten(line.reference.rpartition("/")[2], 20)
        parts: list[tuple[str, str]] = [
            (f" {GLYPHS.get(line.word, '·')} ", style),
            (name, "bold"),
            (f" {line.word}", style),
        ]
        used = sum(cells_of(text) for text, _ in parts)
        for more in self._more(line):
            cells = sum(cells_of(text) for text, _ in more) + 2
            if used + cells > width:
                # Words that say why may be cut; figures may not.
                if more[0][1] == "$foreground" and width - used > 12:
                    parts += [("  ", ""), (shorten(more[0][0], width - used - 2), more[0][1])]
                break
            parts += [("  ", ""), *more]
            used += cells
        return Content.assemble(*parts)

    def _more(self, line: RunLine) -> list[list[tuple[str, str]]]:
        status = line.status
        found: list[list[tuple[str, str]]] = []
        if line.reference in self._stops:
            found.append([(self._stops[line.reference], "$foreground")])
        why = status.why
        if why:
            code = f" (exit {status.exit_code})" if status.exit_code not in (None, 0) else ""
            found.append([(one_line(why) + code, "$foreground")])
        elif status.status == "starting" and status.phase not in (None, "starting"):
            found.append([(one_line(status.phase), "$foreground")])
        if status.attempt and status.attempt > 1:
            found.append([(f"attempt {status.attempt}", "$muted")])
        share = line.share
        if share is not None and status.live:
            filled = round(share * _BAR_CELLS)
            found.append(
                [("━" * filled, style_of(line)), ("━" * (_BAR_CELLS - filled), "$border"), (f" {share:.0%}", "")]
            )
        if status.attempt and (status.step or status.status not in ("starting", "queued")):
            found.append([("epoch ", "$muted"), (progress(status.epoch, status.total_epochs), "")])
            found.append([("step ", "$muted"), (progress(status.step, status.total_steps), "")])
        if line.figure is not None:
            value = number(line.figure.value)
            bad = "$error bold" if "n" in value.lower() else "bold"
            found.append(
                [(f"{one_line(line.figure.metric)} ", "$muted"), (value, bad), (f" @{line.figure.step}", "$muted")]
            )
        if line.left is not None:
            found.append([("ETA ", "$muted"), (duration(line.left), "$accent")])
        if line.took is not None:
            found.append([("took " if not status.live else "", "$muted"), (duration(line.took), "$muted")])
        if line.pace and status.status == "running":
            found.append([(f"{number(line.pace)} steps/s", "$muted")])
        if status.status == "finished" and status.reason:
            found.append([(one_line(status.reason).replace("_", " "), "$muted")])
        # At the end, where its coming and going moves nothing else.
        if status.status == "running" and status.phase not in (None, "training"):
            found.append([(one_line(status.phase), "$muted")])
        return found


def style_of(line: RunLine) -> str:
    """The colour of a run's state."""
    return f"$state-{line.word}"
