"""Where a run comes from: who started it, with what code, on what machine, with what environment."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from textual.content import Content

from kladml_core.runs.rundir import RunDirectory
from kladml_tui.run_line import moment
from kladml_tui.text import one_line
from kladml_tui.widgets.text_lines import TextLines

_LABEL = 14


@dataclass(frozen=True)
class Provenance:
    """What was recorded, as read from the run's files."""

    path: str
    run: Mapping[str, Any]
    attempts: tuple[tuple[int, Mapping[str, Any]], ...]
    """Newest first."""
    patches: frozenset[int]
    """The attempts that hold an uncommitted.patch."""
    versions: Mapping[str, int | None]
    """Of each registered dataset that it was launched on, which version that was; None where it is none."""


def read_provenance(run: RunDirectory) -> Provenance:
    """Reads the record of every attempt; what is missing or damaged is empty. For threads."""
    from kladml_core.workspace.dataset_uses import datasets_of  # reads YAML: not before it is needed

    newest = run.latest_attempt() or 0
    numbers = range(newest, 0, -1)
    return Provenance(
        str(run.path),
        run.read_run() or {},
        tuple((number, run.read_attempt(number) or {}) for number in numbers),
        frozenset(number for number in numbers if (run.attempt_dir(number) / "uncommitted.patch").exists()),
        {use.dataset: use.version for use in datasets_of(run)},
    )


class ProvenanceView(TextLines):
    """The record as a text."""

    def show(self, found: Provenance) -> None:
        """Shows it."""
        self.show_lines(tuple(_text(found)), indent=_LABEL + 1)


def _text(found: Provenance) -> Iterator[Content]:
    run = found.run
    if not run:
        yield Content.styled("run.json is missing or damaged", "$error")
    yield from _facts(
        run=run.get("reference"),
        uid=run.get("uid"),
        created=_when(run.get("created")),
        seed=run.get("seed"),
        directory=found.path,
    )
    for name, fingerprint in _mapping(run.get("fingerprints")).items():
        version = found.versions.get(name)
        words = f"  version {version}" if version is not None else ""
        yield _fact("data", f"{name}{words}  {fingerprint}")
    for number, attempt in found.attempts:
        yield Content("")
        yield Content.styled(f"attempt {number}", "$primary bold")
        if not attempt:
            yield Content.styled("attempt.json is missing or damaged", "$error")
            continue
        yield from _attempt(number, attempt, found)


def _attempt(number: int, attempt: Mapping[str, Any], found: Provenance) -> Iterator[Content]:
    yield from _facts(
        started=_when(attempt.get("created")),
        by=f"{attempt.get('user', '?')} on {attempt.get('host', '?')}",
        source=_mapping(attempt.get("source")).get("file"),
        cloned_from=_mapping(attempt.get("cloned_from")).get("reference"),
        overrides=_words(attempt.get("overrides")),
        argv=_words(attempt.get("argv")),
        command=_words(attempt.get("command")),
    )
    git = attempt.get("git")
    if isinstance(git, Mapping):
        dirty = "with uncommitted changes" if git.get("dirty") else "clean"
        patch = "; they are in uncommitted.patch" if number in found.patches else ""
        yield _fact("git", f"{git.get('sha')}, {dirty}{patch}")
        if git.get("left_out"):
            yield _fact("left out", _words(git.get("left_out")))
    else:
        yield _fact("git", "the code is in no repository")
    versions = _mapping(attempt.get("versions"))
    if versions:
        yield _fact("versions", "  ".join(f"{name} {version}" for name, version in versions.items()))
    known = {
        "v",
        "attempt",
        "cloned_from",
        "created",
        "user",
        "host",
        "source",
        "overrides",
        "argv",
        "command",
        "git",
        "versions",
    }
    for key, value in attempt.items():
        if key not in known and key != "environment" and value not in (None, "", [], {}):
            yield _fact(key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    environment = _mapping(attempt.get("environment"))
    for name, value in _mapping(environment.get("values")).items():
        yield _fact("environment", f"{name}={value}")


def _facts(**facts: object) -> Iterator[Content]:
    for label, value in facts.items():
        if value not in (None, ""):
            yield _fact(label, value)


def _fact(label: str, value: object) -> Content:
    name = one_line(label).replace("_", " ")
    return Content.assemble((f"{name:<{_LABEL}} ", "$muted"), one_line(value))


def _when(value: object) -> str:
    return moment(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _words(value: object) -> str:
    return " ".join(str(item) for item in value) if isinstance(value, list) else ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
