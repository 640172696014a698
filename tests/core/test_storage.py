"""One contract for every storage, run against local files and a real S3 server; and what each refuses on its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kladml_core.backends.local_storage import LocalStorage
from kladml_core.backends.s3_storage import PART_BYTES, S3Storage
from kladml_core.errors import NotSupportedError, UnusableError
from kladml_core.interfaces import StorageInterface, UnsupportedOperation
from tests.system.s3_server import ACCESS_KEY, SECRET_KEY, s3_server


class ThreeMethods(StorageInterface):
    """Somebody's own backend with the three obligatory methods and no more."""

    def __init__(self, root: Path) -> None:
        self._local = LocalStorage(root)

    def upload_file(self, local_path: str, bucket: str, key: str) -> str:
        return self._local.upload_file(local_path, bucket, key)

    def download_file(self, bucket: str, key: str, local_path: str) -> str:
        return self._local.download_file(bucket, key, local_path)

    def list_files(self, bucket: str, prefix: str = "") -> list[str]:
        return self._local.list_files(bucket, prefix)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("buckets")
    (directory / "runs").mkdir()
    with s3_server(directory) as url:
        yield url


@pytest.fixture
def s3_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["local", "three methods", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, s3_keys: None) -> StorageInterface:
    if request.param == "local":
        return LocalStorage(tmp_path / "store")
    if request.param == "three methods":
        return ThreeMethods(tmp_path / "store")
    storage = S3Storage(endpoint_url=request.getfixturevalue("server"))
    for key in storage.list_files("runs"):
        storage.delete_file("runs", key)
    return storage


