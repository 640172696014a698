"""How groups of commands list what they hold: with the whole first sentence, on as many lines as it takes."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

_LONGEST = 1000


class CommandGroup(TyperGroup):
    """A group whose `--help` cuts no summary off in the middle."""

    # The context and the formatter are click's or typer's own copies of these, by typer's version.
    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes each command with its summary."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [
            (name, command.get_short_help_str(_LONGEST)) for name, command in found if command and not command.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
