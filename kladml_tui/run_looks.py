"""How runs are told apart in a comparison: each gets a colour and a character of its own, the same in every view."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

MARKERS = "■▲▼○□△▽◉◈★◐◧"
"""Characters that stand on the curves and in the legend: runs differ by them where no colour is seen."""
COLOURS = 8
"""What every theme has at least; see `kladml_tui.theme_file`."""


@dataclass(frozen=True)
class RunLook:
    """How a run is drawn."""

    colour: int
    """Which of the theme's colours of curves."""
    marker: str


def run_looks(identities: Sequence[str]) -> tuple[RunLook, ...]:
    """The looks of some runs, from their identities alone, whatever order they come in.

    A colour, and a marker, is used again only when all have been used as often; no two of the first 96 runs have both
    in common.

    Args:
        identities: of each run its uid, or its reference where it has none.
    """
    found: dict[str, RunLook] = {}
    colours, markers = [0] * COLOURS, [0] * len(MARKERS)
    pairs: set[tuple[int, int]] = set()
    for identity in sorted(set(identities), key=_hash):
        number = _hash(identity)
        if len(pairs) == COLOURS * len(MARKERS):
            pairs.clear()
        marker_order = sorted(
            range(len(MARKERS)), key=lambda at: (markers[at], (at - number // COLOURS) % len(MARKERS))
        )
        colour_order = sorted(range(COLOURS), key=lambda at: (colours[at], (at - number) % COLOURS))
        colour, marker = next(
            (colour, marker) for colour in colour_order for marker in marker_order if (colour, marker) not in pairs
        )
        pairs.add((colour, marker))
        colours[colour] += 1
        markers[marker] += 1
        found[identity] = RunLook(colour, MARKERS[marker])
    return tuple(found[identity] for identity in identities)


def _hash(identity: str) -> int:
    return int.from_bytes(hashlib.blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
