"""The entry point of `kladml-tui`: its fast paths, its standard streams, and how an error leaves the process."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from io import TextIOWrapper
from typing import NoReturn

from kladml_core.errors import ExitCode, KladMLError, UnusableError
from kladml_core.runs.plain import inert

PIPE_CLOSED = 141
"""128 + SIGPIPE: whoever read this command's output has gone."""

_EXTRA = ("typer", "rich", "textual")


def main() -> NoReturn:
    """Runs the command line and leaves the process with its exit code."""
    _hold_standard_streams()
    arguments = sys.argv[1:]
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()
        code = PIPE_CLOSED
    except KeyboardInterrupt:
        code = ExitCode.INT
    except KladMLError as error:
        code = report(error, json="--json" in arguments)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        text = f"{where}{error.strerror or error}"
        code = report(UnusableError(text), json="--json" in arguments)
    if code == ExitCode.HUP:
        _drop_stdout()
    sys.exit(int(code))


def report(error: KladMLError, *, json: bool) -> int:
    """Says an error on stderr, with `json` also as one line on stdout; returns its exit code."""
    if json:
        from kladml_tui.headless_console import json_line

        place = {"file": error.file, "line": error.line, "column": error.column}
        known = {key: value for key, value in place.items() if value is not None}
        hint = {"hint": error.hint} if error.hint else {}
        exit_code = int(error.exit_code)
        line = {"kind": "error", "exit_code": exit_code, **known, "message": error.message, **hint}
        try:
            print(json_line(line), flush=True)
        except OSError:
            _drop_stdout()  # nobody reads it
    with suppress(OSError):
        print(f"kladml-tui: {inert(str(error), newlines=True)}", file=sys.stderr, flush=True)
    return int(error.exit_code)


def _run(arguments: Sequence[str]) -> int:
    if list(arguments) == ["--version"]:
        from kladml_core.version import __version__

        print(f"kladml-tui {__version__}")
        return ExitCode.FINISHED
    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        raise UnusableError(
            f"the command line needs {', '.join(missing)}, which the cli extra installs",
            hint="pip install 'kladml-tui[cli]', or run `python -m kladml_core.runs.launch CONFIG`",
        )
    if not arguments:
        # The app is the common case, and a screen that opens at once need not parse options first.
        from kladml_tui.cli_shared import open_app

        return open_app(None)
    return _typer(arguments)


def _typer(arguments: Sequence[str]) -> int:
    from typer.main import get_command

    from kladml_tui.cli_app import app

    command = get_command(app)
    try:
        code = command.main(args=list(arguments), prog_name="kladml-tui", standalone_mode=False)
    except SystemExit as leave:
        # typer turns a closed pipe into exit code 1, which would read as a failed training.
        if isinstance(leave.__context__, BrokenPipeError):
            raise BrokenPipeError from None
        raise
    except Exception as error:
        # typer raises its own usage errors or click's, by its version; both know how to say themselves.
        if not hasattr(error, "format_message"):
            raise
        context = getattr(error, "ctx", None)
        usage = f"{context.get_usage()}\n" if context is not None else ""
        command_path = context.command_path if context is not None else "kladml-tui"
        print(inert(usage, newlines=True), end="", file=sys.stderr)
        raise _usage_error(error.format_message(), f"`{command_path} --help` lists what it takes") from None
    return code if isinstance(code, int) else ExitCode.FINISHED


def _usage_error(message: str, hint: str) -> KladMLError:
    from kladml_core.errors import ConfigError

    return ConfigError(message.rstrip("."), hint=hint)


def _hold_standard_streams() -> None:
    """Opens /dev/null where a standard stream is closed, so that no file of a run takes its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  it stays open for good
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  it stays open for good
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _drop_stdout() -> None:
    """Points stdout at /dev/null, so that the interpreter's last flush has nobody to fail on."""
    descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, 1)
    os.close(descriptor)
