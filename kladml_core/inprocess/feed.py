"""A thread that sends a run of this process somewhere while it trains, and the rest of it at its end."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from kladml_core.config.secrets import mask
from kladml_core.errors import KladMLError
from kladml_core.inprocess.attempt import Ending

TICK_SECONDS = 1.0
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
LAST_TRIES = 3
"""How often in a row a turn may fail once the run is over, before it is given up."""


class Feed(ABC):
    """Takes turns at sending a run: training waits for nothing, and what cannot be sent now is sent later.

    Args:
        what: what it is sent to, in a sentence: `the tracker`.
        ending: is told, once of each kind, what the person should know.
        patience: seconds for which the end of a run waits for a turn to come to its end; None for as long as it takes.
    """

    def __init__(self, what: str, ending: Ending, *, patience: float | None) -> None:
        self._what = what
        self._ending = ending
        self._patience = patience
        self._over = threading.Event()
        self._turned = threading.Event()
        self._complete = False
        self._told: set[str] = set()
        # All calls come from this one thread: what is open in a backend may belong to a thread.
        self._thread = threading.Thread(target=self._work, name=what.removeprefix("the "), daemon=True)

    def start(self) -> None:
        """Starts the thread; the run's attempt has begun."""
        self._thread.start()

    def close(self) -> None:
        """Waits until all of a run that has ended is sent, or sending it has failed."""
        self._over.set()
        while self._thread.is_alive():
            self._turned.clear()
            self._thread.join(self._patience)
            if not self._turned.is_set():
                break  # not one turn in all that time
        if not self._complete:
            then = "the background goes on with it" if self._hand_over() else "what it lacks is in the run's directory"
            self._ending.warn(f"{self._what} has not all of the run by its end; {then}")

    @abstractmethod
    def _turn(self) -> float | None:
        """Sends what there is; returns the seconds until the next turn, None once all of an ended run is there."""

    @abstractmethod
    def _note(self, text: str) -> None:
        """Writes down why it does not get on."""

    @abstractmethod
    def _let_go(self) -> None:
        """Leaves nothing open of a run that is not sent any further."""

    def _hand_over(self) -> bool:
        """Has the background process go on, where it sends to the same place; returns whether it does."""
        return False

    def _tell_once(self, tell: Callable[[str], None], kind: str, text: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            tell(text)

    def _work(self) -> None:
        failures = 0
        while True:
            last = self._over.is_set()
            try:
                pause = self._turn()
            except Exception as error:  # a backend is somebody else's code and server; training goes on without it
                failures += 1
                self._failed(error)
                if last and failures >= LAST_TRIES:
                    self._give_up()
                    return
                pause = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(failures - 1, 10))
            else:
                failures = 0
                self._turned.set()
                if pause is None:
                    self._complete = True
                    return
            if last:
                time.sleep(min(pause, TICK_SECONDS))
            else:
                self._over.wait(pause)

    def _failed(self, error: Exception) -> None:
        text = mask(str(error) if isinstance(error, KladMLError) else f"{type(error).__name__}: {error}")
        self._note(text)
        self._tell_once(self._ending.warn, "fails", f"{self._what} fails: {text}")

    def _give_up(self) -> None:
        try:
            self._let_go()
        except Exception as error:  # as above
            self._failed(error)
