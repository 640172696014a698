"""The command that writes on runs: note, tags, star; while they train, too."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kladml_core.errors import ConfigError, KladMLError
from kladml_core.runs.plain import inert
from kladml_core.workspace.choose import choose_workspace
from kladml_tui.cli_runs import Json, Workspace, above
from kladml_tui.cli_shared import print_json, print_rows, settings_of

if TYPE_CHECKING:
    from kladml_core.runs.notes import Notes
    from kladml_core.runs.rundir import RunDirectory


def add_commands(app: typer.Typer) -> None:
    """Registers the command."""
    app.command("note")(note)


def note(
    context: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN… [TEXT]",
            help="Runs, then the new note where the last word names no run; '' for none. --text is always the note.",
        ),
    ],
    text: Annotated[str | None, typer.Option("--text", help="The new note; every word is a run then.")] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", metavar="T", help="Add a tag. May be repeated.")] = None,
    untag: Annotated[list[str] | None, typer.Option("--untag", metavar="T", help="Take a tag away.")] = None,
    star: Annotated[bool | None, typer.Option("--star/--no-star", help="Give a star, or take it.")] = None,
    edit: Annotated[bool, typer.Option("--edit", help="Write the note in $EDITOR.")] = False,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Writes a note, tags or a star on runs, live ones too; without anything to write it tells what is written."""
    from kladml_core.runs.notes import checked_tag, edit_notes, read_notes

    data = settings_of(choose_workspace(workspace or above(context))).data
    chosen, said = _runs_and_text(data, words, text)
    for one in tag or []:
        checked_tag(one)  # before the first run is written on
    if edit:
        if said is not None or len(chosen) != 1:
            raise ConfigError("--edit takes one run and no text")
        said = _edited(read_notes(chosen[0]).note)
    changes = said is not None or tag or untag or star is not None
    rows: list[tuple[RunDirectory, Notes]] = []
    code = 0
    for run in chosen:
        try:
            if changes:
                rows.append((run, edit_notes(run, note=said, tag=tag or (), untag=untag or (), star=star)))
            else:
                rows.append((run, read_notes(run)))
        except KladMLError as error:
            if len(chosen) == 1:
                raise
            print(inert(f"kladml-tui: {run.reference}: {error}", newlines=True), file=sys.stderr)
            code = code or int(error.exit_code)
    if json:
        print_json([{"run": run.reference, **notes.to_json()} for run, notes in rows])
    else:
        print_rows(
            ("run", "star", "tags", "note"),
            [(run.reference, "★" if one.star else "", ", ".join(one.tags), one.note) for run, one in rows],
        )
    raise typer.Exit(code)


def _runs_and_text(data: Path, words: list[str], text: str | None) -> tuple[list[RunDirectory], str | None]:
    """The runs that are named, and the note: the last word where it names no run."""
    from kladml_core.runs.ref import find_run

    found = []
    for place, word in enumerate(words):
        try:
            found.append(find_run(data, word))
        except KladMLError:
            # What looks like a run is one: a slip in its name must not become a note.
            if text is not None or place == 0 or place < len(words) - 1 or _like_a_run(word):
                raise
            text = word
    return list({run.path: run for run in found}.values()), text


def _like_a_run(word: str) -> bool:
    from kladml_core.runs.ref import RUN_NAME

    return word.isdigit() or RUN_NAME.fullmatch(word.rstrip("/").rpartition("/")[2]) is not None


def _edited(before: str) -> str | None:
    """The note as $EDITOR leaves it; None where it was not changed."""
    import tempfile

    from kladml_tui.run_actions import edit_outside, outside_editor

    editor = outside_editor()
    with tempfile.TemporaryDirectory(prefix="kladml-note-") as folder:
        file = Path(folder) / "note.txt"
        file.write_text(before, encoding="utf-8")
        edit_outside(editor, file)
        try:
            after = file.read_text(encoding="utf-8").rstrip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the note cannot be read back: {error}") from error
    return None if after == before else after
