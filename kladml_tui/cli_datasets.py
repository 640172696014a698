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
from kladml_tui.cli_runs import Json, Workspace, above
from kladml_tui.cli_shared import print_json, print_rows, settings_of

if TYPE_CHECKING:
    from kladml_core.settings import Settings
    from kladml_core.workspace.datasets import DatasetRegistration
    from kladml_core.workspace.examination import Examination

_BAR_CELLS = 32
_SHOWN_COLUMNS = 40
_SHOWN_RUNS = 20

dataset_commands = typer.Typer(
    help="Datasets: data under a name that configs use, with what it looked like when it was registered.",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="A registered dataset.")]


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
        print_json({"what": done.what, **_facts(made, root), "notes": list(done.notes)})
        return
    print_rows(("", ""), [("dataset", made.file.stem), ("this is", _what(done.what, made)), *_rows(made, root)])
    for note in done.notes:
        _say(note)


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
        lines.append({**state.to_json(), **(_facts(made, root) if made else {"file": str(file)})})
        cells = ("?", "", "", "") if made is None else _cells(made)
        rows.append((file.stem, *cells, state.state))
        if not state.good:
            _say(f"{file.stem}: {state.how}")
    if json:
        print_json(lines)
    elif rows:
        print_rows(("dataset", "format", "rows", "size", "split", "on disk"), rows)
    else:
        print("no dataset is registered")


@dataset_commands.command("show")
def show(
    context: typer.Context,
    name: Name,
    rows: Annotated[int, typer.Option("--rows", min=0, help="Rows of the data that are printed.")] = 5,
    call: Annotated[
        bool, typer.Option("--call", help="Call the function of a target, in a process of its own, to look at it.")
    ] = False,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1.0, help="How long the data may be looked through.")
    ] = 60.0,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Shows a dataset: what is registered, its columns with small histograms, its classes, its first rows, its runs."""
    from kladml_core.workspace.dataset_look import look
    from kladml_core.workspace.dataset_state import compare
    from kladml_core.workspace.dataset_uses import runs_using
    from kladml_core.workspace.datasets import find_registration
    from kladml_tui.dataset_text import state_text

    root = choose_workspace(workspace or above(context))
    settings = settings_of(root)
    made = find_registration(root, name)
    state = compare(made, root)
    seen, problem = None, ""
    try:
        seen = look(made, root, call=call, seconds=seconds)
    except KladMLError as error:
        problem = str(error)
    uses = runs_using(settings.data, made)
    if json:
        looked = None if seen is None else seen.to_json()
        used = [asdict(use) for use in uses]
        more = {"state": state.to_json(), "problem": problem or None, "data": looked, "used_by": used}
        print_json({**_facts(made, root), **more})
    else:
        print_rows(("", ""), [("dataset", made.file.stem), *_rows(made, root), ("on disk", state_text(state))])
        if seen is not None:
            _print_seen(seen, rows)
        if uses:
            print()
            print_rows(("used by", "version"), [(use.run, _version(use.version)) for use in uses[:_SHOWN_RUNS]])
            if len(uses) > _SHOWN_RUNS:
                print(f"… and {len(uses) - _SHOWN_RUNS} more runs")
        if problem:
            _say(problem)
    raise typer.Exit(ExitCode.UNUSABLE if problem else ExitCode.FINISHED)


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
        _say(f"what is on the disk is no version: {state.how}; `kladml-tui datasets add` makes it one")


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
    _say(f"`kladml-tui prune --undo {entry}` puts it back")


def _list_of_run(settings: Settings, reference: str, json: bool) -> None:
    from kladml_core.runs.ref import find_run
    from kladml_core.workspace.dataset_uses import datasets_of
    from kladml_core.workspace.fingerprints import short

    uses = datasets_of(find_run(settings.data, reference), settings.root)
    if json:
        print_json([asdict(use) for use in uses])
    elif uses:
        rows = [(use.dataset, _version(use.version), short(use.fingerprint)) for use in uses]
        print_rows(("dataset", "version", "fingerprint"), rows)
    else:
        print("it trains on no registered dataset")


def _facts(made: DatasetRegistration, root: Path) -> dict[str, Any]:
    location = made.location(root)
    return {
        "name": made.file.stem,
        "file": str(made.file),
        "description": made.description,
        "format": made.format,
        "path": None if location is None else str(location),
        "target": made.target,
        "params": dict(made.params),
        "split": made.split,
        "rows": made.rows,
        "columns": {name: asdict(column) for name, column in made.columns.items()},
        "column_count": made.column_count,
        "bytes": made.bytes,
        "fingerprint": made.fingerprint,
        "sha256": made.sha256,
        "version": len(made.versions),
    }


def _rows(made: DatasetRegistration, root: Path) -> list[tuple[str, str]]:
    from kladml_core.runs.event_text import size_text
    from kladml_core.runs.files import strict_dumps

    facts = [
        ("description", made.description),
        ("format", made.format),
        ("data", made.path or made.target or ""),
        ("params", strict_dumps(dict(made.params)) if made.params else ""),
        ("split", made.split or ""),
        ("rows", "" if made.rows is None else f"{made.rows:,}"),
        ("columns", str(made.column_count or "")),
        ("size", "" if made.bytes is None else size_text(made.bytes)),
        ("fingerprint", made.fingerprint or ""),
        ("every byte", made.sha256 or ""),
    ]
    return [(label, value) for label, value in facts if value]


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


def _print_seen(seen: Examination, rows: int) -> None:
    from kladml_tui.dataset_text import bars, distinct_text, missing_text, real, share_bar, type_text

    print()
    heads = ("column", "type", "least", "mean", "greatest", "distinct", "histogram", "")
    table = [
        (
            _cut(column.name, 40),
            type_text(column),
            real(column.least),
            real(column.mean),
            real(column.greatest),
            distinct_text(column),
            bars(column.bins, _BAR_CELLS),
            missing_text(column),
        )
        for column in seen.columns[:_SHOWN_COLUMNS]
    ]
    print_rows(heads, table)
    if len(seen.columns) > _SHOWN_COLUMNS:
        print(f"… and {len(seen.columns) - _SHOWN_COLUMNS} more columns; --json lists all")
    if seen.classes is not None and seen.label is not None:
        print()
        most = max(count for _, count in seen.classes)
        total = sum(count for _, count in seen.classes)
        print_rows(
            (f"class ({_cut(seen.label, 30)})", "rows", "share", ""),
            [
                (_cut(text, 40), f"{count:,}", f"{count / total:.1%}", share_bar(count / most, 24))
                for text, count in seen.classes[:_SHOWN_COLUMNS]
            ],
        )
    if rows and seen.preview:
        print()
        names = [_cut(column.name, 16) for column in seen.columns[:8]]
        print_rows(names, [[_cut(cell, 16) for cell in row[:8]] for row in seen.preview[:rows]])
        if len(seen.columns) > 8:
            print(f"… and {len(seen.columns) - 8} more columns")
    for note in seen.notes:
        _say(note)
    if not seen.complete:
        _say(f"all of this is of the first {seen.rows_seen:,} rows")


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def _version(number: int | None) -> str:
    return "not a registered one" if number is None else str(number)


def _what(what: str, made: DatasetRegistration) -> str:
    return f"version {len(made.versions)}, {what}" if what != "new" else "new"


def _say(text: str) -> None:
    print(inert(text), file=sys.stderr)
