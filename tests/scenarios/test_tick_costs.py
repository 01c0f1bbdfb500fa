"""What a tick asks for, counted: questions to the ledger and Delta logs opened.

The incident these prevent: a tick that asks something for every partition. It is quick in every test and takes minutes
on a ledger of a few years.
"""

from collections.abc import Collection, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event

from benchmarks.big import NOW, Big
from sh_core.partitions import WHOLE
from sh_core.policy import Hold
from sh_core.staleness import Look
from sh_core.watch import Decision, Watch
from sh_resources.book import LedgerBook
from sh_resources.delta_log import DeltaLog
from sh_resources.registers import LEAST

TABLES, FEEDS = 12, 4


class Counted:
    """A watch of a big ledger, and what its ticks have asked for.

    Attributes:
        queries: Statements of the last tick, but for the beginning of transactions.
        opened: Delta logs that it opened.
    """

    def __init__(self, home: Path, days: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.big = Big.open(home, TABLES, days)
        self.big.build()
        self.watch = Watch(self.big.graph, LedgerBook(self.big.engine, self.big.clock))
        self.queries: list[str] = []
        self.opened = 0
        event.listen(self.big.engine.ledger._database._engine, "before_cursor_execute", self._note)
        newest = DeltaLog.newest

        def counted(log: DeltaLog) -> object:
            self.opened += 1
            return newest(log)

        monkeypatch.setattr(DeltaLog, "newest", counted)

    def _note(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith("BEGIN"):
            self.queries.append(statement)

    def tick(self, *, sweep: bool = False, seconds: float = 0.0) -> Decision:
        self.queries.clear()
        self.opened = 0
        return self.watch.tick(NOW + timedelta(seconds=seconds), {}, "test", sweep=sweep)


@pytest.fixture(scope="module", params=[40, 160], ids=["40 days", "160 days"])
def counted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counted]:
    """The same tables, short and long: what is asked for must not depend on it."""
    with pytest.MonkeyPatch.context() as patch:
        yield Counted(tmp_path_factory.mktemp("big"), request.param, patch)


def test_the_first_tick_asks_each_table_and_each_feed_once(counted: Counted) -> None:
    decision = counted.tick()
    assert decision.swept
    assert decision.looked == 0
    # Each table's standings and files, each feed's arrivals, the serial and the leases; and the register's snapshot is
    # noted (two).
    assert len(counted.queries) <= 2 * TABLES + FEEDS + 6
    assert counted.opened <= TABLES
    # What was compared with the ledger once is not opened again until somebody writes to it.
    counted.tick(sweep=True)
    assert len(counted.queries) <= TABLES + FEEDS + 6
    assert counted.opened == 0


def test_an_idle_tick_asks_one_thing(counted: Counted) -> None:
    """Every few seconds, for ever: on a ledger of any size it reads one row."""
    counted.tick()
    counted.tick()
    assert len(counted.queries) == 1
    assert "ledger_clock" in counted.queries[0]
    assert counted.opened == 0


def test_one_change_costs_the_same_however_long_its_table_is(counted: Counted) -> None:
    counted.tick()
    day = counted.big.keys(counted.big.graph["stg_b0"])[20]
    counted.big.publish(counted.big.graph["stg_b0"], [day])
    decision = counted.tick()
    assert {name: set(found) for name, found in decision.stale.items()} == {"joined0": {day}}
    assert decision.looked == 2
    assert len(counted.queries) <= 28
    logs = {"stg_b0", "raw_b0", *(i.table for i in counted.big.graph["joined0"].reads), "joined0"}
    assert counted.opened <= len(logs)

    counted.big.settle(decision.stale)
    counted.tick()
    assert len(counted.queries) <= 16
    assert counted.opened == 0, "logs that have not changed were opened again"
    counted.tick()
    assert len(counted.queries) == 1


def test_a_hundred_changes_of_a_table_are_looked_at_together(counted: Counted) -> None:
    counted.tick()
    table = counted.big.graph["stg_c0"]
    days = counted.big.keys(table)[:30]
    counted.big.publish(table, days)
    decision = counted.tick()
    assert set(decision.due["joined0"]) == set(days)
    # One of these days was requested before (see above): whether other code has looked at it since is one question.
    assert len(counted.queries) <= 29
    counted.big.settle(decision.stale)
    assert counted.tick().stale == {}


def test_a_row_of_a_register_has_only_those_looked_at_closely_in_whom_it_occurs(counted: Counted) -> None:
    """A register that everybody reads, on a ledger of ten years: every correction was a look at all of them."""
    counted.tick()
    counted.big.publish(counted.big.graph["stg_register"], [WHOLE])
    closely: list[str] = []
    look = counted.big.engine.look

    def noted(name: str, keys: Collection[str], *, ingest: bool) -> Look:
        closely.extend(keys)
        return look(name, keys, ingest=ingest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counted.big.engine, "look", noted)
        stale = counted.tick().stale
    readers = len(counted.big.keys(counted.big.graph["joined0"]))
    assert 0 < len(stale["joined0"]) < readers / 4
    # The register itself, and of few readers all: to find out in whom the row occurs pays from LEAST on.
    assert len(closely) == 1 + (len(stale["joined0"]) if readers >= LEAST else readers)
    counted.big.settle(stale)
    assert counted.tick().stale == {}


def test_what_is_held_back_is_asked_about_once_and_again_when_something_happens(counted: Counted) -> None:
    """Thousands that failed too often were counted anew each second, while nothing else was going on."""

    def tries() -> int:
        return sum("FROM ledger_requests" in query for query in counted.queries)

    table = counted.big.graph["stg_c0"]
    counted.big.publish(table, counted.big.keys(table)[:2])
    assert len(counted.tick(seconds=1).due["joined0"]) == 2
    held = [counted.tick(seconds=2) for _ in range(2)][-1].held["joined0"]
    assert {why.hold for why in held.values()} == {Hold.REQUESTED}
    assert tries() == 0
    assert len(counted.queries) <= 7
    day = counted.big.keys(table)[5]
    counted.big.publish(table, [day])
    decision = counted.tick(seconds=2)
    assert (set(decision.due["joined0"]), len(decision.held["joined0"]), tries()) == ({day}, 2, 1)
    counted.big.settle(decision.stale)
    counted.tick()
    assert counted.tick().stale == {}
