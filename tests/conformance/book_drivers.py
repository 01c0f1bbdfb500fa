"""Two books to hold to the same promises: the ledger's, behind a real engine with real files, and the oracle's.

Belongs here: what a test of books may do, once for each of them. Does not belong here: what must hold (``test_book``).
Invariant: both have the same tables, declared from the same shapes.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Protocol

from sh_core.book import Book
from sh_core.graph import Graph
from sh_drills.oracle.declared import graph_of
from sh_drills.oracle.memory_book import Ledger as MemoryLedger
from sh_drills.oracle.memory_book import MemoryBook
from sh_drills.oracle.memory_engine import Run
from sh_drills.oracle.shapes import MART, RAW, STAGED, Code, File, Gate, Given, Pick, Rows, Shape, Span
from sh_drills.replay import land
from sh_resources.book import LedgerBook
from sh_resources.clock import ManualClock
from sh_resources.settings import load
from sh_resources.wiring import open_engine

NOW = datetime(2024, 2, 28, 1, tzinfo=UTC)
DAYS = Span("daily", date(2024, 2, 26), date(2024, 2, 28))
MONDAY, TUESDAY, WEDNESDAY = "2024-02-26", "2024-02-27", "2024-02-28"

SHAPES: dict[str, Shape] = {
    shape.name: shape
    for shape in (
        Shape("raw_f", RAW, DAYS, ("k", "a", "b"), Gate(50), feed="f"),
        Shape("stg_f", STAGED, DAYS, ("k", "a", "b"), Gate(50), (Given("raw_f", "raw_f"),)),
        Shape("raw_r", RAW, Span("whole"), ("k", "a"), Gate(50), feed="r"),
        Shape("stg_r", STAGED, Span("whole"), ("k", "a"), Gate(50), (Given("raw_r", "raw_r"),)),
        Shape(
            "mart",
            MART,
            DAYS,
            ("k", "a"),
            Gate(50),
            (
                Given("stg_f", "stg_f", ("a",)),
                Given("before", "stg_f", ("a",), first=-1, last=-1, least=0),
                Given("stg_r", "stg_r", ("a",), by=("stg_f", "k")),
            ),
            Code("stg_f", 1000, (Pick("stg_r", "a", "max", 1),)),
        ),
    )
}
"""Two feeds, a day's and a register's; a mart that reads one column, the day before if it is there, and what it looks
up in the register."""


class Driver(Protocol):
    """What a test may do."""

    @property
    def book(self) -> Book:
        """The book, under the code as it is now."""

    def arrive(self, feed: str, key: str, rows: Rows) -> None:
        """A file comes."""

    def run(self, table: str, keys: Collection[str]) -> None:
        """Partitions are brought up to date."""

    def edit(self, shapes: Mapping[str, Shape]) -> None:
        """Code or contracts are others from now on."""

    def beside(self, shapes: Mapping[str, Shape]) -> "Driver":
        """Another process, over the same facts and at the same time, with other code."""

    def hold(self, table: str, key: str) -> Callable[[], None]:
        """Somebody works on a partition, until what is returned is called."""

    def pause(self, table: str) -> None:
        """Nothing of a table is to be requested."""

    def later(self, seconds: float) -> datetime:
        """Time passes; what time it is then."""

    def close(self) -> None:
        """Let go of the facts."""


class MemoryDriver:
    """The oracle's book."""

    def __init__(self) -> None:
        """With nothing in it."""
        self._ledger, self._clock = MemoryLedger(), ManualClock(NOW)
        self.edit(SHAPES)

    def edit(self, shapes: Mapping[str, Shape]) -> None:
        """Load them."""
        self.book = MemoryBook(graph_of(shapes), shapes, self._ledger, self._clock.now_utc)

    def arrive(self, feed: str, key: str, rows: Rows) -> None:
        """Note it."""
        self._ledger.arrive(feed, key, File(rows))

    def run(self, table: str, keys: Collection[str]) -> None:
        """In memory."""
        run = Run(self.book, table, list(keys), "run")
        run.start()
        run.finish(lambda *_: None)

    def hold(self, table: str, key: str) -> Callable[[], None]:
        """A lease in memory."""
        self._ledger.leases[table, key] = "somebody"
        return self._ledger.leases.clear

    def pause(self, table: str) -> None:
        """In memory."""
        self._ledger.paused.add(table)

    def later(self, seconds: float) -> datetime:
        """Turn the clock."""
        self._clock.sleep(seconds)
        return self._clock.now_utc()

    def beside(self, shapes: Mapping[str, Shape]) -> Driver:
        """With the same dictionaries."""
        other = MemoryDriver()
        other._ledger, other._clock = self._ledger, self._clock
        other.edit(shapes)
        return other

    def close(self) -> None:
        """Nothing to let go of."""


class LedgerDriver:
    """The ledger's book, of a real engine."""

    def __init__(self, home: Path, graph: Graph, clock: ManualClock | None = None) -> None:
        """With nothing in it, or what others have put there."""
        self._home, self._clock, self._runs = home, clock or ManualClock(NOW), 0
        self._open(graph)

    def _open(self, graph: Graph) -> None:
        settings = load({"SELFHEAL_HOME": str(self._home)})
        self._engine = open_engine(settings, graph, clock=self._clock, patience_s=0.0)
        self.book = LedgerBook(self._engine, self._clock)

    def edit(self, shapes: Mapping[str, Shape]) -> None:
        """Load them."""
        self.close()
        self._open(graph_of(shapes))

    def beside(self, shapes: Mapping[str, Shape]) -> Driver:
        """With another engine, of the same ledger and files."""
        return LedgerDriver(self._home, graph_of(shapes), self._clock)

    def close(self) -> None:
        """Let go of the ledger."""
        self._engine.ledger.close()

    def arrive(self, feed: str, key: str, rows: Rows) -> None:
        """Land a file and take it in."""
        declared = next(f for f in self._engine.graph.feeds if f.name == feed)
        path = self._home / "landing" / feed / declared.expected_file(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [",".join(declared.columns), *(",".join(map(str, row)) for row in rows)]
        land(path, "".join(f"{line}\n" for line in lines).encode())
        self._engine.take_in(self._clock.now_utc())

    def run(self, table: str, keys: Collection[str]) -> None:
        """With the real engine."""
        self._runs += 1
        self._clock.sleep(1)
        list(self._engine.materialize(table, list(keys), run_id=f"run {self._runs}"))

    def hold(self, table: str, key: str) -> Callable[[], None]:
        """A lease in the ledger."""
        leases = self._engine.ledger.leases
        tokens = leases.acquire(table, [key], "somebody", self._clock.now_utc(), 600.0)
        return lambda: leases.release(table, tokens)

    def pause(self, table: str) -> None:
        """In the ledger."""
        now = self._clock.now_utc()
        self._engine.ledger.requests.pause(table, downstream=False, by="a test", reason="to see", now_utc=now)

    def later(self, seconds: float) -> datetime:
        """Turn the clock."""
        self._clock.sleep(seconds)
        return self._clock.now_utc()


@contextmanager
def opened(kind: str, home: Path) -> Iterator[Driver]:
    """A driver of one kind with nothing in it."""
    if kind == "memory":
        yield MemoryDriver()
        return
    driver = LedgerDriver(home, graph_of(SHAPES))
    yield driver
    driver.close()


def edited(shape: Shape, **changes: object) -> dict[str, Shape]:
    """All shapes, one of them with something else."""
    return {**SHAPES, shape.name: replace(shape, **changes)}  # type: ignore[arg-type]
