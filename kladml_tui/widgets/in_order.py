"""Fields whose keys take effect in the order in which they were typed, also when a slow line brings several at once.

In Textual a letter is inserted where the key arrives, while backspace or an arrow goes up to the app, which looks for
a binding: letters that come with them in one burst overtake them, and four backspaces then delete what was typed after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual import events
from textual.widgets import Input

if TYPE_CHECKING:
    from textual.widget import Widget as _Field
else:
    _Field = object


class InOrder(_Field):
    """For a field to inherit before Textual's own class: its bindings are run where its letters are inserted."""

    async def _on_key(self, event: events.Key) -> None:
        if event.is_printable or getattr(self, "read_only", False):
            return
        field: Any = self  # typing knows the mixin alone
        for binding in field._bindings.key_to_bindings.get(event.key, ()):
            # One that has nothing to do here, such as a copy without a selection, leaves the key to the screen.
            if await field.app.run_action(binding.action, field):
                event.stop()
                event.prevent_default()
                return


class Line(InOrder, Input):
    """A line to type on."""
