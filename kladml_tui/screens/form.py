"""A dialog of a few fields: each a line to type on, a text of several lines, or a yes and no."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.suggester import Suggester
from textual.widgets import Button, Input, Static, TextArea
from textual.worker import Worker

from kladml_core.errors import KladMLError
from kladml_tui import faults
from kladml_tui.text import block, content, one_line
from kladml_tui.widgets.in_order import InOrder, Line


@dataclass(frozen=True)
class Field:
    """One field of a form."""

    name: str
    label: str
    value: str | bool = ""
    """A yes and no where it is a bool, else text."""
    hint: str = ""
    """Stands in the empty field."""
    lines: int = 1
    suggestions: Sequence[str] = ()
    """What the last of the words parted by commas may be; the right arrow takes it."""


Answers = Mapping[str, str | bool]


class Lines(InOrder, TextArea):
    """A text of several lines to type."""


class Form(ModalScreen[dict[str, str | bool] | None]):
    """Asks, and is dismissed with the answers by name; with None on esc.

    Args:
        title: what it is about; untrusted text is inert.
        fields: from the top; the first has the keys.
        check: raises a KladMLError that is shown where the answers cannot be taken; the form stays.
        help: a few lines below the fields.
        act: done with the answers, in a thread, before the form closes; of what it raises likewise.
    """

    CSS_PATH = "form.tcss"
    BINDINGS = [
        Binding("escape", "leave", "Go back", id="form.leave"),
        Binding("ctrl+s", "save", "Save", id="form.save"),
    ]

    def __init__(
        self,
        title: str,
        fields: Sequence[Field],
        *,
        check: Callable[[Answers], object] | None = None,
        help: str = "",
        act: Callable[[Answers], object] | None = None,
    ) -> None:
        super().__init__()
        self._title = title
        self._fields = tuple(fields)
        self._check = check
        self._help = help
        self._act = act
        self._acting = False
        self._warned = False

    def compose(self) -> ComposeResult:
        """The fields between the title and the buttons."""
        with VerticalScroll(id="form", can_focus=False):
            yield Static(block(self._title, "bold"), id="form-title")
            for field in self._fields:
                yield from self._field(field)
            yield Static(id="form-fault")
            if self._help:
                yield Static(block(self._help, "$muted"), id="form-help")
            with Horizontal(id="form-buttons"):
                yield Button("Save", id="form-save", variant="primary", compact=True)
                yield Button("Go back", id="form-leave", compact=True)

    def _field(self, field: Field) -> ComposeResult:
        if isinstance(field.value, bool):
            yield Switch(field.label, on=field.value, id=f"form-{field.name}")
            return
        yield Static(content(field.label, "$muted"))
        if field.lines > 1:
            area = Lines(field.value, id=f"form-{field.name}", tab_behavior="focus", compact=True)
            area.styles.height = field.lines
            yield area
            return
        yield Line(
            one_line(field.value),
            placeholder=field.hint,
            id=f"form-{field.name}",
            suggester=_LastWord(field.suggestions) if field.suggestions else None,
            select_on_focus=False,  # a letter typed adds to what is there, and replaces nothing
            compact=True,
        )

    def on_mount(self) -> None:
        """Typing begins at the end of the first field."""
        self.query_one("#form-fault").display = False
        first = self.query_one(f"#form-{self._fields[0].name}")
        first.focus()
        if isinstance(first, TextArea):
            first.move_cursor(first.document.end)

    @property
    def answers(self) -> dict[str, str | bool]:
        """What the fields hold now."""
        found: dict[str, str | bool] = {}
        for field in self._fields:
            widget = self.query_one(f"#form-{field.name}")
            if isinstance(widget, TextArea):
                found[field.name] = widget.text
            elif isinstance(widget, Input):
                found[field.name] = widget.value
            elif isinstance(widget, Switch):
                found[field.name] = widget.on
        return found

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter on a line saves."""
        event.stop()
        self.action_save()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """One of the two buttons."""
        event.stop()
        if event.button.id == "form-save":
            self.action_save()
        else:
            self.dismiss(None)

    def on_key(self, event: events.Key) -> None:
        """The arrows go from line to line, as tab does; enter saves where it means nothing else."""
        if event.key == "enter" and isinstance(self.focused, Switch):
            event.stop()
            self.action_save()
        if event.key in ("up", "down") and isinstance(self.focused, Input | Switch | Button):
            event.stop()
            self.focus_previous() if event.key == "up" else self.focus_next()

    def action_save(self) -> None:
        """Gives the answers, where they can be taken."""
        if self._acting:
            return
        answers = self.answers
        try:
            if self._check is not None:
                self._check(answers)
        except KladMLError as error:
            self._tell(str(error))
            return
        if self._act is None:
            self.dismiss(answers)
        else:
            self._do(self._act, answers)

    @work(group="form", exit_on_error=False)
    async def _do(self, act: Callable[[Answers], object], answers: dict[str, str | bool]) -> None:
        # The form stays meanwhile, and where it is refused: a key typed then would do something on the screen below.
        self._acting = True
        try:
            await asyncio.to_thread(act, answers)
        except KladMLError as error:
            self._tell(str(error))
        else:
            self.dismiss(answers)
        finally:
            self._acting = False

    @on(Worker.StateChanged)
    def _worker_changed(self, event: Worker.StateChanged) -> None:
        faults.tell(self.app, event)

    def action_leave(self) -> None:
        """Goes back; what was written in several lines is thrown away only by a second esc."""
        if self._acting:
            return
        written = any(field.lines > 1 and self.answers[field.name] != field.value for field in self._fields)
        if written and not self._warned:
            self._warned = True
            self._tell("This is not saved: tab goes to Save, esc again throws it away.")
            return
        self.dismiss(None)

    def _tell(self, text: str) -> None:
        fault = self.query_one("#form-fault", Static)
        fault.update(block(text, "$error"))
        fault.display = True
        fault.scroll_visible(animate=False)


class Switch(Static, can_focus=True):
    """A yes and no that is told apart without colours: `[x] Star`; space changes it."""

    BINDINGS = [Binding("space", "change", "Change", id="form.change")]

    def __init__(self, label: str, *, on: bool, id: str | None = None) -> None:
        super().__init__(id=id)
        self._label = label
        self.on = on

    def on_mount(self) -> None:
        """Draws it."""
        self._draw()

    def on_click(self) -> None:
        """As space."""
        self.action_change()

    def action_change(self) -> None:
        """Yes becomes no."""
        self.on = not self.on
        self._draw()

    def _draw(self) -> None:
        self.update(content(f"[{'x' if self.on else ' '}] {self._label}"))


class _LastWord(Suggester):
    """Completes the last of the words that commas part."""

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._words = tuple(one_line(word) for word in words)

    async def get_suggestion(self, value: str) -> str | None:
        """The whole line with its last word completed."""
        before, comma, last = value.rpartition(",")
        begun = last.lstrip()
        if not begun:
            return None
        lead = before + comma + last[: len(last) - len(begun)]
        return next((lead + word for word in self._words if word.startswith(begun) and word != begun), None)
