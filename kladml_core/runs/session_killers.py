"""What would end a run together with the session that launches it, though it has left its terminal: in one line each.

A session of its own and no terminal protect a run from hang-ups. They do not protect it from whoever ends every
process of a control group or a container: systemd at logout, the end of a container's first process, Slurm.
"""

from __future__ import annotations

import os
import pwd
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

_LOGIND = ("etc/systemd", "run/systemd", "usr/local/lib/systemd", "usr/lib/systemd")
"""Where logind.conf is looked for, the first that has it counts; of drop-ins too the first with a name."""
_SETTING = re.compile(r"\s*(Kill\w+)\s*=\s*(.*?)\s*")
_DEFAULT = re.compile(r"#\s*(Kill\w+)\s*=\s*(.*?)\s*")
"""The file that systemd installs names, commented out, what it was built with: distributions differ."""
_TRUE = frozenset({"1", "yes", "y", "true", "t", "on"})
_SESSION = re.compile(r"/user-(\d+)\.slice/session-[^/]+\.scope(/|$)")
_USER_SERVICE = re.compile(r"/user-(\d+)\.slice/user@\d+\.service(/|$)")
_JOB = re.compile(r"/job_(\d+)(/|$)")
_INITS = frozenset({"systemd", "init"})


def session_killers(
    root: Path = Path("/"), environ: Mapping[str, str] = os.environ, pid: int | None = None
) -> tuple[str, ...]:
    """What ends a run that this process starts, other than its own end, and what to do about it.

    Args:
        root: where proc, etc and the other system directories are.
        environ: the variables that Slurm sets.
        pid: the process that launches, by default this one.
    """
    process = root / "proc" / str(os.getpid() if pid is None else pid)
    groups = _read(process / "cgroup").splitlines()
    return (*_logind(root, groups), *_container(root, process), *_slurm(groups, environ))


def _logind(root: Path, groups: list[str]) -> Iterator[str]:
    for group in groups:
        session, service = _SESSION.search(group), _USER_SERVICE.search(group)
        if session is not None and _kills_at_logout(root, _name(int(session[1]))):
            yield (
                "systemd ends this run when you log out (KillUserProcesses=yes in logind.conf): "
                "`loginctl enable-linger` once, then start it under `systemd-run --user --scope`"
            )
        elif service is not None and not (root / "var/lib/systemd/linger" / _name(int(service[1]))).exists():
            yield "systemd ends this run with your last session here: `loginctl enable-linger` once keeps it alive"
        else:
            continue
        return


def _kills_at_logout(root: Path, user: str) -> bool:
    settings = _logind_settings(root)
    only = settings.get("KillOnlyUsers", "").split()
    excluded = settings.get("KillExcludeUsers", "root").split()
    wanted = settings.get("KillUserProcesses", "no").lower() in _TRUE
    return wanted and user not in excluded and (not only or user in only)


def _logind_settings(root: Path) -> dict[str, str]:
    """As logind reads them (logind.conf(5)): the first main file, then the drop-ins by name, of every folder."""
    folders = [root / folder for folder in _LOGIND]
    main = next((folder / "logind.conf" for folder in folders if (folder / "logind.conf").exists()), None)
    drop_ins: dict[str, Path] = {}
    for folder in folders:
        for path in (folder / "logind.conf.d").glob("*.conf"):
            drop_ins.setdefault(path.name, path)
    main_lines = _read(main).splitlines() if main is not None else []
    lines = [line for name in sorted(drop_ins) for line in _read(drop_ins[name]).splitlines()]
    defaults = {match[1]: match[2] for match in map(_DEFAULT.fullmatch, main_lines) if match}
    written = {match[1]: match[2] for match in map(_SETTING.fullmatch, [*main_lines, *lines]) if match}
    return {**defaults, **written}


def _container(root: Path, process: Path) -> Iterator[str]:
    name = _read(root / "proc/1/comm").strip()
    first, own = _session_and_terminal(root / "proc/1"), _session_and_terminal(process)
    if not name or name in _INITS or first is None or own is None:
        return
    (first_session, first_terminal), (own_session, _) = first, own
    ends = f"this run ends with its container, which ends with its first process ({name})"
    if first_terminal:  # somebody's shell, as `docker run -it` starts it
        yield f"{ends}: start the container detached and work in it through `docker exec`"
    elif first_session == own_session != 0:  # its command or a script; 0 is a session from outside
        yield f"{ends}: leave --detach out in what the container runs"


def _session_and_terminal(process: Path) -> tuple[int, int] | None:
    stat = _read(process / "stat")
    fields = stat[stat.rfind(")") + 2 :].split()  # proc(5): state, ppid, pgrp, session, tty_nr
    return (int(fields[3]), int(fields[4])) if len(fields) > 4 else None


def _slurm(groups: list[str], environ: Mapping[str, str]) -> Iterator[str]:
    found = next((match for match in map(_JOB.search, groups) if match), None)
    job = environ.get("SLURM_JOB_ID") or (found[1] if found else None)
    if job is None:
        return
    end = environ.get("SLURM_JOB_END_TIME", "")
    at = time.strftime(", at the latest at %Y-%m-%d %H:%M", time.localtime(int(end))) if end.isdecimal() else ""
    yield (
        f"Slurm ends this run with job {job}{at}: leave --detach out in the job's script, "
        "and set training.max_time so that the run stops with a checkpoint before"
    )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _read(path: Path) -> str:
    """A system file's text; empty where it is missing or not for us, for there is nothing to warn of then."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
