"""Pinned checkpoints: kept in the person's own notes, whatever else stands there."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kladml_core.config.edit_key import with_key
from kladml_core.config.load import dump, parse
from kladml_core.errors import ConfigError, UnusableError
from kladml_core.runs.checkpoint_list import list_checkpoints
from kladml_core.runs.pins import pin, read_pins
from tests.core.pruned_runs import a_run, name


def test_pinning_keeps_what_a_person_wrote(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    notes = "# mine\nnote: |\n  two\n  lines\ntags: [a, b]   # tags\n\n# last\nstar: true"
    run.notes.write_text(notes)
    assert [pin(run, "10"), pin(run, "best"), pin(run, "newest"), pin(run, name(10))] == [
        name(10), name(20), name(40), name(10),
    ]  # fmt: skip
    assert run.notes.read_text() == f"{notes}\npinned: [{name(10)}, {name(20)}, {name(40)}]\n"
    assert [row.name for row in list_checkpoints(run) if row.pinned] == [name(40), name(20), name(10)]
    pin(run, "10", pinned=False)
    assert read_pins(run) == {name(20), name(40)}


def test_the_last_pin_taken_away_and_one_of_a_checkpoint_that_is_gone(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    run.notes.write_text(f"pinned:\n  - {name(10)}\n  # gone\n  - {name(99)}\n# end\nnote: x\n")
    for text in (name(10), name(99)):
        pin(run, text, pinned=False)
    assert run.notes.read_text() == "pinned: []\n# end\nnote: x\n"
    with pytest.raises(UnusableError, match="has no checkpoint '99'"):
        pin(run, "99")


@pytest.mark.parametrize(
    ("notes", "pinned"),
    [
        ("", set()),
        ("pinned:\n", set()),
        (f"pinned: {name(10)}\n", {name(10)}),
        ("pinned: [10, true, -3, x]\n", {name(10)}),
        (f"note: {name(10)}\n", set()),
        (f"note: [open\npinned: [{name(10)}]\n", {name(10)}),
        (f"pinned: [{name(10)}, \x1b[31m\udcff", {name(10)}),
    ],
)
def test_pins_are_read_however_they_are_written(tmp_path: Path, notes: str, pinned: set[str]) -> None:
    run = a_run(tmp_path, steps=())
    run.notes.write_text(notes, errors="surrogateescape")
    assert read_pins(run) == pinned


def test_damaged_notes_are_left_as_they_are(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    run.notes.write_text("note: [open\n")
    assert read_pins(run) is None, "nobody knows what was pinned, so nothing may go"
    with pytest.raises(ConfigError, match=r"notes\.yaml:"):
        pin(run, "10")
    assert run.notes.read_text() == "note: [open\n"
    run.notes.unlink()
    run.notes.mkdir()
    assert read_pins(run) is None
    with pytest.raises(UnusableError, match="cannot read"):
        pin(run, "10")


@pytest.mark.parametrize(
    "text", ["{a: 1, pinned: [x]}", "a: 1\n...\n", "? a\n: 1\n", "a: &x [1]\nb: *x\n", "\ufeffa: 1"]
)
def test_a_key_is_set_in_any_mapping(text: str) -> None:
    expected = {**parse(text, "").data, "pinned": ["y"]}
    assert parse(with_key(text, "", "pinned", ["y"]), "").data == expected


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["note", "tags", "pinned", "a b"]),
        st.one_of(st.text(), st.integers(), st.lists(st.text(max_size=5)), st.dictionaries(st.text(), st.none())),
    ),
    st.lists(st.text(max_size=8), max_size=3),
)
def test_setting_a_key_changes_that_key_alone(data: dict[str, object], value: list[str]) -> None:
    try:
        text = dump(data) if data else ""
        parse(text, "", empty_ok=True)
    except (ConfigError, UnicodeEncodeError):
        return  # texts that YAML has no way to write
    assert parse(with_key(text, "", "pinned", value), "").data == {**data, "pinned": value}
