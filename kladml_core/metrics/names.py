"""Names of metrics and of their series files: the one place that turns the one into the other. Imports no numpy."""

from __future__ import annotations

import os
import struct
import unicodedata
from pathlib import Path
from urllib.parse import quote, unquote

RECORD_STRUCT = "<qdd"
"""One record of a series file, little endian: step int64, time float64 (unix seconds), value float64."""
RECORD_SIZE = struct.calcsize(RECORD_STRUCT)
"""Bytes of one record."""
SUFFIX = ".bin"
"""How the name of a series file ends."""
MAX_ENCODED_BYTES = 200
"""Longest metric name once percent-encoded; file systems stop at 255, and a suffix has to fit."""


def file_name(metric: str) -> str:
    """Return the name of the file that holds a metric: `train/loss` is kept in `train%2Floss.bin`.

    Raises:
        UnicodeEncodeError: The name holds a lone surrogate; `check_name` tells so beforehand.
    """
    return quote(metric, safe="") + SUFFIX


def metric_name(name: str) -> str:
    """Return the metric that a series file holds, the reverse of `file_name`.

    Raises:
        ValueError: The name does not end in `.bin`.
    """
    if not name.endswith(SUFFIX):
        raise ValueError(f"{name!r} is not the name of a series file: it does not end in {SUFFIX}")
    return unquote(name[: -len(SUFFIX)], errors="replace")


def check_name(metric: str) -> str | None:
    """Return why a metric name is refused, or None when it is good."""
    if not isinstance(metric, str):
        return "a metric name is a string"
    if not metric:
        return "the name is empty"
    if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in metric):
        return "the name holds control characters"
    if len(quote(metric, safe="")) > MAX_ENCODED_BYTES:
        return f"the name is longer than {MAX_ENCODED_BYTES} bytes once encoded"
    return None


def list_metrics(directory: Path) -> list[str]:
    """Return the metrics that have a series file in a directory, sorted; none when there is no such directory.

    Files whose name `file_name` would never have written are passed over.
    """
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    metrics = []
    for name in names:
        if not name.endswith(SUFFIX):
            continue
        metric = metric_name(name)
        if check_name(metric) is None and file_name(metric) == name:
            metrics.append(metric)
    return sorted(metrics)
