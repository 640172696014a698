"""Text that is not YAML, or YAML that is refused, is one ConfigError at the place where a person will look."""

from __future__ import annotations

import time

import pytest
import yaml

from kladml_core.config import compose
from kladml_core.config.load import parse
from kladml_core.errors import ConfigError

PARSERS = [pytest.param(yaml.SafeLoader, id="python")]
if hasattr(yaml, "CSafeLoader"):
    PARSERS.append(pytest.param(yaml.CSafeLoader, id="libyaml"))

FAULTS = [
    ("a:\n\tb: 1", 2, 1, "a tab is used for indentation"),
    ("a:\n  b: 1\n \tc: 2", 3, 2, "a tab is used for indentation"),
    ("x: 1\na: [1, 2\nb: 3", 2, 4, "the [ that opens here is not closed"),
    ("a: {x: 1\n", 1, 4, "the { that opens here is not closed"),
    ("a: [1, {b: 2", 1, 8, "the { that opens here is not closed. Close it with }"),
    ("a: [", 1, 4, "the [ that opens here is not closed. Close it with ]"),
    ("a: [1\n\n# c\n", 1, 4, "the [ that opens here is not closed"),
    ("a: [1,,2]", 1, 7, "a value is missing here"),
    ("a: ]", 1, 4, "a value cannot begin with ']'"),
    ("a: 'x' y", 1, 8, "this cannot follow the value before it. Quote the whole value"),
    (
        'a: "x\nb: 1\nc: {d: "e:f"}',
        1,
        4,
        "the quote that opens here is closed only on line 3, where more follows. Close",
    ),
    ("a: [1, 'x]\nb: it's", 1, 8, "the quote that opens here is closed only on line 2"),
    ('a: "x\n  y"\nb: c: d', 3, 5, "a second `:` on this line"),
    ("{007: x}", 1, 2, 'a key must be text, not 7. Quote it: "007":'),
    ('a: "\\q"', 1, None, "a wrong escape in double quotes"),
    ("a: 'abc\nb: 1\n", 1, 4, "the quote that opens here is not closed"),
    ("a: 1\nb:\n  c: 1\n  c: 2", 4, 3, "the key 'c' is written twice; the first is on line 3"),
    ("{a: 1, 'a': 2}", 1, 8, "the key 'a' is written twice"),
    ("- a\n- b", 1, 1, "the top level must be a mapping of keys to values, not a list"),
    ("just text", 1, 1, "not 'just text'"),
    ("1: x", 1, 1, 'a key must be text, not 1. Quote it: "1":'),
    ("a: {true: x}", 1, 5, 'a key must be text, not True. Quote it: "true":'),
    ("null: x", 1, 1, "a key must be text, not nothing"),
    ("? [1, 2]\n: x", 1, 3, "a key must be text, not a list"),
    ("a: *b", 1, 4, "*b names no anchor above it"),
    ("a: &x [*x]", 1, 8, "*x holds itself"),
    ("a: &x {b: *x}", 1, 11, "*x holds itself"),
    ("<<: {a: 1}", 1, 1, "merge keys (<<) are not part of YAML 1.2"),
    ("a: b: c", 1, 5, "a second `:` on this line"),
    ("a: 1\nword\nb: 2", 2, 1, "this line is no `key: value`"),
    ("a: @x", 1, 4, "a value cannot begin with '@'"),
    ("a: %x", 1, 4, "a value cannot begin with '%'"),
    ("a: 1\n---\nb: 2", 2, 1, "a second document begins here"),
    ("a: !thing 1", 1, 4, "the tag !thing is not allowed here"),
    ("a: !!python/object/apply:os.system [ls]", 1, 4, "the tag !!python/object/apply:os.system is not allowed"),
    ("a: !!int x", 1, 4, "'x' is no int"),
    ("a:\n  - 1\n b: 2", 3, 2, "this line does not line up"),
    ("a: 1\nb: \x1b[31m", 2, 4, "the character U+001B is not allowed"),
    ("a: \ud800", 1, 4, "the character U+D800 is not allowed"),
    ("", 1, None, "the file is empty"),
    ("# only a comment\n\n", 1, None, "the file is empty"),
    ("---\n...\n", 1, None, "the file is empty"),
    ("~", 1, 1, "must be a mapping of keys to values, not nothing"),
    (f"a: {'9' * 5000}", 1, 4, "5000 digits, too many to read"),
    ("a: " + "[" * 4000, 1, 63, "nested more than 60 deep"),
    ("- " * 4000, 1, 121, "nested more than 60 deep"),
]


@pytest.fixture(params=PARSERS, autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "EVENTS", request.param)


@pytest.mark.parametrize(("text", "line", "column", "says"), FAULTS, ids=[repr(fault[0])[:30] for fault in FAULTS])
def test_a_fault_is_told_at_its_place(text: str, line: int, column: int | None, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "c.yaml")
    assert says in str(caught.value)
    assert caught.value.file == "c.yaml"
    assert caught.value.line == line
    assert column is None or caught.value.column == column
    assert caught.value.exit_code == 2


def test_aliases_of_aliases_do_not_fill_the_memory() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
    started = time.monotonic()
    with pytest.raises(ConfigError, match="the aliases unfold to more than 100,000 values"):
        parse("\n".join(lines), "c.yaml")
    assert time.monotonic() - started < 5


def test_nested_aliases_do_not_exhaust_the_stack() -> None:
    lines = ["a0: &a0 1"]
    lines += [f"a{n}: &a{n} {'[' * 50}*a{n - 1}{']' * 50}" for n in range(1, 60)]
    with pytest.raises(ConfigError, match="unfold"):
        parse("\n".join(lines), "c.yaml")


def test_an_empty_text_is_an_empty_mapping_where_that_is_allowed() -> None:
    assert parse("", "kladml.yaml", empty_ok=True).data == {}
    assert parse("# nothing\n", "kladml.yaml", empty_ok=True).data == {}
