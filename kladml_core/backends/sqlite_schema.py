"""The tables of the index, see `sqlite_metadata`; a change here needs another `VERSION`, and the index is made anew."""

from __future__ import annotations

import sqlite3

VERSION = 1

RUN_COLUMNS = (
    "id", "reference", "project", "family", "experiment", "name", "number", "uid",
    "status", "word", "live", "stalled", "silence", "attempt", "pid", "host", "phase",
    "epoch", "step", "total_epochs", "total_steps",
    "created", "started", "ended", "heartbeat", "progress_at", "earlier_seconds", "seconds",
    "exit_code", "reason", "damaged", "last_checkpoint",
    "note", "star", "problem", "changed", "stamp",
)  # fmt: skip
METRIC_COLUMNS = ("last", "last_step", "min", "min_step", "max", "max_step", "count", "non_finite")

_TABLES = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    reference TEXT NOT NULL UNIQUE,
    project TEXT NOT NULL, family TEXT NOT NULL, experiment TEXT NOT NULL, name TEXT NOT NULL, number INTEGER NOT NULL,
    uid TEXT,
    status TEXT NOT NULL, word TEXT NOT NULL, live INTEGER NOT NULL, stalled INTEGER NOT NULL, silence REAL,
    attempt INTEGER, pid INTEGER, host TEXT, phase TEXT,
    epoch INTEGER NOT NULL, step INTEGER NOT NULL, total_epochs INTEGER, total_steps INTEGER,
    created REAL, started REAL, ended REAL, heartbeat REAL, progress_at REAL, earlier_seconds REAL, seconds REAL,
    exit_code INTEGER, reason TEXT, damaged TEXT, last_checkpoint TEXT,
    note TEXT NOT NULL, star INTEGER NOT NULL, problem TEXT NOT NULL,
    changed REAL NOT NULL, stamp TEXT NOT NULL
);
CREATE TABLE places (project TEXT NOT NULL, family TEXT NOT NULL, experiment TEXT NOT NULL,
    PRIMARY KEY (project, family, experiment)) WITHOUT ROWID;
CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE param_values (id INTEGER PRIMARY KEY, json TEXT NOT NULL UNIQUE, text TEXT NOT NULL, number REAL);
CREATE TABLE run_metrics (
    name INTEGER NOT NULL, run INTEGER NOT NULL,
    last REAL, last_step INTEGER, min REAL, min_step INTEGER, max REAL, max_step INTEGER,
    count INTEGER, non_finite INTEGER,
    PRIMARY KEY (name, run)
) WITHOUT ROWID;
CREATE TABLE run_params (
    key INTEGER NOT NULL, run INTEGER NOT NULL, place INTEGER NOT NULL, value INTEGER NOT NULL,
    PRIMARY KEY (key, run)
) WITHOUT ROWID;
CREATE TABLE tags (run INTEGER NOT NULL, place INTEGER NOT NULL, tag TEXT NOT NULL, PRIMARY KEY (run, place))
    WITHOUT ROWID;
CREATE TABLE datasets (
    name TEXT PRIMARY KEY, path TEXT, target TEXT, split TEXT, description TEXT NOT NULL, rows INTEGER,
    fingerprint TEXT, problem TEXT NOT NULL, stamp TEXT NOT NULL
) WITHOUT ROWID;
CREATE VIEW metrics AS
    SELECT m.run, n.name, m.last, m.last_step, m.min, m.min_step, m.max, m.max_step, m.count, m.non_finite
    FROM run_metrics m JOIN names n ON n.id = m.name;
CREATE VIEW params AS
    SELECT p.run, n.name AS key, p.place, v.text, v.number, v.json
    FROM run_params p JOIN names n ON n.id = p.key JOIN param_values v ON v.id = p.value;
"""


def create(connection: sqlite3.Connection) -> None:
    """Makes the tables; inside the caller's transaction."""
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            connection.execute(statement)
