"""Why a worker is gone that said nothing: a new start of the machine, lack of memory, a crash, its last words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kladml_core.runs.memory_kills import struck_since
from kladml_core.runs.processes import boot_id
from kladml_core.runs.rundir import RunDirectory

_TAIL_BYTES = 1 << 16
_WORDS = 200
_RANK = re.compile(r"^\[rank \d+\] ?")
_CRASH = re.compile(r"Fatal Python error: (.+)")
_RAISED = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Exit|Interrupt)(: .*)?$")


def cause_of_death(run: RunDirectory, state: Mapping[str, Any]) -> str:
    """What is known of the end of the worker that a state names, which is gone from this machine."""
    if state.get("boot_id") != boot_id():
        return "the machine was started anew while it ran"
    process = f"process {state.get('pid')}"
    struck = struck_since(state.get("memory_kills"))
    if struck:
        return f"{process} was killed for lack of memory ({struck} since its last heartbeat)"
    output = _output(run, state.get("console"))
    crash = next((match[1] for line in reversed(output) if (match := _CRASH.search(line))), None)
    if crash:
        return f"{process} crashed: {crash}"
    if state.get("status") == "starting":
        last = next((line for line in reversed(output) if _RAISED.match(line)), output[-1] if output else "")
        return f"the worker ended before it began: {last}" if last else "the worker ended before it began"
    if struck is None:
        return f"{process} is gone: killed, or the machine ran out of memory"
    return f"{process} is gone: killed, or ended from within; not for lack of memory"


def _output(run: RunDirectory, offset: object) -> list[str]:
    """The last lines of the output from an offset on, where the newest attempt's begins."""
    start = offset if isinstance(offset, int) and not isinstance(offset, bool) else 0
    try:
        with run.console_log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(min(size, max(start, size - _TAIL_BYTES)))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    lines = (_RANK.sub("", line).strip() for line in text.splitlines())
    return [line[:_WORDS] for line in lines if line]
