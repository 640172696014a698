"""Where artifacts and checkpoints are kept: one interface, local files or S3 behind it."""

from __future__ import annotations

from abc import ABC, abstractmethod


class StorageInterface(ABC):
    """A store of files addressed by bucket and key."""

    @abstractmethod
    def upload_file(self, local_path: str, bucket: str, key: str) -> str:
        """Copies a local file into the store and returns the address of the copy."""

    @abstractmethod
    def download_file(self, bucket: str, key: str, local_path: str) -> str:
        """Copies a stored file to `local_path` and returns that path."""

    @abstractmethod
    def list_files(self, bucket: str, prefix: str = "") -> list[str]:
        """The keys of a bucket that begin with `prefix`."""
