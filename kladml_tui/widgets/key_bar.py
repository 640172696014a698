"""The last line: the keys that do something here, as many as fit, and never half of one."""

from __future__ import annotations

from textual import events
from textual.binding import Binding
from textual.content import Content
from textual.widget import Widget

from kladml_tui.commands import BY_ID
from kladml_tui.key_names import key_name
from kladml_tui.text import one_line
from kladml_tui.text import width as cells_of

_ALWAYS = ("help", "palette", "quit", "compare.help", "compare.close")
"""Ids of the commands that stand at the end, and stay when others find no room."""


def shown_key(binding: Binding) -> str:
    """The key of a binding as the footer shows it."""
    return binding.key_display or key_name(binding.key.split(",", maxsplit=1)[0])


class KeyBar(Widget):
    """Follows the screen's active bindings; a click does what the key does."""

    DEFAULT_CSS = """
    KeyBar { height: 1; dock: bottom; background: $footer-background; }
    """
    ALLOW_SELECT = False

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._spots: list[tuple[int, int, str]] = []

    def on_mount(self) -> None:
        """Draws anew when the bindings change."""
        self.screen.bindings_updated_signal.subscribe(self, lambda _screen: self.refresh())

    def render(self) -> Content:
        """The keys, those of the focused pane first."""
        here: list[Binding] = []
        always: dict[str, Binding] = {}
        seen: set[str] = set()
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if not binding.show or not active.enabled or not binding.description or binding.action in seen:
                continue
            seen.add(binding.action)
            if binding.id in _ALWAYS:
                always[binding.id or ""] = binding
            else:
                here.append(binding)
        # Ours before those of the focused widget: a chart has more keys than a narrow screen has room.
        here.sort(key=lambda binding: binding.id not in BY_ID and not (binding.id or "").startswith("compare."))
        last = [always[name] for name in _ALWAYS if name in always]
        room = self.size.width - sum(_cells(binding) for binding in last)
        chosen = []
        for binding in here:
            if _cells(binding) > room:
                break
            room -= _cells(binding)
            chosen.append(binding)
        self._spots = []
        parts: list[tuple[str, str]] = []
        at = 0
        for binding in (*chosen, *last):
            parts += [
                (f" {shown_key(binding)}", "$footer-key-foreground bold"),
                (f" {one_line(binding.description)} ", "$footer-description-foreground"),
            ]
            self._spots.append((at, at + _cells(binding), binding.key))
            at += _cells(binding)
        return Content.assemble(*parts)

    def on_click(self, event: events.Click) -> None:
        """As if the key were pressed."""
        for begin, end, key in self._spots:
            if begin <= event.x < end:
                self.app.simulate_key(key)


def _cells(binding: Binding) -> int:
    return cells_of(shown_key(binding)) + cells_of(binding.description) + 3