def write(path: Path, content: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def test_a_file_comes_back_as_it_was(storage: StorageInterface, tmp_path: Path) -> None:
    content = os.urandom(PART_BYTES + 12_345)  # in several parts on S3
    address = storage.upload_file(write(tmp_path / "in", content), "runs", "a/b/model.bin")
    assert address.endswith("runs/a/b/model.bin")
    target = tmp_path / "new" / "folder" / "out"
    assert storage.download_file("runs", "a/b/model.bin", str(target)) == str(target)
    assert target.read_bytes() == content


def test_an_empty_file_and_odd_names_come_back(storage: StorageInterface, tmp_path: Path) -> None:
    for key in ("empty", "with space/[/x] ü%2F.txt", "a+b=c&d"):
        storage.upload_file(write(tmp_path / "in", key.encode() if key != "empty" else b""), "runs", key)
        storage.download_file("runs", key, str(tmp_path / "out"))
        assert (tmp_path / "out").read_bytes() == (b"" if key == "empty" else key.encode())
    assert storage.list_files("runs") == sorted(["empty", "with space/[/x] ü%2F.txt", "a+b=c&d"])


def test_a_second_upload_takes_the_place_of_the_first(storage: StorageInterface, tmp_path: Path) -> None:
    storage.upload_file(write(tmp_path / "in", b"first and longer"), "runs", "k")
    storage.upload_file(write(tmp_path / "in", b"second"), "runs", "k")
    storage.download_file("runs", "k", str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == b"second"
    assert storage.list_files("runs") == ["k"]


def test_lists_by_prefix_of_the_whole_key(storage: StorageInterface, tmp_path: Path) -> None:
    for key in ("a/1", "a/2", "ab/3", "b"):
        storage.upload_file(write(tmp_path / "in", b"x"), "runs", key)
    assert storage.list_files("runs", "a") == ["a/1", "a/2", "ab/3"]
    assert storage.list_files("runs", "a/") == ["a/1", "a/2"]
    assert storage.list_files("runs", "none") == []


def test_what_is_not_there_is_told_and_leaves_nothing(storage: StorageInterface, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"mine")
    with pytest.raises(UnusableError, match="runs/missing"):
        storage.download_file("runs", "missing", str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == b"mine"
    with pytest.raises(UnusableError, match="nowhere"):
        storage.upload_file(str(tmp_path / "nowhere"), "runs", "k")
    assert not storage.file_exists("runs", "k")
    assert [path.name for path in tmp_path.glob(".kladml-*")] == []


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../out", "a/../../out", "a//b", "a/./b", "a/", "a\0b", "x" * 1025])
def test_a_key_that_leads_elsewhere_is_refused(storage: StorageInterface, tmp_path: Path, key: str) -> None:
    with pytest.raises(UnusableError, match="key"):
        storage.upload_file(write(tmp_path / "in", b"x"), "runs", key)
    with pytest.raises(UnusableError, match="key"):
        storage.download_file("runs", key, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("bucket", ["", "..", ".", "a/b", "x" * 64])
def test_a_bucket_that_leads_elsewhere_is_refused(storage: StorageInterface, tmp_path: Path, bucket: str) -> None:
    with pytest.raises(UnusableError, match="bucket"):
        storage.upload_file(write(tmp_path / "in", b"x"), bucket, "k")


def test_exists_means_the_very_key(storage: StorageInterface, tmp_path: Path) -> None:
    storage.upload_file(write(tmp_path / "in", b"x"), "runs", "folder/file")
    assert storage.file_exists("runs", "folder/file")
    assert not storage.file_exists("runs", "folder/fil")
    assert not storage.file_exists("runs", "folder")


def test_removes_a_file_or_says_that_it_cannot(storage: StorageInterface, tmp_path: Path) -> None:
    storage.upload_file(write(tmp_path / "in", b"x"), "runs", "a/b/c")
    storage.upload_file(write(tmp_path / "in", b"x"), "runs", "a/d")
    if isinstance(storage, ThreeMethods):
        with pytest.raises(UnsupportedOperation, match="ThreeMethods"):
            storage.delete_file("runs", "a/b/c")
        return
    storage.delete_file("runs", "a/b/c")
    storage.delete_file("runs", "a/b/c")
    assert storage.list_files("runs") == ["a/d"]


def test_a_reader_of_local_files_sees_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "store")
    versions = [bytes([letter]) * 3_000_000 for letter in b"ab"]
    sources = [write(tmp_path / f"in{number}", content) for number, content in enumerate(versions)]
    storage.upload_file(sources[0], "runs", "k")
    done = threading.Event()

    def keep_writing() -> None:
        for turn in range(20):
            storage.upload_file(sources[turn % 2], "runs", "k")
        done.set()

    writer = threading.Thread(target=keep_writing)
    writer.start()
    seen = set()
    while not done.is_set():
        storage.download_file("runs", "k", str(tmp_path / "out"))
        seen.add((tmp_path / "out").read_bytes())
    writer.join()
    assert seen <= set(versions)


def test_links_are_neither_followed_nor_listed(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "store")
    outside = tmp_path / "outside"
    write(outside / "secret", b"mine")
    storage.upload_file(write(tmp_path / "in", b"x"), "runs", "k")
    (tmp_path / "store" / "runs" / "link").symlink_to(outside)
    (tmp_path / "store" / "runs" / "file").symlink_to(outside / "secret")
    (tmp_path / "store" / "elsewhere").symlink_to(outside)
    with pytest.raises(UnusableError, match="not followed"):
        storage.upload_file(str(tmp_path / "in"), "runs", "link/new")
    with pytest.raises(UnusableError, match="not followed"):
        storage.download_file("runs", "file", str(tmp_path / "out"))
    with pytest.raises(UnusableError, match="not followed"):
        storage.upload_file(str(tmp_path / "in"), "elsewhere", "new")
    assert storage.list_files("runs") == ["k"]
    assert not storage.file_exists("runs", "link/secret")
    storage.upload_file(str(tmp_path / "in"), "runs", "file")  # takes the link's place, and leaves its target alone
    assert (outside / "secret").read_bytes() == b"mine"
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]


def test_local_files_lie_in_the_workspace_unless_told_otherwise(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workspace / "deep").mkdir()
    monkeypatch.chdir(workspace / "deep")
    assert LocalStorage().root == workspace / "data" / "storage"


def test_a_server_that_is_not_there_is_told(s3_keys: None) -> None:
    with pytest.raises(UnusableError, match=r"127\.0\.0\.1:1 cannot be reached"):
        S3Storage(endpoint_url="http://127.0.0.1:1", retries=1).list_files("runs")


def test_a_wrong_secret_and_a_missing_bucket_are_told(
    server: str, s3_keys: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(UnusableError, match="Create the bucket"):
        S3Storage(endpoint_url=server).upload_file(write(tmp_path / "in", b"x"), "no-such-bucket", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret")
    with pytest.raises(UnusableError, match="AWS_SECRET_ACCESS_KEY") as told:
        S3Storage(endpoint_url=server).list_files("runs")
    assert "another-secret" not in str(told.value)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(UnusableError, match="no credentials"):
        S3Storage(endpoint_url=server).list_files("runs")


def test_an_error_of_ours_is_the_interfaces_error_too() -> None:
    assert issubclass(NotSupportedError, UnsupportedOperation)
