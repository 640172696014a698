"""config show, get and set as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.system.command import kladml


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    (tmp_path / "kladml.yaml").write_text("ui:\n  fps: 5   # slow line\n")
    return tmp_path


def test_settings_are_shown_got_and_set(lab: Path) -> None:
    def config(*words: str, code: int = 0, **environ: str) -> tuple[str, str]:
        done = kladml("config", *words, cwd=lab, **environ)
        assert done.returncode == code, done.stderr
        return done.stdout, done.stderr

    secret = {"KLADML_STORAGE__OPTIONS__TOKEN": "hush", "KLADML_UI__THEME": "[bold]漢"}
    lines = config("show", "--origin", **secret)[0].splitlines()
    told = {words[0]: words[1:] for words in map(str.split, lines)}
    assert told["ui.fps"] == ["5", "kladml.yaml:2"]
    assert told["ui.mouse"] == ["true", "default"]
    assert told["storage.options.token"] == ["***", "$KLADML_STORAGE__OPTIONS__TOKEN"]
    assert told["ui.theme"][-1] == "$KLADML_UI__THEME" and "漢" in told["ui.theme"][0]
    rows = json.loads(config("show", "--json", **secret)[0])
    assert {"key": "ui.fps", "value": 5, "origin": "file", "place": "kladml.yaml:2"} in rows
    assert "hush" not in json.dumps(rows) + "".join(lines)

    assert config("get", "ui.fps")[0] == "5\n"
    assert "Did you mean ui.theme?" in config("get", "ui.them", code=2)[1]
    assert "kladml.yaml:2" in config("set", "ui.fps", "30")[0]
    assert "$KLADML_UI__FPS wins" in config("set", "ui.fps", "31", KLADML_UI__FPS="9")[1]
    assert json.loads(config("set", "ui.mouse", "false", "--json")[0])["value"] is False
    assert "must be a whole number" in config("set", "ui.fps", "fast", code=2)[1]
    _, refused = config("set", "storage.options.secret_key", "hush", code=2)
    assert "Set KLADML_STORAGE__OPTIONS__SECRET_KEY in the environment" in refused and "hush" not in refused
    assert (lab / "kladml.yaml").read_text() == "ui:\n  fps: 31  # slow line\n  mouse: false\n"


def test_a_wrong_file_is_told_at_its_place(lab: Path) -> None:
    (lab / "kladml.yaml").write_text("ui: {fsp: 3}\n")
    done = kladml("config", "show", cwd=lab)
    assert done.returncode == 2 and "kladml.yaml:1:6: 'fsp' is no key of ui. Did you mean fps?" in done.stderr
