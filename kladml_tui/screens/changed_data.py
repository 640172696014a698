"""The question that comes before a launch whose data is no longer what it was when it was registered."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from kladml_core.errors import KladMLError
from kladml_tui.text import notice

if TYPE_CHECKING:
    from kladml_core.runs.rundir import RunDirectory
    from kladml_tui.screens.pane_keys import PaneKeys

_TOLD = 4


async def agreed(screen: PaneKeys, config: Path, workspace: Path, run: RunDirectory | None = None) -> bool:
    """Whether a launch is to go on: at once where no data has changed, else as the person answers.

    Args:
        screen: asks.
        config: what is to be launched.
        workspace: its root.
        run: the run that is to go on; None for a new one.
    """
    from kladml_core.workspace.data_files import changed_data  # not needed before the first frame
    from kladml_core.workspace.dataset_register import add_again

    seen = None if run is None else ((await asyncio.to_thread(run.read_run)) or {}).get("fingerprints")
    changed = await asyncio.to_thread(changed_data, config, workspace, seen)
    if not changed:
        return True
    shown = "\n".join(f"{state.name}: {state.how}" for state in changed[:_TOLD])
    more = f"\n… and {len(changed) - _TOLD} more" if len(changed) > _TOLD else ""
    since = "it was registered" if run is None else "this run was made"
    question = f"Data has changed on the disk since {since}\n\n{shown}{more}"
    if run is not None:
        return await screen.ask(question, [("r", "go on with the data as it is now")]) == "r"
    answers = [("v", "record it as a new version, then train"), ("t", "train on it as it is, and say so in the run")]
    answer = await screen.ask(question, answers)
    if answer != "v":
        return answer == "t"
    try:
        for state in changed:
            await asyncio.to_thread(add_again, workspace, state.name)
    except KladMLError as error:
        notice(screen.app, error, "error", title="Not recorded")
        return False
    return True
