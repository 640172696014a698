"""An event of a run in words: the same words on every surface, made inert for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kladml_core.runs.files import number
from kladml_core.runs.plain import inert

_ENVELOPE = frozenset({"v", "seq", "attempt", "time", "kind", "run", "step", "epoch"})


def event_kind(event: Mapping[str, Any]) -> str:
    """The kind in words: `checkpoint saved`."""
    return inert(str(event.get("kind", "?"))).replace("_", " ")


def event_detail(event: Mapping[str, Any]) -> str:
    """What the event says beside its kind: `step 1200  best  1.2 MB  14 ms`."""
    words = _WORDS.get(str(event.get("kind")), _other)
    at = [f"step {inert(str(event['step']))}"] if event.get("step") is not None else []
    return "  ".join([*at, *(part for part in words(event) if part)])


def metrics_text(values: Any) -> str:
    """`train/loss 0.0411  val/accuracy 0.987`."""
    if not isinstance(values, Mapping):
        return ""
    return "  ".join(f"{inert(str(name))} {figure(value)}" for name, value in values.items())


def figure(value: Any) -> str:
    """A number in at most five significant digits; NaN and the infinities by their names."""
    try:
        return f"{number(value):.5g}"
    except ValueError:
        return inert(str(value))


def size_text(count: Any) -> str:
    """Bytes as `412 B`, `1.2 MB` or `3.4 GB` (powers of 1000)."""
    try:
        value = number(count)
    except ValueError:
        return inert(str(count))
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def seconds_text(seconds: Any) -> str:
    """A duration as `14 ms`, `3.2 s`, `2m11s` or `5h04m`."""
    try:
        value = number(seconds)
    except ValueError:
        return inert(str(seconds))
    if not 0 <= value < 1e9:
        return inert(str(seconds))
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 60:
        return f"{value:.1f} s"
    whole = int(value)
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def place_text(event: Mapping[str, Any]) -> str:
    """`file:line:column` of a fault, with what is known of it."""
    return ":".join(inert(str(event[key])) for key in ("file", "line", "column") if event.get(key) is not None)


def _said(event: Mapping[str, Any]) -> list[str]:
    what = event.get("message") or event.get("reason")
    return [": ".join(part for part in (place_text(event), inert(str(what)) if what else "") if part)]


def _started(event: Mapping[str, Any]) -> list[str]:
    names = {"total_steps": "steps", "total_epochs": "epochs", "parameters": "parameters", "processes": "processes"}
    counts = [f"{event[key]:,} {name}" for key, name in names.items() if isinstance(event.get(key), int)]
    return [*counts, f"on {inert(str(event['device']))}" if event.get("device") else ""]


def _resumed(event: Mapping[str, Any]) -> list[str]:
    exact = "exact" if event.get("exact") else "not exact"
    return [f"from {inert(str(event.get('checkpoint')))}", exact, *(_said(event) if event.get("reason") else [])]


def _epoch(event: Mapping[str, Any]) -> list[str]:
    return [
        f"epoch {inert(str(event.get('epoch')))}",
        seconds_text(event.get("seconds")),
        metrics_text(event.get("metrics")),
    ]


def _validation(event: Mapping[str, Any]) -> list[str]:
    return [metrics_text(event.get("metrics"))]


def _best(event: Mapping[str, Any]) -> list[str]:
    return [f"{inert(str(event.get('metric')))} {figure(event.get('value'))}"]


def _saved(event: Mapping[str, Any]) -> list[str]:
    best = "best" if event.get("best") is True else ""
    return [best, size_text(event.get("bytes")), seconds_text(event.get("seconds"))]


def _removed(event: Mapping[str, Any]) -> list[str]:
    return [inert(str(event["name"])) if event.get("name") else "", *_said(event)]


def _ended(event: Mapping[str, Any]) -> list[str]:
    best = event.get("best")
    best_text = ""
    if isinstance(best, Mapping) and best.get("metric") is not None:
        best_text = f"best {inert(str(best['metric']))} {figure(best.get('value'))} @{inert(str(best.get('step')))}"
    code = f"exit code {inert(str(event.get('exit_code')))}"
    took = seconds_text(event["seconds"]) if event.get("seconds") is not None else ""
    return [*_said(event), best_text, took, code, "resumable" if event.get("resumable") is True else ""]


def _other(event: Mapping[str, Any]) -> list[str]:
    parts = []
    for key, value in event.items():
        if key in _ENVELOPE or value is None:
            continue
        if isinstance(value, Mapping):
            parts.append(metrics_text(value))
        elif key in ("message", "reason"):
            parts.append(inert(str(value)))
        else:
            parts.append(
                f"{inert(key).replace('_', ' ')} {figure(value) if isinstance(value, float) else inert(str(value))}"
            )
    return parts


_WORDS: dict[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "run_started": _started,
    "resumed": _resumed,
    "epoch_finished": _epoch,
    "validation": _validation,
    "new_best": _best,
    "checkpoint_saved": _saved,
    "checkpoint_failed": _removed,
    "checkpoint_rejected": _removed,
    "checkpoint_removed": _removed,
    "run_finished": _ended,
    "run_failed": _ended,
    "run_stopped": _ended,
    "run_lost": _ended,
}
