"""What looks like a secret: names of keys, and passwords in URLs. Secrets are never printed, recorded or in a file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kladml_core.errors import ConfigError

if TYPE_CHECKING:
    from kladml_core.config.document import Document, KeyPath

HIDDEN = "***"
_LEAST = 8
_NAME = re.compile(r"pass(word|wd|phrase)?$|secret|token|api_?key|access_?key|private_?key|credential", re.IGNORECASE)
# `token_file: /run/secrets/s3` says where the secret is, not what it is.
_POINTER = re.compile(r"_(file|path|dir)$", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(\w[\w+.-]*://[^\s:/@]*):[^\s@/]+@")


def is_secret_name(name: str) -> bool:
    """Whether what is kept under this name, a key or a variable, is to be hidden."""
    return _NAME.search(name) is not None and _POINTER.search(name) is None


def mask(text: str) -> str:
    """The text with passwords in URLs hidden, and the values of this process's variables that are named as secrets."""
    for name, value in os.environ.items():
        # A short one is a switch, such as TOKENIZERS_PARALLELISM=false.
        if len(value) >= _LEAST and value in text and is_secret_name(name):
            text = text.replace(value, HIDDEN)
    return _without_passwords(text)


def hidden(name: str, value: Any) -> Any:
    """A value as it may be shown under its name: a secret as `***`, in lists and mappings too."""
    if value is None or isinstance(value, bool):
        return value
    if is_secret_name(name):
        return HIDDEN
    if isinstance(value, Mapping):
        return {key: hidden(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [hidden(name, item) for item in value]
    return mask(value) if isinstance(value, str) else value


def refuse_secrets(document: Document, path: KeyPath, value: Any) -> None:
    """Lets no secret stand in a file, which is shared and recorded; a variable may say it.

    Raises:
        ConfigError: the value, or one below it, is a secret and is written in a file.
    """
    if isinstance(value, Mapping):
        for key, below in value.items():
            refuse_secrets(document, (*path, key), below)
        return
    if isinstance(value, list | tuple):
        for number, below in enumerate(value):
            refuse_secrets(document, (*path, number), below)
        return
    place = document.place(path)
    name = ".".join(map(str, path))
    named = value is not None and not isinstance(value, bool) and is_secret_name(str(path[-1]))
    if place.line is None or not (named or (isinstance(value, str) and _without_passwords(value) != value)):
        return
    variable = "KLADML_" + "__".join(str(part).upper() for part in path)
    raise ConfigError(
        f"{name} {'is a secret' if named else 'has a password in it'}, which has no place in a file that is shared",
        hint=f"Set {variable} in the environment, or {_usual(path)}",
        file=place.file,
        line=place.line,
        column=place.column,
    )


def _without_passwords(text: str) -> str:
    return _URL_PASSWORD.sub(rf"\1:{HIDDEN}@", text)


def _usual(path: KeyPath) -> str:
    """Where a backend's own library looks for its secrets."""
    if path[0] == "tracker":
        return "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    return "what the backend reads itself, e.g. AWS_SECRET_ACCESS_KEY or ~/.aws/credentials"
