"""What a storage holds of a run: the manifest that says which files make it up, where they lie, and how they hash.

    [prefix/]project/family/experiment/run_0001/STORED.json        the manifest, stored last
    [prefix/]project/family/experiment/run_0001/events.jsonl …     the run's files under their own names
    [prefix/]project/family/experiment/run_0001/.second/…          a file's newer text, while a manifest names the older
    [prefix/]project/family/experiment/run_0001/checkpoints/step-0000001200/…

Only what the manifest names counts: a storage has no rename and no transaction, so what is under way lies beside it.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from kladml_core.errors import KladMLError, UnusableError
from kladml_core.interfaces.storage import StorageInterface
from kladml_core.runs.checkpoint_list import CHECKPOINT_NAME, MANIFEST, seal
from kladml_core.runs.ref import RUN_NAME, RunRef

STORED = "STORED.json"
SECOND = ".second"
FETCHED = "fetched.json"
"""In the directory of a run that was fetched: where from, and how it stood there then."""
LIVE_SECONDS = 900.0
"""For how long a run that was live when its manifest was stored is taken to live still, wherever that is."""
RENEW_SECONDS = 300.0
"""How often the manifest of a live run is stored anew, whether it has changed or not."""

_VERSION = 1
_PAUSES = (0.05, 0.2, 0.5)
"""Seconds between the tries to read a manifest that may be written this moment."""
_RECORDS = re.compile(
    r"run\.json|config\.yaml|state\.json|lost\.json|events\.jsonl|summary\.json|notes\.yaml|console\.log"
    r"|metrics/[^/]+\.bin|attempts/.+|artifacts/.+",
    re.DOTALL,
)
_SHA256 = re.compile(r"[0-9a-f]{64}")


class DamagedManifest(UnusableError):
    """A stored manifest that cannot be relied on."""


@dataclass(frozen=True)
class StoredFile:
    """A file as it was when it was stored."""

    key: str
    """Where it lies, below the run's place."""
    size: int
    """Bytes."""
    sha256: str


@dataclass(frozen=True)
class StoredCheckpoint:
    """A checkpoint of which every file is stored."""

    name: str
    step: int
    epoch: int
    time: float
    """When it was written, in unix seconds."""
    best: bool
    """Whether it was the best of the run when the manifest was stored."""
    files: Mapping[str, StoredFile]
    """By name; its MANIFEST.json is one of them."""

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(file.size for file in self.files.values())


@dataclass(frozen=True)
class StoredRun:
    """A run as its manifest describes it."""

    reference: str
    """Where it lies in the storage; a run that was renamed later keeps its name there."""
    uid: str
    status: str
    live: bool
    """Whether more was to come of it when this was stored."""
    attempt: int
    step: int
    host: str
    """Of its worker."""
    heartbeat: float | None
    """Unix seconds of the worker's last sign of life that was known then."""
    time: float
    """Unix seconds when this was stored."""
    created: float | None = None
    files: Mapping[str, StoredFile] = field(default_factory=dict)
    """Path below the run's directory → its records and artifacts."""
    checkpoints: tuple[StoredCheckpoint, ...] = ()
    """By step."""

    @property
    def bytes(self) -> int:
        """Size of all that the manifest names."""
        return sum(file.size for file in every_file(self))

    @property
    def best(self) -> StoredCheckpoint | None:
        """The checkpoint that was the best."""
        return next((one for one in reversed(self.checkpoints) if one.best), None)

    @property
    def last(self) -> StoredCheckpoint | None:
        """The newest checkpoint."""
        return self.checkpoints[-1] if self.checkpoints else None

    def to_json(self) -> dict[str, Any]:
        """The run as commands print it."""
        own = {key: value for key, value in asdict(self).items() if key not in ("files", "checkpoints")}
        checkpoints = [
            {"name": one.name, "step": one.step, "epoch": one.epoch, "best": one.best, "bytes": one.bytes}
            for one in self.checkpoints
        ]
        return {**own, "bytes": self.bytes, "files": len(self.files), "checkpoints": checkpoints}


