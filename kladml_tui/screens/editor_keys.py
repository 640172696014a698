"""The keys of the config editor, and in which of its two modes each means something."""

from __future__ import annotations

from textual.binding import Binding, BindingType

WHILE_TYPING = frozenset({"leave_typing", "save_now", "keys"})
"""Actions of the typing mode; every other one belongs to the command mode, where letters are commands."""

_KEYS = [
    Binding("escape", "leave_typing", "Commands", id="editor.leave_typing"),
    Binding("ctrl+s", "save_now", "Save", id="editor.save_now"),
    Binding("ctrl+@,ctrl+space", "keys", "Keys here", key_display="^space", id="editor.keys"),
    Binding("w", "save", "Save", id="editor.save"),
    Binding("t", "launch", "Launch", id="editor.launch"),
    Binding("u", "undo", "Undo", id="editor.undo"),
    Binding("ctrl+r,U", "redo", "Redo", key_display="U", id="editor.redo"),
    Binding("n", "problem(1)", "Next problem", id="editor.next_problem"),
    Binding("N", "problem(-1)", "Previous problem", show=False, id="editor.previous_problem"),
    Binding("space", "command_keys", "Keys here", show=False, id="editor.command_keys"),
    Binding("i,enter", "type", "Type", id="editor.type"),
    Binding("q", "close", "Close", id="editor.close"),
    Binding("question_mark", "help_here", "Help", key_display="?", id="editor.help"),
    Binding("h", "move('left')", "Left", show=False, id="editor.left"),
    Binding("j", "move('down')", "Down", show=False, id="editor.down"),
    Binding("k", "move('up')", "Up", show=False, id="editor.up"),
    Binding("l", "move('right')", "Right", show=False, id="editor.right"),
    Binding("g", "edge('top')", "First line", show=False, id="editor.top"),
    Binding("G", "edge('bottom')", "Last line", show=False, id="editor.bottom"),
]

COMMANDS = frozenset(binding.action.partition("(")[0] for binding in _KEYS) - WHILE_TYPING
BINDINGS: list[BindingType] = [*_KEYS]
