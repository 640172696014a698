"""Tells at once when configs, datasets, themes or runs come, change or go: by the system's notices, or by looking.

Notices come from watchfiles (inotify on Linux). Where they cannot be had, that is looked at every two seconds instead:
a folder that is missing, or whose name is no Unicode; a network file system, whose other hosts give no notices here; no
watch left to give; no watchfiles. Folders are watched each by itself and never with all below them: a workspace has
thousands of runs that write all the time, and of them only that they are there is of interest here.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kladml_core.backends.network_disks import network_file_system
from kladml_core.settings import Settings
from kladml_core.workspace.workspace import Workspace

CONFIGS, DATASETS, THEMES, RUNS = "configs", "datasets", "themes", "runs"
POLL_SECONDS = 2.0
WHOLE_SECONDS = 30.0
"""Everything is looked at so often, whatever notices came: what slipped through is seen by then."""
_REST_SECONDS = 0.25
"""Between two tellings, however much happens."""
_DEBOUNCE_MS, _STEP_MS = 100, 50
_RECENT_NS = 2_000_000_000
_YAML = (".yaml", ".yml")

Notifier = Callable[[list[str]], Any]
"""Watches folders and has `watch` and `close` as watchfiles' RustNotify has them."""


@dataclass(frozen=True)
class Folder:
    """A folder of which the entries are watched, but not what is below them."""

    kind: str
    """configs, datasets, themes or runs."""
    path: Path


def workspace_folders(settings: Settings, themes: Sequence[Path] = ()) -> list[Folder]:
    """What there is to watch of a workspace now; of runs every project, family and experiment.

    Args:
        settings: the workspace's.
        themes: the folders of themes.
    """
    workspace, root = Workspace(settings.root, settings), settings.data / "projects"
    found = [Folder(CONFIGS, path) for path in settings.config_dirs]
    found += [Folder(DATASETS, settings.data / "datasets"), *(Folder(THEMES, path) for path in themes)]
    found.append(Folder(RUNS, root))
    for project in workspace.projects():
        found.append(Folder(RUNS, root / project))
        for family in workspace.families(project):
            found.append(Folder(RUNS, root / project / family))
            names = workspace.experiments(project, family)
            found += [Folder(RUNS, root / project / family / name) for name in names]
    return found


