"""Big ledgers: hundreds of tables with thousands of partitions, all published and settled, without computing a row.

Belongs here: the synthetic graph, its ledger and Delta logs, and changes to them. Does not belong here: measuring
(``ticks``). Invariant: what is written is what the engine would have written: every trace is the one that the engine
prepares, rows go through the ledger's own tables, and every partition is live in its Delta log. So a watch that looks
at any of them finds it settled.

    raw_a… (feed, a day) → stg_a… ┐
    raw_b… → stg_b…               ├→ joined… → week… (six days before, too) → mart… ← joined of the domain before
    raw_c… → stg_c…               │        └→ month…
    register (no partitions) ─────┘ looked up by the units of stg_a

Parquet files are there where looking reads them: the register's, and those of the staged tables that drive lookups
(hard links to a hundred contents). No transform is ever run.
"""

import csv
import hashlib
import io
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import pandera.polars as pa
import polars as pl

from sh_core.contract import Contract
from sh_core.feed import Feed
from sh_core.graph import Graph
from sh_core.inputs import Input, Lookup
from sh_core.mapping import Window
from sh_core.partitions import Daily, Monthly, Unpartitioned
from sh_core.records import Action, Attempt
from sh_core.staleness import Stale
from sh_core.table import Station, Table, raw_table
from sh_core.trace import Trace
from sh_core.verdict import Held
from sh_core.version import Version, digest
from sh_resources.clock import ManualClock
from sh_resources.delta import Change
from sh_resources.engine import Engine
from sh_resources.ledger import Delivery
from sh_resources.ledger.codec import encode_columns, encode_verdict, encode_version
from sh_resources.ledger.database import Database
from sh_resources.partition_files import DataFile
from sh_resources.settings import load
from sh_resources.wiring import open_engine

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
LAST = NOW.date() - timedelta(days=1)
OWNER = "team:bench"
UNITS, CONTENTS, UNITS_PER_DAY = 1000, 100, 50
"""Rows of the register; different contents of a driving file; rows of each."""

DOMAIN = 10
"""Tables of one domain."""


class Reading(pa.DataFrameModel):
    """One row per unit and day."""

    date: pl.Date
    unit: str
    value: int


class Total(pa.DataFrameModel):
    """One row per unit and month."""

    month: pl.Date
    unit: str
    value: int


class Unit(pa.DataFrameModel):
    """One row per unit."""

    unit: str
    label: str
    weight: int


READING = Contract(Reading, key=("unit",), owner=OWNER)
TOTAL = Contract(Total, key=("unit",), owner=OWNER)
UNIT = Contract(Unit, key=("unit",), owner=OWNER)


def _compute(**inputs: pl.LazyFrame) -> pl.LazyFrame:
    raise AssertionError(inputs)  # nothing here is ever computed


