"""Takes the references to a renamed project, family or experiment along: the queue's items and what is listened to.

Identity of a run is its `uid`; these are the places where its path or its reference is written down beside that.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kladml_core.errors import KladMLError
from kladml_core.runs.files import read_object, write_json
from kladml_core.runs.processes import host_name
from kladml_core.runs.queue_items import changing, queue_dir, read_items, write_item


def rename_references(data: Path, old: str, new: str) -> tuple[str, ...]:
    """Writes the new name where this user's queue and background processes name runs of the old one.

    Args:
        data: the workspace's data directory.
        old: the reference before, e.g. `vision/digits`.
        new: the reference now.

    Returns:
        what could not be changed, each in a sentence.
    """
    left = [*_in_queue(data, old, new), *_in_lists(data, old, new)]
    return tuple(left)


def _in_queue(data: Path, old: str, new: str) -> list[str]:
    left: list[str] = []
    hosts = sorted(path.name for path in queue_dir(data).parent.glob("*") if path.is_dir())
    for host in hosts:
        named = [item for item in read_items(data, host) if item.run.startswith(f"{old}/")]
        others = [item for item in named if not item.mine or host != host_name()]
        left += [
            f"the queue of {item.user} on {host} still names {item.run}; it cannot be retried there" for item in others
        ]
        if len(others) == len(named):
            continue
        try:
            with changing(data):
                for item in read_items(data, host):
                    if item.mine and item.run.startswith(f"{old}/"):
                        write_item(data, replace(item, run=new + item.run.removeprefix(old)))
        except KladMLError as error:
            left.append(f"the queue still names {old}: {error}")
    return left


def _in_lists(data: Path, old: str, new: str) -> list[str]:
    """The lists of this host's background processes: a file for each run that they are to see to."""
    before = (data / "projects" / old).resolve()
    after = (data / "projects" / new).resolve()
    left: list[str] = []
    for file in sorted((data / ".background" / host_name()).glob("*/*.json")):
        entry = read_object(file) or {}
        run = entry.get("run")
        if not isinstance(run, str):
            continue
        if Path(run).is_relative_to(before):
            moved = str(after / Path(run).relative_to(before))
        elif run.startswith(f"{old}/"):
            moved = new + run.removeprefix(old)
        else:
            continue
        try:
            write_json(file, {**entry, "run": moved})
        except OSError as error:
            left.append(f"{file} still names {old}: {error.strerror}")
    return left
