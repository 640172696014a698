"""Who loads what: looked up in sys.modules of a fresh process, since this one has loaded everything."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "accelerate", "mlflow"}
SCREEN = {"textual", "rich", "typer"}
AFTER_THE_FIRST_FRAME = {"numpy", "pydantic", "plotext", "watchfiles", "psutil"}
MAY_BE_HEAVY = ("training", "models", "data", "examples")
_TELL = "\nimport json, sys\nprint('MODULES', json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


def loaded_by(code: str) -> set[str]:
    """Top-level names of the modules that a fresh interpreter has loaded after running `code`."""
    process = subprocess.run(
        [sys.executable, "-c", code + _TELL], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert process.returncode == 0, process.stderr
    return set(json.loads(process.stdout.rpartition("MODULES")[2]))


def command_line(*arguments: str) -> str:
    """Code that runs `kladml-tui` inside the interpreter that is asked what it loaded."""
    return (
        f"import sys\nsys.argv = {['kladml-tui', *arguments]!r}\nfrom kladml_tui.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass"
    )


def modules_of(package: str) -> list[str]:
    """Dotted names of every module below a package."""
    folder = ROOT / package.replace(".", "/")
    paths = [path.relative_to(ROOT).with_suffix("") for path in sorted(folder.rglob("*.py"))]
    return [".".join(path.parts).removesuffix(".__init__") for path in paths if path.name != "__main__"]


def test_importing_the_core_loads_almost_nothing() -> None:
    assert not loaded_by("import kladml_core") & (HEAVY | SCREEN | AFTER_THE_FIRST_FRAME | {"yaml"})


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("runs", "--help"), ("config", "check", "--help")])
def test_help_and_version_load_no_screen_and_no_torch(arguments: tuple[str, ...]) -> None:
    assert not loaded_by(command_line(*arguments)) & (HEAVY | {"textual", "numpy"})


def test_version_loads_not_even_typer() -> None:
    assert not loaded_by(command_line("--version")) & SCREEN


def test_the_headless_console_loads_no_textual_and_no_torch() -> None:
    code = "import kladml_tui.headless, kladml_tui.headless_bar, kladml_core.runs.tail, kladml_core.config.schema"
    assert not loaded_by(code) & (HEAVY | {"textual", "typer"})


def test_the_app_loads_nothing_before_its_first_frame_that_can_wait() -> None:
    loaded = loaded_by("import kladml_tui.app, kladml_tui.screens.workbench, kladml_tui.monitor")
    assert "textual" in loaded
    assert not loaded & (HEAVY | AFTER_THE_FIRST_FRAME)


def test_every_module_of_the_screen_loads_no_torch() -> None:
    assert not loaded_by("\n".join(f"import {name}" for name in modules_of("kladml_tui"))) & HEAVY


def test_the_core_outside_training_loads_no_torch_and_no_screen() -> None:
    light = [
        name for name in modules_of("kladml_core") if name.split(".")[1:2] not in [[part] for part in MAY_BE_HEAVY]
    ]
    loaded = loaded_by(
        "\n".join(
            f"import {name}"
            for name in light
            if not name.endswith(("mlflow_tracker", "mlflow_sender", "mlflow_tables"))
        )
    )
    assert not loaded & (HEAVY | SCREEN)


def test_the_whole_core_loads_no_screen() -> None:
    loaded = loaded_by("\n".join(f"import {name}" for name in modules_of("kladml_core")))
    assert not loaded & (SCREEN - {"rich"})  # accelerate imports rich where it is installed; import-linter watches ours
