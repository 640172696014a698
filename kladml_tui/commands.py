"""Every action of the app, declared once: id, keys, title, help, scope. Bindings, footer, palette and help follow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from textual.binding import Binding, BindingType

Scope = Literal["workbench", "config", "place", "dataset", "run", "checkpoints", "lists", "tree"]
"""Where the keys hold: everywhere on the workbench, on a config, a branch of the tree or a dataset, on a run, on its
page of checkpoints, in any list, in the tree alone."""

SCOPES: dict[Scope, str] = {
    "config": "The config under the cursor",
    "place": "The project, family or experiment under the cursor",
    "dataset": "The dataset under the cursor",
    "run": "The run under the cursor",
    "checkpoints": "The checkpoint under the cursor",
    "lists": "Moving about",
    "tree": "The tree",
    "workbench": "Everywhere",
}
"""The scopes in the order of the help, with their headings."""

TABS = ("curves", "events", "console", "config", "checkpoints", "provenance")
DATASET_PAGES = ("overview", "rows", "columns", "classes", "versions", "runs")
"""What the keys of the tabs open where a dataset is shown."""


@dataclass(frozen=True)
class Command:
    """One action."""

    id: str
    """Names it in kladml.yaml's ui.keymap."""
    keys: str
    """Its default keys, parted by commas, as Textual names them."""
    title: str
    """A word or two, for the footer."""
    help: str
    """A sentence, for help and palette."""
    scope: Scope
    action: str
    """The action as Textual writes it, e.g. `stop_run`, `tab('events')`."""
    footer: bool = False
    palette: bool = True
    """Whether the palette lists it; keys that only move about are not worth a line there."""

    def binding(self) -> Binding:
        """The binding as Textual takes it; the keymap finds it by its id."""
        return Binding(
            self.keys,
            self.action,
            self.title,
            show=self.footer,
            id=self.id,
            tooltip=self.help,
            # A key typed right after is then for the pane that has the keys by that time.
            priority=self.id.startswith("pane."),
        )


def _tabs() -> Iterator[Command]:
    for number, (tab, page) in enumerate(zip(TABS, DATASET_PAGES, strict=True), 1):
        what = f"Show the run's {tab}. Of a dataset: its {page}."
        yield Command(f"tab.{tab}", str(number), tab.capitalize(), what, "run", f"tab('{tab}')")


