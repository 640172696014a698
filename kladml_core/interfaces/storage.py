"""Where artifacts and checkpoints are kept: one interface, local files or S3 behind it."""

from __future__ import annotations

from abc import ABC, abstractmethod

from kladml_core.interfaces.unsupported import UnsupportedOperation


class StorageInterface(ABC):
    """A store of files addressed by bucket and key.

    A key is a path of `/`-separated names, relative and without `.` or `..`. The three abstract methods are all that a
    backend must have; the others are expressed through them, or say that they cannot be.
    """

    @abstractmethod
    def upload_file(self, local_path: str, bucket: str, key: str) -> str:
        """Copies a local file into the store, in place of what was there, and returns the address of the copy."""

    @abstractmethod
    def download_file(self, bucket: str, key: str, local_path: str) -> str:
        """Copies a stored file to `local_path`, in place of what was there, and returns that path."""

    @abstractmethod
    def list_files(self, bucket: str, prefix: str = "") -> list[str]:
        """The keys of a bucket that begin with `prefix`, sorted."""

    def file_exists(self, bucket: str, key: str) -> bool:
        """Whether there is a file under this very key."""
        return key in self.list_files(bucket, key)

    def delete_file(self, bucket: str, key: str) -> None:
        """Removes a file; one that is not there is no error.

        Raises:
            UnsupportedOperation: the store cannot remove files.
        """
        raise UnsupportedOperation(f"{type(self).__name__} cannot remove files")
