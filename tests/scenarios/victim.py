"""A run that dies: what the processes do that ``test_kill`` starts and kills."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sh_resources.clock import ManualClock
from sh_resources.publisher import Step
from tests.little import GRAPH, NOON, engine_at


@dataclass(frozen=True)
class Death:
    """When the process kills itself, with SIGKILL.

    Attributes:
        step: Right after this step of a publish; None for the time below.
        nth: At the step's nth occurrence, counted from 1 over all tables.
        after_s: Any time, this many seconds after the run began.
    """

    step: Step | None = None
    nth: int = 1
    after_s: float | None = None


def run(home: Path, partitions: Sequence[str], hour: int, death: Death | None, chunk: int = 2) -> None:
    """Materialize the little graph, and die on the way if told to.

    Args:
        home: State folder.
        partitions: Keys.
        hour: Hours since noon; each run is later than the lease of the one before.
        death: When to die; None lives.
        chunk: Partitions per commit.
    """
    if death is not None and death.after_s is not None:
        threading.Thread(target=_die_later, args=(death.after_s,), daemon=True).start()
    engine = engine_at(home, ManualClock(NOON + timedelta(hours=hour)), on_step=deadly(death))
    for table in GRAPH.tables:
        for _ in engine.materialize(table.name, partitions, run_id=f"run-{hour}-{random.random()}", chunk=chunk):
            pass


def deadly(death: Death | None) -> Callable[[Step], None]:
    """What kills this process at a step."""
    left = death.nth if death else 0

    def on_step(step: Step) -> None:
        nonlocal left
        if death is not None and step is death.step:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    return on_step


def _die_later(seconds: float) -> None:
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)
