"""Which columns of a table are inputs and which are targets: the `params` of a registered file, or `data.params`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from kladml_core.errors import ConfigError

CLASS, NUMBER = "class", "number"
_KEYS = ("target_column", "columns", "target_type", "classes", "delimiter")


@dataclass(frozen=True)
class TableChoice:
    """What is taken of a table. The same words choose arrays of a .npz or .safetensors file."""

    targets: tuple[str, ...] = ()
    """`target_column`: the column that is y, or several; the last one where none is named."""
    inputs: tuple[str, ...] = ()
    """`columns`: those that are x, in this order; all others where none are named."""
    target_type: str | None = None
    """`class`: whole numbers as int64 [n]; `number`: float32 [n, targets]; else as the values are written."""
    classes: tuple[str, ...] = ()
    """The texts of the target in the order of their numbers, from 0 on."""
    delimiter: str = ","
    """Between the cells of a CSV file."""

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> TableChoice:
        """Reads the parameters of a data file.

        Raises:
            ConfigError: an unknown one, or one of another kind than it must be.
        """
        for key in params:
            if key not in _KEYS:
                close = get_close_matches(str(key), _KEYS, n=1)
                hint = f"Did you mean {close[0]}?" if close else f"A data file takes {', '.join(_KEYS)}"
                raise ConfigError(f"{key!r} is no parameter of a data file", hint=hint)
        kind = params.get("target_type")
        if kind not in (None, CLASS, NUMBER):
            raise ConfigError(f"target_type must be {CLASS} or {NUMBER}, not {kind!r}")
        delimiter = params.get("delimiter", ",")
        if not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n':
            raise ConfigError(
                f"delimiter must be one character, not {delimiter!r}", hint='write ";", or "\\t" for tabs'
            )
        classes = _texts("classes", params.get("classes"))
        if classes and kind == NUMBER:
            raise ConfigError("classes and target_type: number do not go together")
        if len(set(classes)) != len(classes):
            raise ConfigError("classes names one text twice")
        target = params.get("target_column")
        targets = _texts("target_column", [target] if isinstance(target, str) else target)
        if classes and len(targets) > 1:
            raise ConfigError("classes are those of one target_column, and several are named")
        inputs = _texts("columns", params.get("columns"))
        both = next((name for name in inputs if name in targets), None)
        if both is not None:
            raise ConfigError(f"{both!r} is among the columns and the target_column too")
        return cls(targets, inputs, kind, classes, delimiter)

    def split(self, names: Sequence[str]) -> tuple[list[str], list[str]]:
        """Input and target columns of a table with these columns.

        Raises:
            ConfigError: one that is chosen is not there, or nothing is left for the inputs.
        """
        for name in (*self.targets, *self.inputs):
            if name not in names:
                close = get_close_matches(name, names, n=1)
                more = "" if len(names) <= 20 else f", … ({len(names)} in all)"
                listed = f"the columns are {', '.join(names[:20])}{more}"
                raise ConfigError(
                    f"there is no column {name!r}", hint=f"Did you mean {close[0]!r}?" if close else listed
                )
        targets = list(self.targets) or [names[-1]]
        inputs = list(self.inputs) or [name for name in names if name not in targets]
        inputs = [name for name in inputs if name not in targets]
        if not inputs:
            raise ConfigError("no column is left for the inputs", hint="a table needs at least two columns")
        return inputs, targets


def _texts(key: str, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not value or not all(isinstance(text, str | int) for text in value):
        raise ConfigError(f"{key} must be a list of texts, not {value!r}")
    return tuple(str(text) for text in value)
