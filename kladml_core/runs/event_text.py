"""An event of a run in words: the same words on every surface, made inert for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import localtime, strftime
from typing import Any, Literal

from kladml_core.runs.files import number
from kladml_core.runs.plain import inert

_ENVELOPE = frozenset({"v", "seq", "attempt", "time", "kind", "run", "step", "epoch"})
_YEAR_5000 = 1e11


@dataclass(frozen=True)
class Part:
    """A piece of an event's text and what it is to the reader, which a screen may turn into a colour."""

    text: str
    role: Literal["plain", "muted", "best"] = "plain"


def event_kind(event: Mapping[str, Any]) -> str:
    """The kind in words: `checkpoint saved`."""
    if event.get("kind") == "run_started" and event.get("attempt", 1) not in (None, 1):
        return f"attempt {inert(str(event['attempt']))} started"
    return inert(str(event.get("kind", "?"))).replace("_", " ")


def event_parts(event: Mapping[str, Any]) -> list[Part]:
    """What the event says beside its kind, most telling first, each part one line and safe for a terminal."""
    words = _WORDS.get(str(event.get("kind")), _other)
    at = [Part(f"step {inert(str(event['step']))}", "muted")] if event.get("step") is not None else []
    return [part for part in (*at, *words(event)) if part.text]


def event_detail(event: Mapping[str, Any]) -> str:
    """The parts in a row: `step 1200  best  1.2 MB  14 ms`."""
    return "  ".join(part.text for part in event_parts(event))


def event_clock(event: Mapping[str, Any]) -> str:
    """When it happened, in local time: `14:02:11`; dashes where the time is missing or absurd."""
    at = event.get("time")
    if isinstance(at, bool) or not isinstance(at, int | float) or not 0 < at < _YEAR_5000:
        return "--:--:--"
    return strftime("%H:%M:%S", localtime(at))


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


def _said(event: Mapping[str, Any]) -> Part:
    what = event.get("message") or event.get("reason")
    text = inert(str(what)) if what else ""
    place = place_text(event)
    return Part(f"{place}: {text}" if place and text else place or text)


def _metrics(event: Mapping[str, Any]) -> list[Part]:
    metrics = event.get("metrics")
    if not isinstance(metrics, Mapping):
        return []
    return [Part(f"{inert(str(name))} {figure(value)}") for name, value in sorted(metrics.items(), key=_worth)]


def _worth(item: tuple[Any, Any]) -> tuple[bool, bool]:
    """Validation before training, and what says how well before what says how fast."""
    name = str(item[0])
    return not name.startswith("val/"), name.endswith(("learning_rate", "gradient_norm", "samples_per_second"))


def _took(event: Mapping[str, Any]) -> Part:
    return Part("" if event.get("seconds") is None else seconds_text(event["seconds"]), "muted")


def _started(event: Mapping[str, Any]) -> list[Part]:
    names = {
        "total_steps": ("step", "steps"),
        "total_epochs": ("epoch", "epochs"),
        "parameters": ("parameter", "parameters"),
        "processes": ("process", "processes"),
    }
    counts = [Part(f"{event[key]:,} {names[key][event[key] != 1]}") for key in names if isinstance(event.get(key), int)]
    return [*counts, Part(f"on {inert(str(event['device']))}" if event.get("device") else "")]


def _resumed(event: Mapping[str, Any]) -> list[Part]:
    exact = Part("exact" if event.get("exact") else "not exact")
    return [Part(f"from {inert(str(event.get('checkpoint')))}"), exact, _said(event)]


def _epoch(event: Mapping[str, Any]) -> list[Part]:
    return [Part(f"epoch {inert(str(event.get('epoch')))}", "muted"), *_metrics(event), _took(event)]


def _validation(event: Mapping[str, Any]) -> list[Part]:
    return [*_metrics(event), _took(event)]


def _new_best(event: Mapping[str, Any]) -> list[Part]:
    return [Part(f"{inert(str(event.get('metric')))} {figure(event.get('value'))}", "best")]


def _saved(event: Mapping[str, Any]) -> list[Part]:
    best = Part("best" if event.get("best") is True else "", "best")
    return [best, Part(size_text(event.get("bytes")), "muted"), _took(event)]


def _named(event: Mapping[str, Any]) -> list[Part]:
    return [Part(inert(str(event["name"])) if event.get("name") else ""), _said(event)]


def _out_of_memory(event: Mapping[str, Any]) -> list[Part]:
    return [_said(event), Part(inert(str(event["hint"])) if event.get("hint") else "")]


def _ended(event: Mapping[str, Any]) -> list[Part]:
    best = event.get("best")
    best_text = ""
    if isinstance(best, Mapping) and best.get("metric") is not None:
        best_text = f"best {inert(str(best['metric']))} {figure(best.get('value'))} @{inert(str(best.get('step')))}"
    code = Part(f"exit code {inert(str(event['exit_code']))}" if event.get("exit_code") else "")
    resumable = Part("resumable" if event.get("resumable") is True else "", "muted")
    return [_said(event), Part(best_text, "best"), code, _took(event), resumable]


def _other(event: Mapping[str, Any]) -> list[Part]:
    parts = []
    for key, value in event.items():
        if key in _ENVELOPE or value is None:
            continue
        word = inert(key).replace("_", " ")
        if key == "metrics":
            parts += _metrics(event)
        elif key in ("message", "reason", "hint"):
            parts.append(Part(inert(str(value))))
        elif isinstance(value, bool):
            parts.append(Part(word if value else f"not {word}", "muted"))
        elif isinstance(value, Mapping):
            inner = metrics_text({name: item for name, item in value.items() if item is not None})
            parts.append(Part(f"{word} {inner}" if inner else "", "muted"))
        else:
            parts.append(Part(f"{word} {figure(value) if isinstance(value, float) else inert(str(value))}", "muted"))
    return parts


_WORDS: dict[str, Callable[[Mapping[str, Any]], list[Part]]] = {
    "run_started": _started,
    "resumed": _resumed,
    "epoch_finished": _epoch,
    "validation": _validation,
    "new_best": _new_best,
    "checkpoint_saved": _saved,
    "out_of_memory": _out_of_memory,
    "checkpoint_failed": _named,
    "checkpoint_rejected": _named,
    "checkpoint_removed": _named,
    "run_finished": _ended,
    "run_failed": _ended,
    "run_stopped": _ended,
    "run_lost": _ended,
}
