"""Reading YAML: what scalars mean, where things stand, and that what is written is read back."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kladml_core.config import compose
from kladml_core.config.diff import diff
from kladml_core.config.emit import dump_value
from kladml_core.config.load import dump, parse, read
from kladml_core.config.override import parse_value, with_overrides
from kladml_core.errors import ConfigError, UnusableError

PARSERS = [pytest.param(yaml.SafeLoader, id="python")]
if hasattr(yaml, "CSafeLoader"):
    PARSERS.append(pytest.param(yaml.CSafeLoader, id="libyaml"))


@pytest.fixture(params=PARSERS)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both parsers must say the same, for which one is there depends on the machine."""
    monkeypatch.setattr(compose, "EVENTS", request.param)


SCALARS: list[tuple[str, Any]] = [
    ("1e-3", 1e-3),
    ("1E5", 1e5),
    ("5e+2", 500.0),
    (".5", 0.5),
    ("1.", 1.0),
    ("-0.0", -0.0),
    ("12", 12),
    ("+7", 7),
    ("007", 7),
    ("0o17", 15),
    ("0x1F", 31),
    ("0b11", "0b11"),
    ("1_000", "1_000"),
    ("1:30", "1:30"),
    ("yes", "yes"),
    ("no", "no"),
    ("on", "on"),
    ("Off", "Off"),
    ("y", "y"),
    ("true", True),
    ("True", True),
    ("FALSE", False),
    ("tRue", "tRue"),
    ("null", None),
    ("Null", None),
    ("~", None),
    ("", None),
    ("nUll", "nUll"),
    (".inf", math.inf),
    ("-.Inf", -math.inf),
    ("+.INF", math.inf),
    ("inf", "inf"),
    ("nan", "nan"),
    ("2024-01-02", "2024-01-02"),
    ("1e", "1e"),
    (".", "."),
    ("1.2.3", "1.2.3"),
    ("=", "="),
    ("'1'", "1"),
    ('"true"', "true"),
    ("!!str 1", "1"),
    ("!!float 1", 1.0),
    ("١", "١"),
]


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(("written", "meant"), SCALARS)
def test_a_scalar_means_what_yaml_1_2_says(written: str, meant: Any) -> None:
    found = parse(f"a: {written}\n", "c.yaml").data["a"]
    assert (type(found), found) == (type(meant), meant)


@pytest.mark.parametrize("written", [".nan", ".NaN", ".NAN"])
def test_nan_is_read(written: str) -> None:
    assert math.isnan(parse(f"a: {written}", "c.yaml").data["a"])


@pytest.mark.usefixtures("parser")
def test_every_key_and_value_knows_its_line_and_column() -> None:
    document = parse("# a comment\nmodel:\n  target: a:B\n  sizes: [1, {deep: 2}]\n\nseed:   0\n", "c.yaml")
    assert document.positions == {
        (): (2, 1),
        ("model",): (3, 3),
        ("model", "target"): (3, 11),
        ("model", "sizes"): (4, 10),
        ("model", "sizes", 0): (4, 11),
        ("model", "sizes", 1): (4, 14),
        ("model", "sizes", 1, "deep"): (4, 21),
        ("seed",): (6, 9),
    }
    assert document.key_position(("seed",)) == (6, 1)
    assert document.key_position(("model", "sizes", 1, "deep")) == (4, 15)
    assert document.dotted_positions()["model.sizes.1.deep"] == (4, 21)


@pytest.mark.usefixtures("parser")
def test_columns_count_characters_and_lines_end_in_any_way() -> None:
    assert parse("ключ: {é: 1, 😀: 2}\r\nb: 3\r\n", "c.yaml").positions[("ключ", "😀")] == (1, 17)
    assert parse("a: 1\r\nb: 3\r\n", "c.yaml").positions[("b",)] == (2, 4)
    assert parse("\ufeffa: 1", "c.yaml").positions[("a",)] == (1, 4)


