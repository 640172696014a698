"""An event of a run in words: what happened, and what is worth saying of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from textual.content import Content

from kladml_core.runs.files import number as json_number
from kladml_tui.run_line import duration, number, size
from kladml_tui.text import one_line

_ENVELOPE = frozenset({"v", "seq", "attempt", "time", "kind", "run"})
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
# Said in the words of the kind or of another field already, or of no use to a person.
_UNSAID = frozenset(
    {"name", "best", "last", "exact", "offsets", "file", "line", "column", "monitor", "exit_code", "resumable"}
)


def event_line(event: Mapping[str, Any]) -> Content:
    """One line: the time, the kind in words, and what it carries."""
    kind = str(event.get("kind", "?"))
    style = _STYLES.get(kind, "$foreground")
    if kind == "log":
        style = _LEVELS.get(str(event.get("level")), "$foreground")
        return Content.assemble((_clock(event), "$muted"), "  ", (one_line(event.get("message", "")), style))
    parts: list[Content | str | tuple[str, str]] = [
        (_clock(event), "$muted"),
        "  ",
        (one_line(_title(event, kind)), style),
    ]
    for text, of_style in _details(event, kind):
        parts += ["  ", (text, of_style)]
    return Content.assemble(*parts)


def _title(event: Mapping[str, Any], kind: str) -> str:
    if kind == "run_started" and event.get("attempt", 1) not in (None, 1):
        return f"attempt {event['attempt']} started"
    if kind.startswith("run_"):
        return kind.replace("_", " ")
    return kind.replace("_", " ")


def _details(event: Mapping[str, Any], kind: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if kind == "new_best":
        return [(f"{one_line(event.get('metric', ''))} {_value(event.get('value'))}", "$mark-best"), *_at(event)]
    found += _at(event)
    if event.get("best") is True:
        found.append(("best", "$mark-best bold"))
    if kind in ("checkpoint_removed", "checkpoint_rejected", "checkpoint_failed") and event.get("name"):
        found.append((one_line(event["name"]), "$foreground"))
    if event.get("exit_code"):
        found.append((f"exit code {event['exit_code']}", "$foreground"))
    metrics = event.get("metrics")
    if isinstance(metrics, Mapping) and kind != "checkpoint_saved":
        metrics = dict(sorted(metrics.items(), key=_worth))
        found += [(f"{one_line(name)} {_value(value)}", "$foreground") for name, value in metrics.items()]
    for key, value in event.items():
        if key in _ENVELOPE or key in _UNSAID or key in ("step", "epoch", "metrics") or value is None:
            continue
        text = _field(key, value)
        if text:
            found.append((text, "$foreground" if key in ("message", "reason") else "$muted"))
    return found


def _worth(item: tuple[str, Any]) -> tuple[bool, bool]:
    """Validation before training, and what says how well before what says how fast."""
    return not item[0].startswith("val/"), item[0].endswith(("learning_rate", "gradient_norm", "samples_per_second"))


def _at(event: Mapping[str, Any]) -> list[tuple[str, str]]:
    places = []
    if isinstance(event.get("epoch"), int) and event.get("kind") in ("epoch_finished", "run_finished"):
        places.append((f"epoch {event['epoch']}", "$muted"))
    if isinstance(event.get("step"), int):
        places.append((f"step {event['step']}", "$muted"))
    return places


def _field(key: str, value: Any) -> str:
    if key == "bytes" and isinstance(value, int | float):
        return size(value)
    if key == "seconds" and isinstance(value, int | float):
        return f"{value * 1000:.0f} ms" if value < 1 else (f"{value:.1f} s" if value < 60 else duration(value))
    if key in ("message", "reason", "hint"):
        return one_line(value)
    word = one_line(key).replace("_", " ")
    if isinstance(value, bool):
        return word if value else f"not {word}"
    if isinstance(value, Mapping):
        inner = "  ".join(f"{one_line(name)} {_value(item)}" for name, item in value.items() if item is not None)
        return f"{word} {inner}" if inner else ""
    return f"{word} {_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    try:
        return number(json_number(value))
    except ValueError:
        return one_line(value)


def _clock(event: Mapping[str, Any]) -> str:
    at = event.get("time")
    if not isinstance(at, int | float) or not 0 < at < 1e11:
        return "--:--:--"
    return time.strftime("%H:%M:%S", time.localtime(at))
