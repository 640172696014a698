"""What README shows, for the tests that run it as it stands there."""

from __future__ import annotations

import re

from tests.system.command import ROOT


def python_blocks() -> list[str]:
    """The snippets in Python, in order."""
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.S | re.M)


def runner_snippet() -> str:
    """The one that shows ExperimentRunner."""
    (snippet,) = [block for block in python_blocks() if "ExperimentRunner(" in block]
    return snippet
