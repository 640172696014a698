"""The text area of the config editor: YAML colours, marked faulty lines, indentation, completed keys; inert text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding
from textual.color import Color
from textual.strip import Strip
from textual.widgets import TextArea
from textual.widgets.text_area import TextAreaTheme

from kladml_tui import themes
from kladml_tui.edited_file import unhidden
from kladml_tui.text import same_columns
from kladml_tui.widgets.in_order import InOrder

HIGHLIGHT_LINES = 1500
"""Above this many lines each key typed would cost more than it should; the text is then shown in one colour."""
HIGHLIGHT_COLUMNS = 4000
"""The same for the length of a line."""
INDENT = 2


@dataclass(frozen=True)
class Marks:
    """What is wrong, by line from 0: the columns from 0 at which the faults of that line begin."""

    columns: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def at(cls, places: Iterable[tuple[int | None, int | None]]) -> Marks:
        """Of lines and columns that count from 1, as problems give them."""
        columns: dict[int, tuple[int, ...]] = {}
        for line, column in places:
            if line is not None:
                columns[line - 1] = (*columns.get(line - 1, ()), (column or 1) - 1)
        return cls(columns)


def has_yaml_grammar() -> bool:
    """Whether YAML can be highlighted here."""
    return find_spec("tree_sitter") is not None and find_spec("tree_sitter_yaml") is not None


class YamlArea(InOrder, TextArea):
    """A text area for YAML. `read_only` is the editor's command mode: keys are then commands of the screen's."""

    BINDINGS = [
        Binding("shift+tab", "dedent", "Less indentation", show=False),
        Binding("ctrl+y,ctrl+shift+z", "redo", "Redo", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        # Asked from within the text area's own constructor.
        self._complete: Callable[[], str] = str
        super().__init__(
            soft_wrap=False, tab_behavior="indent", show_line_numbers=True, max_checkpoints=500, compact=True, id=id
        )
        self.indent_width = INDENT
        self.marks = Marks()
        self._mark_style = Style()
        self._mark_line_style = Style()

    def on_mount(self) -> None:
        """Puts on the app's theme, now and whenever it changes."""
        self.watch(self.app, "theme", self._put_on_theme)

    def show_text(self, text: str) -> None:
        """Shows another text; undo does not reach behind it."""
        quick = text.count("\n") < HIGHLIGHT_LINES and max(map(len, text.splitlines()), default=0) < HIGHLIGHT_COLUMNS
        wanted = "yaml" if has_yaml_grammar() and quick else None
        if self.language != wanted:
            self.language = wanted
        self.load_text(text)

    def mark(self, marks: Marks) -> None:
        """Marks the faulty lines; those of before are forgotten."""
        if marks != self.marks:
            self.marks = marks
            self.refresh()

    def complete_with(self, suggest: Callable[[], str]) -> None:
        """`suggest` gives the rest of the key at the cursor, or an empty string; it is asked after every edit."""
        self._complete = suggest

    def update_suggestion(self) -> None:
        """Offers the rest of the key that is being typed, pale, behind the cursor."""
        self.suggestion = "" if self.read_only else self._complete()

    def get_line(self, line_index: int) -> Text:
        """The line with nothing in it that a terminal would act on, its columns as in the document."""
        return Text(same_columns(unhidden(self.document.get_line(line_index))), end="", no_wrap=True)

    def render_line(self, y: int) -> Strip:
        """The line as drawn, with its faults marked; drawn lines are kept, marks are laid over them."""
        strip = super().render_line(y)
        columns = self.marks.columns.get(y + self.scroll_offset.y)
        if columns is None:
            return strip
        gutter = self.gutter_width
        wide = strip.cell_length
        number = "".join(segment.text for segment in strip.crop(0, gutter))
        left = gutter - self.scroll_offset.x
        begin = min(wide, max(gutter, left + min(columns)))
        end = min(wide, max(begin + 1, left + len(self.document.get_line(y + self.scroll_offset.y).rstrip())))
        return Strip(
            [
                Segment(f"{number[:-2]}▌ ", self._mark_style),
                *self._over(strip.crop(gutter, begin), self._mark_line_style),
                *self._over(strip.crop(begin, end), self._mark_line_style + Style(underline=True)),
                *self._over(strip.crop(end), self._mark_line_style),
            ],
            wide,
        )

    def _over(self, strip: Strip, style: Style) -> list[Segment]:
        """The strip's segments with `style` laid over theirs; the cursor and the selection stay as they are."""
        theme = self._theme
        kept = [drawn.bgcolor for drawn in (theme.cursor_style, theme.selection_style) if drawn is not None]
        return [
            segment
            if segment.style is not None and segment.style.bgcolor in kept
            else Segment(segment.text, (segment.style or Style()) + style)
            for segment in strip
        ]

    async def _on_key(self, event: events.Key) -> None:
        """Tab completes a key or indents; enter keeps the indentation, one step deeper after a key without a value."""
        # The text area's own handler follows this one unless the default is prevented.
        if self.read_only:
            await self._obey(event)
        elif event.key == "tab":
            if self.suggestion:
                event.stop()
                event.prevent_default()
                self.insert(self.suggestion)
        elif event.key == "enter":
            event.stop()
            event.prevent_default()
            self._new_line()
        elif not event.is_printable and event.key not in self._bindings.key_to_bindings:
            await self._obey(event)

    async def _obey(self, event: events.Key) -> None:
        """Does what the screen has for a key at once: on its way there, letters typed after it would overtake it."""
        if event.key == "escape":
            event.prevent_default()  # the text area would move the focus
        active = self.screen.active_bindings.get(event.key)
        if active is not None and await self.app.run_action(active.binding.action, active.node):
            event.stop()
            event.prevent_default()

    def action_dedent(self) -> None:
        """Takes one step of indentation from the line."""
        if self.read_only:
            return
        row, column = self.cursor_location
        line = self.document.get_line(row)
        blanks = min(INDENT, len(line) - len(line.lstrip(" ")))
        if blanks:
            self.delete((row, 0), (row, blanks), maintain_selection_offset=False)
            self.move_cursor((row, max(0, column - blanks)))

    def _new_line(self) -> None:
        start, end = self.selection
        row, column = min(start, end)
        before = self.document.get_line(row)[:column]
        indent = before[: len(before) - len(before.lstrip(" "))]
        if before.rstrip().endswith(":") and not before.lstrip().startswith("#"):
            indent += " " * INDENT
        self._replace_via_keyboard("\n" + indent, start, end)

    def _put_on_theme(self) -> None:
        theme = themes.current(self.app)
        app, editor = theme.app, theme.editor
        # Each theme is registered under a name of its own: Textual keeps drawn lines by the theme's name.
        colours = text_area_theme(theme, f"{theme.name}-{hash((*app.values(), *editor.values()))}")
        self._mark_style = _style(editor["error"], editor["error_line"], bold=True)
        self._mark_line_style = Style(bgcolor=Color.parse(editor["error_line"]).rich_color)
        self.register_theme(colours)
        self.theme = colours.name
        self.refresh()


