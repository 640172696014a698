"""Sets one value in YAML text that a person wrote: comments, order and quotes stay. The only user of ruamel.yaml."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from kladml_core.config.load import Document, dump, parse
from kladml_core.config.override import parse_value, with_value
from kladml_core.errors import ConfigError


class _Representer(RoundTripRepresenter):
    """Writes nothing as `null`, as the file of defaults does."""


_Representer.add_representer(type(None), lambda this, _: this.represent_scalar("tag:yaml.org,2002:null", "null"))


def set_value(text: str, file: str, parts: Sequence[str], value: Any) -> str:
    """The text with the value put under a key.

    Args:
        text: YAML whose top level is a mapping, or nothing.
        file: what to call it in messages.
        parts: the key, in parts.
        value: plain data: text, numbers, lists, mappings.

    Raises:
        ConfigError: the text is no YAML mapping, or the parts lead below a plain value.
    """
    document = parse(text, file, empty_ok=True)
    wanted = with_value(document, parts, value, f"set {'.'.join(parts)}").data
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.preserve_quotes = True
    yaml.width = 4096  # a long line is a person's choice
    # Where a line of dashes begins the document, it stays, and so do the comments above it, which ruamel.yaml drops.
    start = re.match(r"(\ufeff?(?:[ \t]*(?:#.*)?\r?\n)*)---\s", text)
    yaml.explicit_start = start is not None
    data = yaml.load(text)
    if data is None:
        # Nothing but comments, which ruamel.yaml would drop.
        return (text if not text or text.endswith("\n") else f"{text}\n") + dump(wanted)
    _keep_indentation(yaml, document)
    holder = data
    for part in parts[:-1]:
        if isinstance(holder, CommentedMap) and holder.get(part) is None:
            holder[part] = CommentedMap()
        holder = holder[int(part)] if isinstance(holder, CommentedSeq) else holder[part]
    holder[int(parts[-1]) if isinstance(holder, CommentedSeq) else parts[-1]] = _quoted(value)
    stream = io.StringIO()
    yaml.dump(data, stream)
    written = (start[1] if start is not None else "") + stream.getvalue()
    if "\r\n" in text:
        written = written.replace("\r\n", "\n").replace("\n", "\r\n")
    # ruamel.yaml and our reader may differ in what a text means; the values count more than the comments then.
    return written if parse(written, file, empty_ok=True).data == wanted else dump(wanted)


def _quoted(value: Any) -> Any:
    """The value with every text in quotes that would be read as something else."""
    if isinstance(value, str):
        return value if _reads_as_itself(value) else DoubleQuotedScalarString(value)
    if isinstance(value, dict):
        return {key: _quoted(below) for key, below in value.items()}
    return [_quoted(item) for item in value] if isinstance(value, list | tuple) else value


def _reads_as_itself(value: str) -> bool:
    try:
        return value == value.strip() and parse_value(value, "") == value
    except ConfigError:
        return False


def _keep_indentation(yaml: YAML, document: Document) -> None:
    """Has mappings and lists indented as the first ones of the text are."""
    mapping, offset = 2, 0
    for path, (line, column) in document.key_positions.items():
        # Only below another key, and not in braces on its line, does a key say how mappings are indented.
        above = document.key_positions.get(path[:-1])
        if above is not None and line > above[0]:
            mapping = column - above[1]
            break
    for path, (line, column) in document.positions.items():
        above = document.key_positions.get(path[:-1])
        if path and path[-1] == 0 and above is not None and line > above[0]:
            offset = max(0, column - above[1] - len("- "))
            break
    yaml.indent(mapping=mapping, sequence=offset + len("- "), offset=offset)
