"""The commands that look at several runs or make new runs of old ones: compare, clone, rerun."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kladml_core.errors import ConfigError, ExitCode, KladMLError
from kladml_core.runs.plain import inert
from kladml_core.workspace.choose import choose_workspace
from kladml_tui.cli_runs import Json, Run, Workspace, above
from kladml_tui.cli_shared import print_json, print_rows, rings, settings_of

if TYPE_CHECKING:
    from kladml_core.runs.rundir import RunDirectory


def add_commands(app: typer.Typer) -> None:
    """Registers these commands."""
    for function in (compare, clone, rerun):
        app.command(function.__name__)(function)


def compare(
    context: typer.Context,
    runs: Annotated[list[str], typer.Argument(metavar="RUN", help="Two runs or more.")],
    group_seeds: Annotated[
        bool,
        typer.Option(
            "--group-seeds", help="Runs that differ in their seed alone as one, with mean ± deviation of their metrics."
        ),
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Tell as well what the runs have in common.")] = False,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Tells in what runs differ: what their metrics came to, config and provenance."""
    from kladml_core.runs.compare import compare as compare_runs
    from kladml_core.runs.ref import find_run
    from kladml_tui.compare_text import tables

    data = settings_of(choose_workspace(workspace or above(context))).data
    comparison = compare_runs([find_run(data, run) for run in runs])
    if json:
        more = comparison.alike_json() if everything else {}
        groups = {"groups": comparison.groups_json()} if group_seeds else {}
        print_json({**comparison.to_json(), **groups, **more})
        return
    for number, table in enumerate(tables(comparison, seeds=group_seeds, everything=everything)):
        if number:
            print()
        if table.rows:
            print_rows((table.title, *table.heads), table.rows)
        else:
            print(inert(f"{table.title}: {table.instead}"))
    for reference, reason in comparison.unread:
        print(inert(f"kladml-tui: the config of {reference} is left out: {reason}"), file=sys.stderr)


def clone(
    context: typer.Context,
    run: Run,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key. May be repeated.")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE", help="Write the copy into a new config file, or a folder; start nothing."),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return once the worker runs.")] = False,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Starts a new run of the config that a run recorded, with changes, and follows it."""
    from kladml_core.runs.attend import start_and_follow
    from kladml_core.runs.clone import prepare_clone, write_copy
    from kladml_core.runs.launch import launch
    from kladml_core.runs.ref import find_run
    from kladml_tui.headless import make_console

    root = choose_workspace(workspace or above(context))
    source = find_run(settings_of(root).data, run)
    words = overrides or []
    if to is None:
        check = partial(prepare_clone, source, workspace=root, overrides=words)
        code = start_and_follow(check, launch, partial(make_console, json=json), detach=detach)
        raise typer.Exit(code if detach else rings(code, root))
    if detach:
        raise ConfigError("--to starts nothing that --detach could leave", hint="leave one of them out")
    path = write_copy(source, to, workspace=root, overrides=words)
    if json:
        print_json({"run": source.reference, "config": str(path.resolve())})
    else:
        print(inert(str(path)))


def rerun(
    context: typer.Context,
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", help="Runs that have ended. With --failed: PREFIX, where to look."),
    ] = None,
    failed: Annotated[
        bool,
        typer.Option("--failed", help="Every failed or lost run that was not run again, below PREFIX if one is named."),
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="With --failed: those of archived experiments too.")
    ] = False,
    queue: Annotated[bool, typer.Option("--queue", help="Have each wait for its turn in the queue.")] = False,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Starts ended runs again as new runs, of the configs that they recorded: all at once and detached, or queued."""
    from kladml_core.runs.consoles import tell_error
    from kladml_core.runs.launch import wait_until_running
    from kladml_core.runs.status import read_status

    root = choose_workspace(workspace or above(context))
    chosen = _chosen(runs or [], settings_of(root).data, failed=failed, everything=everything)
    if not chosen:
        print_json([]) if json else print("no failed runs")
        return
    started: list[tuple[RunDirectory, RunDirectory]] = []
    codes: list[int] = []
    rows: list[dict[str, str | int | None]] = []
    for run in chosen:
        try:
            again = _run_again(run, root, queue=queue)
        except KladMLError as error:
            codes.append(tell_error(error, json=False, program=f"kladml-tui: {run.reference}"))
            rows.append({"run": run.reference, "again": None, "status": "not started", "error": str(error)})
            continue
        _say_what_is_repeated(run)
        for warning in again.warnings(1):
            print(inert(f"kladml-tui: {again.reference}: {warning}"), file=sys.stderr)
        started.append((run, again))
    for run, again in started:
        status = read_status(again).status if queue else wait_until_running(again)
        code = read_status(again).exit_code
        codes += [code] if status not in ("running", "stopping") and code else []
        rows.append({"run": run.reference, "again": again.reference, "status": status})
    if json:
        print_json(rows)
    else:
        print_rows(
            ("run", "again as", "status"),
            [(str(row["run"]), str(row["again"] or ""), str(row["status"])) for row in rows],
        )
    raise typer.Exit(next(iter(codes), int(ExitCode.FINISHED)))


def _run_again(run: RunDirectory, root: Path, *, queue: bool) -> RunDirectory:
    from kladml_core.runs.clone import prepare_rerun
    from kladml_core.runs.launch import launch

    plan = prepare_rerun(run, workspace=root)
    if not queue:
        return launch(plan)
    from kladml_core.runs.queue import enqueue
    from kladml_core.runs.queue_items import run_of

    return run_of(plan.settings.data, enqueue(plan, by="kladml-tui rerun").item)


def _chosen(words: list[str], data: Path, *, failed: bool, everything: bool) -> list[RunDirectory]:
    from kladml_core.runs.clone import failed_runs
    from kladml_core.runs.ref import find_run

    if not failed:
        if not words:
            raise ConfigError("no run is named", hint="name runs, or say --failed")
        if everything:
            raise ConfigError("--all goes with --failed", hint="a run that is named runs again, archived or not")
        found = [find_run(data, word) for word in words]
        return list({run.path: run for run in found}.values())
    result = failed_runs(data, words, archived=everything)
    if result.archived:
        several = "s" * (result.archived != 1)
        told = f"{result.archived} more failed run{several} in archived experiments left out; --all takes them too"
        print(f"kladml-tui: {told}", file=sys.stderr)
    if result.run_again:
        count = len(result.run_again)
        print(f"kladml-tui: {count} more w{'ere' if count > 1 else 'as'} run again already", file=sys.stderr)
    return list(result.waiting)


def _say_what_is_repeated(run: RunDirectory) -> None:
    """A run that failed over its config fails again where the config as recorded is still wrong."""
    from kladml_core.runs.clone import ended_by_its_config
    from kladml_core.runs.status import read_status

    status = read_status(run)
    if ended_by_its_config(status):
        text = (
            f"{run.reference} ended with exit {status.exit_code}: what runs again is its recorded config, {run.config}"
        )
        print(inert(f"kladml-tui: {text}"), file=sys.stderr)
