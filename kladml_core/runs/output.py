"""What a run printed when it went wrong: the last traceback in its console.log, else the last lines."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from kladml_core.runs.rundir import RunDirectory

TAIL_BYTES = 1 << 18
"""Bytes from the end of console.log in which a traceback is looked for."""
_LAST_LINES = 200
_HEADER = re.compile(r"^((?:\[[^\]]*\]:? ?)*).*Traceback \(most recent call last\):\s*$")
_CHAINED = ("During handling of the above exception", "The above exception was the direct cause")


def failure_output(run: RunDirectory) -> str:
    """The newest traceback of a run with all that was printed after it, or its last lines; empty where there is none.

    The exceptions that led to it, and with several processes those of the other ranks, belong to it. For threads.
    """
    try:
        with run.console_log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            data = file.read(TAIL_BYTES)
    except OSError:
        return ""
    lines = data.decode("utf-8", "replace").splitlines()
    return "\n".join(lines[_beginning(lines) :]).strip("\n")


def _beginning(lines: Sequence[str]) -> int:
    headers = [(index, match[1]) for index, line in enumerate(lines) if (match := _HEADER.match(line))]
    if not headers:
        return max(0, len(lines) - _LAST_LINES)
    begin, rank = headers.pop()
    ranks = {rank}
    while headers:
        index, rank = headers.pop()
        chained = any(phrase in line for line in lines[index:begin] for phrase in _CHAINED)
        if not chained and rank in ranks:
            break
        begin = index
        ranks.add(rank)
    return begin
