"""A book in memory: what the ledger keeps, kept in dictionaries, and the watch's port onto it.

Belongs here: the ledger's semantics, small enough to be read at once. Does not belong here: running anything
(``memory_engine``). Invariant: the same as the ledger's: serials only grow; ``looked`` is the serial that was read
before the inputs were; a partition's content serial moves only if its root does. ``tests/conformance/test_book.py``
holds for this book and for the ledger's alike.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import lru_cache

from sh_core.book import Changes, Keys, LastLook, Request, Tries
from sh_core.graph import Graph
from sh_core.inputs import Input
from sh_core.lateness import Deadlines
from sh_core.links import Flags
from sh_core.reading import Reading, handed_over, recipe, usable, wanted
from sh_core.records import Action
from sh_core.staleness import Look, Stale, compare
from sh_core.suspects import Standing
from sh_core.table import Table
from sh_core.trace import Read, Trace
from sh_core.version import Version
from sh_drills.oracle.content import by_column
from sh_drills.oracle.shapes import File, Rows, Shape

Place = tuple[str, str]
"""A table and a partition of it, or a feed and one."""


@lru_cache(maxsize=50_000)
def version_of(columns: tuple[str, ...], rows: Rows, period: tuple[tuple[str, str], ...], *, keyed: bool) -> Version:
    """The version of some rows, built as ``sh_core.version`` builds it and hashed more cheaply.

    Args:
        columns: Their columns, the key first.
        rows: The rows, sorted.
        period: Names and values of the partition columns.
        keyed: Whether the first column identifies a row; without it a row is its own key.
    """
    keys: Sequence[object] = [row[0] for row in rows] if keyed else rows
    digests = {c: _hashed(c, [(k, row[i]) for k, row in zip(keys, rows, strict=True)]) for i, c in enumerate(columns)}
    digests |= {column: _hashed(column, value, keys) for column, value in period}
    bare = Version("sh1-", digests, (columns[0],) if keyed else (), len(rows))
    return replace(bare, root=bare.of(digests))


def _hashed(*what: object) -> str:
    return f"sh1-{hashlib.blake2b(repr(what).encode(), digest_size=16).hexdigest()}"


def periods(table: Table, key: str) -> tuple[tuple[str, str], ...]:
    """What a partition's partition columns hold, by name."""
    return tuple((column, str(value)) for column, value in table.partitions.values(key).items())


@dataclass(frozen=True)
class Content:
    """What readers see of a partition.

    Attributes:
        rows: Its rows.
        columns: Their columns, the partition column aside.
        version: Their version.
        serial: When they became visible.
    """

    rows: Rows
    columns: tuple[str, ...]
    version: Version
    serial: int


@dataclass
class Decided:
    """The last thing decided about a partition.

    Attributes:
        trace: Under which trace.
        action: What was decided.
        looked: Serial up to which its inputs were looked at.
        recipe: Recipe under which they were.
    """

    trace: Trace
    action: Action
    looked: int
    recipe: int


@dataclass
class Ledger:
    """Facts; they outlive every book and every watch.

    Attributes:
        serial: How many things were confirmed.
        contents: What readers see, by table and partition.
        decided: What was decided last, by table and partition.
        arrived: Newest file and its serial, by feed and partition.
        leases: Who works on a partition.
        paused: Tables that nothing is to be requested of.
        asked: Under which traces a partition was requested since it was last decided, and when.
        log: What was confirmed, in order: serial, what, name, partition.
    """

    serial: int = 0
    contents: dict[str, dict[str, Content]] = field(default_factory=dict)
    decided: dict[str, dict[str, Decided]] = field(default_factory=dict)
    arrived: dict[str, dict[str, tuple[File, int]]] = field(default_factory=dict)
    leases: dict[Place, str] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    asked: dict[Place, list[tuple[str, datetime]]] = field(default_factory=dict)
    log: list[tuple[int, str, str, str]] = field(default_factory=list)

    def _confirm(self, what: str, name: str, key: str) -> int:
        self.serial += 1
        self.log.append((self.serial, what, name, key))
        return self.serial

    def arrive(self, feed: str, key: str, file: File) -> None:
        """A file has come."""
        self.arrived.setdefault(feed, {})[key] = (file, self._confirm("arrived", feed, key))

    def settle(self, name: str, key: str, decided: Decided, content: Content | None) -> None:
        """Confirm what was decided about a partition.

        Args:
            name: Table.
            key: Partition.
            decided: What, and from what.
            content: What is to be seen from now on (its serial is set here); None if it is withheld.
        """
        before = self.contents.get(name, {}).get(key)
        moved = content is not None and (before is None or before.version.root != content.version.root)
        serial = self._confirm("content" if moved else "settled", name, key)
        if content is not None and moved:
            self.contents.setdefault(name, {})[key] = replace(content, serial=serial)
        self.decided.setdefault(name, {})[key] = decided
        self.asked.pop((name, key), None)

    def show_again(self, name: str, key: str, content: Content) -> None:
        """Old content is made visible again, under the trace that stands."""
        self.contents[name][key] = replace(content, serial=self._confirm("content", name, key))


