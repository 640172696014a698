"""The settings of a workspace: found from below, every key with a default, each fault at its place."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from kladml_core.backends.env_config import EnvConfig
from kladml_core.config.load import read
from kladml_core.errors import ConfigError
from kladml_core.interfaces import ConfigInterface
from kladml_core.settings import SECTIONS, Settings, find_workspace, load_settings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "kladml.yaml").write_text("ui:\n  theme: mine\n  fps: 5\n")
    return tmp_path


def test_a_workspace_is_found_from_any_folder_below_it(workspace: Path) -> None:
    (workspace / "a" / "b").mkdir(parents=True)
    assert find_workspace(workspace / "a" / "b") == workspace
    assert find_workspace(workspace) == workspace
    (workspace / "a" / "kladml.yaml").touch()
    assert find_workspace(workspace / "a" / "b") == workspace / "a"


def test_there_may_be_no_workspace(tmp_path: Path) -> None:
    (tmp_path / "kladml.yaml").mkdir()
    assert find_workspace(tmp_path) is None
    assert find_workspace(tmp_path / "not" / "there") is None


def test_what_is_not_written_is_the_default(workspace: Path) -> None:
    settings = load_settings(workspace, {})
    assert (settings.ui.theme, settings.ui.fps, settings.ui.mouse) == ("mine", 5, True)
    assert settings.launch.device == "auto"
    assert settings.data == workspace / "data"
    assert settings.config_dirs == (workspace / "data" / "configs",)
    assert settings.name == workspace.name


@pytest.mark.parametrize("text", ["", "# nothing\n", "ui:\n", "ui:\n  theme:\n"])
def test_an_empty_file_means_the_defaults(text: str, tmp_path: Path) -> None:
    (tmp_path / "kladml.yaml").write_text(text)
    assert load_settings(tmp_path, {}) == Settings(root=tmp_path)
    (tmp_path / "kladml.yaml").unlink()
    assert load_settings(tmp_path, {}) == Settings(root=tmp_path)


def test_paths_are_resolved_against_the_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "workspace: {name: Lab, data_dir: /big/disk, configs: [conf, ../shared, /etc/conf]}"
    (tmp_path / "kladml.yaml").write_text(text)
    monkeypatch.chdir("/")
    settings = load_settings(tmp_path, {})
    assert settings.data == Path("/big/disk")
    assert settings.config_dirs == (tmp_path / "conf", tmp_path / "../shared", Path("/etc/conf"))
    assert settings.name == "Lab"


def test_the_environment_wins_over_the_file(workspace: Path) -> None:
    environ = {
        "KLADML_UI__THEME": "2024",
        "KLADML_UI__MOUSE": "false",
        "KLADML_UI__KEYMAP": "{quit: ctrl+q}",
        "KLADML_WORKSPACE__CONFIGS": "[a, b]",
        "KLADML_TUI_DEBUG": "1",
        "HOME": "/",
    }
    settings = load_settings(workspace, environ)
    assert (settings.ui.theme, settings.ui.mouse, settings.ui.fps) == ("2024", False, 5)
    assert dict(settings.ui.keymap) == {"quit": "ctrl+q"}
    assert settings.workspace.configs == ("a", "b")


@pytest.mark.parametrize(
    ("text", "says", "line", "column"),
    [
        ("ui:\n  them: x", "'them' is no key of ui. Did you mean theme?", 2, 3),
        ("uii: {}", "'uii' is no key of kladml.yaml. Did you mean ui?", 1, 1),
        ("theme: x", "'theme' is no key of kladml.yaml. Did you mean ui.theme?", 1, 1),
        ("zzz: x", "The keys are workspace, launch, queue, storage, tracker, publisher, notices, ui", 1, 1),
        ("ui: dark", "ui must be a mapping of keys to values, not 'dark'", 1, 5),
        ("ui:\n  fps: fast", "ui.fps must be a whole number, not 'fast'", 2, 8),
        ("ui: {fps: 0}", "ui.fps must be from 1 to 60, not 0", 1, 11),
        ("ui: {fps: true}", "ui.fps must be a whole number, not true", 1, 11),
        ("ui: {mouse: off}", "ui.mouse must be true or false, not 'off'", 1, 13),
        ("ui: {drawing: brail}", "must be one of braille, block, ascii, not 'brail'. Did you mean braille?", 1, 15),
        ("ui: {theme: 3}", "ui.theme must be text, not 3", 1, 13),
        ("ui: {keymap: {quit: 3}}", "ui.keymap must be a mapping of text to text", 1, 14),
        ("workspace: {configs: data}", "must be a list of texts, not 'data'. Write it in brackets", 1, 22),
        ("workspace: {data_dir: ''}", "workspace.data_dir must be text, not ''", 1, 23),
        ("launch: {device: gpu}", "launch.device must be auto, cpu, cuda, cuda:N or mps, not 'gpu'", 1, 18),
        ("launch: {processes: 0}", "launch.processes must be at least 1, not 0", 1, 21),
        ("ui: [", "is not closed", 1, 5),
        ("- ui", "the top level must be a mapping", 1, 1),
    ],
)
def test_a_fault_is_told_at_its_place(text: str, says: str, line: int, column: int, tmp_path: Path) -> None:
    (tmp_path / "kladml.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(tmp_path, {})
    assert says in str(caught.value)
    assert caught.value.location == f"{tmp_path / 'kladml.yaml'}:{line}:{column}"


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("KLADML_UI__FPS", "fast", "$KLADML_UI__FPS: ui.fps must be a whole number, not 'fast'"),
        ("KLADML_UI__THEM", "x", "$KLADML_UI__THEM: 'them' is no key of ui. Did you mean theme?"),
        ("KLADML_UI__KEYMAP", "{a", "$KLADML_UI__KEYMAP: the { that opens here is not closed"),
    ],
)
def test_a_fault_of_the_environment_names_the_variable(variable: str, value: str, says: str, workspace: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(workspace, {variable: value})
    assert says in str(caught.value)


def test_the_file_at_the_repository_root_lists_every_key_with_its_default_and_a_comment() -> None:
    document = read(ROOT / "kladml.yaml")
    lines = (ROOT / "kladml.yaml").read_text().splitlines()
    assert list(document.data) == list(SECTIONS)
    defaults = Settings(root=ROOT)
    for section, kind in SECTIONS.items():
        assert list(document.data[section]) == [entry.name for entry in dataclasses.fields(kind)]
        for key, value in document.data[section].items():
            line, _ = document.key_position((section, key))
            assert "#" in lines[line - 1], f"{section}.{key} has no comment"
            default = getattr(getattr(defaults, section), key)
            if (section, key) != ("workspace", "configs"):
                assert value == _plain(default), f"{section}.{key}"
    assert document.data["workspace"]["configs"] == ["data/configs", "kladml_core/examples"]
    assert load_settings(ROOT, {}).config_dirs == (ROOT / "data/configs", ROOT / "kladml_core/examples")


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value


def test_settings_cannot_be_changed_by_accident(workspace: Path) -> None:
    settings = load_settings(workspace, {})
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.ui.theme = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        settings.ui.keymap["a"] = "b"  # type: ignore[index]


def test_looking_for_a_workspace_does_not_even_import_yaml() -> None:
    program = "import sys, kladml_core.settings; assert not {'yaml', 'pydantic', 'numpy'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_env_config_reads_and_sets_variables() -> None:
    environ = {"KLADML_TRACKER__URI": "http://x", "KLADML_UI": "{fps: 3}"}
    config: ConfigInterface = EnvConfig(environ=environ)
    assert config.get("tracker.uri") == "http://x"
    assert config.get("ui.fps") == 3
    assert config.get("ui.theme", "dark") == "dark"
    for value in ("no", "1", "", "a: b # c", "null", " x ", 1e-3, 7, None, True, [1, {"a": None}], {}, float("inf")):
        config.set("a.b", value)
        assert config.get("a.b", "default") == value
        assert "KLADML_A__B" in environ
