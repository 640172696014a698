"""Parameters of a dataset as a person types them on one line."""

from __future__ import annotations

from typing import Any

from kladml_core.config.override import parse_value
from kladml_core.errors import ConfigError


def parse_params(text: str) -> dict[str, Any]:
    """Parameters as a person types them on one line: `target_column: price, columns: [a, b]`.

    Raises:
        ConfigError: it is no such line.
    """
    if not text.strip():
        return {}
    try:
        found = parse_value(text if text.strip().startswith("{") else f"{{{text}}}", "params")
    except ConfigError as error:
        raise ConfigError(f"params cannot be read: {error.message}", hint="write KEY: VALUE, KEY: VALUE") from None
    if not isinstance(found, dict):
        raise ConfigError("params must be KEY: VALUE, KEY: VALUE")
    return found
