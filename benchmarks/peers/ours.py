"""This project's engine, asked table by table, inputs first, until nothing is due.

Belongs here: a loop that stands for the automation. Does not belong here: Dagster. Invariant: every partition of every
table is looked at, so that nothing is known of the change but what the engine finds out by itself.
"""

from collections import defaultdict
from pathlib import Path

import polars as pl

from benchmarks.peers.contending import Done, Stopwatch, chain_in
from sh_core.outcome import Published, Reused
from sh_resources.settings import load
from sh_resources.wiring import new_id, open_engine


class Ours:
    """A contender."""

    def __init__(self, folder: Path) -> None:
        """Open the state in a folder, new or not."""
        self._graph = chain_in(folder)
        self._engine = open_engine(load({"SELFHEAL_HOME": str(folder)}), self._graph)

    def build(self) -> None:
        """Make every table."""
        self._until_quiet()

    def repair(self) -> Done:
        """Look at everything, and run what is due."""
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
        while True:
            passes += 1
            found = False
            for table in self._graph.tables:
                due = self._engine.outlook(table.name, table.partitions.keys()).due
                if not due:
                    continue
                found, batches = True, batches + 1
                for outcome in self._engine.materialize(table.name, due, run_id=new_id()):
                    match outcome:
                        case Published():
                            executed[table.name].append(outcome.partition)
                        case Reused():
                            pass
                        case _:
                            raise AssertionError(table.name, outcome)
            if not found:
                return {table: tuple(keys) for table, keys in executed.items()}, batches, passes
