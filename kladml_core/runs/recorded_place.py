"""A recorded config after its run was renamed: it names the project, family and experiment that the run had then."""

from __future__ import annotations

from kladml_core.config.document import Document
from kladml_core.config.override import with_value
from kladml_core.runs.rundir import RunDirectory

_SOURCE = "where the run lies now"


def present_names(run: RunDirectory) -> dict[str, str]:
    """Project, family and experiment in which a run lies; empty for a directory that lies in no workspace."""
    ref = run.ref
    if run.path.absolute().parents[3].name != "projects":
        return {}
    return {"project": ref.project, "family": ref.family, "experiment": ref.experiment}


def with_present_names(document: Document, run: RunDirectory) -> Document:
    """The run's recorded config with the names that its project, family and experiment have now."""
    for key, name in present_names(run).items():
        if document.data.get(key) != name:
            document = with_value(document, (key,), name, _SOURCE)
    return document


def text_with_present_names(text: str, run: RunDirectory) -> str:
    """The text of the recorded config with those names; other lines stay as they are.

    Raises:
        ConfigError: the text is no YAML mapping.
    """
    from kladml_core.config.edit_key import with_key
    from kladml_core.config.load import parse

    data = parse(text, str(run.config)).data
    for key, name in present_names(run).items():
        if data.get(key) != name:
            text = with_key(text, str(run.config), key, name)
    return text
