"""What every ConfigInterface does, held against each implementation; and what YamlConfig does to a person's file."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from kladml_core.backends import EnvConfig, YamlConfig
from kladml_core.errors import ConfigError, UnusableError
from kladml_core.interfaces import ConfigInterface
from kladml_core.settings import load_settings

Make = Callable[[Path], ConfigInterface]
WRITTEN = """# mine
ui:   # the screen
  fps: 5      # slow line
  theme: 'mine'
workspace:
  configs:
    - one   # the first
    - two

tracker: {backend: none}
"""


def _yaml(folder: Path) -> ConfigInterface:
    (folder / "kladml.yaml").write_text("ui: {theme: mine, fps: 5}\n")
    return YamlConfig(folder / "kladml.yaml", environ={})


def _env(folder: Path) -> ConfigInterface:
    return EnvConfig(environ={"KLADML_UI__THEME": "mine", "KLADML_UI__FPS": "5"})


@pytest.fixture(params=[_yaml, _env], ids=["yaml", "env"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> ConfigInterface:
    make: Make = request.param
    return make(tmp_path)


def test_a_value_has_its_type_and_a_missing_one_its_default(config: ConfigInterface) -> None:
    assert (config.get("ui.theme"), config.get("ui.fps")) == ("mine", 5)
    assert config.get("ui") == {"theme": "mine", "fps": 5}
    assert config.get("ui.mouse") is None
    assert config.get("ui.mouse", True) is True
    assert config.get("ui.theme.deeper", 3) == 3


@pytest.mark.parametrize("key", ["", ".", "ui.", ".ui", "ui..theme"])
def test_a_key_with_an_empty_part_is_refused(key: str, config: ConfigInterface) -> None:
    with pytest.raises(ConfigError, match="is no key"):
        config.get(key)
    with pytest.raises(ConfigError, match="is no key"):
        config.set(key, 1)


@pytest.mark.parametrize("value", ["no", "1", "a: b # c", "null", " x ", "[", "1e-3", "ü\n\tz", "~", "-", "x: |"])
def test_a_text_that_is_set_is_what_is_got(value: str, config: ConfigInterface) -> None:
    config.set("storage.prefix", value)
    assert config.get("storage.prefix") == value


@pytest.mark.parametrize("value", [7, 1e-3, True, [1, {"a": "no"}], {}, {"b": {"c": "on"}}])
def test_a_value_of_any_kind_is_kept(value: object, config: ConfigInterface) -> None:
    config.set("storage.options", {"x": value})
    assert config.get("storage.options.x", "default") == value


def test_numbers_that_are_not_finite_are_kept(config: ConfigInterface) -> None:
    config.set("storage.options", {"high": math.inf, "none": math.nan})
    assert config.get("storage.options.high") == math.inf
    assert math.isnan(config.get("storage.options.none"))


def test_setting_a_key_leaves_comments_order_and_quotes(tmp_path: Path) -> None:
    file = tmp_path / "kladml.yaml"
    file.write_text(WRITTEN)
    config = YamlConfig(file, environ={})
    config.set("ui.fps", 30)
    config.set("storage.upload.checkpoints", True)
    text = file.read_text()
    assert text.startswith(WRITTEN.replace("fps: 5 ", "fps: 30").rstrip("\n"))
    assert text.endswith("storage:\n  upload:\n    checkpoints: true\n")
    assert load_settings(tmp_path, {}).storage.upload.checkpoints is True
    assert YamlConfig(file, environ={}).get("workspace.configs") == ["one", "two"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["kladml.yaml"]


def test_the_file_with_all_defaults_changes_in_one_line_only(tmp_path: Path) -> None:
    file = tmp_path / "kladml.yaml"
    before = (Path(__file__).parents[2] / "kladml.yaml").read_text()
    file.write_text(before)
    YamlConfig(file, environ={}).set("launch.processes", 4)
    changed = [
        (old, new) for old, new in zip(before.splitlines(), file.read_text().splitlines(), strict=True) if old != new
    ]
    assert changed == [
        (
            "  processes: 1              # training processes on this machine",
            "  processes: 4              # training processes on this machine",
        )
    ]


@pytest.mark.parametrize(
    "text",
    [
        "# c\r\nui:\r\n  fps: 5\r\n  theme: a  # x\r\n",
        "---\n# c\nui:\n  fps: 5\n",
        "# c\n---\nui:\n  fps: 5\n# tail\n\n# more\n",
        "workspace:\n    configs:\n      - a\n      - b\n\n\nui:\n    fps: 5\n",
        "workspace:\n  configs:\n  - a\n  - b\nui:\n  fps: 5\n",
        "notices:\n  command: |\n    a b\n    c\nui:\n  fps: 5\n",
        'workspace:\n  name: &n lab\nstorage:\n  bucket: *n\n"ui":\n  fps: 5\n',
        "storage: {prefix: 'yes', options: {a: 010, b: 1e3, c: 0o17, d: 1_000, e: 2001-01-01}}\nui: {fps: 5}\n",
    ],
)
def test_whatever_a_person_wrote_around_a_value_stays(text: str, tmp_path: Path) -> None:
    file = tmp_path / "kladml.yaml"
    file.write_bytes(text.encode())
    YamlConfig(file, environ={}).set("ui.fps", 9)
    assert file.read_bytes().decode() == text.replace("fps: 5", "fps: 9")


def test_a_link_to_a_file_elsewhere_stays_one(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    real = tmp_path / "dotfiles" / "lab.yaml"
    real.write_text("ui: {fps: 5}\n")
    real.chmod(0o640)
    (tmp_path / "kladml.yaml").symlink_to("dotfiles/lab.yaml")
    YamlConfig(tmp_path / "kladml.yaml", environ={}).set("ui.fps", 9)
    assert (tmp_path / "kladml.yaml").is_symlink()
    assert real.read_text() == "ui: {fps: 9}\n" and real.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("text", [None, "", "# only words\n", "ui:\n"])
def test_a_file_that_holds_nothing_takes_a_value(text: str | None, tmp_path: Path) -> None:
    file = tmp_path / "new" / "kladml.yaml"
    if text is not None:
        file.parent.mkdir()
        file.write_text(text)
    YamlConfig(file, environ={}).set("ui.fps", 3)
    assert load_settings(file.parent, {}).ui.fps == 3
    assert (text or "").split("\n")[0] in file.read_text()


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("ui.fsp", 3, "Did you mean fps?"),
        ("ui.fps", "fast", "ui.fps must be a whole number"),
        ("ui", 3, "ui must be a mapping"),
        ("ui.fps.below", 3, "has no keys below it"),
        ("storage.options", {"secret_key": "hush"}, "is a secret"),
        ("tracker.uri", "http://me:hush@host", "has a password in it"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(key: str, value: object, says: str, tmp_path: Path) -> None:
    file = tmp_path / "kladml.yaml"
    file.write_text(WRITTEN)
    with pytest.raises(ConfigError, match=says) as caught:
        YamlConfig(file, environ={}).set(key, value)
    assert file.read_text() == WRITTEN
    assert "hush" not in str(caught.value)


def test_the_environment_wins_to_any_depth(tmp_path: Path) -> None:
    (tmp_path / "kladml.yaml").write_text("storage: {bucket: mine, upload: {artifacts: false}}\n")
    environ = {"KLADML_STORAGE__UPLOAD__CHECKPOINTS": "true", "KLADML_STORAGE__BUCKET": "007"}
    config = YamlConfig(tmp_path / "kladml.yaml", environ=environ)
    assert config.get("storage.upload") == {"artifacts": False, "checkpoints": True}
    assert config.get("storage.bucket") == "007"
    config.set("storage.bucket", "other")
    assert config.get("storage.bucket") == "007"
    assert load_settings(tmp_path, {}).storage.bucket == "other"


def test_an_unknown_key_of_the_file_is_told_at_its_place(tmp_path: Path) -> None:
    (tmp_path / "kladml.yaml").write_text("ui:\n  them: x\n")
    with pytest.raises(ConfigError, match="Did you mean theme") as caught:
        YamlConfig(tmp_path / "kladml.yaml")
    assert caught.value.location == f"{tmp_path / 'kladml.yaml'}:2:3"


def test_without_a_path_the_nearest_workspace_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kladml.yaml").write_text("ui: {fps: 5}\n")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    assert YamlConfig().get("ui.fps") == 5


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UnusableError, match="cannot be written"):
        YamlConfig(tmp_path / "taken" / "kladml.yaml", environ={}).set("ui.fps", 3)


def test_a_secret_in_the_environment_is_no_fault() -> None:
    environ = {"KLADML_TRACKER__URI": "postgresql://me:hush@host/db", "KLADML_STORAGE__OPTIONS__TOKEN": "hush"}
    settings = load_settings(Path("/nowhere"), environ)
    assert settings.tracker.uri == environ["KLADML_TRACKER__URI"]
    assert dict(settings.storage.options) == {"token": "hush"}