def big_graph(tables: int, days: int) -> Graph:
    """A graph of so many tables, most of them with so many daily partitions."""
    daily = Daily(LAST - timedelta(days=days - 1), LAST)
    first = daily.start.replace(day=1)
    monthly = Monthly(first, Monthly(first).last_day(LAST.replace(day=1)))
    register = Feed("register", "register.csv", ("unit", "label", "weight"), Unpartitioned(), owner=OWNER)
    made = [raw_table(register), _table("stg_register", Station.STAGED, UNIT, Unpartitioned(), Input("raw_register"))]
    before = ""
    for domain in range((tables - 2) // DOMAIN):
        for letter in "abc":
            feed = Feed(f"{letter}{domain}", f"{letter}_{{partition}}.csv", ("unit", "value"), daily, owner=OWNER)
            made.append(raw_table(feed))
            made.append(_table(f"stg_{letter}{domain}", Station.STAGED, READING, daily, Input(f"raw_{letter}{domain}")))
        joined, week = f"joined{domain}", f"week{domain}"
        found = Input("stg_register", ("weight",), lookup=Lookup(f"stg_a{domain}", ("unit",)), argument="units")
        sides = (Input(f"stg_{letter}{domain}", ("date", "value")) for letter in "abc")
        made.append(_table(joined, Station.JOINED, READING, daily, *sides, found))
        made.append(_table(week, Station.FEATURE, READING, daily, Input(joined, ("value",), Window(-6, 0))))
        made.append(_table(f"month{domain}", Station.MART, TOTAL, monthly, Input(joined, ("value",))))
        others = (Input(name, ("value",)) for name in (joined, week, before) if name)
        made.append(_table(f"mart{domain}", Station.MART, READING, daily, *others))
        before = joined
    made += [
        _table(f"more{more}", Station.MART, READING, daily, Input(before), Input("week0", ("value",)))
        for more in range(tables - len(made))
    ]
    return Graph.of(made)


def _table(name: str, station: Station, contract: Contract, partitions: Any, *inputs: Input) -> Table:  # noqa: ANN401
    return Table(name, contract, partitions, station, inputs, _compute)


@dataclass
class Big:
    """One big state folder.

    Attributes:
        engine: Its engine.
        clock: Its clock.
        serial: Of the last thing written in bulk.
    """

    engine: Engine
    clock: ManualClock
    serial: int = 1
    _turn: int = field(default_factory=time.time_ns)
    """A number that no change here has had before, nor in another process on the same state."""

    @classmethod
    def open(cls, home: Path, tables: int, days: int, ledger_url: str | None = None) -> "Big":
        """Open the state under a folder; what was built there is there."""
        home.mkdir(exist_ok=True, parents=True)
        clock = ManualClock(NOW)
        said = {"SELFHEAL_HOME": str(home)} | ({"SELFHEAL_LEDGER": ledger_url} if ledger_url else {})
        return cls(open_engine(load(said), big_graph(tables, days), clock=clock), clock)

    @property
    def graph(self) -> Graph:
        """Its tables."""
        return self.engine.graph

    @cached_property
    def partitions(self) -> int:
        """How many declared partitions there are."""
        return sum(len(self.keys(table)) for table in self.graph.tables)

    def keys(self, table: Table) -> Sequence[str]:
        """The declared keys of a table."""
        return table.partitions.declared(NOW)

    # ---- building

    def build(self) -> None:
        """Publish and settle everything, table by table."""
        for table in self.graph.tables:
            self._build(table)

    def _build(self, table: Table) -> None:
        keys = self.keys(table)
        rows = Rows()
        if table.feed is not None:
            for key in keys:
                rows.arrive(table.feed, key)
            rows.write(self.engine.ledger)
        written = {key: self._content(table, key, 0) for key in keys}
        self._commit(table, {key: (0, 1, file) for key, (_, file) in written.items()})
        traces = self.engine._prepare(table, keys).traces  # noqa: SLF001 - exactly what the engine would settle under
        recipe = self.engine.recipe(table.name)
        self.serial += 1
        for key in keys:
            version, file = written[key]
            rows.publish(table.name, key, traces[key], version, file.path, self.serial, recipe)
        rows.write(self.engine.ledger)

    def fill(self) -> None:
        """Settle everything in the ledger alone, under traces that nobody has prepared.

        It is enough for a sweep, which looks at none of them.
        """
        for table in self.graph.tables:
            recipe, rows = self.engine.recipe(table.name), Rows()
            self.serial += 1
            for key in self.keys(table):
                if table.feed is not None:
                    rows.arrive(table.feed, key)
                columns = {column: f"sh1-{_hash(table.name, column)}" for column in table.contract.columns}
                version = Version(f"sh1-{_hash(table.name, key)}", columns, table.contract.key, UNITS_PER_DAY)
                trace, path = Trace(_hash(table.name, key), "filled", frozenset()), f"date={key}/{version.root}.parquet"
                rows.publish(table.name, key, trace, version, path, self.serial, recipe)
            rows.write(self.engine.ledger)

    def _content(self, table: Table, key: str, turn: int) -> tuple[Version, DataFile]:
        """Content of a partition: real where it is read, otherwise only its hashes."""
        path = self._delta(table).path_of(key, f"{turn}-{_hash(table.name, key)}")
        place = self._delta(table).folder / path
        if table.name == "stg_register":
            units = range(UNITS)
            weights = [n + turn * (n == 0) for n in units]
            rows = pl.DataFrame({"unit": _units(units), "label": _units(units), "weight": weights})
            place.parent.mkdir(parents=True, exist_ok=True)
            rows.write_parquet(place)
            return digest(rows, UNIT.key).finish(), DataFile(key, path, rows.height, place.stat().st_size)
        if table.name.startswith("stg_a"):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.hardlink_to(self._contents[int(_hash(table.name, key)[:8], 16) % CONTENTS])
        columns = {
            column: f"sh1-{_hash(table.name, key, column, turn)}"
            for column in table.contract.columns
            if not column.startswith("_")
        }
        version = Version(f"sh1-{_hash(table.name, key, turn)}", columns, table.contract.key, UNITS_PER_DAY)
        return version, DataFile(key, path, UNITS_PER_DAY, 4096)

    @cached_property
    def _contents(self) -> Sequence[Path]:
        """Files of units and values, each with other units."""
        folder = self.engine.store.root / "contents"
        folder.mkdir(exist_ok=True)
        places = [folder / f"{n}.parquet" for n in range(CONTENTS)]
        for n, place in enumerate(places):
            if not place.exists():
                units = _units((n * 37 + m * 13) % UNITS for m in range(UNITS_PER_DAY))
                pl.DataFrame({"unit": units, "value": range(UNITS_PER_DAY)}).write_parquet(place)
        return places

    def _delta(self, table: Table) -> Any:  # noqa: ANN401
        return self.engine.store.table(table)

    def _commit(self, table: Table, changes: Mapping[str, tuple[int, int, DataFile]]) -> None:
        delta = self._delta(table)
        # Asking Delta for the transactions of thousands of partitions takes it longer than anything else here.
        seen = replace(delta.prepare(()), transactions={key: before for key, (before, _, _) in changes.items()})
        landed = delta.commit(
            {key: Change(*change) for key, change in changes.items()},
            at_utc=NOW,
            still_mine=lambda keys: keys,
            seen=seen,
        )
        if landed != changes.keys():
            raise AssertionError(table.name)
        delta._log.shorten()  # noqa: SLF001 - as after every 50th commit

    # ---- changing

    def publish(self, table: Table, keys: Collection[str]) -> None:
        """Publish new content of partitions, computed from what is published upstream."""
        self._turn += 1
        ledger = self.engine.ledger
        traces = self.engine._prepare(table, keys).traces  # noqa: SLF001
        at = {key: known.transaction for key, known in ledger.publications.current(table.name, keys).items()}
        tokens = ledger.leases.acquire(table.name, keys, "bench", NOW, 3600)
        written = {key: self._content(table, key, self._turn) for key in keys}
        looked, recipe = ledger.serials.now(), self.engine.recipe(table.name)
        attempts = [
            self._attempt(table, key, tokens[key], traces[key], version, file.path, looked, recipe, at[key] + 1)
            for key, (version, file) in written.items()
        ]
        ledger.publications.intend(attempts)
        self._commit(table, {key: (at[key], at[key] + 1, file) for key, (_, file) in written.items()})
        ledger.publications.confirm([a.id for a in attempts], NOW)
        ledger.leases.release(table.name, tokens)

    def settle(self, stale: Mapping[str, Mapping[str, Stale]]) -> None:
        """Settle stale partitions as runs do that find the content unchanged."""
        self._turn += 1
        ledger = self.engine.ledger
        for name, keys in stale.items():
            table, looked = self.graph[name], ledger.serials.now()
            traces = self.engine._prepare(table, keys).traces  # noqa: SLF001
            known = ledger.publications.current(name, keys)
            tokens = ledger.leases.acquire(name, keys, "bench", NOW, 3600)
            recipe = self.engine.recipe(name)
            attempts = [
                self._attempt(table, key, tokens[key], traces[key], k.version, k.path, looked, recipe, None)
                for key, k in known.items()
            ]
            ledger.publications.confirm([a.id for a in ledger.publications.intend(attempts)], NOW)
            ledger.leases.release(name, tokens)

    def _attempt(  # noqa: PLR0913, PLR0917
        self,
        table: Table,
        key: str,
        token: int,
        trace: Trace,
        version: Version,
        path: str,
        looked: int,
        recipe: int,
        transaction: int | None,
    ) -> Attempt:
        action = Action.REFRESH if transaction is None else Action.PUBLISH
        made = _hash(table.name, key, self._turn, action)
        return Attempt(
            made, table.name, key, token, "bench", action, trace, Held(), version, path, transaction, 0, (), NOW,
            looked, recipe,
        )  # fmt: skip

    def arrive(self, feed: Feed, keys: Collection[str]) -> None:
        """Have new files of partitions come (only noted: none lies in the landing zone)."""
        self._turn += 1
        new = [Delivery(key, feed.expected_file(key), _sha(feed.name, key, self._turn), 4096) for key in keys]
        self.engine.ledger.arrivals.record(feed.name, new, NOW)


@dataclass
class Rows:
    """Rows for the ledger's tables, written in bulk."""

    by_table: dict[str, list[tuple[object, ...]]] = field(default_factory=dict)
    sets: dict[tuple[str, ...], str] = field(default_factory=dict)
    serial: int = 1

    def arrive(self, feed: Feed, key: str) -> None:
        """A file has come."""
        sha = _sha(feed.name, key, 0)
        self._add("arrivals(feed,partition_key,file_name,sha256,size_bytes,arrived_utc,serial)",
                  feed.name, key, feed.expected_file(key), sha, 4096, _AT, 1)  # fmt: skip

    def publish(
        self, table: str, key: str, trace: Trace, version: Version, path: str, serial: int, recipe: int
    ) -> None:
        """A partition was published once and settled so."""
        made, encoded = _hash(table, key, "made"), encode_version(version)
        self.serial = max(self.serial, serial)
        self._add("traces(digest,code,contract)", trace.digest, trace.code, trace.contract)
        for read in trace.reads:
            if read.columns not in self.sets:
                self.sets[read.columns], names = encode_columns(read.columns)
                self._add("column_sets(id,names)", self.sets[read.columns], names)
            names = self.sets[read.columns]
            self._add("reads(trace_digest,source,partition_key,column_set_id,digest,picked)",
                      trace.digest, read.source, read.partition, names, read.digest, read.rows)  # fmt: skip
        self._add("attempts(id,table_name,partition_key,token,run_id,action,trace_digest,verdict,version,path,"
                  "transaction_version,quarantined,intended_utc,state,decided_utc,looked,recipe)",
                  made, table, key, 1, "bench", "publish", trace.digest, _HELD, encoded, path,
                  1, 0, _AT, "confirmed", _AT, serial, recipe)  # fmt: skip
        self._add("snapshots(attempt_id,table_name,partition_key,path,transaction_version,version,trace_digest,"
                  "published_utc)", made, table, key, path, 1, encoded, trace.digest, _AT)  # fmt: skip
        self._add("leases(table_name,partition_key,token)", table, key, 1)
        self._add("partitions(table_name,partition_key,snapshot_id,settlement_id,content,settled,looked,recipe)",
                  table, key, made, made, serial, serial, serial, recipe)  # fmt: skip

    def _add(self, into: str, *row: object) -> None:
        self.by_table.setdefault(into, []).append(row)

    def write(self, ledger: Any) -> None:  # noqa: ANN401
        """Write what was added, in one transaction."""
        database: Database = ledger._database  # noqa: SLF001 - no other way into the ledger is as fast
        with database.write() as connection:
            cursor = connection.connection.cursor()
            for into, rows in self.by_table.items():
                name, columns = into.rstrip(")").split("(")
                target = f"INTO ledger_{name}({columns})"
                if connection.dialect.name == "postgresql":
                    text = io.StringIO()
                    csv.writer(text).writerows(rows)
                    text.seek(0)
                    cursor.execute(f"CREATE TEMP TABLE bulk AS SELECT {columns} FROM ledger_{name} LIMIT 0")
                    cursor.copy_expert("COPY bulk FROM STDIN WITH (FORMAT csv)", text)
                    cursor.execute(f"INSERT {target} SELECT * FROM bulk ON CONFLICT DO NOTHING")
                    cursor.execute("DROP TABLE bulk")
                else:
                    cursor.executemany(f"INSERT OR IGNORE {target} VALUES ({','.join('?' * len(rows[0]))})", rows)
            cursor.execute(f"UPDATE ledger_clock SET serial = {self.serial}")
        self.by_table.clear()


_AT = "2030-01-01 12:00:00.000000"
_HELD = encode_verdict(Held())


def _units(numbers: Any) -> list[str]:  # noqa: ANN401
    return [f"unit{n:04}" for n in numbers]


def _hash(*of: object) -> str:
    return hashlib.md5(repr(of).encode(), usedforsecurity=False).hexdigest()


def _sha(*of: object) -> str:
    return hashlib.sha256(repr(of).encode()).hexdigest()
