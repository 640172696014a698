"""Backends by name, by module:Class and by entry point; what cannot be one is told with its place."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kladml_core.backends import ConsolePublisher, LocalStorage, S3Storage
from kladml_core.backends.choose import make_publisher, make_storage, make_tracker
from kladml_core.errors import ConfigError, NotSupportedError, UnusableError
from kladml_core.settings import load_settings

MINE = """
from kladml_core.interfaces import StorageInterface, TrackerInterface, PublisherInterface

class Storage(StorageInterface):
    def __init__(self, root="/x"): self.root = root
    def upload_file(self, local_path, bucket, key): return key
    def download_file(self, bucket, key, local_path): return local_path
    def list_files(self, bucket, prefix=""): return ["a", "ab"]

class Tracker(TrackerInterface):
    def __init__(self, uri=None): self.uri = uri
    def start_run(self, experiment_name, run_name=None): return "1"
    def log_params(self, params): pass
    def log_metric(self, key, value, step=None): pass
    def end_run(self, status="FINISHED"): pass

class Half(StorageInterface):
    def upload_file(self, local_path, bucket, key): return key

class Foreign:
    def publish(self, channel, message): pass

class Broken(PublisherInterface):
    def __init__(self): raise OSError("no line")
    def publish(self, channel, message): pass

def function(): pass
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    name = f"mine_{abs(hash(tmp_path))}"  # a module is imported once a process
    (tmp_path / f"{name}.py").write_text(MINE)
    monkeypatch.delenv("KLADML_TRACKER__BACKEND")
    return tmp_path


def _settings(lab: Path, text: str):  # type: ignore[no-untyped-def]
    module = next(lab.glob("mine_*.py")).stem
    (lab / "kladml.yaml").write_text(text.replace("MINE", module))
    return load_settings(lab)


def test_without_a_word_runs_are_stored_where_they_are_and_printed(lab: Path) -> None:
    settings = _settings(lab, "")
    assert make_storage(settings) is None
    assert isinstance(make_publisher(settings), ConsolePublisher)


def test_a_local_root_is_resolved_against_the_workspace(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _settings(lab, "storage: {options: {root: copies}}")
    monkeypatch.chdir("/")
    storage = make_storage(settings)
    assert isinstance(storage, LocalStorage) and storage.root == lab / "copies"


def test_s3_takes_its_options(lab: Path) -> None:
    text = "storage: {backend: s3, options: {endpoint_url: 'http://127.0.0.1:1', region: x}}"
    assert isinstance(make_storage(_settings(lab, text)), S3Storage)


def test_a_backend_whose_extra_is_not_installed_says_how_to_get_it(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)  # as where it was never installed
    with pytest.raises(NotSupportedError, match="pip install 'kladml-tui\\[s3\\]'") as caught:
        make_storage(_settings(lab, "storage:\n  backend: s3"))
    assert caught.value.location == f"{lab / 'kladml.yaml'}:2:12"


def test_none_is_nobody(lab: Path) -> None:
    settings = _settings(lab, "tracker: {backend: none}\npublisher: {backend: none}")
    assert make_tracker(settings) is None and make_publisher(settings) is None


def test_a_class_of_the_workspace_needs_the_abstract_methods_only(lab: Path) -> None:
    text = "storage: {backend: 'MINE:Storage', options: {root: here}}\ntracker: {backend: 'MINE:Tracker', uri: 'x://y'}"
    settings = _settings(lab, text)
    storage, tracker = make_storage(settings), make_tracker(settings)
    assert storage is not None and storage.file_exists("b", "a") and not storage.file_exists("b", "abc")
    assert storage.root == "here"  # type: ignore[attr-defined]
    assert tracker is not None and tracker.uri == "x://y"  # type: ignore[attr-defined]
    assert str(lab) not in sys.path


def test_an_installed_backend_is_named_by_its_entry_point(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = next(lab.glob("mine_*.py")).stem
    info = lab / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[kladml.backends]\nstorage.nas = {module}:Storage\n")
    monkeypatch.syspath_prepend(str(lab))
    made = make_storage(_settings(lab, "storage: {backend: nas}"))
    assert type(made).__name__ == "Storage"
    with pytest.raises(ConfigError, match="Did you mean nas"):
        make_storage(_settings(lab, "storage: {backend: nass}"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("storage:\n  backend: s33", "storage.backend 's33' is not known. Did you mean s3?"),
        ("storage:\n  backend: MINE:Half", "lacks download_file, list_files"),
        ("storage:\n  backend: MINE:function", "is no class"),
        ("storage:\n  backend: MINE:Nothing", "cannot be imported: AttributeError"),
        ("storage:\n  backend: nowhere.at.all:X", "cannot be imported: ModuleNotFoundError"),
        ("storage:\n  backend: MINE:Storage\n  options: {rot: x}", "does not take these options"),
        ("publisher:\n  backend: MINE:Foreign", "is no subclass of PublisherInterface"),
        ("publisher:\n  backend: MINE:Broken", "cannot be made: OSError: no line"),
        ("tracker:\n  backend: mlflow", "needs a server. Set tracker.uri"),
    ],
)
def test_what_cannot_be_a_backend_is_told_at_its_place(text: str, says: str, lab: Path) -> None:
    settings = _settings(lab, text)
    make = {"s": make_storage, "p": make_publisher, "t": make_tracker}[text[0]]
    with pytest.raises((ConfigError, UnusableError)) as caught:
        make(settings)  # type: ignore[operator]
    assert says in str(caught.value)
    assert caught.value.location == f"{lab / 'kladml.yaml'}:2:12"


def test_a_variable_that_names_no_backend_is_told_as_such(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KLADML_PUBLISHER__BACKEND", "consle")
    with pytest.raises(ConfigError, match=r"\$KLADML_PUBLISHER__BACKEND.*Did you mean console"):
        make_publisher(_settings(lab, ""))
