"""A real terminal to run the app in: tmux on a server of its own, its screen read back as text."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from tests.system.command import COMMAND, environment
from tests.waiting import wait_for

SCREEN_SECONDS = 30.0


class Tmux:
    """One window of a fixed size. Use it as a context manager; leaving it ends the server and what runs in it.

    Args:
        socket: where the server's socket is made, so that no server of the person's own is touched.
        directory: where commands are run.
    """

    def __init__(self, socket: Path, directory: Path, *, columns: int, rows: int) -> None:
        self._socket = socket
        self._directory = directory
        self._size = ("-x", str(columns), "-y", str(rows))

    def __enter__(self) -> Tmux:
        shell = "env -u ENV PS1='prompt> ' sh"
        self._tmux("-f", "/dev/null", "new-session", "-d", *self._size, "-c", str(self._directory), shell)
        self._tmux("set-option", "-g", "status", "off")
        self._tmux("resize-window", *self._size)
        try:
            self.expect("^prompt>")
        except AssertionError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._tmux("kill-server", check=False)

    def start(self, *arguments: str) -> None:
        """Types `kladml-tui` with arguments at the prompt."""
        self.write(f"clear; {shlex.join([*COMMAND, *arguments])}")
        self.press("Enter")

    def press(self, *keys: str) -> None:
        """Presses keys by their tmux names: Enter, Escape, Down, C-c, q."""
        for key in keys:
            self._tmux("send-keys", key)

    def write(self, text: str) -> None:
        """Types text."""
        self._tmux("send-keys", "-l", text)

    def screen(self) -> str:
        """What is on the screen now."""
        return self._tmux("capture-pane", "-p").rstrip()

    def expect(self, pattern: str, timeout: float = SCREEN_SECONDS) -> re.Match[str]:
        """Waits until the screen matches a regular expression; fails with the screen."""
        try:
            return wait_for(lambda: re.search(pattern, self.screen(), re.MULTILINE), timeout)  # type: ignore[return-value]
        except AssertionError:
            raise AssertionError(f"{pattern!r} never came onto the screen:\n{self.screen()}") from None

    def pid(self) -> int:
        """The process that runs in the foreground of the window."""
        terminal = self._tmux("display-message", "-p", "#{pane_tty}").strip()
        listed = subprocess.run(
            ["ps", "-o", "pid=,stat=,args=", "-t", terminal], capture_output=True, text=True, check=True
        ).stdout
        foreground = [line.split(None, 2) for line in listed.splitlines() if "kladml_tui" in line]
        assert foreground, f"no app in the window:\n{listed}"
        return int(foreground[0][0])

    def _tmux(self, *arguments: str, check: bool = True) -> str:
        command = ["tmux", "-S", str(self._socket), *arguments]
        env = environment(TERM="xterm-256color", LC_ALL="C.UTF-8")
        return subprocess.run(command, env=env, capture_output=True, text=True, check=check).stdout
