"""Where the person was: selection, tab, filter and pane sizes, kept for each workspace outside of it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kladml_core.user_folders import user_folder


@dataclass(frozen=True)
class ViewState:
    """What is restored when the app is opened again."""

    node: str = ""
    """Key of the tree's row."""
    run: str = ""
    """Reference of the run."""
    tab: str = "curves"
    filter: str = ""
    sort: str = ""
    """By what the runs are sorted; empty is the newest first."""
    reverse: bool = False
    columns: tuple[str, ...] = ()
    """Names of the columns of the list of runs; none are the usual ones."""
    open: tuple[str, ...] = ()
    """Keys of the tree's open branches."""
    pane: str = "tree"
    tree_width: int = 0
    """0 is the width that suits the screen."""
    runs_height: int = 0


def state_file(workspace: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """The file of one workspace, below $XDG_STATE_HOME."""
    import hashlib

    digest = hashlib.sha256(os.fsencode(workspace)).hexdigest()[:16]
    return user_folder("STATE", environ) / digest / "view.json"


def load(file: Path) -> ViewState:
    """The state that was saved; what is missing or damaged has its default."""
    from kladml_core.runs.files import read_object

    data = read_object(file) or {}
    found: dict[str, Any] = {}
    for entry in dataclasses.fields(ViewState):
        value = data.get(entry.name)
        if entry.name in ("open", "columns"):
            if isinstance(value, list) and all(isinstance(item, str) for item in value):
                found[entry.name] = tuple(value)
        elif type(value) is type(entry.default):
            found[entry.name] = value
    return ViewState(**found)


def save(file: Path, state: ViewState) -> None:
    """Writes the state.

    Raises:
        OSError: it cannot be written; nothing is lost but the memory of where the person was.
    """
    from kladml_core.runs.files import write_json

    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, dataclasses.asdict(state), durable=False)
