"""The command that frees disk space: what could go, the trash and what lies in it, and pinned checkpoints."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kladml_core.errors import ConfigError, ExitCode
from kladml_core.runs.plain import inert
from kladml_core.workspace.choose import choose_workspace
from kladml_tui.cli_runs import Json, Workspace, above
from kladml_tui.cli_shared import print_json, print_rows, settings_of

if TYPE_CHECKING:
    from kladml_core.runs.prune import Proposal, Trashed
    from kladml_core.runs.trash import Entry

_TOLD = 20
"""Things that stay which are named one by one; of more their number is said."""


def add_commands(app: typer.Typer) -> None:
    """Registers the command."""
    app.command("prune")(prune)


def prune(
    context: typer.Context,
    references: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="REF",
            help="Runs, or projects, families and experiments; none means all. With --undo an entry of the trash, "
            "with --pin and --unpin a run and a checkpoint.",
        ),
    ] = None,
    runs: Annotated[
        bool,
        typer.Option(
            "--runs",
            help="Whole runs too: those that are named, else those that failed, stopped or were lost without a "
            "checkpoint.",
        ),
    ] = False,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="TIME", help="Only what is older than 12h, 7d, …")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this it is only shown.")] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Put back what was pruned or deleted last, or the entry named.")
    ] = False,
    listing: Annotated[bool, typer.Option("--list", help="List what lies in the trash.")] = False,
    empty: Annotated[bool, typer.Option("--empty", help="Delete what lies in the trash, for good.")] = False,
    pin: Annotated[bool, typer.Option("--pin", help="Pin a checkpoint: prune --pin RUN CHECKPOINT.")] = False,
    unpin: Annotated[bool, typer.Option("--unpin", help="Take the pin away again.")] = False,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Shows what could go to free disk space; --yes moves it into the trash.

    That is every checkpoint of an ended run but its best, its newest and the pinned ones.
    """
    words = references or []
    modes = {"--undo": undo, "--list": listing, "--empty": empty, "--pin": pin, "--unpin": unpin}
    mode = _only(modes, {"--runs": runs, "--older-than": older_than is not None, "--yes": yes}, words)
    age = None if older_than is None else _seconds(older_than)
    root = choose_workspace(workspace or above(context))
    data = settings_of(root).data
    if mode == "--undo":
        raise typer.Exit(_undo(data, words[0] if words else None, json))
    if mode in ("--pin", "--unpin"):
        _pin(data, *words, pinned=mode == "--pin", json=json)
    elif mode in ("--list", "--empty"):
        raise typer.Exit(_trash(data, age, delete=empty, yes=yes, json=json))
    else:
        raise typer.Exit(_prune(data, words, runs, age, yes, json))


def _only(modes: dict[str, bool], options: dict[str, bool], words: Sequence[str]) -> str | None:
    """The one mode that was asked for, or None.

    Raises:
        ConfigError: two were, or it takes no such option or so many words.
    """
    asked = [name for name, given in modes.items() if given]
    if len(asked) > 1:
        raise ConfigError(f"{asked[0]} and {asked[1]} do not go together")
    mode = asked[0] if asked else None
    takes = {None: set(options), "--empty": {"--older-than", "--yes"}}.get(mode, set())
    for name, given in options.items():
        if given and name not in takes:
            raise ConfigError(f"{mode} takes no {name}")
    least, most = {"--undo": (0, 1), "--list": (0, 0), "--empty": (0, 0)}.get(mode or "", (2, 2))
    if mode is not None and not least <= len(words) <= most:
        wanted = {"--undo": "at most one entry", "--pin": "RUN CHECKPOINT", "--unpin": "RUN CHECKPOINT"}
        raise ConfigError(f"{mode} takes {wanted.get(mode, 'no references')}")
    return mode


def _seconds(text: str) -> float:
    from kladml_core.config.durations import seconds

    found = seconds(text)
    if found is None:
        raise ConfigError(f"--older-than must be a time such as 12h or 7d, not {text!r}")
    return found


def _prune(data: Path, references: Sequence[str], runs: bool, age: float | None, yes: bool, json: bool) -> int:
    from kladml_core.runs import prune as pruning
    from kladml_core.runs.event_text import size_text

    proposal = pruning.propose(data, references, runs=runs, older_than=age)
    if not yes:
        if json:
            print_json({"done": False, **proposal.to_json()})
            return ExitCode.FINISHED
        _print_lines(proposal, "nothing to prune")
        _tell_left(proposal, proposal.live)
        if proposal.lines:
            _say("nothing was moved; --yes moves it into the trash, where `kladml-tui prune --undo` finds it")
        return ExitCode.FINISHED
    done = pruning.prune(proposal, say=_say)
    if json:
        print_json({"done": True, **done.to_json(), "live": list(proposal.live)})
    else:
        _print_lines(done, "nothing was moved" if proposal.lines else "nothing to prune")
        _tell_left(proposal, proposal.live)
        _tell_left(done)
        if done.entry is not None:
            _say(f"moved into the trash as {done.entry}; `kladml-tui prune --undo` puts it back")
            _say(f"`kladml-tui prune --empty --yes` frees the {size_text(done.bytes)}")
    # A run that was named to go whole and is there still: who asked for it must not take it for gone.
    stays = runs and age is None and any(path.exists() for path in proposal.wish.named)
    return ExitCode.UNUSABLE if stays or (proposal.lines and done.entry is None) else ExitCode.FINISHED


