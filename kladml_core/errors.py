"""The errors a person may see: what happened, where, what to do, and the exit code that goes with it."""

from __future__ import annotations

import re
from enum import IntEnum

from kladml_core.interfaces.unsupported import UnsupportedOperation

_WORD = re.compile(r"[a-z]+(?=[ ,]|$)")


class ExitCode(IntEnum):
    """Every exit code of `kladml-tui` and of the training worker."""

    FINISHED = 0
    FAILED = 1
    BAD_TEXT = 2
    UNUSABLE = 3
    NOTHING_TO_RESUME = 65
    NON_FINITE = 70
    OUT_OF_MEMORY = 71
    CHECKPOINT_WRITE = 73
    HANG = 74
    STOPPED = 75
    HUP = 129
    INT = 130
    LOST = 137
    TERM = 143


class KladMLError(Exception):
    """A fault with a message for the person who caused it or must mend it.

    Args:
        message: what happened, one sentence without a full stop.
        hint: what to do about it, a sentence of its own; it begins with a capital wherever it begins with a word.
        file: the file at fault, as the person named it.
        line: 1-based line in `file`.
        column: 1-based column in `line`.
    """

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        file: str | None = None,
        line: int | None = None,
        column: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint and _capital(hint)
        self.file = file
        self.line = line
        self.column = column

    @property
    def location(self) -> str:
        """`file:line:column` with what is known of it, or an empty string."""
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)

    def __str__(self) -> str:
        text = f"{self.location}: {self.message}" if self.location else self.message
        return with_hint(text, self.hint)


def with_hint(text: str, hint: str | None) -> str:
    """The text of an error and its hint as two sentences, or the text alone where there is no hint."""
    if not hint:
        return text
    return f"{text}{'' if text.endswith(('.', '?', '!', ':', '…')) else '.'} {hint}"


def _capital(hint: str) -> str:
    """The hint as a sentence; what begins with a key, a path or something in quotes stays as it is written."""
    return hint[0].upper() + hint[1:] if _WORD.match(hint) else hint


class ConfigError(KladMLError):
    """A text is wrong: its syntax, a key, a type, an unknown registry name."""

    exit_code = ExitCode.BAD_TEXT


class UnusableError(KladMLError):
    """A text names something that cannot be used: an import fails, a file is missing, preflight fails."""

    exit_code = ExitCode.UNUSABLE


class NotSupportedError(UnusableError, UnsupportedOperation):
    """A backend, model or machine cannot do what was asked of it."""


class TrainingFailedError(KladMLError):
    """Training itself raised."""


class NothingToResumeError(KladMLError):
    """A run has no valid checkpoint, or has already finished."""

    exit_code = ExitCode.NOTHING_TO_RESUME


class NonFiniteError(KladMLError):
    """A loss or a gradient became NaN or infinite."""

    exit_code = ExitCode.NON_FINITE


class DeviceMemoryError(KladMLError):
    """The device has no memory left for this step."""

    exit_code = ExitCode.OUT_OF_MEMORY


class CheckpointWriteError(KladMLError):
    """A checkpoint could not be written; the earlier ones are untouched."""

    exit_code = ExitCode.CHECKPOINT_WRITE


class HangError(KladMLError):
    """A step made no progress for longer than `hang_timeout`."""

    exit_code = ExitCode.HANG


def kind_of(value: object) -> str:
    """What a value is, in a sentence: `an int`, `a Tensor`, `None`."""
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[:1] in 'aeioAEIO' else 'a'} {name}"
