"""Sees to it that each widget of a screen is told when it has another size."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from textual.events import Resize
from textual.geometry import Size
from textual.screen import Screen
from textual.widget import Widget


def tell_sizes(screen: Screen[Any]) -> None:
    """From now on, each widget of the screen gets a Resize event whenever a layout has given it another size.

    Textual takes sizes for told when something asks where a widget is between the change of a layout and the layout
    itself, while a widget that is not in sight waits to be drawn: hiding the tree then left text folded to the width
    beside it. Where Textual tells too, the two events become one.
    """
    told: WeakKeyDictionary[Widget, Size] = WeakKeyDictionary()

    def tell(laid_out: Screen[Any]) -> None:
        for widget in laid_out.walk_children(Widget):
            size = widget.size
            if size and told.get(widget) != size:
                told[widget] = size
                widget.post_message(Resize(size, widget.virtual_size, widget.container_size))

    # At once: so the event waits beside that of Textual, and replaces it.
    screen.screen_layout_refresh_signal.subscribe(screen, tell, immediate=True)
