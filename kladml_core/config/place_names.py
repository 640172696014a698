"""What may name a project, a family or an experiment: each is a folder, on disks of every kind."""

from __future__ import annotations

import re
import unicodedata

PLACES = ("project", "family", "experiment")
"""Kinds of things that hold runs; the path of each has a part more below `projects` than that of the one before."""
MAX_NAME = 100
"""Characters."""
MAX_BYTES = 255
"""Bytes in UTF-8: what a folder's name may have on every file system that we know."""
FILES = ("project.yaml", "family.yaml", "experiment.yaml")
"""What a project, a family and an experiment say of themselves, in a file of this name in their folder."""
_RUN = re.compile(r"run_\d+")
# They change the direction of the text around them: a name that holds one reads as another.
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def normal_name(name: str) -> str:
    """The name in Unicode's form NFC, in which it is written to the disk: é is one name however it is typed."""
    return unicodedata.normalize("NFC", name)


def name_fault(name: str) -> str | None:
    """Why `name` cannot name a project, a family or an experiment, as words that follow it; or None."""
    if not name:
        return "must not be empty"
    if len(name) > MAX_NAME:
        return f"must be at most {MAX_NAME} characters long, and is {len(name)}"
    if len(name.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        return "is too long for the name of a folder"
    if "/" in name:
        return "must not hold a /"
    if name.startswith("."):
        return "must not begin with a dot"
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name):
        return "must not hold control characters"
    turning = next((character for character in name if character in _BIDI), None)
    if turning is not None:
        return f"must not hold U+{ord(turning):04X}, which changes the direction of text"
    if name != name.strip():
        return "must not begin or end with a space"
    if _RUN.fullmatch(name):
        return "is what runs are called"
    if name.casefold() in FILES:
        return "is a file of the workspace's own"
    return None


def look_alike(name: str, others: list[str]) -> str | None:
    """The first of `others` that differs from `name` only in case, or in how Unicode writes it; None without one.

    On file systems that ignore case the two would be one folder.
    """
    folded = normal_name(name).casefold()
    return next((other for other in others if other != name and normal_name(other).casefold() == folded), None)
