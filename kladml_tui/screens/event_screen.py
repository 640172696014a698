"""One event of a run with all its fields; of one that ended badly also the traceback that the run printed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from textual import work
from textual.content import Content

from kladml_core.runs.event_text import event_kind, figure
from kladml_core.runs.rundir import RunDirectory
from kladml_tui.screens.reading import Reading
from kladml_tui.text import block, content, lines, one_line

_LABEL = 14
_FIRST = ("message", "reason", "hint", "exit_code", "file", "line", "column")
_PLACE = ("time", "attempt", "step", "epoch")
_HIDDEN = frozenset({"v", "seq", "kind", "run", *_FIRST, *_PLACE})
_BAD = ("run_failed", "run_lost", "out_of_memory", "hang")


class EventScreen(Reading):
    """The event.

    Args:
        event: as it was written.
        run: whose it is.
    """

    def __init__(self, event: Mapping[str, Any], run: RunDirectory) -> None:
        super().__init__(f"{event_kind(event)} · {run.reference}")
        self._event = event
        self._run = run
        self._output = ""
        self._note = ""

    def on_mount(self) -> None:
        """Looks for what the run printed, where that says more than the event."""
        if self._event.get("kind") in _BAD:
            self._read_output()

    @work(group="output", exit_on_error=False)
    async def _read_output(self) -> None:
        self._output, self._note = await asyncio.to_thread(_output_of, self._run, self._event)
        self.draw_again()

    def draw(self, width: int) -> Sequence[Content]:
        """Every field, then the output."""
        found = list(_fields(self._event, width))
        if self._output or self._note:
            found += [Content(""), Content.styled("What the run printed", "$primary bold")]
        if self._note:
            found.append(content(self._note, "$muted"))
        if self._output:
            found += block(self._output).split("\n", allow_blank=True)
        return found

    def copied(self) -> str:
        """Fields and output, nothing cut."""
        fields = "\n".join(line.plain for line in _fields(self._event))
        return f"{fields}\n\n{lines(self._output)}\n" if self._output else f"{fields}\n"


def _output_of(run: RunDirectory, event: Mapping[str, Any]) -> tuple[str, str]:
    from kladml_core.runs.output import failure_output

    if event.get("attempt") not in (None, run.latest_attempt()):
        return (
            "",
            f"console.log goes on with a later attempt; what this one printed is further up in it: {run.console_log}",
        )
    output = failure_output(run)
    return output, "" if output else "nothing"


def _fields(event: Mapping[str, Any], width: int = 0) -> Iterator[Content]:
    """A line a field, or as many as it takes in `width` cells where one is given."""
    rest = [name for name in event if name not in _HIDDEN]
    for name in (*_FIRST, *_PLACE, *rest):
        value = event.get(name)
        # The reason of a failure is most often its message again.
        if value in (None, "", {}, []) or (name == "reason" and value == event.get("message")):
            continue
        yield from _field(name, _moment(value) if name == "time" else value, width)


def _field(name: str, value: Any, width: int, depth: int = 0) -> Iterator[Content]:
    label = ("  " * depth + one_line(name).replace("_", " ")).ljust(_LABEL)
    if isinstance(value, Mapping) and value:
        yield Content.styled(label, "$muted")
        for key, inner in value.items():
            yield from _field(str(key), inner, width, depth + 1)
        return
    text = figure(value) if isinstance(value, float) else lines(_words(value))
    room = max(2, width - len(label) - 1)
    found = [part for line in text.split("\n") for part in (Content(line).wrap(room) if width else [Content(line)])]
    for number, line in enumerate(found or [Content()]):
        yield Content.assemble((" " * len(label) if number else label, "$muted"), " ", line)


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return "\n".join(str(item) for item in value)
    return str(value)


def _moment(value: Any) -> Any:
    """Date and time to the millisecond; what is no time stays as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e11:
        return value
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(value))}.{int(value % 1 * 1000):03d}"
