"""What is recorded of the code and the machine that made a run: versions, git state, environment, command line."""

from __future__ import annotations

import getpass
import os
import platform
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kladml_core.config.secrets import is_secret_name, mask
from kladml_core.runs.processes import host_name

PACKAGES = ("torch", "accelerate", "numpy", "safetensors", "pydantic", "scikit-learn", "mlflow", "textual")
PATCH_FILE = "uncommitted.patch"
PACKAGES_FILE = "packages.txt"
"""Every installed distribution as `name==version`, a line each, which `pip install -r` takes."""

_RECORDED = re.compile(r"(CUDA_|NCCL_|OMP_|MKL_|TORCH_|PYTORCH_|SLURM_|PYTHON)\w*|LANG")
_KEY_FILE = re.compile(r"(^|/)(\.env[^/]*|id_(rsa|dsa|ecdsa|ed25519)[^/]*|[^/]*\.(pem|key|p12|pfx|keystore))$")
_MAX_UNTRACKED = 1 << 20
_GIT_SECONDS = 20.0


@dataclass(frozen=True)
class GitState:
    """The repository that holds the target's file, as it was when the attempt was launched."""

    root: str
    sha: str | None
    dirty: bool
    patch: bytes
    """`git apply` of this on `sha` gives the working tree, untracked files included."""
    left_out: tuple[str, ...]
    """Untracked files that the patch does not hold: environment files, keys, files over 1 MiB."""

    def to_json(self) -> dict[str, Any]:
        return {"root": self.root, "sha": self.sha, "dirty": self.dirty, "left_out": list(self.left_out)}


def environment(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The variables that change what training computes with their values, of all others the names alone."""
    shown = {key: mask(value) for key, value in sorted(environ.items()) if _RECORDED.fullmatch(key)}
    return {"values": shown, "names": sorted(key for key in environ if key not in shown)}


def versions() -> dict[str, str]:
    """Python's version and the installed versions of the packages that matter for a repetition."""
    from importlib.metadata import PackageNotFoundError, version  # a fiftieth of a second; readers need none of it

    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def installed() -> dict[str, str]:
    """Every installed distribution that Python finds, by its normalized name, with its version."""
    from importlib.metadata import distributions

    found: dict[str, str] = {}
    for one in distributions():
        name = one.metadata["Name"] if one.metadata else None
        if name:  # a directory that an interrupted install left behind has none
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), one.version)  # the first on sys.path is imported
    return dict(sorted(found.items()))


def read_packages(path: Path) -> dict[str, str]:
    """The distributions that a packages.txt names; empty where there is no such file."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    return {name: found for name, sign, found in (line.partition("==") for line in lines) if sign}


def record(directory: Path, code: Path, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Writes what an attempt's code is, its patch and its packages, and returns the part of attempt.json about them.

    Args:
        directory: the attempt's.
        code: a file or folder in the repository whose state counts.
        environ: what training gets.

    Raises:
        OSError: the directory cannot be written.
    """
    git = git_state(code)
    if git is not None and git.patch:
        (directory / PATCH_FILE).write_bytes(git.patch)
    packages = "".join(f"{name}=={found}\n" for name, found in installed().items())
    (directory / PACKAGES_FILE).write_text(packages, encoding="utf-8")
    return {
        **machine(),
        "versions": versions(),
        "git": None if git is None else git.to_json(),
        "environment": environment(environ),
    }


def user_name() -> str:
    """The name of the user, or the number where the system knows no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def mask_override(text: str) -> str:
    """A `KEY=VALUE` with the value hidden where the key looks like a secret, and passwords in URLs hidden."""
    key, sign, _ = text.partition("=")
    return f"{key}=***" if sign and is_secret_name(key) else mask(text)


def mask_argv(argv: Sequence[str]) -> list[str]:
    """A command line that may be written down."""
    return [mask_override(word) for word in argv]


def machine() -> dict[str, Any]:
    """Host, user, interpreter and platform."""
    return {"host": host_name(), "user": user_name(), "platform": platform.platform(), "cpus": os.cpu_count()}


def git_state(path: Path) -> GitState | None:
    """The state of the repository around a file or directory, or None where there is none (or no git).

    The working tree and the repository's own index and objects are left untouched: the patch is made through a
    temporary index and a temporary object directory.
    """
    directory = path if path.is_dir() else path.parent
    root = _git(directory, "rev-parse", "--show-toplevel")
    objects = _git(directory, "rev-parse", "--git-path", "objects")
    if root is None or objects is None:
        return None
    top = Path(os.fsdecode(root.rstrip(b"\n")))
    head = _git(top, "rev-parse", "--verify", "--quiet", "HEAD")
    sha = head.decode().strip() if head else None
    listing = _git(top, "ls-files", "--others", "--exclude-standard", "-z") or b""
    untracked = [os.fsdecode(name) for name in listing.split(b"\0") if name]
    left_out = tuple(name for name in untracked if _unwanted(top / name, name))
    if sha is None:
        return GitState(str(top), None, True, b"", left_out)
    with tempfile.TemporaryDirectory(prefix="kladml-git-") as scratch:
        environ = {
            **os.environ,
            "GIT_INDEX_FILE": f"{scratch}/index",
            "GIT_OBJECT_DIRECTORY": f"{scratch}/objects",
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str((directory / os.fsdecode(objects.rstrip(b"\n"))).resolve()),
        }
        os.mkdir(f"{scratch}/objects")
        _git(top, "read-tree", "HEAD", environ=environ)
        _git(top, "add", "--update", ".", environ=environ)
        wanted = [name for name in untracked if name not in set(left_out)]
        names = b"\0".join(os.fsencode(name) for name in wanted)
        if wanted:
            _git(top, "add", "--pathspec-from-file=-", "--pathspec-file-nul", environ=environ, stdin=names)
        patch = _git(top, "diff", "--cached", "--binary", "--no-ext-diff", "--no-color", "HEAD", environ=environ) or b""
    return GitState(str(top), sha, bool(patch or left_out), patch, left_out)


def _unwanted(path: Path, name: str) -> bool:
    try:
        return bool(_KEY_FILE.search(name)) or path.lstat().st_size > _MAX_UNTRACKED
    except OSError:
        return True


def _git(
    directory: Path, *words: str, environ: Mapping[str, str] | None = None, stdin: bytes | None = None
) -> bytes | None:
    """The output of a git command, or None when there is no git, no repository, or it takes too long."""
    try:
        done = subprocess.run(
            ["git", "--literal-pathspecs", "-C", str(directory), *words],
            env=environ,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=_GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
