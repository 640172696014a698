"""A virtual environment with what `pip install` of this package brings without extras, and nothing else.

Its packages are links to the ones that are installed here, so that it takes no time and no network.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.system.command import ROOT

OURS = ("kladml_core", "kladml_tui")


def make_core_venv(folder: Path) -> Path:
    """Makes the environment in `folder`; returns its interpreter."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    asked = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    for found in _required():
        for name in sorted({Path(file).parts[0] for file in found.files or ()}):
            installed = Path(str(found.locate_file(name)))
            # What lies outside of the packages, as ../../bin does, is a command and no import.
            if name not in ("..", "__pycache__") and installed.exists() and not (packages / name).exists():
                (packages / name).symlink_to(installed)
    for name in OURS:
        (packages / name).symlink_to(ROOT / name)
    return python


def core_environment() -> dict[str, str]:
    """The environment of a process there: nothing is imported from the repository or from here by way of a variable."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    return {**{name: value for name, value in os.environ.items() if name not in hidden}, "OMP_NUM_THREADS": "1"}


def _required() -> list[Distribution]:
    """The distributions that the dependencies of pyproject.toml, without extras, lead to."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    todo = [Requirement(text) for text in project["dependencies"]]
    found: dict[tuple[str, str], Distribution] = {}
    while todo:
        wanted = todo.pop()
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        for extra in ("", *wanted.extras):
            key = (canonicalize_name(wanted.name), extra)
            if key in found:
                continue
            found[key] = distribution(key[0])
            for text in found[key].requires or ():
                needed = Requirement(text)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    needed.marker = None
                    todo.append(needed)
    return list({key[0]: one for key, one in found.items()}.values())


if __name__ == "__main__":
    print(make_core_venv(Path(sys.argv[1])))