def text_area_theme(theme: themes.KladTheme, name: str) -> TextAreaTheme:
    """The editor's colours as Textual's text area takes them."""
    app, editor = theme.app, theme.editor
    ground = app["background"]
    here = editor["cursor_line"]
    return TextAreaTheme(
        name=name,
        base_style=_style(app["foreground"], ground),
        gutter_style=_style(editor["gutter"], ground),
        cursor_style=_style(theme.variables()["block-cursor-foreground"], app["cursor"]),
        cursor_line_style=Style(bgcolor=Color.parse(here).rich_color),
        cursor_line_gutter_style=_style(app["foreground"], here),
        bracket_matching_style=Style(bgcolor=Color.parse(app["selection"]).rich_color, bold=True),
        selection_style=Style(bgcolor=Color.parse(app["selection"]).rich_color),
        syntax_styles={
            "yaml.field": _style(editor["key"]),
            "string": _style(editor["string"]),
            "string.escape": _style(editor["anchor"]),
            "number": _style(editor["number"]),
            "boolean": _style(editor["boolean"]),
            "constant.builtin": _style(editor["null"]),
            "comment": _style(editor["comment"], italic=True),
            "type": _style(editor["anchor"]),
            "preproc": _style(editor["anchor"]),
            "punctuation.delimiter": _style(editor["punctuation"]),
            "punctuation.bracket": _style(editor["punctuation"]),
            "punctuation.special": _style(editor["anchor"]),
        },
    )


def _style(colour: str, ground: str | None = None, *, bold: bool | None = None, italic: bool | None = None) -> Style:
    return Style(
        color=Color.parse(colour).rich_color,
        bgcolor=None if ground is None else Color.parse(ground).rich_color,
        bold=bold,
        italic=italic,
    )
