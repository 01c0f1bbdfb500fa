"""Explaining: what exactly differs behind the reasons why partitions are stale.

Belongs here: finding what was read then, in the ledger and in files that are still there. Does not belong here:
comparing (``sh_core.explanation``, ``sh_resources.picks``), words (``reasons``). Invariant: reads only; and the number
of questions asked of the ledger follows from the number of tables, not of partitions.
"""

from collections.abc import Iterable, Mapping

from sh_core.clauses import clauses, clauses_from_text
from sh_core.code_version import code_version
from sh_core.explanation import (
    ColumnsDiffer,
    Detail,
    FileDiffers,
    KeysDiffer,
    NotKept,
    clauses_differ,
    code_differs,
    columns_differ,
)
from sh_core.inputs import Input
from sh_core.records import Snapshot
from sh_core.staleness import CodeChanged, ContractChanged, InputChanged, Reason, Stale
from sh_core.table import Table
from sh_resources import inputs, picks
from sh_resources.engine import Engine

Details = Mapping[Reason, Detail]
"""By reason, for those of which more is to be said. Reasons name versions, so equal reasons have equal details."""


def explain(engine: Engine, stale: Iterable[tuple[str, str, Stale]]) -> Details:
    """Find out what differs.

    Args:
        engine: Where everything is.
        stale: Table, partition, and why it is stale.
    """
    by_table: dict[str, dict[str, tuple[Reason, ...]]] = {}
    for name, key, found in stale:
        of_table = by_table.setdefault(name, {})
        of_table[key] = of_table.get(key, ()) + found.reasons
    details: dict[Reason, Detail] = {}
    for name, reasons in by_table.items():
        table = engine.graph[name]
        every = {reason for found in reasons.values() for reason in found}
        details |= _of_declarations(engine, table, every)
        details |= _of_files(engine, table, every)
        details |= _of_columns(engine, table, every)
        details |= _of_lookups(engine, table, reasons)
        details |= _of_keys(table, reasons, details)
    return details


def _of_declarations(engine: Engine, table: Table, reasons: Iterable[Reason]) -> dict[Reason, Detail]:
    """Code and contract."""
    changed = [r for r in reasons if isinstance(r, CodeChanged | ContractChanged)]
    kept = engine.ledger.sources.get([v for r in changed for v in (r.before, r.now)]) if changed else {}
    found: dict[Reason, Detail] = {}
    for reason in changed:
        then, now = kept.get(reason.before), kept.get(reason.now)
        match reason:
            case ContractChanged() if now is not None or reason.now == table.contract.version:
                before = None if then is None else clauses_from_text(then)
                after = clauses(table.contract) if now is None else clauses_from_text(now)
                found[reason] = clauses_differ(before, after)
            case CodeChanged() if table.transform is not None:
                found[reason] = code_differs(then, code_version(table.transform).source if now is None else now)
    return found


def _of_files(engine: Engine, table: Table, reasons: Iterable[Reason]) -> dict[Reason, Detail]:
    """Delivered files."""
    changed = [r for r in reasons if isinstance(r, InputChanged)]
    if table.feed is None or not changed:
        return {}
    arrivals = {(a.partition, a.sha256): a for a in engine.ledger.arrivals.all(table.feed.name)}
    found: dict[Reason, Detail] = {}
    for reason in changed:
        before, now = (arrivals.get((reason.partition, sha)) for sha in (reason.before, reason.now))
        if now is not None:
            size = None if before is None else before.size_bytes
            found[reason] = FileDiffers(now.file_name, size, now.size_bytes)
    return found


def _of_columns(engine: Engine, table: Table, reasons: Iterable[Reason]) -> dict[Reason, Detail]:
    """Inputs that are read whole, or by column."""
    by_source: dict[str, list[InputChanged]] = {}
    for reason in reasons:
        given = _given(table, reason)
        if given is not None and given.lookup is None and isinstance(reason, InputChanged):
            by_source.setdefault(reason.source, []).append(reason)
    found: dict[Reason, Detail] = {}
    for source, changed in by_source.items():
        history = engine.ledger.publications.contents(source, {r.partition for r in changed})
        for reason in changed:
            contents = history.get(reason.partition, [])
            found[reason] = columns_differ(reason.columns, reason.before, reason.now, contents)
    return found


def _of_lookups(engine: Engine, table: Table, reasons: Mapping[str, tuple[Reason, ...]]) -> dict[Reason, Detail]:
    """Inputs of which rows are looked up."""
    wanted: dict[Input, dict[picks.Pair, InputChanged]] = {}
    for key, found in reasons.items():
        for reason in found:
            given = _given(table, reason)
            if given is not None and given.lookup is not None and isinstance(reason, InputChanged):
                wanted.setdefault(given, {})[key, reason.partition] = reason
    if not wanted:
        return {}
    upstream = {given.table: engine.graph[given.table] for given in table.reads}
    keys = sorted({key for pairs in wanted.values() for key, _ in pairs})
    sighting = inputs.look(table, upstream, engine.store, engine.ledger, keys, engine.today_utc())
    details: dict[Reason, Detail] = {}
    for given, pairs in wanted.items():
        earlier = {p: _earlier(engine, given.table, p) for p in {p for _, p in pairs}}
        compared = picks.compared(sighting, given, {pair: (r.before, r.now) for pair, r in pairs.items()}, earlier)
        details |= {pairs[pair]: detail for pair, detail in compared.items()}
    return details


def _of_keys(table: Table, reasons: Mapping[str, tuple[Reason, ...]], known: Details) -> dict[Reason, Detail]:
    """Rows that are others because they are looked up by other keys; their columns are known to differ by now."""
    found: dict[Reason, Detail] = {}
    for together in reasons.values():
        changed = {
            (reason.source, reason.rows): detail.columns
            for reason in together
            if isinstance(reason, InputChanged) and isinstance(detail := known.get(reason), ColumnsDiffer)
        }
        for reason in together:
            given = _given(table, reason)
            if given is not None and given.lookup is not None and isinstance(known.get(reason), NotKept):
                driver = next(i for i in table.inputs if i.name == given.lookup.driver)
                keys = tuple(c for c in changed.get((driver.table, driver.role), ()) if c in given.lookup.columns)
                if keys:
                    found[reason] = KeysDiffer(keys)
    return found


def _earlier(engine: Engine, table: str, partition: str) -> list[Snapshot]:
    """Snapshots before the present one, newest first."""
    return engine.ledger.publications.history(table, partition, limit=picks.TRIED + 1)[1:]


def _given(table: Table, reason: Reason) -> Input | None:
    """The input that a reason is about; None if it is about something else, or if there is nothing to compare."""
    if table.feed is not None or not isinstance(reason, InputChanged) or reason.appeared or reason.gone:
        return None
    return next((g for g in table.reads if g.table == reason.source and g.role == reason.rows), None)
