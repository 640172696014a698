"""Untrusted text made inert: nothing that a terminal would act on survives, everything a person would read does."""

from __future__ import annotations

import io
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from kladml_core.backends.console_publisher import ConsolePublisher
from kladml_core.runs.plain import inert


@given(st.text(alphabet=st.characters()))
def test_no_control_or_direction_character_survives(text: str) -> None:
    for kept in inert(text):
        assert unicodedata.category(kept) not in {"Cc", "Cs", "Zl", "Zp"}
        assert unicodedata.bidirectional(kept) not in {"RLO", "LRO", "RLE", "LRE", "PDF", "RLI", "LRI", "FSI", "PDI"}


@given(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"])))
def test_honest_text_stays_as_it_is(text: str) -> None:
    assert inert(text) == text


def test_escapes_are_written_out_so_that_a_hostile_name_can_be_told_from_an_honest_one() -> None:
    assert inert("run\x1b]0;owned\x07") == "run\\x1b]0;owned\\x07"
    assert inert("a\u202eb\x9b2J\ud800") == "a\\u202eb\\x9b2J\\ud800"


def test_colour_is_dropped_and_newlines_are_the_callers_choice() -> None:
    assert inert("\x1b[31mred\x1b[0m\nnext\tcolumn") == "red\\nnext    column"
    assert inert("one\r\ntwo\rthree", newlines=True) == "one\ntwo\\x0dthree"


def test_the_plain_console_prints_hostile_messages_on_one_line_each() -> None:
    stream = io.StringIO()
    console = ConsolePublisher(stream, metrics_seconds=0)
    hostile = "[/red]\x1b[2J\n\u202e"
    console.publish("metrics", {"run": hostile, "step": 1, "time": 1.0, "values": {hostile: float("nan")}})
    console.publish("events", {"run": hostile, "kind": hostile, "message": hostile, "metrics": {hostile: "NaN"}})
    console.publish("status", {"run": hostile, "status": hostile, "message": hostile})
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert all("\x1b" not in line and "\u202e" not in line and "[/red]\\x1b[2J\\n\\u202e" in line for line in lines)
    assert "nan" in lines[0]


def test_metrics_between_two_lines_are_late_and_never_lost() -> None:
    stream = io.StringIO()
    console = ConsolePublisher(stream, metrics_seconds=3600)
    for step in range(5):
        console.publish("metrics", {"step": step, "time": 1.0, "values": {"loss": float(step), f"once/{step}": 1.0}})
    console.publish("events", {"kind": "log", "time": 1.0})
    first, second, third = stream.getvalue().splitlines()
    assert first == "step 0  loss 0  once/0 1"
    assert second == "step 4  loss 4  once/1 1  once/2 1  once/3 1  once/4 1"
    assert third.endswith("log")
