"""The command that looks whether all is well: with the workspace, its runs and index, this machine and the terminal."""

from __future__ import annotations

import locale
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kladml_core.errors import ExitCode
from kladml_core.runs.plain import inert
from kladml_core.workspace.choose import choose_workspace
from kladml_tui.cli_runs import above
from kladml_tui.cli_shared import print_json

if TYPE_CHECKING:
    from kladml_core.workspace.doctor import Check, Finding

_MOST = 50
_LABEL = 16

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Workspace = Annotated[
    Path | None, typer.Option("--workspace", metavar="DIR", help="The workspace; else the one around here.")
]


def doctor(
    context: typer.Context,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Throw the index away and read every run anew.")] = False,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Looks whether all is well, and says what to do where it is not; 1 where something is wrong."""
    from kladml_core.workspace.doctor import examine
    from kladml_core.workspace.doctor_machine import examine_machine

    told = None if json else _tell
    root = choose_workspace(workspace or above(context))
    checks = examine(root, rebuild=rebuild, progress=_progress, done=told)
    for check in (*examine_machine(), terminal()):
        checks.append(check)
        if told is not None:
            told(check)
    wrong = [check for check in checks if check.state == "wrong"]
    if json:
        print_json({"workspace": str(root), "ok": not wrong, "checks": [check.to_json() for check in checks]})
    else:
        names = ", ".join(check.name for check in wrong)
        print(f"\n{'all is well' if not wrong else f'wrong: {names}'}")
    raise typer.Exit(ExitCode.FAILED if wrong else 0)


def terminal() -> Check:
    """What the terminal can show."""
    from kladml_core.workspace.doctor import Check

    kind = os.environ.get("TERM", "")
    columns, rows = shutil.get_terminal_size((0, 0))
    colours = "16 million" if os.environ.get("COLORTERM", "").lower() in ("truecolor", "24bit") else "256"
    if "256" not in kind and colours == "256":
        colours = "16"
    if os.environ.get("NO_COLOR"):
        colours = "no"
    encoding = locale.getpreferredencoding(False)
    through = next((name for name in ("TMUX", "STY", "SSH_CONNECTION") if os.environ.get(name)), None)
    way = {"TMUX": ", in tmux", "STY": ", in screen", "SSH_CONNECTION": ", over SSH", None: ""}[through]
    size = f", {columns}x{rows}" if columns else ""
    text = f"{kind or 'none'}{size}, {colours} colours, {encoding}{way}"
    if not sys.stdout.isatty():
        return Check("terminal", "ok", f"{text}; this output goes elsewhere")
    if kind in ("", "dumb", "unknown"):
        return Check("terminal", "wrong", text, "Set TERM to what the terminal is, e.g. xterm-256color")
    if encoding.lower().replace("-", "") != "utf8":
        hint = "Set LANG to a UTF-8 locale such as C.UTF-8, or ui.drawing: ascii in kladml.yaml"
        return Check("terminal", "wrong", text, hint)
    if columns < 80 or rows < 24:
        return Check("terminal", "note", text, "The app is made for 80x24 and more")
    return Check("terminal", "ok", text)


def _tell(check: Check) -> None:
    mark = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}[check.state]
    _progress_ends()
    print(inert(f"{mark} {check.name.ljust(_LABEL)} {check.text}"))
    if check.hint:
        print(inert(f"{'':6}{'':{_LABEL}} {check.hint}"))
    for finding in check.findings[:_MOST]:
        print(inert(f"{'':6}{'':{_LABEL}} {_line(finding)}"))
    if len(check.findings) > _MOST:
        print(f"{'':6}{'':{_LABEL}} … and {len(check.findings) - _MOST:,} more; --json lists all")
    sys.stdout.flush()


def _line(finding: Finding) -> str:
    hint = f". {finding.hint}" if finding.hint else ""
    return f"{finding.what}: {finding.text}{hint}"


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done:,} of {total:,} runs read", end="", file=sys.stderr, flush=True)


def _progress_ends() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
