"""`python -m kladml_core.runs.launch CONFIG`: trains and follows a config where only the core is installed."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from kladml_core.errors import ConfigError, KladMLError
from kladml_core.runs.attend import start_and_follow
from kladml_core.runs.consoles import PIPE_CLOSED, JsonConsole, PlainConsole, drop_stdout, tell_error
from kladml_core.runs.launch import launch, prepare
from kladml_core.workspace.choose import choose_config, choose_workspace


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Usage errors leave as every other error does, in JSON too."""
        raise ConfigError(message, hint=f"`{self.prog} --help` lists what it takes")


def main(argv: Sequence[str] | None = None) -> int:
    """Launches a config and follows it with plain or JSON lines; returns the run's exit code."""
    argv = sys.argv[1:] if argv is None else argv
    parser = _Parser(prog="python -m kladml_core.runs.launch", description="Trains a config.")
    parser.add_argument("config", type=Path, metavar="CONFIG", help="the config's YAML file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key; repeatable")
    parser.add_argument("--workspace", type=Path, metavar="DIR", help="the workspace; else the one around here")
    parser.add_argument("--processes", type=int, metavar="N", help="training processes on this machine")
    parser.add_argument("--detach", action="store_true", help="return once the worker runs")
    parser.add_argument("--json", action="store_true", help="one event a line, on stdout")
    try:
        words = parser.parse_args(argv)
        root = choose_workspace(words.workspace, words.config)
        config = choose_config(words.config, root)
        return start_and_follow(
            lambda: prepare(config, workspace=root, overrides=words.set, processes=words.processes),
            launch,
            lambda: (JsonConsole if words.json else PlainConsole)(sys.stdout),
            detach=words.detach,
        )
    except KladMLError as error:
        return tell_error(error, json="--json" in argv, program=parser.prog)
    except BrokenPipeError:
        drop_stdout()
        return PIPE_CLOSED
