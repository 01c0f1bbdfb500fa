"""Writers that stop at every step of a publish until they are told to go on.

With them a test decides in which order the steps of several writers happen, and a writer that is never told to go on
is as dead as a killed one: it holds its lease, and whatever it had done stays done.
"""

import threading
from collections.abc import Sequence
from datetime import datetime

from sh_core.outcome import Outcome
from sh_resources.clock import ManualClock
from sh_resources.engine import Engine
from sh_resources.publisher import Publisher, Step
from sh_resources.wiring import new_id

PATIENCE_S = 30


class EndOfTest(BaseException):
    """Raised in a writer that is still standing when its test is over, so that its thread ends."""


class PausingWriter:
    """One writer, in a thread of its own that runs only while ``advance`` waits for it."""

    def __init__(self, home: Engine, name: str, table: str, keys: Sequence[str], now_utc: datetime) -> None:
        """Prepare a writer that has done nothing yet.

        Args:
            home: An engine on the same state folder, whose store and ledger it shares.
            name: Its run id.
            table: Table of the little graph.
            keys: Partitions.
            now_utc: Its time, which stands still.
        """
        self.outcomes: list[Outcome] = []
        self.at: Step | None = None
        self.finished = False
        self.error: BaseException | None = None
        self._go, self._paused, self._over = threading.Event(), threading.Event(), False
        clock = ManualClock(now_utc)
        publisher = Publisher(home.store, home.ledger, clock, new_id, on_step=self._pause)
        self._engine = Engine(home.graph, home.store, home.ledger, home.landing, publisher, clock, home.calendar)
        self._thread = threading.Thread(target=self._work, args=(name, table, keys), daemon=True)

    def _work(self, name: str, table: str, keys: Sequence[str]) -> None:
        try:
            self._pause(None)
            for outcome in self._engine.materialize(table, keys, run_id=name):
                self.outcomes.append(outcome)
        except BaseException as raised:  # noqa: BLE001 - handed to the test
            self.error = raised
        self.finished = True
        self._paused.set()

    def _pause(self, step: Step | None) -> None:
        if not self._over:
            self.at = step
            self._paused.set()
            self._go.wait()
            self._go.clear()
        if self._over:
            raise EndOfTest

    def advance(self) -> None:
        """Let it go on to the next step, or to its end."""
        if self.finished:
            return
        self._paused.clear()
        if not self._thread.is_alive():
            self._thread.start()
        self._go.set()
        assert self._paused.wait(PATIENCE_S), f"the writer hangs after {self.at}"
        if self.error is not None:
            raise self.error

    def until(self, step: Step) -> None:
        """Let it go on until it has done a step."""
        while self.at is not step:
            assert not self.finished, f"the writer ended without {step}"
            self.advance()

    def to_the_end(self) -> list[Outcome]:
        """Let it finish."""
        while not self.finished:
            self.advance()
        return self.outcomes

    def end(self) -> None:
        """The test is over."""
        self._over = True
        if self._thread.is_alive():
            self._go.set()
            self._thread.join(PATIENCE_S)
