"""The one way untrusted text (names, logs, errors, YAML) reaches the screen: never markup, never a live escape.

Textual parses a plain `str` as markup in many of its widgets; what comes out of here is a `Content` (for Static and
anything that takes a visual), a rich `Text` (for Tree and DataTable) or a `str` for a place that parses nothing.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any, Literal

from rich.cells import cell_len
from rich.text import Text
from textual.content import Content

from kladml_core.runs.plain import inert

if TYPE_CHECKING:
    from textual.app import App

ELLIPSIS = "…"
_ZERO_WIDTH_JOINER = "\u200d"
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_FLAG_LETTERS = range(0x1F1E6, 0x1F200)

Severity = Literal["information", "warning", "error"]


def one_line(text: object) -> str:
    """The text on one line, every control character written out; for places that parse no markup."""
    string = text if isinstance(text, str) else str(text)
    if string.isascii() and string.isprintable():
        return string
    return inert(string)


def lines(text: object) -> str:
    """As `one_line`, but line feeds stay line feeds: for logs, errors and other blocks."""
    return inert(text if isinstance(text, str) else str(text), newlines=True)


def decode(data: bytes) -> str:
    """Bytes of a log as text that `lines` may be given: what is not UTF-8 becomes U+FFFD."""
    return data.decode("utf-8", "replace")


def content(text: object, style: str = "") -> Content:
    """One line of untrusted text as a `Content`; `style` is ours (`$error`, `bold`), never the text's."""
    return Content.styled(one_line(text), style)


def block(text: object, style: str = "") -> Content:
    """A block of untrusted text as a `Content`, its line breaks kept."""
    return Content.styled(lines(text), style)


def rich_text(text: object, style: str = "", *, cells: int | None = None) -> Text:
    """One line of untrusted text as a rich `Text`, for Tree and DataTable.

    Args:
        text: the text.
        style: a rich style of ours.
        cells: cut it to this many terminal cells.
    """
    string = one_line(text) if cells is None else shorten(text, cells)
    return Text(string, style=style, no_wrap=True, end="")


def width(text: object) -> int:
    """How many terminal cells the text takes on one line."""
    return cell_len(one_line(text))


def shorten(text: object, cells: int, *, keep: Literal["start", "end"] = "start") -> str:
    """The text on one line in at most `cells` terminal cells, `…` in place of what had to go.

    Wide characters count two cells; a character is never parted from its combining marks, nor an emoji from the rest
    of its sequence.

    Args:
        text: the text.
        cells: the room there is; 0 or less gives an empty string.
        keep: which end stays: the start of a name, the end of a path.
    """
    string = one_line(text)
    if cells <= 0:
        return ""
    if cell_len(string) <= cells:
        return string
    if cells == 1:
        return ELLIPSIS
    clusters = _clusters(string)
    if keep == "end":
        clusters.reverse()
    kept: list[str] = []
    room = cells - 1
    for cluster in clusters:
        room -= cell_len(cluster)
        if room < 0:
            break
        kept.append(cluster)
    if keep == "end":
        kept.reverse()
        return ELLIPSIS + "".join(kept)
    return "".join(kept) + ELLIPSIS


def pad(text: object, cells: int) -> str:
    """The text cut or filled with blanks to exactly `cells` terminal cells."""
    string = shorten(text, cells)
    return string + " " * (cells - cell_len(string))


def same_columns(text: str) -> str:
    """The text with each unsafe character replaced by one visible one, so that columns stay what they were.

    For an editor, where the cursor counts characters: ESC becomes `␛`, a direction control `�`. Tabs stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character if character == "\t" or inert(character) == character else _stand_in(character) for character in text
    )


def notice(
    app: App[Any],
    message: object,
    severity: Severity = "information",
    *,
    title: object = "",
    timeout: float | None = None,
) -> None:
    """Shows a notice in the corner, its text inert. Safe from any thread.

    Args:
        app: the app.
        message: what to say; line breaks are kept.
        severity: its colour.
        title: a short heading.
        timeout: seconds it stays; Textual's default when None.
    """
    app.notify(lines(message), title=one_line(title), severity=severity, timeout=timeout, markup=False)


def _stand_in(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else "\ufffd"


def _clusters(string: str) -> list[str]:
    """The string cut where a terminal may cut it: what joins on to the character before stays with it."""
    clusters: list[str] = []
    for character in string:
        if clusters and _joins(clusters[-1], character):
            clusters[-1] += character
        else:
            clusters.append(character)
    return clusters


def _joins(cluster: str, character: str) -> bool:
    code = ord(character)
    if code < 0x300:
        return False
    if character == _ZERO_WIDTH_JOINER or cluster[-1] == _ZERO_WIDTH_JOINER or code in _SKIN_TONES:
        return True
    if code in _FLAG_LETTERS:
        return len(cluster) == 1 and ord(cluster) in _FLAG_LETTERS
    return unicodedata.category(character) in ("Mn", "Me", "Mc")
