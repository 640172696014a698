"""Watching a workspace: nothing that happens is missed, by notices or by looking, and little is asked for it."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kladml_core.runs.rundir import RunDirectory
from kladml_core.settings import Settings, load_settings
from kladml_core.workspace import watch
from kladml_core.workspace.hierarchy import describe, rename
from kladml_core.workspace.watch import CONFIGS, DATASETS, RUNS, THEMES, Folder, FolderWatch, workspace_folders
from tests.core.pruned_runs import set_status
from tests.waiting import wait_for

EVERYTHING = {CONFIGS, DATASETS, THEMES, RUNS}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Those of a workspace with a config, and a folder of themes beside it."""
    (tmp_path / "kladml.yaml").write_text("")
    for folder in ("data/configs", "data/datasets", "themes"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "data" / "configs" / "a.yaml").write_text("seed: 1\n")
    return load_settings(tmp_path)


def no_notices(_: list[str]) -> Any:
    """As a machine without a watch to give."""
    raise OSError("OS file watch limit reached.")


class Told:
    """What was told since it was last asked for."""

    def __init__(self) -> None:
        self.kinds: list[frozenset[str]] = []

    def __call__(self, kinds: frozenset[str]) -> None:
        self.kinds.append(kinds)

    def comes(self, kind: str, timeout: float = 60.0) -> None:
        wait_for(lambda: any(kind in one for one in self.kinds), timeout, f"{kind} was never told")
        self.kinds.clear()


@contextmanager
def watching(settings: Settings, *, notifier: Any = None, poll: float = 0.05) -> Iterator[tuple[Told, FolderWatch]]:
    told, stop = Told(), threading.Event()
    themes = [settings.root / "themes"]
    one = FolderWatch(lambda: workspace_folders(settings, themes), poll_seconds=poll, notifier=notifier)
    thread = threading.Thread(target=one.run, args=(told, stop))
    thread.start()
    try:
        wait_for(lambda: told.kinds, 60)
        assert told.kinds.pop(0) == EVERYTHING
        yield told, one
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


BOTH = pytest.mark.parametrize("notifier", [None, no_notices], ids=["notices", "looking"])


@BOTH
def test_what_comes_changes_and_goes_is_told(settings: Settings, notifier: Any) -> None:
    config = settings.config_dirs[0] / "a.yaml"
    with watching(settings, notifier=notifier) as (told, one):
        assert bool(one.why_polled) is (notifier is not None)
        config.write_text("seed: 22\n")
        told.comes(CONFIGS)
        (settings.data / "datasets" / "d.yaml").write_text("name: d\n")
        told.comes(DATASETS)
        (settings.root / "themes" / "mine.yaml").write_text("name: mine\n")
        told.comes(THEMES)
        config.unlink()
        told.comes(CONFIGS)


@BOTH
def test_new_runs_are_told_in_experiments_that_were_not_there_before(settings: Settings, notifier: Any) -> None:
    with watching(settings, notifier=notifier) as (told, _):
        for names in (("p", "f", "e"), ("p", "f", "e"), ("p", "g", "e")):
            set_status(RunDirectory.create(settings.data, *names, seed=0), "finished")
            told.comes(RUNS)
        describe(settings.data, "p/f/e", title="Told too")
        told.comes(RUNS)
        rename(settings.data, "p/g", "h")
        told.comes(RUNS)


def test_what_a_run_writes_is_told_to_nobody(settings: Settings) -> None:
    run = RunDirectory.create(settings.data, "p", "f", "e", seed=0)
    with watching(settings) as (told, _):
        for step in range(50):
            run.state_json.write_text(f'{{"step": {step}}}')
            (run.metrics / "loss.bin").write_bytes(b"x" * step)
        (settings.config_dirs[0] / ".a.yaml.tmp").write_text("")
        (settings.config_dirs[0] / "notes.txt").write_text("")
        (settings.config_dirs[0] / "b.yaml").write_text("")
        wait_for(lambda: told.kinds, 60)
        assert set().union(*told.kinds) == {CONFIGS}


