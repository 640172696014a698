"""The number that an experiment's next run gets: one that no run ever had, not even one that is gone."""

from __future__ import annotations

import re
from pathlib import Path

FILE = "experiment.yaml"
KEY = "last_run"
_RUN = re.compile(r"run_(\d{4,})")
# Read as text and not as YAML: a slip in a person's file must neither stop a launch nor give a number twice.
_LAST = re.compile(rf"\b{KEY}[\"']?\s*:\s*(\d+)")


def next_number(experiment: Path) -> int:
    """The next run's number, from the runs that are there and from `last_run` in experiment.yaml.

    Raises:
        OSError: the experiment's directory cannot be listed.
    """
    here = [int(match[1]) for path in experiment.iterdir() if (match := _RUN.fullmatch(path.name))]
    # Read after the listing: a run that is missing there was remembered before it was moved away.
    return 1 + max([*here, _last(experiment)], default=0)


def remember(run: Path) -> None:
    """Writes into experiment.yaml that this run's number was given; to be called before the run is moved away.

    Raises:
        ConfigError: experiment.yaml is damaged; it is left alone.
        UnusableError: it cannot be read or written.
    """
    from kladml_core.config.edit_key import set_key

    match = _RUN.fullmatch(run.name)
    number = int(match[1]) if match else 0
    if number > _last(run.parent):
        set_key(run.parent / FILE, KEY, number)


def _last(experiment: Path) -> int:
    try:
        text = (experiment / FILE).read_bytes().decode("utf-8", "replace")
    except OSError:
        return 0
    return max((int(digits) for digits in _LAST.findall(text)), default=0)
