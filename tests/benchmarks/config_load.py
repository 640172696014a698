"""Loading the settings beside PyYAML reading the same text: `python -m tests.benchmarks.config_load`."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from kladml_core.backends import YamlConfig
from kladml_core.settings import load_settings
from tests.benchmarks.table import Row, measure, show

FILE = Path(__file__).resolve().parents[2] / "kladml.yaml"
LIMIT_MS = 10.0
ROUNDS = 50
ENVIRON = {
    "KLADML_UI__FPS": "9",
    "KLADML_TRACKER__URI": "http://host:5000",
    "KLADML_STORAGE__OPTIONS__ENDPOINT_URL": "http://host:9000",
    "KLADML_STORAGE__UPLOAD__CHECKPOINTS": "true",
}


def main() -> int:
    """Prints a table; 1 when a load takes longer than its limit."""
    cases = {
        "YamlConfig(kladml.yaml), all keys checked": lambda: YamlConfig(FILE, environ={}),
        "the same, and a key read under 4 variables": lambda: YamlConfig(FILE, environ=ENVIRON).get("ui.fps"),
        "load_settings with 4 variables": lambda: load_settings(FILE.parent, ENVIRON),
    }
    # What most programs call, and the fastest that PyYAML has; neither knows places or refuses duplicate keys.
    peers = {
        "yaml.safe_load": lambda: yaml.safe_load(FILE.read_text(encoding="utf-8")),
        "CSafeLoader": lambda: yaml.load(FILE.read_text(encoding="utf-8"), yaml.CSafeLoader),
    }
    times = measure([*cases.values(), *peers.values()], ROUNDS)
    rows = [
        Row(name, taken, peer, LIMIT_MS, peer_name)
        for name, taken in zip(cases, times, strict=False)
        for peer_name, peer in zip(peers, times[len(cases) :], strict=True)
    ]
    lines = len(FILE.read_text(encoding="utf-8").splitlines())
    show(f"Settings of {lines} lines, CPU time of one load (median of {ROUNDS})", rows)
    return int(not all(row.passed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