@dataclass
class MemoryBook:
    """The facts that a watch asks for, of one graph.

    Attributes:
        graph: The tables.
        shapes: What they were declared from.
        ledger: Where the facts are.
        now: What time it is.
        between: Called before each answer: whatever may happen between two questions happens here.
    """

    graph: Graph
    shapes: Mapping[str, Shape]
    ledger: Ledger
    now: Callable[[], datetime]
    between: Callable[[], None] = lambda: None
    _recipes: dict[tuple[str, date], int] = field(default_factory=dict)

    # ---- the port

    def changes(self, after: int | None) -> Changes:
        """What was confirmed after a serial."""
        self.between()
        ledger = self.ledger
        if after is None:
            return Changes(ledger.serial)
        found: dict[str, dict[str, set[str]]] = {"settled": {}, "content": {}, "arrived": {}}
        for _, what, name, key in ledger.log[bisect_right(ledger.log, (after, "~")) :]:
            found[what].setdefault(name, set()).add(key)
            if what == "content":
                found["settled"].setdefault(name, set()).add(key)
        return Changes(ledger.serial, **found)

    def standings(self, table: str) -> Iterable[Standing]:
        """Every settled partition of a table."""
        self.between()
        contents = self.ledger.contents.get(table, {})
        return [
            (key, contents[key].serial if key in contents else 0, d.looked, d.recipe)
            for key, d in self.ledger.decided.get(table, {}).items()
        ]

    def arrivals(self, feed: str) -> Iterable[tuple[str, int]]:
        """Per partition of a feed for which a file came, the serial of the newest."""
        self.between()
        return [(key, serial) for key, (_, serial) in self.ledger.arrived.get(feed, {}).items()]

    def today(self, now_utc: datetime) -> datetime:
        """What day and time it is for vendors, and so which periods have begun."""
        return now_utc

    def late(self, table: str, today: datetime) -> Flags:
        """Which declared partitions of a table are past their deadline, by place."""
        return Deadlines(self.graph).passed(table, today)

    def recipe(self, table: str) -> int:
        """The present recipe of a table."""
        known = (table, self.now().date())  # no drawn set without end has shorter periods than days
        if known not in self._recipes:
            found = self.graph[table]
            self._recipes[known] = recipe(found, self._upstream(found), self.shapes[table].code_text, self.now())
        return self._recipes[known]

    def look(self, table: str, keys: Collection[str]) -> Look:
        """What partitions of a table are now."""
        self.between()
        serial = self.ledger.serial
        sight = self.see(table, keys)
        stale: dict[str, Stale] = {}
        settled: set[str] = set()
        for key, trace in sight.traces.items():
            before = self.ledger.decided.get(table, {}).get(key)
            reasons = compare(before.trace if before else None, trace)
            if reasons:
                stale[key] = Stale(trace.digest, reasons)
                continue
            settled.add(key)
            if before is not None:
                before.looked, before.recipe = max(before.looked, serial), self.recipe(table)
        return Look(stale, sight.missing, frozenset(settled))

    def leased(self) -> Keys:
        """Partitions that some process is working on."""
        self.between()
        found: dict[str, set[str]] = {}
        for name, key in self.ledger.leases:
            found.setdefault(name, set()).add(key)
        return found

    def astray(self, table: str) -> Collection[str]:
        """None: nobody else writes here."""
        del table
        return ()

    def paused(self) -> Collection[str]:
        """Tables that nothing is to be requested of."""
        self.between()
        return set(self.ledger.paused)

    def tries(self, wanted: Mapping[Place, Stale]) -> Mapping[Place, Tries]:
        """How often partitions were requested under these traces since they were last decided."""
        self.between()
        found: dict[Place, Tries] = {}
        for place, stale in wanted.items():
            times = [at for digest, at in self.ledger.asked.get(place, ()) if digest == stale.trace]
            if times:
                found[place] = Tries(len(times), max(times))
        return found

    def request(self, requests: Collection[Request], by: str, now_utc: datetime) -> int:
        """Note what is being requested."""
        del by
        self.between()
        for r in requests:
            self.ledger.asked.setdefault((r.table, r.partition), []).append((r.stale.trace, now_utc))
        self.ledger.serial += 1
        return self.ledger.serial

    def looks(self, places: Collection[Place]) -> Mapping[Place, LastLook]:
        """How partitions were last looked at."""
        self.between()
        found = {(name, key): self.ledger.decided.get(name, {}).get(key) for name, key in places}
        return {place: LastLook(d.looked, d.recipe) for place, d in found.items() if d is not None}

    # ---- what the engine shares with it

    def _upstream(self, table: Table) -> dict[str, Table]:
        return {given.table: self.graph[given.table] for given in table.reads}

    def see(self, name: str, keys: Collection[str]) -> "Sight":
        """What partitions of a table would be computed from now."""
        table = self.graph[name]
        code, contract = self.shapes[name].code_text, table.contract.version
        if table.feed is not None:
            arrived = self.ledger.arrived.get(table.feed.name, {})
            files = {key: arrived[key][0] for key in keys if key in arrived}
            traces = {
                key: Trace(code, contract, frozenset({Read(table.feed.name, key, (), _hashed(file))}))
                for key, file in files.items()
            }
            return Sight(
                self, table, traces, {k: (table.feed.delivery(k),) for k in keys if k not in files}, files=files
            )
        upstream = self._upstream(table)
        asked = wanted(table, upstream, keys, self.now())
        versions: dict[str, dict[str, Version]] = {}
        seen: dict[str, Mapping[str, Content]] = {}
        for input_name, source in upstream.items():
            there = self.ledger.contents.get(input_name, {})
            seen[input_name] = dict(there)
            versions[input_name] = {p: c.version for p, c in there.items() if usable(table, source, c.version)}
        reading = Reading(table, upstream, asked, versions)
        missing = {key: gap for key in keys if (gap := reading.missing(key))}
        sight = Sight(self, table, {}, missing, reading, seen)
        sight.traces.update(
            {key: Trace(code, contract, reading.reads(key, sight.picked)) for key in keys if key not in missing}
        )
        return sight


