"""A question with a few answers, each under a key of its own."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from kladml_tui.text import block, one_line


class Ask(ModalScreen[str]):
    """Asks, and is dismissed with the key of the answer; with an empty string on esc.

    Args:
        question: what is asked; untrusted text is inert.
        answers: key and words of each, the safest first.
    """

    CSS_PATH = "ask.tcss"

    def __init__(self, question: str, answers: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._question = question
        self._answers = dict(answers)

    def compose(self) -> ComposeResult:
        """The question over its answers."""
        with Vertical(id="ask"):
            yield Static(block(self._question), id="question")
            yield OptionList(
                *(
                    Option(Content.assemble((f"{key:>4}", "bold"), "  ", one_line(words)), id=key)
                    for key, words in self._answers.items()
                ),
                Option(Content.assemble((" esc", "bold"), "  go back"), id="escape"),
                compact=True,
                markup=False,
            )

    def on_key(self, event: events.Key) -> None:
        """An answer's key, or esc."""
        if event.key == "escape":
            event.stop()
            self.dismiss("")
        elif event.character in self._answers:
            event.stop()
            self.dismiss(event.character)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter or a click on an answer."""
        chosen = event.option_id or ""
        self.dismiss("" if chosen == "escape" else chosen)
