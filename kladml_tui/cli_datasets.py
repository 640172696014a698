"""The commands about datasets: register, list, show, versions, check, remove."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kladml_core.errors import ConfigError, ExitCode, KladMLError
from kladml_core.runs.plain import inert
from kladml_core.workspace.choose import choose_workspace
from kladml_tui.cli_dataset_show import Name, fact_rows, facts_json, say, show, version_text
from kladml_tui.cli_help import CommandGroup
from kladml_tui.cli_runs import Json, Workspace, above
from kladml_tui.cli_shared import print_json, print_rows, settings_of

if TYPE_CHECKING:
    from kladml_core.settings import Settings
    from kladml_core.workspace.datasets import DatasetRegistration

dataset_commands = typer.Typer(
    cls=CommandGroup,
    help="Datasets: data under a name that configs use, with what it looked like when it was registered.",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
)
dataset_commands.command("show")(show)


@dataset_commands.callback()
def dataset_help(context: typer.Context) -> None:
    """Datasets."""
    if context.invoked_subcommand is None:
        print(inert(context.get_help(), newlines=True), file=sys.stderr)
        raise typer.Exit(ExitCode.BAD_TEXT)


@dataset_commands.command("add")
def add(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="PATH|TARGET",
            help="A .csv, .parquet, .npz or .safetensors file, or module:function, which is called in a process of "
            "its own.",
        ),
    ],
    name: Annotated[str | None, typer.Option("--name", help="Its name; else that of the file or function.")] = None,
    split: Annotated[str | None, typer.Option("--split", help="train, val or test.")] = None,
    description: Annotated[str | None, typer.Option("--description", metavar="TEXT", help="What it is.")] = None,
    params: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            metavar="KEY=VALUE",
            help="An argument of the function; of a file target_column, columns, target_type, classes or delimiter. "
            "In YAML; may be repeated.",
        ),
    ] = None,
    update: Annotated[bool, typer.Option("--update", help="Make it the next version of other data's name.")] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Hash every byte of a file over 1 GiB too, of which else blocks are hashed."),
    ] = False,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1.0, help="How long the data may be looked through.")
    ] = 60.0,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Registers data; of one that is registered it makes a new version where the data has changed."""
    from kladml_core.config.override import split_override
    from kladml_core.workspace.dataset_register import add as register

    root = choose_workspace(workspace or above(context))
    given: dict[str, Any] = {}
    for word in params or []:
        path, value = split_override(word)
        if len(path) != 1:
            raise ConfigError(f"--param takes KEY=VALUE without dots in the key, not {word!r}")
        given[path[0]] = value
    done = register(
        root,
        source,
        base=Path.cwd(),
        name=name,
        split=split,
        description=description,
        params=given if params else None,
        update=update,
        verify=verify,
        seconds=seconds,
    )
    made = done.registration
    if json:
        print_json({"what": done.what, **facts_json(made, root), "notes": list(done.notes)})
        return
    print_rows(("", ""), [("dataset", made.file.stem), ("this is", _what(done.what, made)), *fact_rows(made)])
    for note in done.notes:
        say(note)


