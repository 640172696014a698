"""LocalStorage: buckets are directories below one root, and nothing reaches out of it."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from typing import IO

from kladml_core.backends.storage_keys import check_bucket, key_parts
from kladml_core.errors import UnusableError
from kladml_core.interfaces.storage import StorageInterface

_TEMPORARY = ".kladml-"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class LocalStorage(StorageInterface):
    """Files on this machine. Writing is atomic; symbolic links below the root are refused, never followed.

    Args:
        root: the directory of the buckets, made when first needed; `data/storage` of the nearest workspace unless
            given, or below the current directory where there is no workspace.
    """

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        self.root = _default_root() if root is None else Path(root).expanduser().absolute()

    def upload_file(self, local_path: str, bucket: str, key: str) -> str:
        """Copies a local file into the store, in place of what was there; a reader sees the old one or the new one.

        Returns:
            The path of the copy.

        Raises:
            UnusableError: the file cannot be read, the copy cannot be written, or the key is not one.
        """
        *folders, name = key_parts(key)
        with _told(f"cannot store {local_path} as {bucket}/{key}"), ExitStack() as stack:
            source = stack.enter_context(open(local_path, "rb"))
            place = self._open(stack, bucket, folders, make=True)
            temporary = f"{_TEMPORARY}{uuid.uuid4().hex}"
            try:
                with os.fdopen(_create(temporary, place), "wb") as copy:
                    _copy(source, copy)
                os.rename(temporary, name, src_dir_fd=place, dst_dir_fd=place)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=place)
                raise
            os.fsync(place)
        return str(self.root / bucket / key)

    def download_file(self, bucket: str, key: str, local_path: str) -> str:
        """Copies a stored file to `local_path`, whose folders are made, in place of what was there.

        Raises:
            UnusableError: there is no such file, or it cannot be read or written.
        """
        *folders, name = key_parts(key)
        target = Path(local_path)
        with _told(f"cannot fetch {bucket}/{key} to {local_path}"), ExitStack() as stack:
            place = self._open(stack, bucket, folders, make=False)
            stored = stack.enter_context(os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=place), "rb"))
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f"{_TEMPORARY}{uuid.uuid4().hex}")
            try:
                with temporary.open("xb") as copy:
                    _copy(stored, copy)
                temporary.replace(target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        return local_path

    def list_files(self, bucket: str, prefix: str = "") -> list[str]:
        """The keys of a bucket that begin with `prefix`, sorted; of a bucket that is not there, none.

        Raises:
            UnusableError: the bucket cannot be read.
        """
        found: list[str] = []
        with _told(f"cannot list {bucket}"), ExitStack() as stack:
            try:
                place = self._open(stack, bucket, [], make=False)
            except FileNotFoundError:
                return []
            for folder, _, names, descriptor in os.fwalk(".", follow_symlinks=False, dir_fd=place):
                for name in names:
                    key = os.path.normpath(os.path.join(folder, name))
                    if key.startswith(prefix) and not name.startswith(_TEMPORARY) and _is_file(name, descriptor):
                        found.append(key)
        return sorted(found)

    def file_exists(self, bucket: str, key: str) -> bool:
        """Whether there is a file under this very key; a link or a directory is none."""
        *folders, name = key_parts(key)
        with _told(f"cannot look at {bucket}/{key}"), ExitStack() as stack:
            try:
                return _is_file(name, self._open(stack, bucket, folders, make=False))
            except (FileNotFoundError, NotADirectoryError):
                return False

    def delete_file(self, bucket: str, key: str) -> None:
        """Removes a file, and the folders that it leaves empty; one that is not there is no error.

        Raises:
            UnusableError: it cannot be removed.
        """
        *folders, name = key_parts(key)
        with _told(f"cannot remove {bucket}/{key}"), ExitStack() as stack:
            try:
                os.unlink(name, dir_fd=self._open(stack, bucket, folders, make=False))
                while folders:
                    last = folders.pop()
                    os.rmdir(last, dir_fd=self._open(stack, bucket, folders, make=False))
            except (FileNotFoundError, NotADirectoryError):
                return
            except OSError:
                if self.file_exists(bucket, key):
                    raise  # otherwise only a folder stayed, which holds other files

    def _open(self, stack: ExitStack, bucket: str, folders: list[str], *, make: bool) -> int:
        """A descriptor of the folder, reached step by step so that no link on the way is followed."""
        if make:
            self.root.mkdir(parents=True, exist_ok=True)
        # The root itself may be reached through a link: the person named it.
        descriptor = _closing(stack, os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        for name in (check_bucket(bucket), *folders):
            if make:
                with suppress(FileExistsError):
                    os.mkdir(name, dir_fd=descriptor)
            descriptor = _closing(stack, os.open(name, _DIRECTORY, dir_fd=descriptor))
        return descriptor


def _default_root() -> Path:
    from kladml_core.settings import find_workspace, load_settings

    workspace = find_workspace(Path.cwd())
    return (load_settings(workspace).data if workspace is not None else Path.cwd() / "data") / "storage"


def _closing(stack: ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor


def _create(name: str, place: int) -> int:
    return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=place)


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    shutil.copyfileobj(source, target, 1 << 20)
    target.flush()
    os.fsync(target.fileno())


def _is_file(name: str, place: int) -> bool:
    try:
        return S_ISREG(os.stat(name, dir_fd=place, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turns the system's errors into one that says what could not be done."""
    try:
        yield
    except OSError as error:
        links = "Symbolic links in a store are not followed" if error.errno in (errno.ELOOP, errno.ENOTDIR) else None
        raise UnusableError(f"{what}: {error.strerror or error}", hint=links) from error
