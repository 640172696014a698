"""What the keys do here: those of the focused pane first, then everything else, as commands.py declares it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.screen import ModalScreen

from kladml_tui.commands import BY_ID, COMMANDS, SCOPES, Scope
from kladml_tui.key_names import key_name
from kladml_tui.keymap import check
from kladml_tui.text import one_line
from kladml_tui.widgets.text_lines import TextLines

_KEYS = 14


class Help(ModalScreen[None]):
    """The help.

    Args:
        title: what is focused.
        here: bindings of the focused pane that are no commands of ours, e.g. the chart's.
        keys: command id → its keys now.
        first: the scopes that matter most here.
    """

    CSS_PATH = "help.tcss"
    BINDINGS = [Binding("escape,q,question_mark", "dismiss", "Close")]

    def __init__(
        self, title: str, here: Sequence[Binding], keys: Mapping[str, str], first: Sequence[Scope] = ()
    ) -> None:
        super().__init__()
        self._order = [*first, *(scope for scope in SCOPES if scope not in first)]
        self._heading = title
        self._here = here
        self._keys = keys

    def compose(self) -> ComposeResult:
        """One text."""
        yield TextLines(id="help")

    def on_mount(self) -> None:
        """Writes it."""
        view = self.query_one(TextLines)
        view.border_title = Content(f" {one_line(self._heading)} ")
        view.border_subtitle = Content(" esc closes ")
        view.show_lines(tuple(self._text()), indent=_KEYS + 2)
        view.focus()

    def _text(self) -> Iterator[Content]:
        if self._here:
            yield Content.styled(f"Here: {one_line(self._heading)}", "$primary bold")
            for binding in self._here:
                yield _line(binding.key, binding.tooltip or binding.description)
            yield Content("")
        for scope in self._order:
            yield Content.styled(SCOPES[scope], "$primary bold")
            for command in COMMANDS:
                if command.scope == scope:
                    yield _line(self._keys.get(command.id, command.keys), command.help)
            yield Content("")
        yield Content.styled("In the editor esc leaves typing; then w saves, t launches, q closes.", "$muted")


def keys_now(keymap: Mapping[str, str]) -> dict[str, str]:
    """Command id → its keys, a person's own in place of the default where they can be used."""
    own = check(keymap).keys
    return {name: own.get(name, command.keys) for name, command in BY_ID.items()}


def _line(keys: str, text: str) -> Content:
    names = " ".join(key_name(key) for key in keys.split(",") if key)
    return Content.assemble((f"  {one_line(names):<{_KEYS}}", "$accent bold"), one_line(text))
