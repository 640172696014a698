"""An error reads as sentences: what happened, and what to do about it."""

from __future__ import annotations

import pytest

from kladml_core.errors import ConfigError


@pytest.mark.parametrize(
    ("message", "hint", "text"),
    [
        ("there is no such file", None, "there is no such file"),
        ("it is wrong", "write another", "it is wrong. Write another"),
        ("it is wrong", "watch it, or stop it", "it is wrong. Watch it, or stop it"),
        ("no command 'chek'. Did you mean 'check'?", "`x --help` lists them", None),
        ("it is wrong", "max_epochs: 3 is a start", "it is wrong. max_epochs: 3 is a start"),
        ("it is wrong", "training.max_epochs=3", "it is wrong. training.max_epochs=3"),
        ("it is wrong", "--set a=1", "it is wrong. --set a=1"),
        ("it is wrong", "data/x.yaml holds it", "it is wrong. data/x.yaml holds it"),
        ("it is wrong.", "Mend it", "it is wrong. Mend it"),
    ],
)
def test_message_and_hint_are_two_sentences(message: str, hint: str | None, text: str | None) -> None:
    assert str(ConfigError(message, hint=hint)) == (text or f"{message} {hint}")


def test_the_hint_alone_is_a_sentence_too() -> None:
    assert ConfigError("it is wrong", hint="write another").hint == "Write another"
