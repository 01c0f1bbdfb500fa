"""Everything from scratch: what is right after a change, and the least that must run for it.

Belongs here: brute force. Does not belong here: anything of this project's staleness, versions or traces; only its
declarations (which columns, rows and partitions a table reads). Invariant: a partition must run if and only if its
code's meaning changed, or what it is handed differs from what it was handed before.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from benchmarks.peers.changes import Edit, word_of
from benchmarks.peers.contending import Done, Stopwatch, chain_in
from benchmarks.peers.plainly import compute, delivered, partitions_of
from sh_core.graph import Graph
from sh_core.inputs import Input
from sh_core.mapping import mapped
from sh_core.table import Table


class Rebuild:
    """A contender that always makes everything anew, and counts what another one would have to."""

    def __init__(self, folder: Path) -> None:
        """Remember the folder."""
        self._folder, self._graph = folder, chain_in(folder)
        self._rows: dict[str, dict[str, pl.DataFrame]] = {}

    @property
    def _handed(self) -> Path:
        return self._folder / "handed.json"

    def build(self) -> None:
        """Make every table, and note what each partition was handed."""
        self._handed.write_text(json.dumps(self._make()))

    def repair(self) -> Done:
        """Make every table anew; what is reported as executed is what was handed something else than before."""
        watch = Stopwatch()
        before: Mapping[str, Mapping[str, str]] = json.loads(self._handed.read_text())
        after = self._make()
        edit = word_of(self._folder)[1]
        executed = {
            table: tuple(k for k, d in found.items() if before[table][k] != d or _means_something_else(edit, table))
            for table, found in after.items()
        }
        self._handed.write_text(json.dumps(after))
        batches = sum(map(len, after.values()))
        return Done({t: keys for t, keys in executed.items() if keys}, *watch.read(), batches)

    def content(self, table: str) -> pl.DataFrame:
        """All rows of a table."""
        return pl.concat(self._rows[table].values()).select(self._graph[table].contract.columns)

    def _make(self) -> dict[str, dict[str, str]]:
        landing, handed = self._folder / "landing", defaultdict[str, dict[str, str]](dict)
        rows: dict[str, dict[str, pl.DataFrame]] = defaultdict(dict)

        def read(table: str, key: str) -> pl.LazyFrame | None:
            return rows[table][key].lazy() if key in rows[table] else None

        for table, key in partitions_of(self._graph):
            if table.feed is not None:
                handed[table.name][key] = hashlib.sha256(delivered(landing, table, key).read_bytes()).hexdigest()
            else:
                handed[table.name][key] = _digest(self._graph, table, key, rows)
            rows[table.name][key] = compute(self._graph, table, key, landing, read)
        self._rows = rows
        return handed


def _means_something_else(edit: Edit | None, table: str) -> bool:
    return edit is not None and edit.by_hand is not None and edit.table == table


def _digest(graph: Graph, table: Table, key: str, rows: Mapping[str, Mapping[str, pl.DataFrame]]) -> str:
    """Of all that a partition is handed: its declared partitions, columns and, where rows are looked up, rows."""
    frames = {given.name: _read(graph, table, key, given, rows) for given in table.inputs}
    told = hashlib.sha256()
    for given in table.inputs:
        frame = frames[given.name]
        if given.lookup is not None:
            theirs = graph[given.table].contract.key
            wanted = frames[given.lookup.driver].select(given.lookup.columns).unique()
            frame = frame.join(wanted, left_on=list(theirs), right_on=list(given.lookup.columns), how="semi")
        told.update(frame.sort(frame.columns).write_csv().encode())
    return told.hexdigest()


def _read(
    graph: Graph, table: Table, key: str, given: Input, rows: Mapping[str, Mapping[str, pl.DataFrame]]
) -> pl.DataFrame:
    source = graph[given.table]
    keys = mapped(given.window, table.partitions, source.partitions, key, datetime.now(UTC))
    frame = pl.concat([rows[given.table][k] for k in keys if k in rows[given.table]])
    if given.columns is None:
        return frame
    return frame.select(*dict.fromkeys((*source.contract.key, *given.columns)))
