"""Small files written whole or not at all, and JSON that every strict parser reads."""

from __future__ import annotations

import errno
import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def number(value: Any) -> float:
    """A number read back from strict JSON, where NaN and the infinities are strings.

    Raises:
        ValueError: neither a number nor one of "NaN", "Infinity", "-Infinity".
    """
    if isinstance(value, str):
        try:
            return _NON_FINITE[value]
        except KeyError:
            raise ValueError(f"not a number: {value!r}") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"not a number: {value!r}")
    return float(value)


def to_jsonable(value: Any) -> Any:
    """The value with what strict JSON has no word for put into words it has.

    Non-finite floats become strings, paths and unknown objects their text, mappings' keys strings, sets lists,
    numpy and torch scalars plain numbers, and lone surrogates (from undecodable file names) escapes.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)  # a plain one: json writes the name of an IntEnum's member in some versions
    if isinstance(value, float):
        return _float(float(value))
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, Mapping):
        return {str(to_jsonable(str(key))): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_jsonable(item) for item in value]
    scalar = getattr(value, "item", None)
    if callable(scalar) and getattr(value, "ndim", 1) == 0:
        return to_jsonable(scalar())
    return to_jsonable(str(value))


def _float(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def strict_dumps(value: Any, *, indent: int | None = None) -> str:
    """One JSON text of any value; never the bare words NaN or Infinity, which strict parsers refuse."""
    return json.dumps(to_jsonable(value), ensure_ascii=False, allow_nan=False, indent=indent)


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """Writes a JSON file atomically; see `write_text_atomic`."""
    write_text_atomic(path, strict_dumps(value, indent=1) + "\n", durable=durable)


def read_json(path: Path) -> Any | None:
    """The content of a JSON file, or None when it is missing, unreadable or torn."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def read_object(path: Path) -> dict[str, Any] | None:
    """As `read_json`, for files whose content must be an object; anything else is None too."""
    value = read_json(path)
    return value if isinstance(value, dict) else None


def write_text_atomic(path: Path, text: str, *, durable: bool = True) -> None:
    """Replaces a file's content in one step: a reader sees the old text or the new one, never a part.

    Args:
        path: the file; an existing one keeps its permissions.
        text: written as UTF-8.
        durable: fsync before the rename, so that a power cut cannot leave an empty file.

    Raises:
        OSError: the text could not be written; the old content is untouched and no temporary is left.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), _mode(path))
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def overwrite_json(path: Path, value: Any) -> None:
    """Writes a JSON file over its old content, in the space that this has: for last words on a full disk.

    A crash in the middle leaves a damaged file, so this is no substitute for `write_json`.

    Raises:
        OSError: there is no such file, or the new content needs more space than the disk has.
    """
    data = (strict_dumps(value, indent=1) + "\n").encode()
    with path.open("r+b", buffering=0) as file:
        if file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        file.truncate()
        os.fsync(file.fileno())


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode & 0o7777
    except OSError:
        return 0o666 & ~_UMASK


def _read_umask() -> int:
    # There is no way to read the mask without setting it; done once, at import, before threads exist.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


_UMASK = _read_umask()


def fsync_directory(path: Path) -> None:
    """Makes the names in a directory durable (a rename or a new file survives a power cut)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