class FolderWatch:
    """Watches folders until it is told to stop. `run` belongs in a thread of its own.

    Args:
        folders: what there is to watch; asked anew when runs have changed.
        poll_seconds: between two looks at what gives no notices.
        notifier: makes what gives notices; None looks for watchfiles.
    """

    def __init__(
        self,
        folders: Callable[[], Sequence[Folder]],
        *,
        poll_seconds: float = POLL_SECONDS,
        notifier: Notifier | None = None,
    ) -> None:
        self._folders = folders
        self._poll_seconds = poll_seconds
        self._make = notifier or _watchfiles
        self._notifier: Any = None
        self._watched: dict[str, Folder] = {}
        self._polled: tuple[Folder, ...] = ()
        self._missing: tuple[Folder, ...] = ()
        self._stamps: dict[Folder, object] = {}
        self.why_polled = ""
        """Why no notices come at all; empty while they do."""

    def run(self, tell: Callable[[frozenset[str]], None], stop: threading.Event) -> None:
        """Tells which kinds have changed, each time that some have.

        The first telling names all kinds: what happened before the watch began is seen by whoever looks then, and what
        happens afterwards is told.

        Args:
            tell: called in this thread.
            stop: set from outside; heard within a tenth of a second.
        """
        folders: tuple[Folder, ...] = ()
        changed: set[str] = {CONFIGS, DATASETS, THEMES, RUNS}
        whole_at = 0.0
        try:
            while not stop.is_set():
                whole = time.monotonic() >= whole_at
                anew = any(folder.path.is_dir() for folder in self._missing) or (whole and bool(self.why_polled))
                changed |= self._look(folders if whole else self._polled)
                if whole or anew or RUNS in changed:
                    folders, more = self._arm_all(folders, anew)
                    changed |= more
                if whole:
                    whole_at = time.monotonic() + WHOLE_SECONDS
                if changed:
                    tell(frozenset(changed))
                    stop.wait(_REST_SECONDS)
                changed = self._wait(stop)
        finally:
            self._close()

    def _arm_all(self, folders: tuple[Folder, ...], anew: bool) -> tuple[tuple[Folder, ...], set[str]]:
        """Watches what there is to watch by now; with it, the kinds that have changed on the way.

        Args:
            folders: what is watched.
            anew: whether to set it up again although it is the same.
        """
        changed: set[str] = set()
        # What is made in a new folder before that is watched gives no notice: one looks until nothing has come.
        while (now := tuple(self._folders())) != folders or anew:
            folders, anew = now, False
            self._arm(folders)
            changed |= self._look(folders)
        return folders, changed

    def _arm(self, folders: Sequence[Folder]) -> None:
        """Has notices come of all folders of which they can."""
        there, polled, missing = {}, [], []
        networks: dict[int, bool] = {}
        for folder in folders:
            try:
                device = folder.path.stat().st_dev
            except OSError:
                polled.append(folder)
                missing.append(folder)
                continue
            if device not in networks:
                networks[device] = network_file_system(folder.path) is not None
            if networks[device] or not _is_unicode(folder.path):
                polled.append(folder)
            else:
                there[str(folder.path)] = folder
        before, self._notifier = self._notifier, None
        try:
            self.why_polled = "" if there else "no folder gives notices"
            self._notifier = self._make(list(there)) if there else None
        except (ImportError, OSError, RuntimeError) as error:
            # RuntimeError is what watchfiles' own errors are; one that vanished meanwhile is an OSError.
            self.why_polled = str(error) or type(error).__name__
            polled += there.values()
            there = {}
        finally:
            if before is not None:
                before.close()
        self._watched, self._polled, self._missing = there, tuple(polled), tuple(missing)
        self._stamps = {folder: self._stamps[folder] for folder in folders if folder in self._stamps}

    def _look(self, folders: Iterable[Folder]) -> set[str]:
        """Kinds of those that are not as they were at the last look."""
        changed = set()
        for folder in folders:
            now = _stamp(folder)
            if folder in self._stamps and self._stamps[folder] != now:
                changed.add(folder.kind)
            self._stamps[folder] = now
        return changed

    def _wait(self, stop: threading.Event) -> set[str]:
        """Waits for notices, or until it is time to look; the kinds that notices told of."""
        seconds = self._poll_seconds if self._polled else WHOLE_SECONDS
        if self._notifier is None:
            stop.wait(seconds)
            return set()
        try:
            told = self._notifier.watch(_DEBOUNCE_MS, _STEP_MS, int(seconds * 1000), stop)
        except (OSError, RuntimeError) as error:
            self._close()
            self.why_polled = str(error) or type(error).__name__
            self._polled, self._watched = (*self._polled, *self._watched.values()), {}
            return set()
        kinds = self._kinds(path for _, path in told) if isinstance(told, set) else set()
        if isinstance(told, set) and not kinds:
            stop.wait(_REST_SECONDS)  # somebody writes what does not matter here, and may go on for long
        return kinds

    def _kinds(self, paths: Iterable[str]) -> set[str]:
        found = set()
        for path in paths:
            parent, name = os.path.split(path)
            folder = self._watched.get(parent)
            if folder is not None and _counts(folder, name):
                found.add(folder.kind)
            itself = self._watched.get(path)
            if itself is not None and not (folder is not None and itself.path.is_dir()):
                found.add(itself.kind)
                # Another one of its name gives no notices until it is watched too.
                self._polled, self._missing = (*self._polled, itself), (*self._missing, itself)
        return found

    def _close(self) -> None:
        if self._notifier is not None:
            self._notifier.close()
            self._notifier = None


def _counts(folder: Folder, name: str) -> bool:
    """Whether an entry matters: hidden ones are temporaries and caches."""
    return not name.startswith(".") and (folder.kind == RUNS or name.endswith(_YAML))


def _is_unicode(path: Path) -> bool:
    """Whether watchfiles can be told of it: a name on the disk may be any bytes."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _stamp(folder: Folder) -> object:
    """What differs once an entry came, went or was written; None where the folder is missing."""
    try:
        changed = os.stat(folder.path).st_mtime_ns
        # A folder changed within the clock's last tick may change again under the same time.
        recent = time.time_ns() - changed < _RECENT_NS
        if folder.kind == RUNS and not recent:
            return changed, _file_stamps(folder, (f"{kind}.yaml" for kind in ("project", "family", "experiment")))
        names = sorted(name for name in os.listdir(folder.path) if _counts(folder, name))
    except OSError:
        return None
    if folder.kind == RUNS:
        return changed, names, _file_stamps(folder, (name for name in names if name.endswith(_YAML)))
    return _file_stamps(folder, names)


def _file_stamps(folder: Folder, names: Iterable[str]) -> Mapping[str, tuple[int, int, int]]:
    found = {}
    for name in names:
        try:
            status = os.stat(folder.path / name)
        except OSError:
            continue
        found[name] = (status.st_mtime_ns, status.st_size, status.st_ino)
    return found


def _watchfiles(paths: list[str]) -> Any:
    """watchfiles' notifier of these folders; it watches from here on.

    Raises:
        ImportError: watchfiles is not installed.
        OSError, RuntimeError: a folder is gone, or no watch is left.
    """
    from watchfiles._rust_notify import RustNotify  # not needed before the first frame

    return RustNotify(paths, False, False, 0, False, True)
