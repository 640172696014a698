"""Which buckets and keys a store takes: names that mean the same place in a directory and on S3."""

from __future__ import annotations

from kladml_core.errors import UnusableError

KEY_BYTES = 1024
"""S3's own limit for a key in UTF-8."""
_BUCKET_LENGTH = 63


def check_bucket(bucket: str) -> str:
    """The bucket's name as it came.

    Raises:
        UnusableError: it is empty, `.` or `..`, longer than 63 characters, or holds `/` or control characters.
    """
    if not 0 < len(bucket) <= _BUCKET_LENGTH or bucket in (".", "..") or "/" in bucket or not bucket.isprintable():
        raise UnusableError(
            f"{bucket!r} cannot be a bucket", hint="Use 3 to 63 lower-case letters, digits, dots and hyphens"
        )
    return bucket


def key_parts(key: str) -> tuple[str, ...]:
    """The names that a key is made of.

    Raises:
        UnusableError: the key is empty or absolute, leads out of the bucket, holds an empty name or control
            characters, or is longer than 1,024 bytes.
    """
    parts = tuple(key.split("/"))
    if any(part in ("", ".", "..") for part in parts) or "\\" in key or not key.isprintable():
        raise UnusableError(f"{key!r} cannot be a key", hint="Use names parted by /, none of them empty, . or ..")
    if len(key.encode("utf-8", "surrogatepass")) > KEY_BYTES:
        raise UnusableError(f"the key {key[:40]!r}… is longer than {KEY_BYTES} bytes")
    return parts
