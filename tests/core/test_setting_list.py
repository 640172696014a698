"""Each setting with what says it: the default, a line of kladml.yaml, or a variable; and one of them changed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kladml_core.errors import ConfigError
from kladml_core.settings import SECTIONS, load_settings
from kladml_core.workspace.setting_list import Setting, get_setting, list_settings, set_setting

WRITTEN = """ui:
  fps: 5   # slow line
  theme:
storage:
  upload:
  options: {endpoint_url: "http://host:9000", region: null, token_file: /run/secrets/s3}
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    (tmp_path / "kladml.yaml").write_text(WRITTEN)
    return tmp_path


def _one(lab: Path, key: str, **environ: str) -> tuple[object, str, str | None]:
    found = {setting.key: setting for setting in list_settings(lab, environ)}[key]
    return found.value, found.origin, found.place


def test_each_setting_tells_what_says_it(lab: Path) -> None:
    assert _one(lab, "ui.fps") == (5, "file", "kladml.yaml:2")
    assert _one(lab, "ui.theme") == ("kladml-dark", "default", None)
    assert _one(lab, "ui.mouse") == (True, "default", None)
    assert _one(lab, "ui.fps", KLADML_UI__FPS="7") == (7, "environment", "$KLADML_UI__FPS")
    assert _one(lab, "storage.upload.artifacts") == (True, "default", None)
    checkpoints = _one(lab, "storage.upload.checkpoints", KLADML_STORAGE__UPLOAD__CHECKPOINTS="true")
    assert checkpoints == (True, "environment", "$KLADML_STORAGE__UPLOAD__CHECKPOINTS")
    whole = _one(lab, "storage.upload.checkpoints", KLADML_STORAGE__UPLOAD="{checkpoints: true}")
    assert whole == (True, "environment", "$KLADML_STORAGE__UPLOAD")


def test_each_option_of_a_backend_is_a_setting_of_its_own(lab: Path) -> None:
    assert _one(lab, "storage.options.endpoint_url") == ("http://host:9000", "file", "kladml.yaml:6")
    assert _one(lab, "storage.options.region") == (None, "file", "kladml.yaml:6")
    region = _one(lab, "storage.options.region", KLADML_STORAGE__OPTIONS__REGION="eu")
    assert region == ("eu", "environment", "$KLADML_STORAGE__OPTIONS__REGION")


def test_every_section_is_listed_and_what_is_listed_is_what_holds(tmp_path: Path) -> None:
    found = list_settings(tmp_path, {})
    assert list(dict.fromkeys(setting.key.split(".")[0] for setting in found)) == list(SECTIONS)
    assert {setting.origin for setting in found} == {"default"}
    assert len(found) == len({setting.key for setting in found})


def test_a_secret_is_never_in_the_list(lab: Path) -> None:
    environ = {
        "KLADML_TRACKER__URI": "http://me:hush@host/a",
        "KLADML_STORAGE__OPTIONS__SECRET_KEY": "hush",
        "KLADML_STORAGE__OPTIONS__DEEP": "{password: hush, user: me}",
        "KLADML_STORAGE__OPTIONS__PROXIES": "['http://me:hush@proxy']",
    }
    found = {setting.key: setting.value for setting in list_settings(lab, environ)}
    assert "hush" not in str(found)
    assert found["tracker.uri"] == "http://me:***@host/a"
    assert found["storage.options.secret_key"] == found["storage.options.deep.password"] == "***"
    assert found["storage.options.proxies"] == ["http://me:***@proxy"]
    # Where a secret lies is none.
    assert found["storage.options.token_file"] == "/run/secrets/s3"
    assert "hush" not in str(get_setting(lab, "storage.options", environ))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("storage: {options: {deep: {api_key: hush}}}", "storage.options.deep.api_key is a secret"),
        ("storage: {options: {keys: ['http://a:hush@b']}}", "storage.options.keys.0 has a password in it"),
        ("tracker: {uri: 'http://a:hush@b'}", "tracker.uri has a password in it"),
    ],
)
def test_a_secret_in_the_file_is_refused_with_the_variable_for_it(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "kladml.yaml").write_text(text)
    with pytest.raises(ConfigError, match=f"{re.escape(says)}.*Set KLADML_") as caught:
        list_settings(tmp_path, {})
    assert "hush" not in str(caught.value) and caught.value.line == 1


def test_a_section_is_got_as_a_mapping(lab: Path) -> None:
    assert get_setting(lab, "storage.upload", {}) == Setting(
        "storage.upload", {"artifacts": True, "checkpoints": False}, "default"
    )
    mixed = get_setting(lab, "ui", {})
    assert mixed.origin == "several" and mixed.value["fps"] == 5


@pytest.mark.parametrize(
    ("key", "hint"),
    [("ui.thme", "ui.theme"), ("fps", "ui.fps"), ("storge", "storage"), ("zzz", "`kladml-tui config show` lists them")],
)
def test_an_unknown_key_is_told_with_what_was_meant(key: str, hint: str, lab: Path) -> None:
    with pytest.raises(ConfigError, match=f"'{key}' is no setting") as caught:
        get_setting(lab, key, {})
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("ui.fps", "30", 30),
        ("ui.theme", "2024", "2024"),
        ("storage.prefix", "007", "007"),
        ("storage.prefix", "null", None),
        ("storage.upload.checkpoints", "true", True),
        ("workspace.configs", "[a, b]", ["a", "b"]),
        ("storage.options.region", "eu", "eu"),
    ],
)
def test_what_is_set_is_what_holds(key: str, text: str, value: object, lab: Path) -> None:
    now = set_setting(lab, key, text, {})
    assert now.value == value
    assert "# slow line" in (lab / "kladml.yaml").read_text()
    section, _, name = key.partition(".")
    if "." not in name:
        held = getattr(getattr(load_settings(lab, {}), section), name)
        assert (list(held) if isinstance(held, tuple) else held) == value


def test_a_variable_still_wins_over_what_is_set(lab: Path) -> None:
    now = set_setting(lab, "ui.fps", "30", {"KLADML_UI__FPS": "7"})
    assert (now.value, now.place) == (7, "$KLADML_UI__FPS")
    assert load_settings(lab, {}).ui.fps == 30


def test_a_wrong_value_changes_nothing(lab: Path) -> None:
    for key, text in (("ui.fps", "fast"), ("ui.fsp", "3"), ("tracker.uri", "http://a:hush@b"), ("ui", "3")):
        with pytest.raises(ConfigError):
            set_setting(lab, key, text, {})
    assert (lab / "kladml.yaml").read_text() == WRITTEN
