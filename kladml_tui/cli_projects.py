"""The commands about where runs are filed: projects, families and experiments."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kladml_core.errors import ConfigError, ExitCode
from kladml_core.runs.plain import inert
from kladml_core.workspace.choose import choose_workspace
from kladml_tui.cli_help import CommandGroup
from kladml_tui.cli_runs import Json, Workspace, above
from kladml_tui.cli_shared import print_json, print_rows, settings_of

if TYPE_CHECKING:
    from kladml_core.settings import Settings
    from kladml_core.workspace.hierarchy import Changed
    from kladml_core.workspace.places import PlaceRow

project_commands = typer.Typer(
    cls=CommandGroup,
    help="Projects, families and experiments, in which runs are filed. REF is project, project/family or "
    "project/family/experiment.",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
)
Ref = Annotated[str, typer.Argument(metavar="REF", help="project, project/family or project/family/experiment.")]
Title = Annotated[str | None, typer.Option("--title", metavar="TEXT", help="A few words that lists show with it.")]
About = Annotated[str | None, typer.Option("--description", metavar="TEXT", help="What it is about.")]


@project_commands.callback()
def project_help(context: typer.Context) -> None:
    """Projects, families and experiments."""
    if context.invoked_subcommand is None:
        print(inert(context.get_help(), newlines=True), file=sys.stderr)
        raise typer.Exit(ExitCode.BAD_TEXT)


@project_commands.command("list")
def list_places(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(metavar="REF", help="Only this one and what is in it.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Archived ones too.")] = False,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Lists projects, families and experiments with the number of their runs; with --all archived ones too."""
    from kladml_core.workspace.places import listing

    found = listing(_settings(context, workspace).data, reference)
    # What trains is shown, as on the screen.
    rows = found if everything else [row for row in found if not row.hidden or row.live]
    if json:
        print_json([row.to_json() for row in rows])
    elif rows:
        print_rows(("ref", "runs", "live", "title", ""), [_cells(row) for row in rows])
    else:
        print("no projects")
    if len(rows) < len(found):
        _say(f"{len(found) - len(rows)} archived; --all shows them")
    for row in rows:
        if row.description.problem:
            _say(row.description.problem)


@project_commands.command("create")
def create(
    context: typer.Context,
    reference: Ref,
    title: Title = None,
    description: About = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Makes a project, a family or an experiment, and what it lies in where that is missing."""
    from kladml_core.workspace import hierarchy

    data = _settings(context, workspace).data
    _tell("made", hierarchy.create(data, reference, title=title, description=description), json)


@project_commands.command("rename")
def rename(
    context: typer.Context,
    reference: Ref,
    to: Annotated[str, typer.Argument(metavar="NEW", help="The new name; or a whole REF, to move it elsewhere too.")],
    configs: Annotated[
        bool, typer.Option("--configs", help="Write the new name into the configs that name it.")
    ] = False,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Renames one without a live or queued run; tells what still names it, --configs changes the configs that do."""
    from kladml_core.workspace import hierarchy
    from kladml_core.workspace.config_places import naming, rename_in_configs
    from kladml_core.workspace.places import find_place

    settings = _settings(context, workspace)
    old = find_place(settings.data, reference).key
    naming_it = naming(settings, old)
    changed = hierarchy.rename(settings.data, reference, to)
    left = rename_in_configs(naming_it, old, changed.place.key) if configs else []
    _tell("renamed", changed, json, configs=[str(path) for path in naming_it], configs_changed=configs and not left)
    for problem in left:
        _say(problem)
    if naming_it and not configs:
        files = ", ".join(_shown(path, settings) for path in naming_it)
        _say(f"still named {old} in {files}; a run of it begins that name anew, unless you edit it")
    if left:
        raise typer.Exit(ExitCode.UNUSABLE)


@project_commands.command("describe")
def describe(
    context: typer.Context,
    reference: Ref,
    title: Title = None,
    description: About = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Sets title and description, or shows them where neither is given."""
    from kladml_core.workspace import hierarchy
    from kladml_core.workspace.places import listing

    data = _settings(context, workspace).data
    if title is not None or description is not None:
        hierarchy.describe(data, reference, title=title, description=description)
    row = listing(data, reference)[0]
    if json:
        print_json(row.to_json())
        return
    facts = [
        (row.place.kind, row.place.key),
        ("title", row.description.title),
        ("description", row.description.description),
        ("archived", "yes" if row.description.archived else ""),
        ("runs", str(row.runs)),
        ("problem", row.description.problem),
        ("path", str(row.place.folder(data))),
    ]
    print_rows(("", ""), [(name, value) for name, value in facts if value])


@project_commands.command("archive")
def archive(context: typer.Context, reference: Ref, workspace: Workspace = None, json: Json = False) -> None:
    """Hides one in lists. Its runs stay where they are, and launching into it shows it again."""
    from kladml_core.workspace import hierarchy

    _tell("archived", hierarchy.archive(_settings(context, workspace).data, reference), json)


@project_commands.command("unarchive")
def unarchive(context: typer.Context, reference: Ref, workspace: Workspace = None, json: Json = False) -> None:
    """Shows an archived one again."""
    from kladml_core.workspace import hierarchy

    _tell("shown again", hierarchy.archive(_settings(context, workspace).data, reference, archived=False), json)


@project_commands.command("delete")
def delete(
    context: typer.Context,
    reference: Ref,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this it is only shown.")] = False,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Moves one with all its runs into the trash, with --yes; `kladml-tui prune --undo` brings it back."""
    from kladml_core.workspace import hierarchy
    from kladml_core.workspace.places import listing

    if reference.strip("/").count("/") == 3:
        raise ConfigError(f"{reference!r} is a run", hint=f"`kladml-tui prune --runs {reference} --yes` deletes one")
    settings = _settings(context, workspace)
    row = listing(settings.data, reference)[0]
    if not yes:
        if json:
            print_json({"done": False, **row.to_json()})
        else:
            print_rows(("would go", "runs"), [(row.place.key, str(row.runs))])
            _say("nothing was moved; --yes moves it into the trash, where `kladml-tui prune --undo` finds it")
        return
    done = hierarchy.delete(settings.data, reference)
    _tell("deleted", done, json, done=True, entry=done.entry)
    if not json:
        _say(f"moved into the trash as {done.entry}; `kladml-tui prune --undo` brings it back")


def _settings(context: typer.Context, workspace: Path | None) -> Settings:
    return settings_of(choose_workspace(workspace or above(context)))


def _cells(row: PlaceRow) -> tuple[str, ...]:
    indent = "  " * (len(row.place.names) - 1)
    archived = "archived" if row.description.archived else ""
    return indent + row.place.key, str(row.runs), str(row.live or ""), row.description.title, archived


def _tell(what: str, changed: Changed, json: bool, **more: object) -> None:
    if json:
        kind, key = changed.place.kind, changed.place.key
        print_json({"ref": key, "kind": kind, "warnings": list(changed.warnings), **more})
    else:
        print_rows((what, ""), [(changed.place.key, changed.place.kind)])
    for warning in changed.warnings:
        _say(warning)


def _shown(path: Path, settings: Settings) -> str:
    return str(path.relative_to(settings.root) if path.is_relative_to(settings.root) else path)


def _say(text: str) -> None:
    print(inert(text), file=sys.stderr)
