"""Text that a terminal or a markup parser would act on, and a workspace full of it."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from textual.app import App

from kladml_core.backends.run_log import RunLog
from kladml_core.metrics.names import file_name
from kladml_core.runs.rundir import RunDirectory

HOSTILE = {
    "closing tag": "[/red]",
    "open tag": "[bold red]b",
    "link": "[@click=app.quit]x[/]",
    "equals": "[seed=1]",
    "variable": "$error[$primary]p[/]",
    "backslash": "\\[x\\]\\",
    "colour": "\x1b[31mred\x1b[0m",
    "title": "\x1b]0;title\x07",
    "clear": "\x1b[2J\x1b[H",
    "c1": "\x9b31m\x90\x85",
    "bidi": "\u202egnp.exe\u2066\u200f",
    "lines": "a\nb\tc\rd\x0b\u2028e",
    "long": "n" * 300,
    "emoji": "👨\u200d👩\u200d👧日本e\u0301",
    "surrogate": "\udcff\udcfe",
}


def file_part(text: str) -> str:
    """As much of the text as one part of a path may hold."""
    return os.fsdecode(os.fsencode(text.replace("/", "⧸").replace("\x00", ""))[:150])


def hostile_workspace(root: Path, text: str) -> RunDirectory:
    """A workspace in which every name, log, error and file holds the text; its one run, which has failed.

    Each surface's text begins with its own letters: PJ project, FM family, EX experiment, MT metric, LG log event,
    ER error, CN console, CF config file, YM YAML, DS dataset, NT note.
    """
    name = file_part(text)
    (root / "kladml.yaml").write_text("{}\n")
    run = RunDirectory.create(root / "data", f"PJ{name}", f"FM{name}", f"EX{name}", seed=0)
    log = RunLog(run, run.claim_attempt())
    log.event("run_started", step=0, epoch=0, total_steps=9, total_epochs=3, device=f"DV{text}")
    log.event("log", level=f"warning{text}", message=f"LG{text}")
    log.event("validation", step=3, epoch=1, metrics={f"MT{text}": 0.5, "val/loss": 0.25})
    log.event("checkpoint_saved", step=3, epoch=1, name=f"CK{text}", bytes=10, seconds=0.1, best=True, last=True)
    log.event(f"KD{text}", step=4, anything=text)
    log.log_metrics({"val/loss": 0.25, "train/loss": 1.5}, 3)
    (run.metrics / os.fsdecode(os.fsencode(file_part(_series_name(text))))).write_bytes(
        b"".join(struct.pack("<qdd", step, 1.7e9 + step, 1.0 / step) for step in range(1, 40))
    )
    log.event("run_failed", exit_code=1, reason=f"RS{text}", message=f"ER{text}", file=f"FL{text}", line=3, hint=text)
    log.status("failed", exit_code=1, reason=f"ER{text}")
    log.close()
    printed = f"CN{text}\n".encode("utf-8", "surrogateescape")
    run.console_log.write_bytes(printed * 3 + b"\xff\xfe\x00 raw\n")
    run.notes.write_text("note: NT\n")
    yaml = f"# YM{text}\nproject: 'PJ'\nmodel: {{target: 'x:Y'}}\n".encode("utf-8", "surrogateescape")
    run.config.write_bytes(yaml)
    configs = root / "data" / "configs"
    configs.mkdir(parents=True)
    (configs / f"CF{name}.yaml").write_bytes(yaml)
    datasets = root / "data" / "datasets"
    datasets.mkdir(parents=True)
    (datasets / f"DS{name}.yaml").write_bytes(b"path: nowhere\n" + yaml)
    return run


def _series_name(text: str) -> str:
    try:
        return file_name(f"MT{text}")
    except UnicodeEncodeError:
        return f"MT{text}.bin"


def drawn(app: App[object]) -> str:
    """Every character on the screen, line by line, as it is sent to the terminal."""
    height = app.size.height
    rows = app.screen._compositor.render_strips()
    assert len(rows) <= height
    return "\n".join("".join(segment.text for segment in row if not segment.control) for row in rows)


def harmless(text: str) -> bool:
    """Whether no character in it would be acted on by a terminal."""
    return not [
        character
        for character in text
        if (ord(character) < 0x20 and character != "\n")
        or 0x7F <= ord(character) < 0xA0
        or ord(character) in (0x200E, 0x200F, 0x061C)
        or 0x2028 <= ord(character) <= 0x202E
        or 0x2066 <= ord(character) <= 0x2069
        or 0xD800 <= ord(character) <= 0xDFFF
    ]