@pytest.mark.usefixtures("parser")
def test_a_place_that_is_not_written_is_the_nearest_one_above_it() -> None:
    document = parse("a: 1\nmodel:\n  target: a:B\n", "c.yaml")
    assert document.place(("model", "params", "width")).line == 2
    assert (document.place(("model", "target")).line, document.place(("model", "target")).column) == (3, 11)
    assert document.place(("training",)).file == "c.yaml"


@pytest.mark.usefixtures("parser")
def test_an_alias_gives_a_copy_with_its_own_place() -> None:
    document = parse("a: &x {b: 1}\nc: *x\n", "c.yaml")
    assert document.data == {"a": {"b": 1}, "c": {"b": 1}}
    assert document.data["a"] is not document.data["c"]
    assert document.positions[("c", "b")] == (1, 11)


plain = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
tricky = st.sampled_from([case[0] for case in SCALARS] + ["<<", "# x", "a: b", "- a", "\n", " ", "\t", "'", '"', "\\"])
texts = st.one_of(plain, tricky, st.builds(lambda one, two: one + "\n" + two, plain, plain))
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=15,
)


@settings(max_examples=300, deadline=None)
@given(data=st.dictionaries(texts, values, min_size=1, max_size=4))
def test_what_is_dumped_is_parsed_back(data: dict[str, Any]) -> None:
    for loader in (entry.values[0] for entry in PARSERS):
        before, compose.EVENTS = compose.EVENTS, loader
        try:
            assert diff([parse(dump(data), "c.yaml").data, data]) == []
        finally:
            compose.EVENTS = before


@settings(max_examples=200, deadline=None)
@given(value=values)
def test_one_value_behind_set_is_read_back(value: Any) -> None:
    assert diff([{"a": parse_value(dump_value(value), "--set")}, {"a": value}]) == []


@given(data=st.dictionaries(plain, scalars, min_size=1))
@settings(deadline=None)
def test_dumped_text_means_the_same_to_a_yaml_1_1_reader(data: dict[str, Any]) -> None:
    assert diff([yaml.safe_load(dump(data)), data]) == []


@settings(max_examples=400, deadline=None)
@given(text=st.text(st.sampled_from("ab:- \n\t[]{},&*!|>'\"%@`#?0.\\~\x85\u2028<"), max_size=40))
def test_any_text_is_parsed_or_refused_with_a_place(text: str) -> None:
    for loader in (entry.values[0] for entry in PARSERS):
        before, compose.EVENTS = compose.EVENTS, loader
        try:
            parse(text, "c.yaml")
        except ConfigError as error:
            assert error.file == "c.yaml"
            assert error.line is not None
            assert 1 <= error.line <= max(1, len(text) + 1)
        finally:
            compose.EVENTS = before


def test_dump_keeps_the_order_and_says_what_it_cannot_write() -> None:
    assert dump({"z": 1, "a": (1, 2), "p": Path("x/y")}) == "z: 1\na:\n- 1\n- 2\np: x/y\n"
    with pytest.raises(TypeError, match="a set"):
        dump({"a": {1}})


def test_overrides_change_values_and_know_where_they_came_from() -> None:
    document = parse("training: {learning_rate: 1, sizes: [1, 2]}\n", "c.yaml")
    words = ["training.learning_rate=1e-3", "model.params.name=no", "training.sizes.1=0x10", "experiment=a: b # c"]
    changed = with_overrides(document, words)
    assert changed.data == {
        "training": {"learning_rate": 1e-3, "sizes": [1, 16]},
        "model": {"params": {"name": "no"}},
        "experiment": "a: b # c",
    }
    assert changed.place(("training", "learning_rate")).file == "--set training.learning_rate=1e-3"
    assert changed.place(("training", "learning_rate")).line is None
    assert document.data["training"]["learning_rate"] == 1


