"""The entry point of `kladml-tui`: its fast paths, its standard streams, and how an error leaves the process."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from io import TextIOWrapper
from typing import NoReturn

from kladml_core.errors import ExitCode, KladMLError, UnusableError

_EXTRA = ("typer", "rich", "textual")


def main() -> NoReturn:
    """Runs the command line and leaves the process with its exit code."""
    _hold_standard_streams()
    arguments = sys.argv[1:]
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        code = _nobody_reads()
    except KeyboardInterrupt:
        code = ExitCode.INT
    except KladMLError as error:
        code = _report(error, json="--json" in arguments)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        text = f"{where}{error.strerror or error}"
        code = _report(UnusableError(text), json="--json" in arguments)
    if code == ExitCode.HUP:
        _nobody_reads()
    sys.exit(int(code))


def _report(error: KladMLError, *, json: bool) -> int:
    from kladml_core.runs.consoles import tell_error

    return tell_error(error, json=json, program="kladml-tui")


def _nobody_reads() -> int:
    from kladml_core.runs.consoles import PIPE_CLOSED, drop_stdout

    drop_stdout()
    return PIPE_CLOSED


def _run(arguments: Sequence[str]) -> int:
    if list(arguments) == ["--version"]:
        from kladml_core.version import __version__

        print(f"kladml-tui {__version__}")
        return ExitCode.FINISHED
    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        raise UnusableError(
            f"the command line needs {', '.join(missing)}, which the cli extra installs",
            hint="Run `pip install 'kladml-tui[cli]'`, or `python -m kladml_core.runs.launch CONFIG`",
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
        from kladml_core.runs.plain import inert

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
