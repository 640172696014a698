"""Where a user's own files lie, by the XDG Base Directory Specification, version 0.8."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

_BELOW_HOME = {"CACHE": ".cache", "CONFIG": ".config", "STATE": ".local/state"}


def user_folder(kind: Literal["CACHE", "CONFIG", "STATE"], environ: Mapping[str, str] = os.environ) -> Path:
    """KladML's folder among the user's caches, settings or states; it need not be there.

    A relative variable counts as unset, as the specification says: it would be another place in each directory.
    """
    base = environ.get(f"XDG_{kind}_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(environ.get("HOME") or os.path.expanduser("~"), _BELOW_HOME[kind])
    return Path(base) / "kladml"
