"""What a person writes on a run: kept beside what else stands in notes.yaml, also when two write at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from kladml_core.config.edit_key import edit_keys
from kladml_core.errors import ConfigError, UnusableError
from kladml_core.runs.notes import Notes, edit_notes, read_notes
from kladml_core.runs.pins import pin, read_pins
from kladml_core.workspace.rows import run_row
from tests.core.pruned_runs import a_run, name


def test_note_tags_and_star_are_written_and_read(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    assert read_notes(run) == Notes()
    edit_notes(run, note="two\nlines: [/x]", tag=["baseline", " 日本 ", "no"], star=True)
    assert read_notes(run) == Notes(("baseline", "日本", "no"), "two\nlines: [/x]", star=True)
    edit_notes(run, untag=["no", "never there"], tag=["baseline", "B"])
    edit_notes(run, star=False, note="")
    assert read_notes(run) == Notes(("baseline", "日本", "B"), "", star=False)
    row = run_row(run)
    assert (row.tags, row.note, row.star) == (("baseline", "日本", "B"), "", False)


def test_comments_order_other_keys_and_pins_stay(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    run.notes.write_text(
        f"# mine\nowner: {{name: ada}}  # who\ntags: [a]\npinned: [{name(10)}]\n# end\nnote: |\n  old\n"
    )
    edit_notes(run, tag=["b"], note="new", star=True)
    assert run.notes.read_text() == (
        f"# mine\nowner: {{name: ada}}  # who\ntags: [a, b]\npinned: [{name(10)}]\n# end\nnote: new\nstar: true\n"
    )
    pin(run, "20")
    edit_notes(run, untag=["a", "b"])
    assert read_pins(run) == {name(10), name(20)}


def test_nothing_is_written_where_nothing_changes(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    edit_notes(run, untag=["x"], star=False, note="")
    assert not run.notes.exists()


def test_what_another_writes_meanwhile_stays(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    written = []

    def change(data: object) -> dict[str, int]:
        if not written:
            written.append(1)
            edit_notes(run, tag=["meanwhile"])
        return {"mine": 1}

    edit_keys(run.notes, change)
    assert read_notes(run).tags == ("meanwhile",)
    assert run.notes.read_text() == "tags: [meanwhile]\nmine: 1\n"


@pytest.mark.parametrize("tag", ["", "  ", "a,b", "a\nb", "\x1b[31m", "x" * 101, "\u202e"])
def test_what_cannot_be_a_tag_is_refused_before_anything_is_written(tmp_path: Path, tag: str) -> None:
    run = a_run(tmp_path)
    with pytest.raises(ConfigError, match="cannot be a tag"):
        edit_notes(run, tag=["good", tag])
    assert not run.notes.exists()


def test_damaged_notes_are_left_alone_and_told_with_their_line(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    run.notes.write_text("note: x\nstar: [\n")
    with pytest.raises(ConfigError) as caught:
        edit_notes(run, star=True)
    assert caught.value.file == str(run.notes)
    assert caught.value.line is not None
    assert run.notes.read_text() == "note: x\nstar: [\n"


def test_a_run_that_is_gone_gets_no_notes(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    run.path.rename(tmp_path / "elsewhere")
    with pytest.raises(UnusableError, match="no run"):
        edit_notes(run, star=True)
