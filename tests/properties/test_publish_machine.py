"""Any interleaving of deliveries, writers, stalls, deaths and expiring leases.

The incident: the one order of events that nobody thought of. Hypothesis invents histories of up to three writers on two
partitions, each stopped between any two steps for as long as it likes or for ever, and a plain Delta reader looks
after every single event.
"""

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import polars as pl
from deltalake import DeltaTable
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sh_core.outcome import Waiting
from tests.conftest import MEMORY
from tests.little import DAYS, GRAPH, NOON, deliver, engine_at
from tests.pausing import PausingWriter

TABLE = "raw_readings"
KEYS = DAYS.keys()[:2]
keys = st.sampled_from(KEYS)
turns = st.integers(0, 2)


class Publishing(RuleBasedStateMachine):
    """Readers see one delivered file per partition, whole, at all times; in the end the ledger agrees with Delta."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="publishing-", dir=MEMORY if MEMORY.is_dir() else None))
        self.engine = engine_at(self.home)
        self.now = NOON
        self.deliveries: dict[str, list[list[str]]] = {key: [] for key in KEYS}
        self.writers: list[PausingWriter] = []
        self.dead: list[PausingWriter] = []
        self.seen: dict[str, list[str]] = {}

    @rule(key=keys, rows=st.integers(0, 3))
    def a_file_lands(self, key: str, rows: int) -> None:
        """Every delivery has rows of its own, so that content tells which delivery it is."""
        names = [f"d{sum(map(len, self.deliveries.values()))}r{i}" for i in range(rows)]
        deliver(self.home, key, [(name, 0, 0) for name in names])
        self.deliveries[key].append(sorted(names))

    @precondition(lambda self: len(self.writers) < 3)
    @rule(wanted=st.sets(keys, min_size=1))
    def a_writer_starts(self, wanted: set[str]) -> None:
        """A run is launched on some partitions."""
        name = f"w{len(self.writers) + len(self.dead)}"
        self.writers.append(PausingWriter(self.engine, name, TABLE, sorted(wanted), self.now))

    @precondition(lambda self: self.writers)
    @rule(turn=turns, steps=st.integers(1, 4))
    def a_writer_goes_on(self, turn: int, steps: int) -> None:
        """Some steps further; a writer that is done leaves."""
        writer = self.writers[turn % len(self.writers)]
        for _ in range(steps):
            writer.advance()
        if writer.finished:
            self.writers.remove(writer)

    @precondition(lambda self: self.writers)
    @rule(turn=turns)
    def a_writer_dies(self, turn: int) -> None:
        """It never goes on, and never gives its lease back."""
        self.dead.append(self.writers.pop(turn % len(self.writers)))

    @rule()
    def leases_expire(self) -> None:
        """Writers that start from now on may take over; those that stalled do not know it."""
        self.now += timedelta(minutes=1)

    @invariant()
    def readers_see_whole_deliveries(self) -> None:
        """Never torn, never doubled, never something that was not delivered for that partition."""
        folder = self.home / "tables" / TABLE
        if not DeltaTable.is_deltatable(str(folder)):
            return
        rows = pl.read_delta(str(folder)).select(pl.col("date").cast(pl.String), "sensor")
        for key in KEYS:
            found = sorted(rows.filter(pl.col("date") == key)["sensor"])
            assert found in [*self.deliveries[key], []], f"{key} shows {found}"
            if found:
                self.seen[key] = found
        for key, before in self.seen.items():
            if [] not in self.deliveries[key]:
                assert sorted(rows.filter(pl.col("date") == key)["sensor"]), f"{before} of {key} has vanished"

    def teardown(self) -> None:
        """Stalled writers wake up too late, then a healthy run comes along."""
        try:
            self.now += timedelta(minutes=1)
            healthy = PausingWriter(self.engine, "healthy", TABLE, KEYS, self.now)
            self.dead.append(healthy)
            outcomes = {o.partition: o for o in healthy.to_the_end()}
            for writer in self.writers:
                writer.to_the_end()
            self._check_all_is_well({key for key, o in outcomes.items() if not isinstance(o, Waiting)})
        finally:
            for writer in [*self.writers, *self.dead]:
                writer.end()
            self.engine.ledger.close()
            shutil.rmtree(self.home)

    def _check_all_is_well(self, published: set[str]) -> None:
        assert published == {key for key, files in self.deliveries.items() if files}
        engine = self.engine
        live = engine.store.table(GRAPH[TABLE]).state().files
        assert {p: f.path for p, f in live.items()} == {
            p: s.path for p, s in engine.ledger.publications.current(TABLE).items()
        }
        assert engine.ledger.publications.unconfirmed(TABLE) == []
        rows = engine.store.published(GRAPH[TABLE]).select(pl.col("date").cast(pl.String), "sensor").collect()
        for key in published:
            assert sorted(rows.filter(pl.col("date") == key)["sensor"]) == self.deliveries[key][-1]


TestPublishing = Publishing.TestCase
TestPublishing.settings = settings(max_examples=max(12, settings().max_examples // 10), stateful_step_count=30)