@dataclass
class Sight:
    """What some partitions of a table would be computed from.

    Attributes:
        book: Where it was looked at.
        table: The table.
        traces: Per partition that can be computed.
        missing: Per partition that cannot, why.
        reading: What is read; None for a raw table.
        seen: Contents of the input tables as they were.
        files: Files of a raw table.
    """

    book: MemoryBook
    table: Table
    traces: dict[str, Trace]
    missing: Mapping[str, tuple[str, ...]]
    reading: Reading | None = None
    seen: Mapping[str, Mapping[str, Content]] = field(default_factory=dict)
    files: Mapping[str, File] = field(default_factory=dict)

    def handed(self, key: str) -> dict[str, list[dict[str, int]]]:
        """The rows that a partition's transform is handed, per argument."""
        return {g.name: self._rows(g, key) for g in self.table.reads}

    def _rows(self, given: Input, key: str) -> list[dict[str, int]]:
        if self.reading is None:
            raise AssertionError(given)
        return [row for p in self.reading.present(given, key) for row in self._rows_of(given, key, p)]

    def _rows_of(self, given: Input, key: str, p: str) -> list[dict[str, int]]:
        content, source = self.seen[given.table][p], self.book.graph[given.table]
        columns = [c for c in handed_over(given, source) if c in content.columns]
        rows = by_column(content.columns, columns, content.rows)
        if given.lookup is None:
            return rows
        driver = next(i for i in self.table.inputs if given.lookup is not None and i.name == given.lookup.driver)
        occurring = {row[given.lookup.columns[0]] for row in self._rows(driver, key)}
        return [row for row in rows if row[source.contract.key[0]] in occurring]

    def picked(self, given: Input, key: str, p: str) -> str:
        """The version of the looked-up rows."""
        rows, source = self._rows_of(given, key, p), self.book.graph[given.table]
        kept = handed_over(given, source)
        columns = tuple(sorted(c for c in kept if c not in source.partitions.columns))
        columns = (*source.contract.key, *(c for c in columns if c not in source.contract.key))
        period = tuple((column, value) for column, value in periods(source, p) if column in kept)
        plain = tuple(sorted(tuple(row[c] for c in columns) for row in rows))
        return version_of(columns, plain, period, keyed=True).root
