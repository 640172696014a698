"""What looks like a secret: the names of such keys, and passwords in URLs. Secrets are never printed or recorded."""

from __future__ import annotations

import re

_NAME = re.compile(r"pass(word|wd|phrase)?$|secret|token|api_?key|access_?key|private_?key|credential", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(\w[\w+.-]*://[^\s:/@]*):[^\s@/]+@")


def is_secret_name(name: str) -> bool:
    """Whether what is kept under this name, a key or a variable, is to be hidden."""
    return _NAME.search(name) is not None


def mask(text: str) -> str:
    """The text with passwords in URLs hidden."""
    return _URL_PASSWORD.sub(r"\1:***@", text)