@dataset_commands.command("list")
def list_datasets(
    context: typer.Context,
    run: Annotated[str | None, typer.Option("--run", metavar="RUN", help="Only those that a run trains on.")] = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Lists the datasets, and whether each is on the disk what it was when it was registered."""
    from kladml_core.workspace.dataset_state import state_of
    from kladml_core.workspace.workspace import Workspace as Files

    root = choose_workspace(workspace or above(context))
    settings = settings_of(root)
    if run is not None:
        _list_of_run(settings, run, json)
        return
    lines, rows = [], []
    for file in Files(root, settings).datasets():
        state = state_of(file, root)
        made = None if state.state == "wrong" else _readable(file)
        lines.append({**state.to_json(), **(facts_json(made, root) if made else {"file": str(file)})})
        cells = ("?", "", "", "") if made is None else _cells(made)
        rows.append((file.stem, *cells, state.state))
        if not state.good:
            say(f"{file.stem}: {state.how}")
    if json:
        print_json(lines)
    elif rows:
        print_rows(("dataset", "format", "rows", "size", "split", "on disk"), rows)
    else:
        print("no dataset is registered")


@dataset_commands.command("versions")
def versions(context: typer.Context, name: Name, workspace: Workspace = None, json: Json = False) -> None:
    """Lists the versions of a dataset, the newest last, with how many runs were launched on each."""
    from kladml_core.workspace.dataset_state import compare
    from kladml_core.workspace.dataset_uses import runs_using
    from kladml_core.workspace.datasets import find_registration
    from kladml_core.workspace.fingerprints import short

    root = choose_workspace(workspace or above(context))
    made = find_registration(root, name)
    state = compare(made, root)
    uses = runs_using(settings_of(root).data, made)
    lines = []
    for number, version in enumerate(made.versions, 1):
        count = sum(use.version == number for use in uses)
        here = state.fingerprint is not None and version.get("fingerprint") == state.fingerprint
        lines.append({"version": number, **version, "runs": count, "on_disk": here})
    if json:
        print_json(lines)
    else:
        keys = ("version", "registered", "rows", "bytes")
        print_rows(
            (*keys, "fingerprint", "runs", ""),
            [
                (
                    *(str(line.get(key, "")) for key in keys),
                    short(str(line.get("fingerprint") or "")),
                    str(line["runs"]),
                    "on the disk" if line["on_disk"] else "",
                )
                for line in lines
            ],
        )
    if state.state == "changed":
        say(f"what is on the disk is no version: {state.how}; `kladml-tui datasets add` makes it one")


@dataset_commands.command("check")
def check(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Datasets; none means all.")] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every byte, also where size and times are as they were.")
    ] = False,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Tells which datasets are no longer what they were when they were registered; 3 where one is not."""
    from kladml_core.workspace.dataset_state import check as look

    root = choose_workspace(workspace or above(context))
    found = look(root, settings_of(root).data, names or [], verify=verify)
    if json:
        print_json([state.to_json() for state in found])
    elif found:
        print_rows(("dataset", "on disk", "how that is known"), [(one.name, one.state, one.how) for one in found])
    else:
        print("no dataset is registered")
    raise typer.Exit(ExitCode.FINISHED if all(state.good for state in found) else ExitCode.UNUSABLE)


@dataset_commands.command("remove")
def remove(
    context: typer.Context,
    name: Name,
    force: Annotated[bool, typer.Option("--force", help="Also while a run that uses it waits or runs.")] = False,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Moves a registration into the trash. The data itself is not touched."""
    from kladml_core.workspace.dataset_register import remove as take_away

    root = choose_workspace(workspace or above(context))
    made, entry = take_away(root, name, force=force)
    kept = None if made is None else made.path or made.target
    if json:
        print_json({"dataset": name, "entry": entry, "data": kept})
        return
    print_rows(("removed", "its data stays"), [(name, kept or "")])
    say(f"`kladml-tui prune --undo {entry}` puts it back")


def _list_of_run(settings: Settings, reference: str, json: bool) -> None:
    from kladml_core.runs.ref import find_run
    from kladml_core.workspace.dataset_uses import datasets_of
    from kladml_core.workspace.fingerprints import short

    uses = datasets_of(find_run(settings.data, reference))
    if json:
        print_json([asdict(use) for use in uses])
    elif uses:
        rows = [(use.dataset, version_text(use.version), short(use.fingerprint)) for use in uses]
        print_rows(("dataset", "version", "fingerprint"), rows)
    else:
        print("it trains on no registered dataset")


def _cells(made: DatasetRegistration) -> tuple[str, str, str, str]:
    from kladml_core.runs.event_text import size_text

    rows = "" if made.rows is None else f"{made.rows:,}"
    return made.format, rows, "" if made.bytes is None else size_text(made.bytes), made.split or ""


def _readable(file: Path) -> DatasetRegistration | None:
    from kladml_core.workspace.datasets import read_dataset

    try:
        return read_dataset(file)
    except KladMLError:
        return None  # it was edited since its state was read


def _what(what: str, made: DatasetRegistration) -> str:
    return f"version {len(made.versions)}, {what}" if what != "new" else "new"
