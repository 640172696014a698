"""How a followed run is shown without a screen: plain lines or JSON lines; kladml_tui adds a progress bar.

Everything that comes out of a run (names, metrics, errors) is made inert here before it is printed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import Any, Protocol, TextIO

from kladml_core.backends.console_publisher import ConsolePublisher
from kladml_core.errors import KladMLError, with_hint
from kladml_core.runs.event_text import figure
from kladml_core.runs.files import to_jsonable
from kladml_core.runs.plain import inert
from kladml_core.runs.status import LIVE, RunStatus

JSON_METRICS_SECONDS = 0.1
"""Least time between two lines of metrics in JSON: at most ten a second."""

PIPE_CLOSED = 141
"""128 + SIGPIPE: whoever read this command's output has gone."""

_LAST_WAIT_SECONDS = 1.0

Message = dict[str, Any]


class Console(Protocol):
    """Where a follower shows a run. A method may raise BrokenPipeError: whoever read has gone."""

    def message(self, channel: str, message: Message) -> None:
        """Shows one message of the channels `metrics`, `events` or `status`."""

    def tick(self, status: RunStatus | None) -> None:
        """Called about ten times a second with how far the run is."""

    def say(self, text: str) -> None:
        """Tells the person something that is not the run's own."""

    def warn(self, text: str) -> None:
        """Says a warning of the launch, of which the run's events will tell too."""

    def detached(self, run: str, status: str, path: Path) -> None:
        """Tells that the run goes on by itself."""

    def last_output(self, lines: Sequence[str]) -> None:
        """Shows the last lines that a failed run printed, after its end."""

    def end(self, terminal: Message | None) -> None:
        """Shows the run's end, or with None only puts the terminal in order; nothing may be shown afterwards."""


def json_line(value: Any) -> str:
    """One strict JSON text in ASCII: control, direction and colour characters of the content are escaped."""
    return json.dumps(to_jsonable(value), allow_nan=False)