def _print_lines(what: Proposal | Trashed, instead: str) -> None:
    from kladml_core.runs.event_text import size_text

    if not what.lines:
        print(instead)
        return
    print_rows(
        ("run", "what", "size", "why"),
        [(line.run, line.what if line.kind != "run" else "", size_text(line.bytes), line.why) for line in what.lines],
    )
    count = len(what.lines)
    print(f"{count} {'thing' if count == 1 else 'things'}, {size_text(what.bytes)}")


def _tell_left(what: Proposal | Trashed, live: Sequence[str] = ()) -> None:
    """What stays although somebody might expect it to go."""
    lines = [f"{' '.join(filter(None, (one.run, one.what)))} stays: {one.why}" for one in what.left]
    lines += [f"{reference} stays: it is live" for reference in live]
    for line in lines[:_TOLD]:
        _say(line)
    if len(lines) > _TOLD:
        _say(f"… and {len(lines) - _TOLD} more stay")


def _undo(data: Path, entry: str | None, json: bool) -> int:
    from dataclasses import asdict

    from kladml_core.runs.trash import restore

    done = restore(data, entry)
    if json:
        left = [{**asdict(thing), "why": reason} for thing, reason in done.left]
        print_json({"entry": done.entry, "things": [asdict(thing) for thing in done.things], "left": left})
    else:
        if done.things:
            print_rows(("put back", ""), [(thing.run or thing.kind, thing.what) for thing in done.things])
        for thing, reason in done.left:
            _say(f"{thing.run or thing.kind} {thing.what} stays in the trash: {reason}")
    return ExitCode.UNUSABLE if done.left else ExitCode.FINISHED


def _trash(data: Path, age: float | None, *, delete: bool, yes: bool, json: bool) -> int:
    from kladml_core.runs.event_text import size_text
    from kladml_core.runs.trash import empty, entries

    now = time.time()
    found = [entry for entry in entries(data) if age is None or now - entry.time >= age]
    problems = empty(data, [entry.name for entry in found]) if delete and yes else []
    if json:
        print_json(
            {
                "done": delete and yes,
                "bytes": sum(entry.bytes for entry in found),
                "entries": [entry.to_json() for entry in found],
                "problems": [{"entry": name, "message": text} for name, text in problems],
            }
        )
        return ExitCode.UNUSABLE if problems else ExitCode.FINISHED
    if not found:
        print("the trash is empty" if age is None else "the trash holds nothing so old")
    else:
        print_rows(("deleted" if delete and yes else "entry", "moved", "what", "size"), [_cells(one) for one in found])
    for entry in found:
        if entry.problem:
            _say(f"{entry.name}: {entry.problem}")
    for _, text in problems:
        _say(f"cannot delete {text}")
    if found and delete and not yes:
        total = size_text(sum(entry.bytes for entry in found))
        _say(f"nothing was deleted; --yes deletes this for good and frees {total}")
    return ExitCode.UNUSABLE if problems else ExitCode.FINISHED


def _cells(entry: Entry) -> tuple[str, ...]:
    from kladml_core.runs.event_text import size_text

    kinds = Counter(thing.kind for thing in entry.things)
    what = ", ".join(f"{count} {_plural(kind) if count > 1 else kind or 'unknown'}" for kind, count in kinds.items())
    runs = sorted({thing.run for thing in entry.things})
    of = f" of {runs[0]}" if len(runs) == 1 and runs[0] else f" of {len(runs)} runs" if len(runs) > 1 else ""
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.time))
    return entry.name, when, what + of, size_text(entry.bytes)


def _plural(kind: str) -> str:
    several = {"temporary": "temporaries", "family": "families"}
    return several.get(
        kind, f"{kind}s" if kind in ("checkpoint", "run", "project", "experiment", "dataset") else kind or "unknown"
    )


def _pin(data: Path, run: str, checkpoint: str, *, pinned: bool, json: bool) -> None:
    from kladml_core.runs import pins
    from kladml_core.runs.ref import find_run

    directory = find_run(data, run)
    name = pins.pin(directory, checkpoint, pinned=pinned)
    if json:
        print_json({"run": directory.reference, "checkpoint": name, "pinned": pinned})
    else:
        print_rows(("run", "checkpoint", ""), [(directory.reference, name, "pinned" if pinned else "not pinned")])


def _say(text: str) -> None:
    print(inert(text), file=sys.stderr)
