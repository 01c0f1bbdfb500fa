"""The oracle's real system driven by Dagster: its sensor decides what is requested, its runs do it, in this process.

Worlds, changes, reference and comparisons are those of ``sh_drills.oracle``. What is added on trial is whatever lies
between a decision of the watch and an execution: the sensor's evaluation, what Dagster says is in progress, its names
of partitions, runs of spans.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import cast

import dagster as dg

from sh_assets.automation import sensors
from sh_assets.build import ENGINE, build
from sh_assets.dagster_private import ask_here
from sh_assets.deciding import WatchDecider
from sh_assets.keys import table_name
from sh_core.book import Keys
from sh_core.outcome import Outcome
from sh_core.policy import Policy
from sh_core.table import Table
from sh_core.watch import Decision, Watch, Within
from sh_defs.running import run_table, what_was_raised
from sh_drills.oracle.memory_engine import Run
from sh_drills.oracle.real_system import RealSystem
from sh_drills.oracle.shapes import World
from sh_drills.oracle.system import first_hour
from sh_resources.book import LedgerBook


@dataclass
class Sweeping:
    """A watch that sweeps when the case wants it to; Dagster's sensors cannot be told.

    No subclass: it would stay as it is where a test exchanges the watch (``tests.mutations``).
    """

    watch: Watch
    sweeps: bool = False

    def tick(
        self, now_utc: datetime, busy: Keys, by: str, tables: Collection[str] | None, *, within: Within | None
    ) -> Decision:
        """Decide what is to be requested now."""
        return self.watch.tick(now_utc, busy, by, tables, within=within, sweep=self.sweeps)


@dataclass
class DagsterSystem(RealSystem):
    """What is on trial, with Dagster's sensor and runs.

    Attributes:
        instance: Dagster's storage.
        meanwhile: Told of each partition that a run has dealt with, while the run still goes on.
    """

    instance: dg.DagsterInstance = field(default_factory=dg.DagsterInstance.ephemeral)
    meanwhile: Callable[[str, str], None] = lambda *_: None

    def restart(self) -> None:
        """A new process with the same code: definitions are loaded, nothing is remembered."""
        engine = self.opened
        graph, store = engine.graph, engine.store
        self.asking = Sweeping(Watch(graph, LedgerBook(engine, self.clock), self.policy))
        self.decider = WatchDecider(lambda: cast("Watch", self.asking), self.clock)
        self.defs = dg.Definitions(
            assets=build(graph, lambda table: store.table(table).folder, self._told, automated=True),
            sensors=sensors([table.name for table in graph.tables], self.decider, clock=self.clock),
            resources={ENGINE: dg.ResourceDefinition(lambda _: engine)},
            executor=dg.in_process_executor,
        )

    @classmethod
    @contextmanager
    def at(cls, home: Path) -> Iterator[Callable[[World, Policy], "DagsterSystem"]]:
        """What opens a system in a state folder, and closes it at the end."""
        made: list[DagsterSystem] = []
        with dg.DagsterInstance.ephemeral() as instance:

            def opened(world: World, policy: Policy) -> DagsterSystem:
                made.append(cls(world, policy, first_hour(world.today), home=home, instance=instance))
                return made[0]

            try:
                yield opened
            finally:
                for system in made:
                    system.close()

    def tick(self, *, sweep: bool = False) -> Decision:
        """Take in what has landed, and let Dagster's sensor ask what is due."""
        self._turn_clock()
        self.opened.take_in(self.clock.now_utc())
        self.asking.sweeps = sweep
        asked = ask_here(self.defs, self.instance)
        decided = self.decider.decided
        assert decided is not None
        requested = {table_name(asset): keys for asset, keys in asked.items() if keys}
        assert requested == {name: set(found) for name, found in decided.due.items()}, "Dagster requests something else"
        return decided

    def finish(self, run: Run) -> None:
        """Let Dagster run it."""
        self._turn_clock()
        self.now_utc = self.clock.now_utc()
        self._dealt = set[str]()
        for ran in run_table(self.instance, self.defs, self.opened.graph[run.table], run.keys):
            left = set(ran.partitions) - self._dealt
            assert not left, f"{run.table} {left} were not dealt with: {what_was_raised(self.instance, ran.run_id)}"
        self.runs.remove(run)

    def _told(self, table: Table, outcome: Outcome) -> None:
        self.note_outcome(table.name, outcome)
        # Of a run's other partitions nobody knows here whether they are in the same run of Dagster's.
        runs, self.runs = self.runs, [Run(self.book, table.name, [outcome.partition], "under way")]
        try:
            self.meanwhile(table.name, outcome.partition)
        finally:
            self.runs = runs
        # What is raised before ends in Dagster's run: it is this that brings it to light, in `finish`.
        self._dealt.add(outcome.partition)
