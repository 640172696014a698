"""Asks for a file, and writes the runs that are shown into it as CSV or JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kladml_core.errors import KladMLError
from kladml_core.workspace.columns import EXPORTED
from kladml_core.workspace.export import check_export, export
from kladml_tui.screens.form import Field, Form
from kladml_tui.text import notice

if TYPE_CHECKING:
    from kladml_core.workspace.rows import RunRow
    from kladml_tui.screens.form import Answers
    from kladml_tui.screens.pane_keys import PaneKeys


async def export_shown(
    screen: PaneKeys, root: Path, count: int, rows: Callable[[], list[RunRow]], columns: Sequence[str]
) -> None:
    """Has the runs written, once a person has named a file.

    Args:
        screen: on which it is asked.
        root: of the workspace, from which a relative path is taken.
        count: of the runs.
        rows: reads them; called in a thread.
        columns: those that are shown; the usual ones of an export where there are none.
    """

    def file(answers: Answers) -> Path:
        return root / Path(str(answers["file"]).strip()).expanduser()

    answers = await screen.app.push_screen_wait(
        Form(
            f"Write {count:,} run{'s' * (count != 1)} into a file",
            [Field("file", "File, ending in .csv or .json", "runs.csv")],
            check=lambda answers: check_export(file(answers)),
        )
    )
    if answers is None:
        return
    path = file(answers)

    def write() -> int:
        found = rows()
        export(path, found, ("name", *columns) if columns else EXPORTED)
        return len(found)

    try:
        if (
            await asyncio.to_thread(path.exists)
            and await screen.ask(f"{path} is there already", [("o", "write over it")]) != "o"
        ):
            return
        written = await asyncio.to_thread(write)
    except KladMLError as error:
        notice(screen.app, error, "error", title="Not written")
        return
    notice(screen.app, f"{path}: {written:,} run{'s' * (written != 1)}", title="Written")