class JsonConsole:
    """One JSON object a line: every event as it was written, and the newest metrics at most ten times a second."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._pending: dict[str, tuple[int, float, Any]] = {}
        self._next_metrics = 0.0

    def message(self, channel: str, message: Message) -> None:
        """Prints an event, keeps metrics for their turn; a status is part of neither and is left out."""
        if channel == "events":
            self._print(message)
        elif channel == "metrics":
            for name, value in message["values"].items():
                self._pending[name] = (message["step"], message["time"], value)
            self._print_metrics()

    def tick(self, status: RunStatus | None) -> None:
        """Prints metrics whose turn has come."""
        self._print_metrics()

    def say(self, text: str) -> None:
        """Says it on stderr: stdout is for JSON alone."""
        print(inert(text, newlines=True), file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        """Says it on stderr; its event is printed all the same."""
        self.say(warning_text(text))

    def end(self, terminal: Message | None) -> None:
        """Prints what metrics are left, then the terminal event as the last line."""
        if terminal is None:
            return
        deadline = time.monotonic() + _LAST_WAIT_SECONDS
        while self._pending:
            pause = self._next_metrics - time.monotonic()
            if pause > 0 and time.monotonic() < deadline:
                time.sleep(pause)
            self._next_metrics = 0.0
            self._print_metrics()
        self._print(terminal)
        if terminal.get("exit_code"):
            self.say(ending(terminal))

    def detached(self, run: str, status: str, path: Path) -> None:
        """Prints a line of kind `detached`."""
        self._print({"kind": "detached", "run": run, "status": status, "path": str(path)})

    def last_output(self, lines: Sequence[str]) -> None:
        """Nothing follows the terminal event; the output is in console.log."""

    def _print_metrics(self) -> None:
        """Prints the oldest step that waits: metrics of several steps take several lines."""
        now = time.monotonic()
        if not self._pending or now < self._next_metrics:
            return
        self._next_metrics = now + JSON_METRICS_SECONDS
        step = min(step for step, _, _ in self._pending.values())
        names = [name for name, pending in self._pending.items() if pending[0] == step]
        taken = {name: self._pending.pop(name) for name in names}
        at = max(at for _, at, _ in taken.values())
        values = {name: value for name, (_, _, value) in taken.items()}
        self._print({"kind": "metrics", "step": step, "time": at, "values": values})

    def _print(self, value: Mapping[str, Any]) -> None:
        print(json_line(value), file=self._stream, flush=True)


class PlainConsole:
    """Plain lines for logs and pipes: no colour, no cursor movement."""

    def __init__(self, stream: TextIO) -> None:
        self._publisher = ConsolePublisher(stream)
        self._warned: list[str] = []

    def message(self, channel: str, message: Message) -> None:
        """Prints one line, metrics at most one a second; how a run ended is told by its last event alone."""
        if message.get("kind") == "log" and message.get("message") in self._warned:
            return
        if channel != "status" or message.get("status") in LIVE:
            self._publisher.publish(channel, message)
            self._check()

    def tick(self, status: RunStatus | None) -> None:
        """Nothing moves here."""

    def say(self, text: str) -> None:
        """Says it on stderr."""
        print(inert(text, newlines=True), file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        """Says it on stderr, and not a second time when its event comes."""
        self._warned.append(text)
        self.say(warning_text(text))

    def end(self, terminal: Message | None) -> None:
        """Prints the last metrics and the terminal event; a failure is told on stderr too."""
        if terminal is None:
            return
        self._publisher.flush()
        self._publisher.publish("events", terminal)
        self._check()
        if terminal.get("exit_code"):
            self.say(ending(terminal))

    def detached(self, run: str, status: str, path: Path) -> None:
        """Says how to watch it."""
        self.say(watch_hint(run, status))

    def last_output(self, lines: Sequence[str]) -> None:
        """Says them indented."""
        self.say(output_text(lines))

    def _check(self) -> None:
        """A stdout that nobody reads any more ends the following, which a publisher alone would not."""
        if self._publisher.failure is not None:
            raise self._publisher.failure


def tell_error(error: KladMLError, *, json: bool, program: str) -> int:
    """Says an error on stderr, with `json` also as one line on stdout; returns its exit code."""
    if json:
        place = {"file": error.file, "line": error.line, "column": error.column}
        known = {key: value for key, value in place.items() if value is not None}
        hint = {"hint": error.hint} if error.hint else {}
        line = {"kind": "error", "exit_code": int(error.exit_code), **known, "message": error.message, **hint}
        try:
            print(json_line(line), flush=True)
        except OSError:
            drop_stdout()  # nobody reads it
    with suppress(OSError):
        print(f"{program}: {inert(str(error), newlines=True)}", file=sys.stderr, flush=True)
    return int(error.exit_code)


def drop_stdout() -> None:
    """Points stdout at /dev/null, so that the interpreter's last flush has nobody to fail on."""
    descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, 1)
    os.close(descriptor)


def warning_text(text: str) -> str:
    """A warning as it is said."""
    return f"warning: {text}"


def watch_hint(run: str, status: str) -> str:
    """What to say of a run that goes on by itself."""
    return f"{run} is {status}; watch it with: kladml-tui watch {quote(run)}"


def output_text(lines: Sequence[str]) -> str:
    """The last lines of a run's output, with a heading."""
    return "\n".join(["the end of its output:", *(f"  {line}" for line in lines)])


def ending(terminal: Mapping[str, Any]) -> str:
    """A terminal event in one or two sentences: what happened, where, and what to do."""
    kind = str(terminal.get("kind", "run_finished")).removeprefix("run_")
    place = ":".join(str(terminal[key]) for key in ("file", "line", "column") if terminal.get(key) is not None)
    what = str(terminal.get("message") or terminal.get("reason") or kind)
    text = f"{place}: {what}" if place else what
    text = with_hint(text, str(terminal["hint"]) if terminal.get("hint") else None)
    if terminal.get("resumable") and terminal.get("run"):
        text = f"{text}\nresume it with: kladml-tui resume {terminal['run']}"
    return inert(f"{kind} (exit code {terminal.get('exit_code')}): {text}", newlines=True)


def best_text(terminal: Mapping[str, Any]) -> str:
    """`val/loss 0.0411 @1200 (step-0000001200)`, or an empty string where the run has no best."""
    best = terminal.get("best")
    if not isinstance(best, Mapping) or best.get("metric") is None:
        return ""
    text = f"{best['metric']} {figure(best.get('value'))} @{best.get('step')}"
    return inert(f"{text} ({best['checkpoint']})" if best.get("checkpoint") else text)
