"""This project: its watch decides and its engine runs, tick by tick, until nothing is due.

Belongs here: the loop of the automation without Dagster around it. Does not belong here: Dagster (``ours_on_dagster``).
Invariant: the watch starts without a memory, so nothing is known of the change but what a sweep finds out.
"""

from collections import defaultdict
from pathlib import Path

import polars as pl

from benchmarks.peers.contending import Done, Stopwatch, chain_in
from sh_core.outcome import Published
from sh_core.watch import Watch
from sh_resources.book import LedgerBook
from sh_resources.clock import SystemClock
from sh_resources.settings import load
from sh_resources.wiring import new_id, open_engine


class Ours:
    """A contender."""

    def __init__(self, folder: Path) -> None:
        """Open the state in a folder, new or not."""
        self._graph = chain_in(folder)
        self._settings = load({"SELFHEAL_HOME": str(folder)})
        self._engine = open_engine(self._settings, self._graph)

    def build(self) -> None:
        """Make every table."""
        self._until_quiet()

    def repair(self) -> Done:
        """Sweep, and run what is due."""
        watch = Stopwatch()
        executed, batches, passes = self._until_quiet()
        return Done(executed, *watch.read(), batches, passes)

    def content(self, table: str) -> pl.DataFrame:
        """What readers see."""
        found = self._graph[table]
        return self._engine.store.published(found).select(found.contract.columns).collect()

    def _until_quiet(self) -> tuple[dict[str, tuple[str, ...]], int, int]:
        executed: dict[str, list[str]] = defaultdict(list)
        batches = passes = 0
        clock = SystemClock()
        watch = Watch(self._graph, LedgerBook(self._engine, clock))
        self._engine.take_in(clock.now_utc())
        while True:
            passes += 1
            due = watch.tick(clock.now_utc(), {}, "benchmark").due
            if not due:
                return {table: tuple(keys) for table, keys in executed.items()}, batches, passes
            for name in (table.name for table in self._graph.tables if table.name in due):
                batches += 1
                for outcome in self._engine.materialize(name, list(due[name]), run_id=new_id()):
                    match outcome:
                        case Published():
                            executed[name].append(outcome.partition)
                        case _:
                            raise AssertionError(name, outcome)
