"""What `--set` puts into a config is blamed on its own words."""

from __future__ import annotations

from pathlib import Path

import pytest

from kladml_core.config.load import parse
from kladml_core.config.override import with_overrides
from kladml_core.config.schema import problems

GOOD = 'model: {target: "mod:Net"}\ndata: {target: "mod:load"}\ntraining: {max_epochs: 3}\n'


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "mod.py").write_text("class Net: ...\ndef load(): ...\n")
    return tmp_path


def test_a_fault_from_the_command_line_names_its_words(workspace: Path) -> None:
    document = with_overrides(parse(GOOD, "c.yaml"), ["training.max_epochs=ten"])
    found = problems(document, workspace=workspace)
    assert str(found[0]) == "--set training.max_epochs=ten: training.max_epochs must be a whole number, not 'ten'"


@pytest.mark.parametrize("word", ["trainng.max_epochs=3", "training.checkpont.keep_last=3", "zzz=1"])
def test_a_key_that_the_command_line_made_is_blamed_on_its_words(word: str, workspace: Path) -> None:
    (found,) = problems(with_overrides(parse(GOOD, "c.yaml"), [word]), workspace=workspace)
    assert found.file == f"--set {word}" and found.line is None and "is no key of" in found.message


def test_what_the_command_line_wrote_is_quoted_as_it_was_written(workspace: Path) -> None:
    (found,) = problems(with_overrides(parse(GOOD, "c.yaml"), ["experiment=007"]), workspace=workspace)
    assert found.hint == 'Quote it: "007"'
