"""Makes a workspace: its kladml.yaml, a config copied from an example, and for digits a registered dataset."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

from kladml_core.errors import ConfigError, UnusableError
from kladml_core.runs.files import write_text_atomic
from kladml_core.settings import FILE_NAME, Settings, load_settings

if TYPE_CHECKING:
    import numpy as np

VALIDATION_ROWS = 360

EXAMPLES = {"digits": "digits.yaml", "tiny-gpt": "tiny_gpt.yaml", "diabetes": "diabetes.yaml"}
"""Name of an example → its file in kladml_core/examples."""

_SETTINGS = """\
# A KladML workspace: everything that is not said here has its default.
workspace:
{name}  data_dir: data               # runs, datasets and databases
  configs: [data/configs]      # the folders whose YAML files are listed as configs
ui:
  theme: kladml-dark           # or kladml-light
"""


def init_workspace(directory: Path, example: str | None = None) -> list[Path]:
    """Makes a workspace of a directory. What is there already stays as it is.

    Args:
        directory: made when missing.
        example: digits, tiny-gpt or diabetes: its config, ready to be launched and changed.

    Returns:
        the files that were made, in order, absolute.

    Raises:
        ConfigError: there is no such example.
        UnusableError: the directory cannot be written.
    """
    if example is not None and example not in EXAMPLES:
        from difflib import get_close_matches

        close = get_close_matches(example, EXAMPLES, n=1)
        hint = f"Did you mean {close[0]}?" if close else f"There are {', '.join(EXAMPLES)}"
        raise ConfigError(f"there is no example {example!r}", hint=hint)
    made: list[Path] = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        directory = directory.resolve()
        _write(directory / FILE_NAME, _SETTINGS.format(name=_name_line(directory.name)), made)
        settings = load_settings(directory)
        for folder in (configs_of(settings), settings.data / "datasets"):
            folder.mkdir(parents=True, exist_ok=True)
        if example is not None:
            if example == "digits":
                made += _digits(directory, settings)
            _write(configs_of(settings) / f"{example}.yaml", _config(example), made)
    except OSError as error:
        where = error.filename or directory
        raise UnusableError(f"cannot make a workspace: {where}: {error.strerror}") from error
    return made


def configs_of(settings: Settings) -> Path:
    """The folder that a new config goes into: the first of the workspace's."""
    return settings.config_dirs[0] if settings.config_dirs else settings.root / "data" / "configs"


def _write(path: Path, text: str, made: list[Path]) -> None:
    if not path.exists():
        write_text_atomic(path, text)
        made.append(path)


def _name_line(name: str) -> str:
    """The workspace's name as a line of YAML; none where the folder's name is no text that YAML could hold."""
    from kladml_core.config.load import dump

    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return ""
    return f"  {dump({'name': name or 'workspace'}).strip()}\n"


def _config(example: str) -> str:
    """The example's own file; digits takes its data from the registry instead of a target."""
    file = Path(__file__).resolve().parent.parent / "examples" / EXAMPLES[example]
    text = file.read_text(encoding="utf-8")
    if example != "digits":
        return text
    lines = text.splitlines(keepends=True)
    start = next(number for number, line in enumerate(lines) if line.startswith("data:"))
    end = start + 1
    while end < len(lines) and lines[end].startswith((" ", "\t")):
        end += 1
    registered = "data:                        # registered datasets: data/datasets/<name>.yaml\n"
    return "".join([*lines[:start], registered, "  train: digits-train\n", "  val: digits-val\n", *lines[end:]])


def digits_splits() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """scikit-learn's digits in the split of the example, which never changes: train 1,437, val 360.

    Returns:
        split to x (float32 [n, 1, 8, 8], 0 to 1) and y (int64 [n], 0 to 9).
    """
    # The example itself needs torch, which takes seconds to import and is never imported here.
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    x = (digits.images.astype(np.float32) / 16)[:, None, :, :]
    y = digits.target.astype(np.int64)
    rows = np.arange(len(y))
    train, val = train_test_split(rows, test_size=VALIDATION_ROWS, stratify=y, random_state=0)
    return {"train": (x[train], y[train]), "val": (x[val], y[val])}


def _digits(directory: Path, settings: Settings) -> list[Path]:
    """Writes scikit-learn's digits as two files with a fixed split, and registers them."""
    from kladml_core.workspace.dataset_register import register
    from kladml_core.workspace.datasets import FOLDER

    made: list[Path] = []
    splits: dict[str, tuple[np.ndarray, np.ndarray]] | None = None
    for split in ("train", "val"):
        name = f"digits-{split}"
        data = settings.data / FOLDER / "files" / f"{name}.npz"
        if not data.exists():
            splits = splits or digits_splits()
            data.parent.mkdir(parents=True, exist_ok=True)
            _write_npz(data, *splits[split])
            made.append(data)
        registration = settings.data / FOLDER / f"{name}.yaml"
        if not registration.exists():
            path = data.relative_to(settings.root) if data.is_relative_to(settings.root) else data
            description = f"scikit-learn's handwritten digits, 8x8 grey images, the {split} split"
            register(directory, name, path=path.as_posix(), split=split, description=description)
            made.append(registration)
    return made


def _write_npz(path: Path, x: np.ndarray, y: np.ndarray) -> None:
    import numpy as np

    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=x, y=y)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(buffer.getvalue())
    os.replace(temporary, path)
