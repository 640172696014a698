"""Views of the runs that were saved by name: filter, sort and columns, in `data/views.yaml`.

good ones:
  filter: status:finished val/loss<0.05
  sort: best:val/loss
  reverse: false
  columns: [status, best:val/loss, params]
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from kladml_core.config.edit_key import REMOVED, edit_keys
from kladml_core.config.load import read
from kladml_core.errors import ConfigError, UnusableError
from kladml_core.workspace.columns import check_columns
from kladml_core.workspace.filters import FilterError, parse
from kladml_core.workspace.values import value_named

FILE = "views.yaml"
MAX_NAME = 100
_KEYS = ("filter", "sort", "reverse", "columns")


@dataclass(frozen=True)
class View:
    """How runs are shown."""

    filter: str = ""
    sort: str = ""
    """A value by which they are sorted; empty is the newest first."""
    reverse: bool = False
    columns: tuple[str, ...] = ()
    """Values, and `params` for all parameters in which the runs differ; none are the usual ones."""

    def checked(self) -> View:
        """The view itself, once all of it can be understood.

        Raises:
            FilterError: the filter cannot be.
            ConfigError: the sort or a column cannot be.
        """
        parse(self.filter)
        if self.sort:
            value_named(self.sort)
        check_columns(self.columns)
        return self

    def to_json(self) -> dict[str, Any]:
        """As `views list --json` prints it."""
        return {"filter": self.filter, "sort": self.sort, "reverse": self.reverse, "columns": list(self.columns)}


def read_views(data: Path) -> dict[str, View]:
    """The saved views by name, in their order; those of a file that a person wrote with the rest left at its default.

    Raises:
        ConfigError: views.yaml is wrong, with its place.
        UnusableError: it cannot be read.
    """
    file = data / FILE
    if not file.exists():
        return {}
    document = read(file, empty_ok=True)
    found: dict[str, View] = {}
    for name, entry in document.data.items():
        if not isinstance(entry, Mapping):
            raise _fault(file, document.key_position((name,)), f"view {name!r} must be a mapping")
        for key, value in entry.items():
            at = document.key_position((name, key))
            if key not in _KEYS:
                close = get_close_matches(key, _KEYS, n=1)
                hint = f"Did you mean {close[0]}?" if close else f"The keys are {', '.join(_KEYS)}"
                raise _fault(file, at, f"unknown key {key!r} of view {name!r}", hint)
            if key == "columns":
                right = isinstance(value, list) and all(isinstance(one, str) for one in value)
            else:
                right = isinstance(value, bool if key == "reverse" else str)
            if value is not None and not right:
                wanted = {"columns": "a list of texts", "reverse": "true or false"}.get(key, "text")
                raise _fault(file, at, f"{key} of view {name!r} must be {wanted}")
        view = View(
            entry.get("filter") or "",
            entry.get("sort") or "",
            bool(entry.get("reverse")),
            tuple(entry.get("columns") or ()),
        )
        try:
            found[name] = view.checked()
        except ConfigError as error:
            key = "filter" if isinstance(error, FilterError) else "sort" if entry.get("sort") else "columns"
            at = document.key_position((name, key))
            raise _fault(file, at, f"view {name!r}: {error.message}", error.hint) from None
    return found


def find_view(data: Path, name: str) -> View:
    """The view of that name.

    Raises:
        ConfigError: there is none, or views.yaml is wrong.
    """
    views = read_views(data)
    if name in views:
        return views[name]
    raise _unknown(name, list(views))


def save_view(data: Path, name: str, view: View) -> None:
    """Saves a view, over one of the same name, in one step; other views and comments stay.

    Raises:
        ConfigError: the name cannot be one, the view cannot be understood, or views.yaml is damaged.
        UnusableError: it cannot be written.
    """
    name = checked_name(name)
    view.checked()
    entry = {key: value for key, value in view.to_json().items() if value}
    try:
        data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableError(f"cannot write {data / FILE}: {error.strerror}") from error
    edit_keys(data / FILE, lambda _: {name: entry})


def remove_view(data: Path, name: str) -> None:
    """Removes a view, be it right or wrong; raises as `save_view`, and ConfigError where there is none of that name."""

    def change(views: Mapping[str, Any]) -> dict[str, Any]:
        if name not in views:
            raise _unknown(name, list(views))
        return {name: REMOVED}

    edit_keys(data / FILE, change)


def checked_name(text: str) -> str:
    """The name that a text makes: without blanks around it, its accents in one form.

    Raises:
        ConfigError: it is empty, too long, or holds a control character.
    """
    name = unicodedata.normalize("NFC", text).strip()
    if not name or len(name) > MAX_NAME or any(unicodedata.category(one)[0] == "C" for one in name):
        raise ConfigError(f"{text!r} cannot name a view", hint=f"Use 1 to {MAX_NAME} characters, no control characters")
    return name


def _unknown(name: str, known: Sequence[str]) -> ConfigError:
    close = get_close_matches(name, known, n=1)
    there = f"There are {', '.join(known[:8])}" if known else "None is saved yet: `kladml-tui views save NAME …`"
    return ConfigError(f"there is no view {name!r}", hint=f"Did you mean {close[0]!r}?" if close else there)


def _fault(file: Path, at: tuple[int, int], message: str, hint: str | None = None) -> ConfigError:
    return ConfigError(message, hint=hint, file=str(file), line=at[0], column=at[1])