COMMANDS: tuple[Command, ...] = (
    Command("config.train", "t", "train", "Check the config and start a run of it.", "config", "train", True),
    Command("config.queue", "T", "queue", "Have the config wait in the queue for its turn.", "config", "enqueue", True),
    Command("config.edit", "e", "edit", "Edit the config here, checked while you type.", "config", "edit", True),
    Command(
        "config.external", "E", "$EDITOR", "Edit the config in the editor that $EDITOR names.", "config", "external"
    ),
    Command("config.duplicate", "C", "copy it", "Copy the config under another name.", "config", "duplicate"),
    Command("place.new", "plus", "new", "Make a project, family, experiment or config.", "place", "new_here", True),
    Command("place.rename", "m", "rename", "Rename it, or the config.", "place", "rename_here", True),
    Command("place.describe", "I", "describe", "Change its title and description.", "place", "describe_here"),
    Command("place.archive", "Z", "archive", "Hide it in the tree, or show it again.", "place", "archive_here"),
    Command(
        "place.delete",
        "D",
        "delete",
        "Move it with all its runs into the trash; in the list of runs, the run.",
        "place",
        "delete_here",
    ),
    Command(
        "dataset.add",
        "A",
        "add",
        "Register a file or a function as a dataset, or its next version.",
        "dataset",
        "add_dataset",
        True,
    ),
    Command(
        "dataset.check",
        "K",
        "check",
        "Compare the dataset with the disk; call the function of one.",
        "dataset",
        "check_dataset",
        True,
    ),
    Command(
        "dataset.remove",
        "X",
        "remove",
        "Move the registration into the trash; the data stays.",
        "dataset",
        "remove_dataset",
        True,
    ),
    Command("run.stop", "s", "stop", "Ask the run to save a checkpoint and stop; signals follow.", "run", "stop", True),
    Command("run.terminate", "S", "signal", "Stop the run by SIGTERM, then SIGKILL, at once.", "run", "terminate"),
    Command("run.keep", "u", "undo stop", "Take the stop back, while the run was only asked.", "run", "keep", True),
    Command("run.resume", "r", "resume", "Go on from the run's newest checkpoint.", "run", "resume", True),
    Command("run.again", "a", "again", "Start a new run of the config that this one recorded.", "run", "again", True),
    Command("run.clone", "n", "clone", "Open a copy of the run's config in the editor.", "run", "clone", True),
    Command("run.mark", "space", "mark", "Mark the run for comparing, or take its mark off.", "run", "mark", True),
    Command("run.diff", "d", "diff", "Show in what the marked runs differ.", "run", "diff", True),
    Command("run.unmark", "U", "unmark", "Take the marks off all runs.", "run", "unmark"),
    Command(
        "run.prune",
        "x",
        "prune",
        "Show what could go to free disk space, of the run or of all that the tree's cursor is on.",
        "run",
        "prune",
        True,
    ),
    *_tabs(),
    Command(
        "checkpoint.pin",
        "p",
        "pin",
        "Pin the checkpoint, so that nothing removes it, or take the pin away.",
        "checkpoints",
        "pin",
        True,
    ),
    Command("run.note", "i", "note", "Write a note, tags and a star on the run, live ones too.", "run", "note", True),
    Command("run.star", "asterisk", "star", "Give the run a star, or take it.", "run", "star"),
    Command(
        "runs.filter",
        "slash",
        "filter",
        "Show only the runs that match: status:running val/loss<0.05 tag:baseline word.",
        "workbench",
        "filter",
        True,
    ),
    Command(
        "runs.columns",
        "o",
        "order",
        "Choose the columns of the list of runs and what it is sorted by.",
        "workbench",
        "columns",
        True,
    ),
    Command("runs.save_view", "v", "save view", "Save filter, order and columns by name.", "workbench", "save_view"),
    Command(
        "runs.export", "w", "write", "Write the runs that are shown into a CSV or JSON file.", "workbench", "export"
    ),
    Command("copy", "y", "copy", "Copy the run's reference, or the config's path.", "workbench", "copy"),
    Command("pane.next", "tab", "pane", "Go to the next pane.", "workbench", "pane(1)", True, False),
    Command(
        "pane.previous", "shift+tab", "Pane back", "Go to the previous pane.", "workbench", "pane(-1)", False, False
    ),
    Command("back", "escape", "Back", "Leave the filter, or go back a pane.", "workbench", "back", False, False),
    Command("tree.narrower", "less_than_sign", "Tree narrower", "Make the tree narrower.", "workbench", "widen(-2)"),
    Command("tree.wider", "greater_than_sign", "Tree wider", "Make the tree wider.", "workbench", "widen(2)"),
    Command(
        "runs.shorter", "comma", "Runs shorter", "Show fewer lines of the list of runs.", "workbench", "heighten(-2)"
    ),
    Command(
        "runs.taller", "full_stop", "Runs taller", "Show more lines of the list of runs.", "workbench", "heighten(2)"
    ),
    Command("prune.undo", "b", "Bring back", "Put back what was pruned last.", "workbench", "undo_prune"),
    Command("tree.archived", "z", "Archived", "Show archived ones too, or hide them.", "workbench", "show_archived"),
    Command("configs.check", "V", "Check configs", "Check every config.", "workbench", "check_configs"),
    Command("queue", "Q", "Queue", "Show what waits in the queue, and change it.", "workbench", "queue"),
    Command("look", "R", "Look again", "Look at the workspace's files again.", "workbench", "look"),
    Command("notices", "N", "notices", "Show what is told of runs; try the command.", "workbench", "notices"),
    Command("help", "question_mark", "help", "What the keys do here.", "workbench", "help", True),
    Command("palette", "colon", "commands", "Find a command by its name.", "workbench", "palette", True, False),
    Command("quit", "q", "quit", "Leave the app. Runs go on.", "workbench", "leave", True),
    Command("list.down", "down,j", "Down", "One line down.", "lists", "down", False, False),
    Command("list.up", "up,k", "Up", "One line up.", "lists", "up", False, False),
    Command("list.page_down", "pagedown,ctrl+d", "Page down", "One page down.", "lists", "page(1)", False, False),
    Command("list.page_up", "pageup,ctrl+u", "Page up", "One page up.", "lists", "page(-1)", False, False),
    Command("list.top", "home,g", "Top", "To the first line.", "lists", "top", False, False),
    Command("list.bottom", "end,G", "Bottom", "To the last line.", "lists", "bottom", False, False),
    Command("list.open", "enter", "Open", "Open what the cursor is on.", "lists", "choose", False, False),
    Command("tree.close", "left,h", "Close", "Close a branch, or go to its parent.", "tree", "fold", False, False),
    Command("tree.open", "right,l", "Open", "Open a branch, or go into it.", "tree", "unfold", False, False),
)

BY_ID = {command.id: command for command in COMMANDS}


def bindings(*scopes: Scope) -> list[BindingType]:
    """The bindings of some scopes, in the order of the declarations."""
    return [command.binding() for command in COMMANDS if command.scope in scopes]
