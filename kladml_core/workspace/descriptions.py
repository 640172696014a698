"""What projects, families and experiments say of themselves: title, description and archive flag in a small YAML file.

    <data>/projects/<project>/project.yaml  <family>/family.yaml  <experiment>/experiment.yaml

    title: Digits
    description: 8x8 grey images
    archived: true

The files are a person's own as well: other keys and comments are kept, and a damaged one hides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kladml_core.config.load import read
from kladml_core.config.place_names import FILES
from kladml_core.errors import KladMLError, UnusableError


@dataclass(frozen=True)
class Description:
    """What is written of a project, a family or an experiment."""

    title: str = ""
    description: str = ""
    archived: bool = False
    problem: str = ""
    """Why the file says nothing that can be used."""


def description_file(folder: Path, depth: int) -> Path:
    """The file in a project's, a family's or an experiment's folder.

    Args:
        folder: the folder.
        depth: 1 for a project, 2 for a family, 3 for an experiment.
    """
    return folder / FILES[depth - 1]


def read_description(file: Path) -> Description:
    """What the file says; nothing where it is missing, and why where it is damaged."""
    if not file.exists():
        return Description()
    try:
        data = read(file, empty_ok=True).data
    except KladMLError as error:
        return Description(problem=str(error))
    title, description, archived = data.get("title"), data.get("description"), data.get("archived")
    wrong = [
        f"{key} is no text"
        for key, value in (("title", title), ("description", description))
        if not isinstance(value, str | None)
    ]
    if not isinstance(archived, bool | None):
        wrong.append("archived is neither true nor false")
    return Description(
        title if isinstance(title, str) else "",
        description if isinstance(description, str) else "",
        archived is True,
        f"{file}: {', '.join(wrong)}" if wrong else "",
    )


def write_description(
    file: Path, *, title: str | None = None, description: str | None = None, archived: bool | None = None
) -> None:
    """Sets what is given and leaves the rest of the file as it is; a missing file is made.

    Raises:
        ConfigError: the file is damaged; it is left alone.
        UnusableError: it cannot be written.
    """
    from kladml_core.config.edit_key import set_key

    if not file.parent.is_dir():
        raise UnusableError(f"{file.parent} is not there any more")
    for key, value in (("title", title), ("description", description), ("archived", archived)):
        if value is not None:
            set_key(file, key, value)


def bring_back(run: Path) -> tuple[str, ...]:
    """Takes the project, family and experiment of a new run out of the archive: what trains is to be seen.

    Args:
        run: the run's directory.

    Returns:
        what a person should know of it; empty where nothing was archived.
    """
    said = []
    for depth, folder in ((1, run.parents[2]), (2, run.parents[1]), (3, run.parents[0])):
        file = description_file(folder, depth)
        if not read_description(file).archived:
            continue
        try:
            write_description(file, archived=False)
            said.append(f"{file.stem} {folder.name!r} was archived; it is shown again")
        except KladMLError as error:
            said.append(f"{file.stem} {folder.name!r} is archived, and stays so: {error}")
    return tuple(said)
