"""What an empty place says: what to do next."""

from __future__ import annotations

from textual.content import Content

from kladml_core.settings import Settings
from kladml_tui.text import one_line
from kladml_tui.widgets.text_lines import TextLines


class Welcome(TextLines):
    """A few lines of advice."""

    def show(self, title: str, settings: Settings, configs: int) -> None:
        """Shows the next steps.

        Args:
            title: what is missing.
            settings: the workspace's.
            configs: how many configs there are to train.
        """
        lines = [Content(""), Content.styled(one_line(title), "bold $primary"), Content("")]
        if configs:
            lines += [
                _step("1", "Go to a config in the tree", "j and k, or the arrows; tab goes from pane to pane"),
                _step("2", "Press t to train it", "it is checked first; e opens it in the editor"),
                _step("3", "Watch its curves here", "q leaves the app, and the run goes on"),
            ]
        else:
            folders = ", ".join(one_line(path) for path in settings.workspace.configs)
            lines += [
                _step("1", "Leave with q, and make an example:", ""),
                Content.assemble("      ", (f"kladml-tui init {one_line(settings.root)} --example digits", "$accent")),
                _step("2", "Or write a config of your own", f"a YAML file in {folders}; it appears in the tree"),
            ]
        lines += [Content(""), Content.styled("?  what the keys do      :  every command by its name", "$muted")]
        self.show_lines(lines)


def _step(number: str, what: str, more: str) -> Content:
    parts: list[str | tuple[str, str]] = [(f"  {number}  ", "$accent bold"), what]
    if more:
        parts.append((f"   {more}", "$muted"))
    return Content.assemble(*parts)
