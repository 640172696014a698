"""Turns whatever ended an attempt into a message, a place, a hint and an exit code. Imports no torch."""

from __future__ import annotations

import site
import sys
import sysconfig
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kladml_core.config.secrets import mask
from kladml_core.errors import ExitCode, KladMLError

_PACKAGE = Path(__file__).resolve().parent.parent
_OURS_TO_COPY = _PACKAGE / "examples"
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


@dataclass(frozen=True)
class Failure:
    """Why an attempt failed, in the fields of `run_failed`."""

    message: str
    exit_code: ExitCode
    file: str | None = None
    line: int | None = None
    column: int | None = None
    hint: str | None = None

    def to_event(self) -> dict[str, Any]:
        """The fields that are known."""
        fields = {**vars(self), "exit_code": int(self.exit_code)}
        return {key: value for key, value in fields.items() if value is not None}


def describe(error: BaseException) -> Failure:
    """What to tell of an exception."""
    if isinstance(error, KladMLError):
        return Failure(mask(error.message), error.exit_code, error.file, error.line, error.column, error.hint)
    place = user_place(error)
    file, line = place if place is not None else (None, None)
    if is_out_of_memory(error):
        hint = "lower training.batch_size and raise training.gradient_accumulation_steps by the same factor"
        return Failure(_first_line(error), ExitCode.OUT_OF_MEMORY, file, line, hint=hint)
    return Failure(f"{type(error).__name__}: {_first_line(error)}", ExitCode.FAILED, file, line, hint=_hint(place))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory, the device's or the host's, was what lacked."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _NO_MEMORY)


def user_place(error: BaseException) -> tuple[str, int] | None:
    """The innermost frame in a person's own code, as (file, line), or None where there is none."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno and _is_users(error.filename):
        return error.filename, error.lineno
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.lineno is not None and _is_users(frame.filename):
            return frame.filename, frame.lineno
    return None


def told_with_place(error: BaseException) -> str:
    """`ModuleNotFoundError: No module named 'x' at net.py:3`."""
    place = user_place(error)
    text = f"{type(error).__name__}: {_first_line(error)}"
    return f"{text} at {shown(place[0])}:{place[1]}" if place else text


def shown(file: str) -> str:
    """A file's name relative to the working directory, where it lies below it."""
    try:
        return str(Path(file).resolve().relative_to(Path.cwd()))
    except ValueError:
        return file


def _is_users(file: str) -> bool:
    if file.startswith("<"):
        return False
    path = Path(file).resolve()
    if path.is_relative_to(_PACKAGE):
        return path.is_relative_to(_OURS_TO_COPY)
    return not any(path.is_relative_to(folder) for folder in _library_folders())


def _library_folders() -> list[Path]:
    paths = sysconfig.get_paths()
    names = {paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"], *site.getsitepackages()}
    if site.ENABLE_USER_SITE:
        names.add(site.getusersitepackages())
    folders = [Path(name).resolve() for name in names]
    # A workspace inside the library's folders (nobody's wish, but possible) must not hide a person's own files.
    return [folder for folder in folders if not Path.cwd().is_relative_to(folder)]


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return mask(lines[0]) if lines else "no message"  # libraries tell the address with the password in it


def _hint(place: tuple[str, int] | None) -> str:
    return "the traceback is in the run's console.log" if place else "see the traceback in the run's console.log"


def print_traceback(error: BaseException) -> None:
    """The traceback to stderr, which is the run's console.log.

    An error of ours says all itself: only what a person's own code raised is shown of it, from that code on.
    """
    shown_error: BaseException | None = error
    frames = error.__traceback__
    if isinstance(error, KladMLError):
        shown_error = error.__cause__
        frames = shown_error.__traceback__ if shown_error is not None else None
        while frames is not None and not _is_users(frames.tb_frame.f_code.co_filename):
            frames = frames.tb_next
    if shown_error is not None:
        sys.stderr.write(mask("".join(traceback.format_exception(type(shown_error), shown_error, frames))))
    sys.stderr.flush()
