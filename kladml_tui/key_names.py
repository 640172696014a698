"""Keys as Textual names them, and as a person knows them."""

from __future__ import annotations

from kladml_tui.text import one_line

SYMBOLS = {
    "question_mark": "?",
    "slash": "/",
    "colon": ":",
    "comma": ",",
    "full_stop": ".",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "plus": "+",
    "minus": "-",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "left_curly_bracket": "{",
    "right_curly_bracket": "}",
    "exclamation_mark": "!",
    "number_sign": "#",
    "asterisk": "*",
    "semicolon": ";",
    "equals_sign": "=",
    "underscore": "_",
    "at": "@",
    "ampersand": "&",
    "percent_sign": "%",
    "dollar_sign": "$",
}
_SHORT = {
    "escape": "esc",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "pagedown": "pgdn",
    "pageup": "pgup",
    "shift+tab": "⇧tab",
}


def key_name(key: str) -> str:
    """A key as a person knows it: `?`, `^p`, `tab`."""
    known = SYMBOLS.get(key) or _SHORT.get(key)
    if known is not None:
        return known
    return f"^{key.removeprefix('ctrl+')}" if key.startswith("ctrl+") else one_line(key)
