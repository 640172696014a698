"""A text file as an editor needs it: byte-faithful, saved whole, and aware of what others do to it meanwhile."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from kladml_core.errors import ConfigError, KladMLError, UnusableError
from kladml_core.runs.files import write_text_atomic

MAX_BYTES = 1 << 20
_BOM = "\ufeff"
# `str.splitlines`, by which the text area makes lines, also splits at these; each is put into the private use area
# while it is edited, and back when it is saved.
_SPLITTERS = "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
_PRIVATE = {ord(character): 0xF8A0 + index for index, character in enumerate(_SPLITTERS)}
_BACK = {private: character for character, private in _PRIVATE.items()}


@dataclass(frozen=True)
class EditedFile:
    """A file as it was last read or written by this editor."""

    path: Path
    content: bytes | None
    """What was on disk; None for a file that is yet to be made."""
    newline: str = "\n"
    bom: bool = False
    draft: str = ""
    """The text of a file that is yet to be made."""

    @classmethod
    def open(cls, path: Path, draft: str = "") -> EditedFile:
        """Reads the file; a missing one has the text of `draft`, and is made when it is saved.

        Raises:
            UnusableError: it cannot be read, or is no regular file.
            ConfigError: it is not UTF-8, or larger than 1 MiB.
        """
        content = _read(path)
        if content is None:
            if not path.parent.is_dir():
                raise UnusableError("its folder does not exist", file=str(path))
            return cls(path, None, draft=draft)
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise ConfigError(
                f"the file is not UTF-8: byte 0x{content[error.start]:02x} is not valid here",
                hint="Save it as UTF-8; it was left as it is",
                file=str(path),
                line=line,
            ) from None
        windows = text.count("\r\n")
        newline = "\r\n" if windows and windows == text.count("\n") else "\n"
        return cls(path, content, newline, text.startswith(_BOM))

    @property
    def text(self) -> str:
        """The text for the text area: lines end in `\\n`, nothing else splits them."""
        text = self.draft if self.content is None else self.content.decode("utf-8").removeprefix(_BOM)
        if self.newline != "\n":
            text = text.replace(self.newline, "\n")
        return text.translate(_PRIVATE)

    def changed_on_disk(self) -> bool:
        """Whether the file now holds something else than this editor last read or wrote."""
        try:
            return _read(self.path) != self.content
        except KladMLError:
            return True

    def save(self, text: str) -> EditedFile:
        """Writes the text of the text area, whole or not at all, through symlinks and with the file's permissions.

        Raises:
            UnusableError: it cannot be written; the file is as it was.
        """
        written = unhidden(text).replace("\n", self.newline)
        if self.bom:
            written = _BOM + written
        try:
            # A rename would put a file in a symlink's place; what it points to is what is meant.
            write_text_atomic(Path(os.path.realpath(self.path)), written)
            return replace(self, content=written.encode("utf-8"))
        except UnicodeEncodeError:
            raise UnusableError(
                "the text holds half a character that UTF-8 cannot write", file=str(self.path)
            ) from None
        except OSError as error:
            reason = error.strerror or str(error)
            raise UnusableError(f"the file cannot be written: {reason}", file=str(self.path)) from None


def unhidden(text: str) -> str:
    """The text area's text with the characters that would have split lines put back; same length."""
    return text.translate(_BACK)


def _read(path: Path) -> bytes | None:
    try:
        if path.exists() and not path.is_file():
            raise UnusableError("this is not a regular file", file=str(path))
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UnusableError(f"the file cannot be read: {reason}", file=str(path)) from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"the file is larger than {MAX_BYTES // 1024} KiB, too large for a config", file=str(path))
    return content
