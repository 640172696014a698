"""An event of a run as a line of the screen: the words that every surface uses, in colours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textual.content import Content

from kladml_core.runs.event_text import event_clock, event_kind, event_parts
from kladml_tui.text import one_line

_STYLES = {
    "checkpoint_saved": "$foreground",
    "new_best": "$mark-best bold",
    "run_started": "$state-running",
    "resumed": "$mark-resume",
    "config_changed": "$mark-resume",
    "validation": "$foreground",
    "epoch_finished": "$muted",
    "checkpoint_removed": "$muted",
    "early_stopping": "$state-stopped",
    "stop_requested": "$state-stopping",
    "checkpoint_failed": "$error",
    "checkpoint_rejected": "$error",
    "non_finite": "$error bold",
    "out_of_memory": "$error bold",
    "hang": "$error bold",
    "dropped": "$warning",
    "run_finished": "$state-finished bold",
    "run_stopped": "$state-stopped bold",
    "run_failed": "$state-failed bold",
    "run_lost": "$state-lost bold",
}
_LEVELS = {"error": "$error", "critical": "$error bold", "warning": "$warning"}
_ROLES = {"plain": "$foreground", "muted": "$muted", "best": "$mark-best"}


def event_line(event: Mapping[str, Any]) -> Content:
    """One line: the time, the kind in words, and what it carries."""
    kind = str(event.get("kind", "?"))
    clock = (event_clock(event), "$muted")
    if kind == "log":
        style = _LEVELS.get(str(event.get("level")), "$foreground")
        return Content.assemble(clock, "  ", (one_line(event.get("message", "")), style))
    parts: list[str | tuple[str, str]] = [clock, "  ", (one_line(event_kind(event)), _STYLES.get(kind, "$foreground"))]
    for part in event_parts(event):
        parts += ["  ", (one_line(part.text), _ROLES[part.role])]
    return Content.assemble(*parts)
