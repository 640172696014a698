"""S3Storage: buckets of Amazon S3 or of anything that speaks like it, by boto3."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kladml_core.backends.storage_keys import check_bucket, key_parts
from kladml_core.errors import NotSupportedError, UnusableError
from kladml_core.interfaces.storage import StorageInterface

PART_BYTES = 16 << 20
"""Files above this are sent in parts of this size, several at a time."""
_MISSING = ("404", "NoSuchKey", "NotFound")
_HINTS = {
    "NoSuchBucket": "Create the bucket, or name another one",
    "InvalidAccessKeyId": "Look at AWS_ACCESS_KEY_ID or ~/.aws/credentials",
    "SignatureDoesNotMatch": "Look at AWS_SECRET_ACCESS_KEY or ~/.aws/credentials",
    "AccessDenied": "The key may not do this; look at the policy of the bucket",
    "403": "The key may not do this; look at the policy of the bucket",
    "ExpiredToken": "Log in anew",
}


class S3Storage(StorageInterface):
    """Files in S3 buckets, which must exist. Keys and secrets come from where boto3 looks for them: the environment, or
    the files in ~/.aws; never from a config.

    Args:
        endpoint_url: the server, for anything but Amazon: `http://127.0.0.1:9000`.
        region: e.g. `eu-central-1`; the environment's unless given.
        profile: of ~/.aws/config.
        addressing_style: `path`, `virtual` or `auto`; `path` unless given where there is an `endpoint_url`.
        retries: how often a failed request is made in all.
        timeout: seconds until a connection or a silent server counts as failed.

    Raises:
        NotSupportedError: boto3 is not installed.
        UnusableError: the profile or the endpoint cannot be used.
    """

    def __init__(
        self,
        endpoint_url: str | None = None,
        region: str | None = None,
        profile: str | None = None,
        addressing_style: str | None = None,
        retries: int = 5,
        timeout: float = 20.0,
    ) -> None:
        try:
            import boto3
            from botocore.config import Config
        except ImportError as error:
            raise NotSupportedError("S3 needs boto3", hint="Run `pip install 'kladml-tui[s3]'`") from error
        config = Config(
            connect_timeout=timeout,
            read_timeout=timeout,
            retries={"mode": "standard", "total_max_attempts": retries},
            s3={"addressing_style": addressing_style or ("path" if endpoint_url else "auto")},
            # Many servers know nothing of the checksums that newer boto3 adds unasked.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        self._where = endpoint_url or "S3"
        with self._told("S3 cannot be used"):
            session = boto3.Session(profile_name=profile, region_name=region)
            # Servers of one's own care for no region, but a signature needs one.
            region = session.region_name or ("us-east-1" if endpoint_url else None)
            self._client = session.client("s3", endpoint_url=endpoint_url, region_name=region, config=config)

    def upload_file(self, local_path: str, bucket: str, key: str) -> str:
        """Copies a local file into a bucket, in place of what was there, large ones in parts.

        Returns:
            `s3://bucket/key`.

        Raises:
            UnusableError: the file cannot be read, or the server refuses or cannot be reached.
        """
        from boto3.s3.transfer import TransferConfig

        check_bucket(bucket), key_parts(key)
        parts = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES)
        with self._told(f"cannot store {local_path} as s3://{bucket}/{key}"):
            self._client.upload_file(local_path, bucket, key, Config=parts)
        return f"s3://{bucket}/{key}"

    def download_file(self, bucket: str, key: str, local_path: str) -> str:
        """Copies a stored file to `local_path`, whose folders are made, in place of what was there.

        Raises:
            UnusableError: there is no such file, or the server refuses or cannot be reached.
        """
        check_bucket(bucket), key_parts(key)
        target = Path(local_path)
        temporary = target.with_name(f".kladml-{uuid.uuid4().hex}")
        with self._told(f"cannot fetch s3://{bucket}/{key} to {local_path}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._client.download_file(bucket, key, str(temporary))
                temporary.replace(target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        return local_path

    def list_files(self, bucket: str, prefix: str = "") -> list[str]:
        """The keys of a bucket that begin with `prefix`, sorted, however many pages they fill.

        Raises:
            UnusableError: there is no such bucket, or the server refuses or cannot be reached.
        """
        check_bucket(bucket)
        pages = self._client.get_paginator("list_objects_v2")
        with self._told(f"cannot list s3://{bucket}/{prefix}"):
            found = [
                entry["Key"]
                for page in pages.paginate(Bucket=bucket, Prefix=prefix)
                for entry in page.get("Contents", ())
            ]
        return sorted(found)

    def file_exists(self, bucket: str, key: str) -> bool:
        """Whether there is a file under this very key.

        Raises:
            UnusableError: the server refuses or cannot be reached.
        """
        from botocore.exceptions import ClientError

        check_bucket(bucket), key_parts(key)
        with self._told(f"cannot look at s3://{bucket}/{key}"):
            try:
                self._client.head_object(Bucket=bucket, Key=key)
            except ClientError as error:
                if _code(error) in _MISSING:
                    return False
                raise
        return True

    def delete_file(self, bucket: str, key: str) -> None:
        """Removes a file; one that is not there is no error.

        Raises:
            UnusableError: the server refuses or cannot be reached.
        """
        check_bucket(bucket), key_parts(key)
        with self._told(f"cannot remove s3://{bucket}/{key}"):
            self._client.delete_object(Bucket=bucket, Key=key)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Turns what boto3 and the system raise into one error that says what could not be done, and why."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, NoCredentialsError

        try:
            yield
        except ClientError as error:
            code = _code(error)
            reason = "there is no such file" if code in _MISSING else error.response["Error"].get("Message") or code
            raise UnusableError(f"{what}: {reason}", hint=_HINTS.get(code)) from error
        except NoCredentialsError as error:
            hint = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write ~/.aws/credentials"
            raise UnusableError(f"{what}: there are no credentials", hint=hint) from error
        except EndpointConnectionError as error:
            raise UnusableError(f"{what}: {self._where} cannot be reached", hint="Is the server up?") from error
        except (BotoCoreError, ValueError) as error:
            raise UnusableError(f"{what}: {error}") from error
        except Boto3Error as error:
            # The transfer wraps the server's answer into text, and keeps the answer as the context.
            inner = error.__context__
            if isinstance(inner, ClientError):
                reason = inner.response["Error"].get("Message") or _code(inner)
                raise UnusableError(f"{what}: {reason}", hint=_HINTS.get(_code(inner))) from error
            raise UnusableError(f"{what}: {error}") from error
        except OSError as error:
            raise UnusableError(f"{what}: {error.strerror or error}") from error


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
