"""Names of metrics, parameters and tags as MLflow takes them, and how to tell what they were."""

from __future__ import annotations

import hashlib
import posixpath
import re

LONGEST = 250
"""MLflow's limit for a key, in characters."""
_REFUSED = re.compile(r"[^\w.\- :/]")
_DIGEST = 10
TAG = "kladml.name."
"""Prefix of the tag that holds the original of an encoded name."""


def encoded(name: str) -> str:
    """The name itself where MLflow takes it, else one that it takes, and that no other name is encoded to.

    MLflow refuses other characters than letters, digits and `_.- :/`, names that a path would simplify (`a/../b`), and
    more than 250 characters. Their place is taken by `_`, and a digest of the original makes the name its own.
    """
    if takes(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    parts = [_REFUSED.sub("_", part) for part in name.split("/") if part not in ("", ".", "..")]
    readable = "/".join(parts)[: LONGEST - len(TAG) - _DIGEST - 1].rstrip("/")
    return f"{readable}-{digest}" if readable else digest


def takes(name: str) -> bool:
    """Whether MLflow takes a name as it is, with room for the tag's prefix."""
    simple = posixpath.normpath(name) == name and name not in (".", "..") and not name.startswith(("../", "/"))
    return bool(name) and simple and _REFUSED.search(name) is None and len(name) <= LONGEST - len(TAG)
