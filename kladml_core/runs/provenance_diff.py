"""In what the origins of runs differ: code, packages, machine, environment, data, seed and command line."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kladml_core.config.diff import diff
from kladml_core.runs.events import first_event
from kladml_core.runs.provenance import PACKAGES_FILE, PATCH_FILE, read_packages
from kladml_core.runs.rundir import RunDirectory

_FACTS = ("argv", "overrides", "in_process", "host", "user", "platform", "cpus")


def provenance_diff(runs: Sequence[RunDirectory]) -> list[tuple[str, tuple[object, ...]]]:
    """What differs in how runs came about, each by its newest attempt; for their configs there is `config.diff`.

    Returns:
        the dotted keys that differ, each with the value of every run: `kladml_core.config.diff.MISSING` where a run
        recorded none. Uncommitted changes are compared by content: equal patches have equal values.
    """
    return diff([origin(run) for run in runs])


def origin(run: RunDirectory) -> dict[str, Any]:
    """How a run came about, by its newest attempt, as a nested mapping without what it has not recorded."""
    identity = run.read_run() or {}
    number = run.latest_attempt()
    attempt = (None if number is None else run.read_attempt(number)) or {}
    directory = run.attempt_dir(number or 1)
    git, versions = _mapping(attempt.get("git")), dict(_mapping(attempt.get("versions")))
    python = versions.pop("python", None)
    found = {
        "seed": identity.get("seed"),
        # Data that a function gives is known once the worker has called it.
        "data": identity.get("fingerprints") or _seen_by_the_worker(run),
        "code": {**git, "uncommitted": _patch(directory / PATCH_FILE)} if git else {},
        "python": python,
        # Of a run from before all packages were listed, the main ones are known.
        "packages": read_packages(directory / PACKAGES_FILE) or versions,
        "environment": _mapping(_mapping(attempt.get("environment")).get("values")),
        "source": _mapping(attempt.get("source")).get("file"),
        **{key: attempt.get(key) for key in _FACTS},
    }
    return {key: value for key, value in found.items() if value not in (None, {})}


def _seen_by_the_worker(run: RunDirectory) -> Mapping[str, Any]:
    started = first_event(run.events, "run_started") or {}
    return _mapping(started.get("fingerprints"))


def _patch(path: Path) -> str:
    try:
        return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
    except OSError:
        return "none"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
