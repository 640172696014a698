"""What was found in configs, as a text to read: their problems, or in what one differs from a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from textual.content import Content

from kladml_core.config.diff import MISSING
from kladml_core.config.emit import dump_value
from kladml_tui.screens.reading import Reading
from kladml_tui.text import content

if TYPE_CHECKING:
    from kladml_core.workspace.configs import ConfigRow, Difference

_CHANGES = {
    "identity": "makes it another run: no resume with it",
    "schedule": "a resume may change it",
    "free": "a resume may change it",
}


class Problems(Reading):
    """Every config with what is wrong with it."""

    def __init__(self, rows: Sequence[ConfigRow], workspace: Path) -> None:
        wrong = sum(bool(row.problems) for row in rows)
        configs = f"{len(rows)} config{'' if len(rows) == 1 else 's'}"
        super().__init__(f"{configs}, {wrong or 'none'} with problems")
        self._rows = rows
        self._workspace = workspace

    def draw(self, width: int) -> Sequence[Content]:
        """Those with problems first."""
        found: list[Content] = []
        for row in sorted(self._rows, key=lambda row: not row.problems):
            path = row.path
            name = path.relative_to(self._workspace) if path.is_relative_to(self._workspace) else path
            found.append(content(name, "$error bold" if row.problems else "bold"))
            for problem in row.problems:
                where = f"{problem.line}:{problem.column}  " if problem.line else ""
                found.append(content(f"  {where}{problem.message}", "$foreground"))
                if problem.hint:
                    found.append(content(f"  {problem.hint}", "$muted"))
            if not row.problems:
                found.append(content(f"  no problems; its runs go to {'/'.join(row.place or ())}", "$muted"))
        return found or [content("There is no config in this workspace.", "$muted")]


class Differences(Reading):
    """In what a config is another than the one that a run recorded."""

    def __init__(self, config: str, run: str, differences: Sequence[Difference]) -> None:
        super().__init__(f"{config} against {run}")
        self._names = (config, run)
        self._differences = differences

    def draw(self, width: int) -> Sequence[Content]:
        """Key by key, the config's value over the run's."""
        if not self._differences:
            return [content("They are the same, defaults included.", "$muted")]
        found: list[Content] = []
        for one in self._differences:
            heading = content(one.key, "$primary bold")
            found.append(Content.assemble(heading, (f"   {_CHANGES.get(one.change, one.change)}", "$muted")))
            for name, value in zip(("config", "run   "), (one.config, one.run), strict=True):
                text = "–" if value is MISSING else dump_value(value)
                found.append(Content.assemble((f"  {name}  ", "$muted"), content(text, "$foreground")))
        return found