@dataclass(frozen=True)
class Store:
    """A bucket of a storage, and the prefix below which runs lie in it."""

    storage: StorageInterface
    bucket: str
    prefix: str = ""

    def key(self, reference: str, name: str) -> str:
        """The key of a run's file.

        Args:
            reference: the run's.
            name: below the run's place, parted by `/`.
        """
        parts = [_named(part, "\\%") for part in reference.split("/")]
        return "/".join([*self._above, *parts, *(_named(part, "\\") for part in name.split("/"))])

    def where(self, reference: str) -> str:
        """The run's place in words."""
        return f"{self.bucket}/{self.key(reference, '').rstrip('/')}"

    def references(self, prefix: str = "") -> list[str]:
        """The runs of which there is a manifest, sorted.

        Args:
            prefix: only those whose references begin so, e.g. `vision/digits`.

        Raises:
            KladMLError: whatever the storage raises.
        """
        above = "/".join(self._above)
        start = f"{above}/" if above else ""
        asked = "/".join(_named(part, "\\%") for part in prefix.lstrip("/").split("/"))
        found = []
        for key in self.storage.list_files(self.bucket, start + asked):
            parts = key.removeprefix(start).split("/")
            if (
                len(parts) == len(RunRef.__dataclass_fields__) + 1
                and parts[-1] == STORED
                and RUN_NAME.fullmatch(parts[-2])
            ):
                found.append("/".join(map(unquote, parts[:-1])))
        return sorted(found)

    def read(self, reference: str) -> StoredRun | None:
        """The manifest of a run, or None where there is none.

        Raises:
            DamagedManifest: it is damaged.
            KladMLError: whatever the storage raises.
        """
        key = self.key(reference, STORED)
        if not self.storage.file_exists(self.bucket, key):
            return None
        for pause in _PAUSES:
            try:
                return self._read(key, reference)
            except KladMLError:
                time.sleep(pause)  # not every storage puts a file in place of another in one step
        return self._read(key, reference)

    def _read(self, key: str, reference: str) -> StoredRun:
        with tempfile.TemporaryDirectory(prefix="kladml-") as folder:
            path = Path(folder) / STORED
            self.storage.download_file(self.bucket, key, str(path))
            raw = path.read_bytes()
        try:
            return parse_manifest(raw, reference)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedManifest(
                f"{self.bucket}/{key} is damaged: {error}", hint="Its run is stored anew when it goes on"
            ) from error

    @property
    def _above(self) -> list[str]:
        return [part for part in self.prefix.split("/") if part]


def every_file(run: StoredRun) -> list[StoredFile]:
    """All files that a manifest names, those of checkpoints too."""
    return [*run.files.values(), *(file for one in run.checkpoints for file in one.files.values())]


def manifest_text(run: StoredRun) -> bytes:
    """The text of a manifest, with a hash of itself."""
    return seal({"v": _VERSION, **asdict(run)})


def parse_manifest(raw: bytes, reference: str) -> StoredRun:
    """Reads a manifest. It comes from a server: no path of it leads out of a run's directory.

    Args:
        reference: where it was found, which is what counts.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is damaged, or was not written by this program.
    """
    data = json.loads(raw)
    digest = data.pop("sha256")
    if seal(data) != raw:
        raise ValueError(f"its hash is not {str(digest)[:80]}")
    if data.pop("v") != _VERSION:
        raise ValueError("it was written by a newer version")
    files = {name: _file(value) for name, value in data.pop("files").items()}
    for name in files:
        if not _RECORDS.fullmatch(name) or not _inside(name):
            raise ValueError(f"it names {name[:80]!r}")
    checkpoints = tuple(_checkpoint(value) for value in data.pop("checkpoints"))
    return StoredRun(**{**data, "reference": reference}, files=files, checkpoints=checkpoints)


def _checkpoint(value: dict[str, Any]) -> StoredCheckpoint:
    files = {name: _file(entry) for name, entry in value["files"].items()}
    named = CHECKPOINT_NAME.fullmatch(value["name"]) and MANIFEST in files
    if not named or any("/" in name or not _inside(name) for name in files):
        raise ValueError(f"it names a checkpoint {value['name'][:80]!r} that is none")
    return StoredCheckpoint(**{**value, "files": files})


def _file(value: dict[str, Any]) -> StoredFile:
    file = StoredFile(str(value["key"]), int(value["size"]), str(value["sha256"]))
    if not _SHA256.fullmatch(file.sha256) or file.size < 0:
        raise ValueError(f"it names {file.key[:80]!r} without a size and a hash")
    return file


def _inside(name: str) -> bool:
    return "\0" not in name and all(part not in ("", ".", "..") for part in name.split("/"))


def _named(part: str, unfit: str) -> str:
    """A name as part of a key: as it is, or where a key cannot hold it, percent-encoded."""
    return part if part.isprintable() and not set(part) & set(unfit) else quote(part, safe=" ")
