"""An edited file keeps its bytes: newlines, mark, mode and symlink; it is written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.document._document import Document

from kladml_core.errors import ConfigError, UnusableError
from kladml_tui.edited_file import MAX_BYTES, EditedFile
from kladml_tui.widgets.yaml_context import siblings, spot


def written(path: Path, content: bytes) -> EditedFile:
    path.write_bytes(content)
    return EditedFile.open(path)


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\n",
        "a: 1",
        "",
        "\n\n",
        "a: 1\r\nb: 2\r\n",
        "a\r\nb\nc\r\n",
        "\ufeffa: 1\n",
        "a\rb",
        "a\u2028b\x85\x0c\x0b\x1c",
    ],
)
def test_a_text_that_was_not_changed_is_written_back_byte_for_byte(tmp_path: Path, text: str) -> None:
    file = written(tmp_path / "a.yaml", text.encode())
    file.save(Document(file.text).text)
    assert (tmp_path / "a.yaml").read_bytes() == text.encode()


@given(st.text(st.sampled_from("a: \n\r\x0b\x0c\x1c\x85\u2028\u2029\ufeff"), max_size=12))
def test_no_mixture_of_line_ends_is_changed(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("edited") / "a.yaml"
    file = written(path, text.encode())
    file.save(Document(file.text).text)
    assert path.read_bytes() == text.encode()


def test_the_mode_and_the_symlink_stay(tmp_path: Path) -> None:
    real = tmp_path / "real.yaml"
    real.write_text("a: 1\n")
    real.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(real)
    EditedFile.open(link).save("a: 2\n")
    assert link.is_symlink()
    assert real.read_text() == "a: 2\n"
    assert real.stat().st_mode & 0o777 == 0o640


def test_lines_typed_into_a_windows_file_end_as_the_others(tmp_path: Path) -> None:
    file = written(tmp_path / "a.yaml", b"a: 1\r\nb: 2\r\n")
    file.save(file.text + "c: 3\n")
    assert (tmp_path / "a.yaml").read_bytes() == b"a: 1\r\nb: 2\r\nc: 3\r\n"


def test_a_change_by_another_is_seen_even_with_the_same_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    file = written(path, b"a: 1\n")
    assert not file.changed_on_disk()
    stat = path.stat()
    path.write_bytes(b"a: 2\n")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert file.changed_on_disk()
    path.unlink()
    assert file.changed_on_disk()


def test_what_cannot_be_edited_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_bytes(b"ok\n\xff")
    with pytest.raises(ConfigError, match="not UTF-8") as caught:
        EditedFile.open(tmp_path / "bad.yaml")
    assert caught.value.line == 2
    (tmp_path / "big.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="too large"):
        EditedFile.open(tmp_path / "big.yaml")
    with pytest.raises(UnusableError, match="not a regular file"):
        EditedFile.open(tmp_path)
    with pytest.raises(UnusableError, match="folder does not exist"):
        EditedFile.open(tmp_path / "no" / "a.yaml")
    with pytest.raises(UnusableError):
        EditedFile.open(tmp_path / "nul\x00.yaml")


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = written(tmp_path / "a.yaml", b"a: 1\n")
    with pytest.raises(UnusableError, match="half a character"):
        file.save("\ud800")
    assert os.listdir(tmp_path) == ["a.yaml"]
    assert (tmp_path / "a.yaml").read_bytes() == b"a: 1\n"


LINES = """\
model:
  target: x
  params: {width: 3}
training:
  batch_size: 8
  early_stopping: {enabled: true, mon}
  checkpoint:
    keep
  le

""".splitlines()


@pytest.mark.parametrize(
    ("row", "column", "section", "key", "at_key"),
    [
        (0, 2, (), "model", True),
        (1, 11, ("model",), "target", False),
        (2, 18, ("model", "params"), "width", False),
        (4, 5, ("training",), "batch_size", True),
        (5, 37, ("training", "early_stopping"), "mon", True),
        (5, 30, ("training", "early_stopping"), "enabled", False),
        (7, 8, ("training", "checkpoint"), "keep", True),
        (8, 4, ("training",), "le", True),
        (9, 0, (), "", True),
        (9, 2, ("training",), "", True),
        (99, 0, (), "", True),
    ],
)
def test_the_cursor_s_key_is_found_in_a_text_that_is_being_typed(
    row: int, column: int, section: tuple[str, ...], key: str, at_key: bool
) -> None:
    here = spot(LINES, row, column)
    assert (here.section, here.key, here.at_key) == (section, key, at_key)


@given(st.text(st.sampled_from("a: {}[],\"'#\n-|&*x"), max_size=40), st.integers(0, 6), st.integers(0, 20))
def test_no_text_breaks_the_search_for_the_key(text: str, row: int, column: int) -> None:
    spot(text.splitlines(), row, column)


def test_keys_that_are_written_are_known() -> None:
    lines = "a:\n  x: 1\n  y: {z: 2}\nb:\n  x: 3\n  w:\n    x: 4\n".splitlines()
    assert siblings(lines, 99, ()) == {"a", "b"}
    assert siblings(lines, 1, ("a",)) == {"y"}
    assert siblings(lines, 99, ("b",)) == {"x", "w"}
    assert siblings(lines, 99, ("b", "w")) == {"x"}
