"""Standing in: placeholders for partitions that are late.

Belongs here: which published partition stands in, and its rows as the gate gets them. Does not belong here: what a
placeholder is (``sh_core.placeholder``), when something is late (``sh_core.lateness``), publishing. Invariant: a
partition of which anything real was ever published gets none; what it is made of is real; and a restated source does
not make it stale, since its trace has no inputs.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime

import polars as pl

from sh_core.columns import LINEAGE
from sh_core.placeholder import Mark, Placeholder, moved, of_itself, periods_of
from sh_core.records import Snapshot
from sh_core.table import Table
from sh_core.trace import Trace
from sh_resources.computing import Computed, Prepared, breaches_of_references
from sh_resources.ledger import Ledger
from sh_resources.partition_files import DataFile
from sh_resources.store import Store


def with_placeholders(
    table: Table,
    placeholder: Placeholder,
    upstream: Mapping[str, Table],
    prepared: Prepared,
    late: Collection[str],
    store: Store,
    ledger: Ledger,
    now_utc: datetime,
) -> Prepared:
    """Let earlier partitions stand in for those that are late and miss something.

    Args:
        table: The table.
        placeholder: What is declared for it.
        upstream: Its input tables by name, those that its contract consults included.
        prepared: What its partitions would be computed from.
        late: Those of them that miss something and are past their deadline.
        store: Where tables are.
        ledger: What was published.
        now_utc: Current time, aware.

    Returns:
        The same, with a trace for each late partition that has, or can have, a placeholder. The others go on waiting.
    """
    periods = periods_of(table.partitions)
    candidates = {key: placeholder.candidates(periods, key) for key in late}
    asked = {*late, *(source for sources in candidates.values() for source in sources)}
    published = ledger.publications.current(table.name, asked)
    files = store.table(table).files(asked)
    there = {key: found for key, found in published.items() if key in files and files[key].path == found.path}
    sources: dict[str, str] = {}
    for key in late:
        if key in published and not of_itself(published[key].version.marks, table.name, key):
            continue  # there was something real once: it stays
        source = next((c for c in candidates[key] if c in there and not there[c].version.marks), None)
        if source is not None:
            sources[key] = source
    if not sources:
        return prepared
    trace = Trace(placeholder.version, table.contract.version, frozenset())

    def compute(wanted: Collection[str]) -> dict[str, Computed]:
        real = [key for key in wanted if key not in sources]
        found = dict(prepared.compute(real)) if real else {}
        rows = {
            key: moved(_rows(table, store, files[of], there[of]), placeholder, periods, of, key)
            for key, of in sources.items()
            if key in wanted
        }
        findings = breaches_of_references(table, upstream, store, ledger, rows, now_utc)
        for key, frame in rows.items():
            mark = Mark(table.name, key, sources[key])
            found[key] = Computed(frame, findings.get(key, ()), marks=(str(mark),))
        return found

    return replace(
        prepared,
        traces={**prepared.traces, **dict.fromkeys(sources, trace)},
        missing={key: gap for key, gap in prepared.missing.items() if key not in sources},
        compute=compute,
    )


def _rows(table: Table, store: Store, file: DataFile, snapshot: Snapshot) -> pl.DataFrame:
    """The published rows of a partition, with file and line where the table keeps them."""
    then = [c for c in table.contract.columns if c in snapshot.version.columns]
    return store.table(table).scan([file], [*then, *(LINEAGE if table.keeps_lineage else ())]).collect()
