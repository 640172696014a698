"""What the schema says of the key at the cursor: type, default, meaning; on request every key that may stand here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from textual.content import Content
from textual.widgets import Static

from kladml_tui.text import one_line
from kladml_tui.widgets.yaml_context import Spot, siblings, spot, word_before

if TYPE_CHECKING:
    from kladml_core.config.keys import KeyHelp


class KeyLine(Static):
    """One or two lines of help under the text."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.keys_of: Callable[[Sequence[str | int]], list[KeyHelp]] | None = None
        """The schema's keys of a section; None until the schema is loaded."""
        self._expanded = False
        self._spot = Spot((), "", False)
        self._written: set[str] = set()

    def show(self, lines: Sequence[str], row: int, column: int) -> None:
        """Says what there is to know of the place (row and column from 0)."""
        self._spot = spot(lines, row, column)
        self._written = siblings(lines, row, self._spot.section)
        self.update(self._content())

    def toggle(self) -> None:
        """Lists every key of the section, or stops doing so."""
        self._expanded = not self._expanded
        self.set_class(self._expanded, "-expanded")
        self.update(self._content())

    def completion(self, lines: Sequence[str], row: int, column: int) -> str:
        """The rest of the key or of the value that is being typed, or an empty string."""
        line = lines[row] if row < len(lines) else ""
        word = word_before(line, column)
        if not word or line[column : column + 1].strip() not in ("", "}", ","):
            return ""
        here = spot(lines, row, column)
        if here.at_key:
            taken = siblings(lines, row, here.section)
            for key in self._keys(here.section):
                if key.name.startswith(word) and key.name != word and key.name not in taken:
                    return key.name[len(word) :] + (":" if key.section else ": ")
            return ""
        known = self._help_of(here)
        choices = known.choices if known else ()
        return next((choice[len(word) :] for choice in choices if choice.startswith(word) and choice != word), "")

    def _keys(self, section: Sequence[str]) -> list[KeyHelp]:
        return self.keys_of(section) if self.keys_of is not None else []

    def _help_of(self, place: Spot) -> KeyHelp | None:
        return next((key for key in self._keys(place.section) if key.name == place.key), None)

    def _content(self) -> Content:
        known = self._help_of(self._spot)
        section = ".".join(self._spot.section)
        if self._expanded or known is None:
            return self._section_content(section)
        facts = [known.type]
        if known.choices and "|" not in known.type and known.type != "true or false":
            facts.append(" | ".join(known.choices))
        if known.default:
            facts.append(known.default if known.default == "required" else f"default {known.default}")
        return Content.assemble(
            (f"{section}." if section else "", "$muted"),
            (one_line(known.name), "$editor-key bold"),
            "  ",
            (one_line(" · ".join(facts)), "$muted"),
            "\n",
            one_line(known.help),
        )

    def _section_content(self, section: str) -> Content:
        keys = self._keys(self._spot.section)
        if not keys:
            place = f"{section}: these keys are the target's own" if section else ""
            return Content.assemble((one_line(place), "$muted"), "\n")
        parts: list[Content | str | tuple[str, str]] = [(f"{one_line(section) or 'top level'}  ", "$muted")]
        for key in keys:
            if key.name in self._written and not self._expanded:
                continue
            style = "$muted" if key.name in self._written else "$editor-key"
            parts += [(one_line(key.name), style), "  "]
        return Content.assemble(*parts)
