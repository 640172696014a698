"""README's storage of one's own, as it stands there, on a real S3 server: by module:Class, and installed by name."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from kladml_core.backends.choose import make_storage
from kladml_core.interfaces import StorageInterface
from kladml_core.settings import load_settings
from tests.system.command import ROOT
from tests.system.readme import python_blocks
from tests.system.s3_server import ACCESS_KEY, SECRET_KEY, s3_server

README = (ROOT / "README.md").read_text(encoding="utf-8")
NAMED = re.compile(r"^storage: .*my_storage:S3Storage.*$", re.M)
INSTALLED = re.compile(r"^```toml\n(\[project\.entry-points.*?)^```$", re.M | re.S)


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "buckets" / "runs").mkdir(parents=True)
    with s3_server(tmp_path / "buckets") as found:
        yield found


@pytest.fixture
def forgotten() -> Iterator[None]:
    """What is imported here is another test's or another version's next time."""
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] in ("my_storage", "my_package")]:
        del sys.modules[name]


def test_the_snippet_of_readme_stores_on_a_real_server(
    url: str, workspace: Path, monkeypatch: pytest.MonkeyPatch, forgotten: None
) -> None:
    [snippet] = [block for block in python_blocks() if "(StorageInterface)" in block]
    [line] = NAMED.findall(README)
    written = line.replace("http://127.0.0.1:9000", url)
    assert written != line
    (workspace / "my_storage.py").write_text(snippet)
    (workspace / "kladml.yaml").write_text(written)
    _store_and_fetch(make_storage(load_settings(workspace)), workspace)

    # The same class, offered by an installed package as README shows it.
    [toml] = INSTALLED.findall(README)
    [(group, points)] = tomllib.loads(toml)["project"]["entry-points"].items()
    site = workspace / "site"
    (site / "my_package").mkdir(parents=True)
    (site / "my_package" / "__init__.py").touch()
    (workspace / "my_storage.py").rename(site / "my_package" / "my_storage.py")
    info = site / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    lines = [f"{name} = {target}" for name, target in points.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("KLADML_STORAGE__BACKEND", "mine")
    storage = make_storage(load_settings(workspace))
    assert type(storage).__module__ == "my_package.my_storage"
    _store_and_fetch(storage, workspace)


def _store_and_fetch(storage: StorageInterface | None, folder: Path) -> None:
    assert storage is not None
    (folder / "in").write_bytes(b"weights")
    assert storage.upload_file(str(folder / "in"), "runs", "a/model.bin").endswith("runs/a/model.bin")
    assert storage.list_files("runs", "a/") == ["a/model.bin"]
    # What is not obligatory is made of what is.
    assert storage.file_exists("runs", "a/model.bin") and not storage.file_exists("runs", "a/model")
    assert storage.download_file("runs", "a/model.bin", str(folder / "out")) == str(folder / "out")
    assert (folder / "out").read_bytes() == b"weights"
