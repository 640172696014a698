"""A person's own keys: ui.keymap of kladml.yaml checked and applied. Textual itself checks nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from kladml_tui.commands import BY_ID, COMMANDS, Command
from kladml_tui.key_names import SYMBOLS

if TYPE_CHECKING:
    from textual.app import App

_SYMBOLS = {shown: name for name, shown in SYMBOLS.items()} | {"esc": "escape", "return": "enter"}
_NAMED = frozenset(
    [
        "escape",
        "enter",
        "tab",
        "space",
        "backspace",
        "delete",
        "insert",
        "home",
        "end",
        "pageup",
        "pagedown",
        "up",
        "down",
        "left",
        "right",
    ]
    + [f"f{number}" for number in range(1, 25)]
)


@dataclass(frozen=True)
class Keymap:
    """What of a person's keys can be used, and what cannot."""

    keys: Mapping[str, str]
    """Command id → keys as Textual names them."""
    problems: tuple[str, ...] = ()


def check(wanted: Mapping[str, str], others: Mapping[str, str] | None = None) -> Keymap:
    """Takes what can be used of the keys that a person wants.

    Args:
        wanted: command id → keys, parted by commas; an empty text takes the command's keys away.
        others: id → default keys of the bindings that are no commands of ours (the editor's, the chart's).
    """
    foreign = dict(others or {})
    problems: list[str] = []
    taken: dict[str, str] = {}
    for name, text in wanted.items():
        if name not in BY_ID and name not in foreign:
            close = get_close_matches(name, [*BY_ID, *foreign], n=1, cutoff=0.4)
            problems.append(f"{name!r} is no command." + (f" Did you mean {close[0]}?" if close else ""))
            continue
        keys, wrong = _keys(text)
        if wrong:
            problems.append(f"{name}: {wrong!r} is no key.")
            continue
        taken[name] = ",".join(keys)
    for name in list(taken):
        rival = _clash(name, taken)
        if rival is not None:
            key, other = rival
            problems.append(f"{name}: {key} is the key of {other.id} already; give that one another key too.")
            del taken[name]
    return Keymap(taken, tuple(problems))


def apply(app: App[Any], wanted: Mapping[str, str], others: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Applies a person's keys and returns what is wrong with them; what can be used is used."""
    keymap = check(wanted, others)
    if keymap.keys:
        app.set_keymap(dict(keymap.keys))
    return keymap.problems


def _keys(text: str) -> tuple[list[str], str]:
    """The keys as Textual names them, and the first one that is none."""
    if text.strip() == ",":
        return ["comma"], ""
    keys: list[str] = []
    for word in filter(None, (part.strip() for part in text.split(","))):
        *modifiers, last = word.split("+") if len(word) > 1 and word != "+" else [word]
        last = _SYMBOLS.get(last, last)
        known = (len(last) == 1 and last.isprintable()) or last in _NAMED or last in _SYMBOLS.values()
        if not known or any(modifier not in ("ctrl", "shift", "alt", "super") for modifier in modifiers):
            return [], word
        keys.append("+".join([*modifiers, last]))
    return keys, ""


def _clash(name: str, taken: Mapping[str, str]) -> tuple[str, Command] | None:
    """The key that another command of the workbench has too; all of them hold on one screen."""
    if name not in BY_ID:
        return None
    mine = set(taken[name].split(",")) - {""}
    for other in COMMANDS:
        if other.id == name:
            continue
        shared = mine & set(taken.get(other.id, other.keys).split(","))
        if shared:
            return sorted(shared)[0], other
    return None