@BOTH
def test_a_folder_may_be_missing_come_and_go(settings: Settings, notifier: Any) -> None:
    configs = settings.config_dirs[0]
    shutil.rmtree(configs)
    with watching(settings, notifier=notifier) as (told, _):
        for seed in range(2):
            configs.mkdir()
            (configs / "a.yaml").write_text(f"seed: {seed}\n")
            told.comes(CONFIGS)
            shutil.rmtree(configs)
            told.comes(CONFIGS)
        configs.mkdir()
        told.comes(CONFIGS)
        (configs / "new.yaml").write_text("seed: 1\n")
        told.comes(CONFIGS)


def test_a_folder_that_is_put_in_the_place_of_another_is_watched(settings: Settings) -> None:
    configs = settings.config_dirs[0]
    with watching(settings) as (told, _):
        other = settings.root / "other"
        other.mkdir()
        os.rename(configs, settings.root / "away")
        os.rename(other, configs)
        told.comes(CONFIGS)
        # Told or not, what is written into the new one is seen.
        for number in range(3):
            (configs / f"{number}.yaml").write_text("")
            told.comes(CONFIGS)


def test_nothing_is_missed_between_the_first_look_and_the_first_notice(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks when it is first told sees what came before; what comes while notices are set up is told after."""
    made = watch._watchfiles

    def slowly(paths: list[str]) -> Any:
        (settings.config_dirs[0] / "before.yaml").write_text("")
        notifier = made(paths)
        (settings.config_dirs[0] / "after.yaml").write_text("")
        return notifier

    seen: list[set[str]] = []
    stop = threading.Event()

    def look(kinds: frozenset[str]) -> None:
        seen.append({path.name for path in settings.config_dirs[0].iterdir()})
        if {"before.yaml", "after.yaml"} <= seen[-1]:
            stop.set()

    folders = [Folder(CONFIGS, settings.config_dirs[0])]
    thread = threading.Thread(target=FolderWatch(lambda: folders, notifier=slowly).run, args=(look, stop))
    thread.start()
    thread.join(60)
    assert not thread.is_alive() and {"before.yaml", "after.yaml"} <= seen[0]


def test_a_network_file_system_is_looked_at(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "network_file_system", lambda path: "nfs4" if "configs" in str(path) else None)
    asked: list[list[str]] = []

    def notifier(paths: list[str]) -> Any:
        asked.append(paths)
        return watch._watchfiles(paths)

    # One device number is one file system: what lies beside it gives no notices either.
    with watching(settings, notifier=notifier) as (told, _):
        (settings.config_dirs[0] / "b.yaml").write_text("")
        told.comes(CONFIGS)
    assert all(str(settings.config_dirs[0]) not in paths for paths in asked)


def test_a_folder_whose_name_is_no_unicode_is_looked_at(settings: Settings) -> None:
    place = settings.data / "projects" / os.fsdecode(b"bad\xff") / "f" / "e"
    place.mkdir(parents=True)
    with watching(settings) as (told, one):
        assert one.why_polled == ""
        (place / "run_0001").mkdir()
        told.comes(RUNS)


def test_notices_that_fail_give_way_to_looking_and_come_back(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "WHOLE_SECONDS", 0.2)

    class Failing:
        def watch(self, *_: Any) -> Any:
            raise RuntimeError("the queue of notices overflowed")

        def close(self) -> None: ...

    makers: list[Callable[[list[str]], Any]] = [lambda paths: Failing(), no_notices]

    def notifier(paths: list[str]) -> Any:
        return (makers.pop(0) if makers else watch._watchfiles)(paths)

    with watching(settings, notifier=notifier) as (told, one):
        (settings.config_dirs[0] / "b.yaml").write_text("")
        told.comes(CONFIGS)
        wait_for(lambda: not one.why_polled, 60)
        (settings.config_dirs[0] / "c.yaml").write_text("")
        told.comes(CONFIGS)


def test_without_watchfiles_it_is_looked_at(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "watchfiles._rust_notify", None)
    with watching(settings) as (told, one):
        assert "watchfiles" in one.why_polled
        (settings.config_dirs[0] / "b.yaml").write_text("")
        told.comes(CONFIGS)


def test_however_much_happens_it_is_told_a_few_times_a_second(settings: Settings) -> None:
    with watching(settings) as (told, _):
        started = time.monotonic()
        for number in range(3000):
            (settings.config_dirs[0] / f"{number % 7}.yaml").write_text(str(number))
        told_then, seconds = len(told.kinds), time.monotonic() - started
        assert told_then <= seconds / 0.25 + 2
        told.comes(CONFIGS)
