"""Checks the text of a config for the editor, and knows what may be said of each key. Called in threads only.

The schema is imported inside the functions: it is not needed before the first frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kladml_core.config.load import parse
from kladml_core.errors import KladMLError
from kladml_tui.widgets.problem_list import Finding

if TYPE_CHECKING:
    from kladml_core.config.keys import KeyHelp

    KeysOf = Callable[[Sequence[str | int]], list[KeyHelp]]


@dataclass(frozen=True)
class Check:
    """What came of checking one state of the text."""

    text: str
    findings: tuple[Finding, ...]
    keys_of: KeysOf
    """The schema's keys of a section."""


def check(text: str, file: Path, workspace: Path) -> Check:
    """Every problem of the text as a config of this workspace.

    Args:
        text: the YAML.
        file: where it is or will be saved; its name is the experiment's where the text names none.
        workspace: where targets, datasets and paths are looked up.
    """
    from kladml_core.config.schema import problems, schema_keys
    from kladml_core.settings import load_settings

    settings = None
    findings: list[Finding] = []
    try:
        settings = load_settings(workspace)
    except KladMLError as error:
        findings.append(Finding(error.message, None, None, error.hint, where=_place(error)))
    try:
        found = problems(parse(text, str(file)), workspace=workspace, settings=settings)
    except KladMLError as error:
        findings.append(Finding(error.message, error.line, error.column, error.hint))
    else:
        findings += [Finding(problem.message, problem.line, problem.column, problem.hint) for problem in found]
    return Check(text, tuple(findings), schema_keys)


def workspace_of(file: Path) -> Path:
    """The workspace that a config belongs to: the nearest folder above with a kladml.yaml, or else its own folder."""
    from kladml_core.settings import find_workspace

    return find_workspace(file.parent) or file.parent


def _place(error: KladMLError) -> str:
    name = Path(error.file).name if error.file else ""
    return f"{name}:{error.line}" if error.line else name