def test_an_override_may_be_a_list_a_mapping_or_quoted() -> None:
    changed = with_overrides(parse("a: 1", "c"), ["a=[1, no]", "b={x: 1e-3}", 'c="5"', "d=", "e=*.py"])
    assert changed.data == {"a": [1, "no"], "b": {"x": 1e-3}, "c": "5", "d": None, "e": "*.py"}


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("training.max_epochs", "there is no = in it"),
        (".x=1", "a part of the key is empty"),
        ("=1", "a part of the key is empty"),
        (
            "training.optimizer.lr=1",
            "training.optimizer is 'sgd' and has no keys below it. "
            "Set training.optimizer as a whole: training.optimizer={name: sgd, lr: …}",
        ),
        ("list.7=1", "list is a list of 1 items and has no item '7'"),
        ("a=[1", "is not closed"),
        ("a=\x1b[31m", "U+001B is not allowed"),
        ("a=\udcff", "U+DCFF is not allowed"),
    ],
)
def test_a_wrong_override_is_refused_by_its_words(word: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_overrides(parse("a: text\nlist: [1]\ntraining: {optimizer: sgd}", "c.yaml"), [word])
    assert says in str(caught.value)
    assert caught.value.file == f"--set {word}"


def test_keys_below_a_value_that_is_no_name_are_refused_without_advice() -> None:
    with pytest.raises(ConfigError) as caught:
        with_overrides(parse("training: {max_epochs: 3}", "c.yaml"), ["training.max_epochs.x=3"])
    assert str(caught.value).endswith("training.max_epochs is 3 and has no keys below it")


def test_what_is_written_is_remembered_where_it_means_no_text() -> None:
    document = parse('a: 007\nb: [True, x, "1"]', "c.yaml")
    assert document.texts == {("a",): "007", ("b", 0): "True"}
    changed = with_overrides(document, ["a=0x10", "b.0=no", "c='3'"])
    assert changed.texts == {("a",): "0x10"}


def test_an_empty_file_is_told_what_a_file_of_its_kind_needs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="It needs at least model:, data: and training:"):
        parse("", "c.yaml")
    with pytest.raises(ConfigError, match=r"It needs at least name: and path:$"):
        parse("", "d.yaml", needs=("name", "path"))


def test_a_file_that_is_not_there_is_unusable_and_a_near_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "digits.yaml").write_text("a: 1")
    with pytest.raises(UnusableError) as caught:
        read(tmp_path / "digit.yaml")
    assert f"Did you mean {tmp_path / 'digits.yaml'}?" in str(caught.value)
    with pytest.raises(UnusableError, match="does not exist"):
        read(tmp_path / "nowhere" / "digit.yaml")


def test_a_directory_is_unusable_and_its_configs_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: 1")
    with pytest.raises(UnusableError, match=r"a directory, not a config file\. It holds a\.yaml"):
        read(tmp_path)


def test_a_file_that_is_not_utf_8_is_refused_at_its_byte(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes("a: 1\nb: é".encode("latin-1"))
    with pytest.raises(ConfigError) as caught:
        read(tmp_path / "a.yaml")
    assert (caught.value.line, caught.value.column) == (2, 4)
    assert "0xe9" in caught.value.message


def test_a_huge_file_is_refused_without_parsing_it(tmp_path: Path) -> None:
    with (tmp_path / "a.yaml").open("wb") as stream:
        stream.truncate(1 << 34)
    started = time.monotonic()
    with pytest.raises(ConfigError, match="larger than 1024 KiB"):
        read(tmp_path / "a.yaml")
    assert time.monotonic() - started < 2


def test_a_name_with_a_null_byte_is_unusable() -> None:
    with pytest.raises(UnusableError, match="cannot be read"):
        read("a\0b.yaml")


def test_loading_imports_yaml_and_nothing_heavy() -> None:
    program = (
        "import sys, kladml_core.config.load, kladml_core.settings\n"
        "heavy = {'pydantic', 'numpy', 'torch', 'textual', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
