"""The workspace as a tree: projects with their families and experiments, datasets, configs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual.content import Content

from kladml_tui.commands import bindings
from kladml_tui.look import Experiment, Look
from kladml_tui.messages import Moved
from kladml_tui.text import notice, one_line, pad
from kladml_tui.widgets.row_list import RowList

if TYPE_CHECKING:
    from kladml_tui.dataset_marks import DatasetMark

PROJECTS, DATASETS, CONFIGS = "projects", "datasets", "configs"
_GROUP = "group"
_RUNS = "runs:"
_FILE = {"dataset": "dataset:", "config": "config:"}


@dataclass(frozen=True)
class Node:
    """One row of the tree."""

    key: str
    kind: str
    """group, project, family, experiment, dataset or config."""
    label: str
    depth: int
    parent: str = ""
    runs: int = 0
    live: int = 0
    path: Path | None = None
    alert: str = ""
    """What is wrong with a dataset on the disk: changed, gone, wrong."""
    branch: bool = False
    """Whether it has something below it."""
    archived: bool = False
    """Whether it is archived itself, and shown all the same."""
    title: str = ""
    """What it is called in words."""

    @property
    def prefix(self) -> str | None:
        """What the runs below it begin with; None where it holds no runs."""
        if self.kind == _GROUP:
            return "" if self.key == PROJECTS else None
        return self.key.removeprefix(_RUNS) if self.key.startswith(_RUNS) else None


class WorkspaceTree(RowList):
    """The tree. Only what lies in open branches is made into rows."""

    BINDINGS = bindings("tree")

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._look = Look()
        self._by_key: dict[str, Node] = {}
        self._marks: Mapping[Path, DatasetMark] = {}
        self._open: set[str] = {PROJECTS, DATASETS, CONFIGS}
        self._wanted: str | None = None

    @property
    def node(self) -> Node | None:
        """The row under the cursor."""
        return self._by_key.get(self.cursor_key or "")

    @property
    def open_branches(self) -> tuple[str, ...]:
        """Keys of the open branches."""
        return tuple(sorted(self._open))

    def restore(self, open_branches: Iterable[str], selected: str) -> None:
        """Opens these branches and goes to this row as soon as it is there."""
        self._open = set(open_branches) or self._open
        self._wanted = selected or None

    def show(self, look: Look) -> None:
        """Shows the workspace as it is now; cursor, open branches and scrolling stay."""
        first = not self._by_key
        if first and not self._wanted:
            self._wanted = self._first_choice(look)
        self._look = look
        self._fill()
        if self._wanted and self.move_to(self._wanted):
            self._wanted = None
            self.post_message(Moved(self, self.cursor_key))

    def show_marks(self, marks: Mapping[Path, DatasetMark]) -> None:
        """Shows what is known of the datasets."""
        if marks != self._marks:
            self._marks = marks
            self._fill()

    def reveal(self, key: str) -> None:
        """Opens the branches above a row and goes to it, now or when it appears."""
        if key.startswith(_RUNS):
            self._open.add(PROJECTS)
            parts = key.removeprefix(_RUNS).split("/")
            self._open.update(_RUNS + "/".join(parts[:length]) for length in range(1, len(parts)))
        self._wanted = key
        self._fill()
        if self.move_to(key):
            self._wanted = None

    def row(self, key: str, width: int) -> Content:
        """`▾ vision`, its runs counted at the right end."""
        node = self._by_key[key]
        arrow = ("▾ " if key in self._open else "▸ ") if node.branch else "  "
        lead = "  " * node.depth + arrow
        count = str(node.runs) if node.runs else ""
        live = f"●{node.live} " if node.live else ""
        alert = f"{node.alert} " if node.alert else ""
        room = width - len(lead) - len(count) - len(live) - len(alert) - 1
        style = "bold" if node.kind == _GROUP else "$muted italic" if node.archived else ""
        return Content.assemble(
            (lead, "$muted"),
            (pad(node.label, room), style),
            (live, "$state-running"),
            (alert, _alert_style(node.alert)),
            (count, "$muted"),
            " ",
        )

    def action_unfold(self) -> None:
        """Opens the branch, or goes to its first row."""
        node = self.node
        if node is None or not node.branch:
            return
        if node.key in self._open:
            self.action_down()
        else:
            self._open.add(node.key)
            self._fill()

    def action_fold(self) -> None:
        """Closes the branch, or goes to its parent."""
        node = self.node
        if node is None:
            return
        if node.branch and node.key in self._open:
            self._open.discard(node.key)
            self._fill()
        elif node.parent:
            self.move_to(node.parent)

    def action_choose(self) -> None:
        """Enter opens and closes a branch that holds branches; of the rest the screen hears."""
        node = self.node
        if node is not None and node.branch:
            (self._open.discard if node.key in self._open else self._open.add)(node.key)
            self._fill()
        else:
            super().action_choose()

    def _fill(self) -> None:
        before, here = self._by_key, self.node
        self._by_key = {node.key: node for node in self._rows()}
        self.show_keys(tuple(self._by_key))
        if here is not None and here.path is not None and here.key not in self._by_key:
            # Not on to its neighbour: the next key was meant for the file that is gone.
            self.move_to(here.parent)
            notice(self.app, f"{here.label} is gone.", title=here.kind.capitalize())
        self.redraw(key for key, node in self._by_key.items() if before.get(key) != node or node.branch)

    def _rows(self) -> Iterable[Node]:
        look = self._look
        counts = _counts(look)
        runs, live = counts.get("", (0, 0))
        yield Node(PROJECTS, _GROUP, "Projects", 0, runs=runs, live=live, branch=bool(look.projects))
        if PROJECTS in self._open:
            yield from self._projects(counts)
        for group, label, kind, paths in (
            (DATASETS, "Datasets", "dataset", look.datasets),
            (CONFIGS, "Configs", "config", look.configs),
        ):
            yield Node(group, _GROUP, label, 0, branch=bool(paths))
            if group in self._open:
                names = [path.name for path in paths]
                for path in paths:
                    name = path.name if names.count(path.name) == 1 else f"{path.parent.name}/{path.name}"
                    label_of = name.removesuffix(".yaml") if kind == "dataset" else name
                    mark = self._marks.get(path) if kind == "dataset" else None
                    rows, state = (mark.rows or 0, mark.state) if mark is not None else (0, "")
                    alert = state if state in ("changed", "gone", "wrong") else ""
                    yield Node(f"{_FILE[kind]}{path}", kind, label_of, 1, group, runs=rows, path=path, alert=alert)

    def _projects(self, counts: dict[str, tuple[int, int]]) -> Iterable[Node]:
        look = self._look
        families_of: dict[str, list[str]] = {}
        for project, family in look.families:
            families_of.setdefault(project, []).append(family)
        experiments_of: dict[str, list[Experiment]] = {}
        for one in look.experiments:
            experiments_of.setdefault(f"{one.project}/{one.family}", []).append(one)
        for project in look.projects:
            key = _RUNS + project
            families = families_of.get(project, [])
            yield self._branch(key, "project", project, 1, PROJECTS, counts, bool(families))
            if key not in self._open:
                continue
            for family in families:
                below = f"{key}/{family}"
                experiments = experiments_of.get(f"{project}/{family}", [])
                yield self._branch(below, "family", family, 2, key, counts, bool(experiments))
                if below not in self._open:
                    continue
                for one in experiments:
                    yield self._branch(_RUNS + one.key, "experiment", one.name, 3, below, counts, False)

    def _branch(
        self, key: str, kind: str, name: str, depth: int, parent: str, counts: dict[str, tuple[int, int]], branch: bool
    ) -> Node:
        reference = key.removeprefix(_RUNS)
        runs, live = counts.get(reference, (0, 0))
        archived, title = reference in self._look.archived, self._look.titles.get(reference, "")
        return Node(key, kind, name, depth, parent, runs, live, branch=branch, archived=archived, title=title)

    def _first_choice(self, look: Look) -> str | None:
        """Where a person begins: at the experiment that wrote last, else at the first config."""
        newest = max(look.states.items(), key=lambda item: item[1].changed, default=None)
        experiments = [one for one in look.experiments if one.runs]
        if newest is not None or experiments:
            key = newest[0].rpartition("/")[0] if newest is not None else experiments[0].key
            parts = key.split("/")
            self._open.update(_RUNS + "/".join(parts[:length]) for length in range(1, len(parts)))
            return _RUNS + key
        return f"{_FILE['config']}{look.configs[0]}" if look.configs else None


def _alert_style(alert: str) -> str:
    if not alert:
        return ""
    from kladml_tui.dataset_text import STYLES  # not needed before the first frame

    return STYLES.get(alert, "")


def place_key(reference: str) -> str:
    """The key of the row of a project, a family or an experiment."""
    return _RUNS + reference


def config_key(path: Path) -> str:
    """The key of the row of a config."""
    return f"{_FILE['config']}{path}"


def experiment_key(reference: str) -> str:
    """The key of the row of a run's experiment."""
    return _RUNS + reference.rpartition("/")[0]


def _counts(look: Look) -> dict[str, tuple[int, int]]:
    """Runs and live runs below each prefix; of the whole under ""."""
    live: dict[str, int] = {}
    for reference, state in look.states.items():
        if state.live:
            key = reference.rpartition("/")[0]
            live[key] = live.get(key, 0) + 1
    counts: dict[str, tuple[int, int]] = {}
    for one in look.experiments:
        for prefix in ("", one.project, f"{one.project}/{one.family}", one.key):
            runs, alive = counts.get(prefix, (0, 0))
            counts[prefix] = runs + len(one.runs), alive + live.get(one.key, 0)
    return counts


def place(node: Node | None, workspace: Path) -> str:
    """What the row stands for, as the top line says it."""
    if node is None or node.kind == _GROUP:
        return ""
    if node.path is not None:
        path = node.path.relative_to(workspace) if node.path.is_relative_to(workspace) else node.path
        return one_line(path)
    title = f" · {node.title}" if node.title else ""
    return one_line(f"{node.key.removeprefix(_RUNS)}{title}{' · archived' if node.archived else ''}")
