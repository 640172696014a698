"""Stretches of time as people write them: `90s`, `30m`, `1h30m`, `7d`."""

from __future__ import annotations

import re

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = r"\d+(?:\.\d+)?[smhd]"
_WHOLE = re.compile(f"(?:{_PART})+")
PATTERN = rf"^(?:{_PART})+$".replace(r"\d", "[0-9]")
"""The same for a JSON Schema."""


def seconds(text: str) -> float | None:
    """The seconds that a text means; None where it is no stretch of time."""
    if not _WHOLE.fullmatch(text):
        return None
    return sum(float(part[:-1]) * _UNITS[part[-1]] for part in re.findall(_PART, text))
