"""Registers: which partitions a changed register does not concern, found without computing their traces.

Belongs here: tables without partitions that others look up, what this process has seen of them one after the other, and
the keys in which two snapshots differ. Does not belong here: whatever else may have changed (``sh_core.suspects`` says
so by serials), looking closely (``engine``). Invariant: whoever is said not to be concerned would be found settled by a
closer look: its looked-up rows are the same row by row, and nothing else that it reads was confirmed since it was
looked at. Where that is not known, because this process has not seen the register as it was then, or a file is gone,
the partition is looked at closely.

A register changes in a few rows and is read by everybody: a closer look at each reader costs many times what it costs
to see in which of them a changed key occurs.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

import numpy as np
import polars as pl

from sh_core.book import Changes
from sh_core.inputs import Input, Lookup
from sh_core.links import Numbers, places
from sh_core.mapping import Keys, Window, mapped
from sh_core.partitions import WHOLE, Unpartitioned
from sh_core.reading import handed_over
from sh_core.suspects import named, standings, suspects
from sh_core.table import Table
from sh_core.version import row_hashes
from sh_resources.engine import Engine
from sh_resources.partition_files import DataFile

LEAST = 64
"""Partitions of a table from which on it is worth while; fewer are looked at closely."""

REMEMBERED = 16
"""Snapshots of one register that are remembered, the newest ones."""

ROWS = 2_000_000
"""Rows of driving columns that are in memory at a time, about."""


@dataclass
class _Reign:
    """A snapshot of a register, and the serials at which it surely was the current one.

    Attributes:
        path: Its file.
        since: First serial.
        upto: Last serial that is known of.
    """

    path: str
    since: int
    upto: int


@dataclass(eq=False)
class Registers:
    """The registers of one engine's graph, as this process has seen them.

    Attributes:
        engine: The engine.
        least: Partitions of a table from which on it is worth while.
    """

    engine: Engine
    least: int = LEAST
    _reigns: dict[str, list[_Reign]] = field(default_factory=dict)
    _changed: dict[tuple[str, ...], pl.DataFrame] = field(default_factory=dict)

    def see(self, name: str) -> None:
        """Note what a table shows now, if it is a register that others look up."""
        if name not in self._names:
            return
        now = self.engine.ledger.serials.now()  # before it is asked for: so long at least it has been as it is
        for _, content, path in self.engine.ledger.serials.published(name):
            reigns = self._reigns.setdefault(name, [])
            if not reigns or reigns[-1].path != path:
                reigns.append(_Reign(path, content, content))
                del reigns[:-REMEMBERED]
            reigns[-1].upto = max(reigns[-1].upto, now)

    def hear(self, after: int, changes: Changes) -> None:
        """Note of everything confirmed after a serial that most registers are still as they were."""
        for name, reigns in self._reigns.items():
            if name not in changes.content and after <= reigns[-1].upto:
                reigns[-1].upto = max(reigns[-1].upto, changes.serial)

    def unconcerned(self, name: str, keys: Collection[str], now_utc: datetime) -> frozenset[str]:
        """Those of a table's partitions of which nothing changed but registers, in keys that do not occur there.

        Args:
            name: The table.
            keys: Partitions that may be stale.
            now_utc: Up to when periods of sets without end are declared.
        """
        table, graph = self.engine.graph[name], self.engine.graph
        lookups = self._lookups(table)
        if not lookups or len(keys) < self.least or not all(map(self._stays, table.reads)):
            return frozenset()
        for source in {given.table for given in lookups}:
            self.see(source)
        own = standings(table.partitions, now_utc, self.engine.ledger.serials.standings(name))
        others = replace(table, inputs=tuple(given for given in table.inputs if given not in lookups))
        recipe = self.engine.recipe(name)

        def contents(source: str) -> Numbers:
            rows = self.engine.ledger.serials.standings(source)
            return standings(graph[source].partitions, now_utc, rows).content

        clear = (own.looked >= 0) & ~suspects(others, own, recipe, contents, graph, now_utc)
        settled = dict(self.engine.ledger.serials.settled(name)) if clear.any() else {}
        looked = dict(zip(places(table.partitions, now_utc), own.looked.tolist(), strict=True))
        asked = set(keys).intersection(named(table.partitions, now_utc, clear), settled)
        if asked:
            asked.difference_update(self.engine.astray(name, asked))
        left = {key: (looked[key], max(looked[key], settled[key])) for key in asked}
        for given in lookups:
            concerned = self._concerned(table, given, left, now_utc) if left else set[str]()
            left = {key: at for key, at in left.items() if key not in concerned}
        return frozenset(left)

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset().union(*map(self.engine.graph.registers, self.engine.graph.tables))

    def _lookups(self, table: Table) -> list[Input]:
        sources = self.engine.graph.registers(table)
        return [i for i in table.inputs if i.lookup and i.table in sources]

    def _stays(self, given: Input) -> bool:
        """Whether an input is of the same partitions at any time: what is last, or all, is not when a day begins."""
        whole = isinstance(self.engine.graph[given.table].partitions, Unpartitioned)
        return whole or isinstance(given.window, Window | Keys)

    def _concerned(
        self, table: Table, given: Input, looked: Mapping[str, tuple[int, int]], now_utc: datetime
    ) -> set[str]:
        """Partitions whose looked-up rows may have changed since each was looked at.

        Args:
            table: The table.
            given: Its register.
            looked: Per partition between which two serials it was looked at: a run notes the one before it looks, and
                may see what is confirmed until it is done.
            now_utc: Up to when periods of sets without end are declared.
        """
        reigns = self._reigns.get(given.table, [])
        if not reigns:
            return set(looked)
        newest = reigns[-1]
        same = {key for key, (first, _) in looked.items() if first >= newest.since}
        for reign in reigns[:-1]:
            then = [key for key, (first, last) in looked.items() if reign.since <= first and last <= reign.upto]
            if then:
                same.update(set(then) - self._touched(table, given, then, (reign.path, newest.path), now_utc))
        return set(looked) - same

    def _touched(
        self, table: Table, given: Input, keys: Sequence[str], paths: tuple[str, str], now_utc: datetime
    ) -> set[str]:
        """Partitions in whose driving columns a key occurs of which the register says something else."""
        lookup = given.lookup
        changed = self._differing(given, *paths)
        if lookup is None or changed is None:
            return set(keys)
        if changed.is_empty():
            return set()
        driving = next(i for i in table.inputs if i.name == lookup.driver)
        upstream = self.engine.graph[driving.table].partitions
        read = {key: mapped(driving.window, table.partitions, upstream, key, now_utc) for key in keys}
        occurring = self._occurring(driving.table, lookup, changed, {p for found in read.values() for p in found})
        return {key for key, found in read.items() if not occurring.isdisjoint(found)}

    def _occurring(self, name: str, lookup: Lookup, changed: pl.DataFrame, partitions: Collection[str]) -> set[str]:
        """Partitions of a driving table in which one of some keys occurs, or of which that cannot be said now."""
        source, ledger = self.engine.graph[name], self.engine.ledger
        delta, recorded = self.engine.store.table(source), ledger.publications.recorded(name, partitions)
        files = delta.files(partitions)
        found = {p for p in partitions if (p in files) != (p in recorded and recorded[p][1] is not None)}
        found |= {p for p, file in files.items() if p in recorded and recorded[p][1] != file.path}
        columns = list(dict.fromkeys(lookup.columns))
        for some in _by_rows([file for p, file in files.items() if p not in found]):
            heights = [file.rows for file in some]
            try:
                rows = delta.scan(some, columns).collect()
            except (OSError, pl.exceptions.PolarsError):
                rows = None
            if rows is None or rows.height != sum(heights):
                found.update(file.partition for file in some)  # a closer look will say what is wrong
                continue
            number = pl.Series(_NUMBER, np.repeat(np.arange(len(some)), heights))
            # Under the names of the register's key, so that one column may stand for two of them.
            named_alike = zip(changed.columns, lookup.columns, strict=True)
            driving = rows.select(number, *(pl.col(mine).alias(theirs) for theirs, mine in named_alike))
            hit = driving.join(changed, on=changed.columns, how="semi")
            found.update(some[n].partition for n in hit[_NUMBER].unique().to_list())
        return found

    def _differing(self, given: Input, before: str, now: str) -> pl.DataFrame | None:
        """Keys of rows of a register that are not in both of two snapshots; None if one of them cannot be read."""
        source = self.engine.graph[given.table]
        delta, columns = self.engine.store.table(source), handed_over(given, source)
        asked = (before, now, *columns)
        if asked not in self._changed:
            try:
                both = [delta.scan([DataFile(WHOLE, path, 0, 0)], columns).collect() for path in (before, now)]
            except (OSError, pl.exceptions.PolarsError):
                return None
            one, other = (_hashed(rows, source.contract.key) for rows in both)
            only = [one.join(other, on=_HASH, how="anti"), other.join(one, on=_HASH, how="anti")]
            if len(self._changed) >= REMEMBERED:
                self._changed.clear()
            self._changed[asked] = pl.concat(only).select(source.contract.key).unique()
        return self._changed[asked]


_NUMBER, _HASH = "_sh_number", ("_sh_hash_0", "_sh_hash_1")


def _hashed(rows: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """The keys of rows, and a hash of everything in each: equal where a version would not tell them apart."""
    lanes = row_hashes(rows, key).rows
    return rows.select(*key, *(pl.Series(name, lane) for name, lane in zip(_HASH, lanes, strict=True)))


def _by_rows(files: Sequence[DataFile]) -> Iterator[list[DataFile]]:
    some, rows = list[DataFile](), 0
    for file in files:
        some.append(file)
        rows += file.rows
        if rows >= ROWS:
            yield some
            some, rows = [], 0
    if some:
        yield some
