"""A config as it stands in its file, coloured; nothing can be typed here."""

from __future__ import annotations

import re
from pathlib import Path

from textual.content import Content

from kladml_tui.text import block, one_line
from kladml_tui.widgets.text_lines import LONGEST_LINE, TextLines

MOST_LINES = 2000
"""Lines of a file that are shown; the editor has them all."""

_LINE = re.compile(r"^(\s*(?:- )*)((?:[^\s#:'\"{}\[\],&*!|>][^#:{}\[\]]*|'[^']*'|\"[^\"]*\"))(:)(?=\s|$)")
_COMMENT = re.compile(r"(?<=\S)\s+#")
_TOKEN = re.compile(
    r"(?P<comment>(?:^|(?<=\s))#.*$)|(?P<string>\"(?:\\.|[^\"\\])*\"|'(?:''|[^'])*')"
    r"|(?P<number>(?<![\w.+-])[-+]?(?:\d[\d_]*\.?\d*(?:[eE][-+]?\d+)?|\.inf|\.nan)(?![\w./-]))"
    r"|(?P<boolean>(?<![\w/-])(?:true|false)(?![\w/-]))|(?P<null>(?<![\w/-])(?:null|~)(?![\w/-]))"
    r"|(?P<key>[A-Za-z_][\w./-]*(?=:\s))|(?P<punctuation>[{}\[\],])"
)


class ConfigView(TextLines):
    """The text of one YAML file. A comment that finds no room beside its key is cut; everything else is folded."""

    def fold(self, line: Content, width: int) -> list[Content]:
        """A long line on the screen."""
        comment = _COMMENT.search(line.plain)
        if comment is not None and line[: comment.start()].cell_length < width:
            return [line.truncate(width, ellipsis=True)]
        return super().fold(line, width)

    def show_text(self, text: str, *, path: Path | None = None, note: str = "") -> None:
        """Shows a file.

        Args:
            text: what is in it.
            path: the file, named above the text.
            note: said above the text.
        """
        lines: list[Content] = []
        if path is not None:
            lines.append(Content.styled(one_line(path), "$muted"))
        if note:
            lines.append(Content.styled(one_line(note), "$muted"))
        if lines:
            lines.append(Content(""))
        every = text.splitlines()
        lines += [coloured(line[: LONGEST_LINE + 1]) for line in every[:MOST_LINES]]
        if len(every) > MOST_LINES:
            lines.append(Content.styled(f"… and {len(every) - MOST_LINES:,} more lines", "$muted"))
        self.show_lines(lines)
        self.action_top()


def coloured(line: str) -> Content:
    """One line of YAML in the colours of the editor."""
    content = block(line.replace("\n", " "))
    plain = content.plain
    key = _LINE.match(plain)
    at = 0
    if key is not None and not plain.lstrip().startswith("#"):
        content = content.stylize("$editor-key", key.start(2), key.end(2)).stylize(
            "$editor-punctuation", key.start(3), key.end(3)
        )
        at = key.end(3)
    for token in _TOKEN.finditer(plain, at):
        content = content.stylize(f"$editor-{token.lastgroup}", token.start(), token.end())
    return content
