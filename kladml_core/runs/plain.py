"""Makes untrusted text inert for a terminal: no escape sequence, control or direction character survives."""

from __future__ import annotations

import re

# C0 and C1 controls (tab and newline are decided by the caller), the direction controls that can reorder a line,
# line and paragraph separators, and lone surrogates, which no UTF-8 terminal can be sent.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_TABS_AND_NEWLINES = re.compile("[\t\n]")
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_TAB = "    "


def inert(text: str, *, newlines: bool = False) -> str:
    r"""The text with every character that a terminal would act on written out, e.g. ESC as `\x1b`.

    Colour sequences (`ESC [ … m`) are dropped, since they carry no content; everything else stays visible,
    so that a hostile name can still be told from an honest one.

    Args:
        text: any string, from a name, a log, an error or a file.
        newlines: keep line feeds (for blocks of text); otherwise they are written out as `\n`.
    """
    text = _COLOUR.sub("", text).replace("\r\n", "\n")
    text = _UNSAFE.sub(_written_out, text)
    if newlines:
        return text.replace("\t", _TAB)
    return _TABS_AND_NEWLINES.sub(lambda match: _TAB if match[0] == "\t" else "\\n", text)


def _written_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
