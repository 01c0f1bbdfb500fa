"""Inspecting: everything that is known of one table or partition, as plain JSON values.

Belongs here: gathering what is declared, published and decided. Does not belong here: the state folder as a whole
(``report``), quarantine (``evidence``), how it looks at a terminal (``shown.terminal_tables``). Invariants: reads
only; PII leaves only masked; what people are shown is made of the very values that programs get.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import polars as pl

from sh_core.code_version import code_version
from sh_core.masking import sample
from sh_core.records import About, Action, Arrival, ArrivalShare, Incident, Settlement, Snapshot
from sh_core.table import Table
from sh_core.trace import Trace
from sh_core.verdict import Broken, Held, Level, Unknown, Verdict
from sh_defs.facts import lateness, undoing
from sh_defs.facts.currency import currency
from sh_defs.facts.evidence import says
from sh_defs.facts.pausing import pause_facts
from sh_defs.facts.saying import found, periods, policy, why
from sh_defs.facts.standings import standings
from sh_resources.clock import Clock
from sh_resources.engine import Engine
from sh_resources.ledger import Tracked

ROWS = 5
"""First rows that a partition is shown with."""

HISTORY = 20
"""Attempts, and moments of a table, that are shown; the newest."""

Facts = dict[str, Any]


def every_table(engine: Engine, now_utc: datetime) -> Facts:
    """Every table in a few figures, inputs first."""
    return {
        "now_utc": now_utc.isoformat(),
        "pauses": pause_facts(engine.ledger.requests.pauses()),
        "tables": [
            {
                "table": s.table,
                "station": s.station.value,
                "owner": s.owner,
                "declared": s.declared,
                "published": len(s.roots),
                "withheld": list(s.withheld),
                "never": s.never,
                "rows": s.total_rows,
                "quarantined": s.quarantined,
                "last_published_utc": _iso(s.published_utc),
            }
            for s in standings(engine.graph, engine.store, engine.ledger, now_utc)
        ],
    }


def table(engine: Engine, of: Table, now_utc: datetime) -> Facts:
    """What one table promises, reads and holds."""
    graph, contract, keys = engine.graph, of.contract, of.partitions.declared(now_utc)
    standing = next(s for s in standings(graph, engine.store, engine.ledger, now_utc) if s.table == of.name)
    activity = [a for a in engine.ledger.publications.activity() if a.table == of.name]
    incidents = engine.ledger.incidents.open(of.name)
    return {
        "table": of.name,
        "station": of.station.value,
        "group": of.group,
        "owner": contract.owner,
        "description": of.description,
        "folder": str(engine.store.table(of).folder),
        "contract": {
            "version": contract.version,
            "key": list(contract.key),
            "policy": policy(of),
            "drops_duplicates": contract.drop_duplicates,
            "columns": [
                {
                    "name": name,
                    "type": str(dtype).replace("time_unit=", "").replace("time_zone=", "").replace("'", ""),
                    "unit": contract.units.get(name),
                    "quantum": contract.quanta.get(name),
                    "pii": name in contract.pii,
                    "key": name in contract.key,
                }
                for name, dtype in contract.schema.items()
            ],
            "rules": [{"rule": r.name, "level": r.level.value, "says": r.description} for r in contract.rules],
        },
        "feed": None
        if of.feed is None
        else {
            "feed": of.feed.name,
            "file_name": of.feed.file_name,
            "owner": of.feed.owner,
            "description": of.feed.description,
        },
        "inputs": [
            {
                "table": i.table,
                "columns": _handed(graph[i.table], i.columns),
                "whole": i.columns is None,
                "partitions": periods(i, graph[i.table]),
                "rows": i.picked,
                "consulted": i in of.consulted,
            }
            for i in of.reads
        ],
        "downstream": [t.name for t in graph.downstream(of.name)],
        "partitions": {
            "column": of.partitions.column,
            "declared": len(keys),
            "first": keys[0],
            "last": keys[-1],
            "published": len(standing.roots),
            "first_published": min(standing.roots, default=None),
            "last_published": max(standing.roots, default=None),
            "withheld": list(standing.withheld),
            "never": standing.never,
        },
        "rows": standing.total_rows,
        "quarantined": standing.quarantined,
        "last_published_utc": _iso(standing.published_utc),
        "publications": [
            {"at_utc": _iso(a.at_utc), "action": a.action.value, "partitions": a.partitions}
            for a in reversed(activity[-HISTORY:])
        ],
        "incidents": [_incident(i) for i in incidents],
    }


def _handed(source: Table, columns: Collection[str] | None) -> list[str]:
    """Columns that a transform is handed: those it declares and the key, or all."""
    every = source.contract.columns
    return [c for c in every if columns is None or c in columns or c in source.contract.key]


# --------------------------------------------------------------------------------------------------------- partitions


def partition(engine: Engine, of: Table, key: str, clock: Clock) -> Facts:
    """What readers see of one partition, whether that is current, how it came about, and what was ever tried."""
    publications = engine.ledger.publications
    settled = publications.settlements(of.name, [key]).get(key)
    snapshot = publications.current(of.name, [key]).get(key)
    live = engine.store.table(of).state().files.get(key)
    tried = publications.log(of.name, key, limit=HISTORY)
    by_id = {t.attempt.id: t for t in tried}
    wanted = {i for i in (settled and settled.attempt_id, snapshot and snapshot.attempt_id) if i} - by_id.keys()
    by_id |= publications.attempts(wanted)
    agree = (live.path if live else None) == (snapshot.path if snapshot else None)
    withheld = settled is not None and settled.action is Action.WITHHOLD
    bars = undoing.bars(engine, of, key)
    rolled_back = snapshot is not None and any(bar["attempt"] == snapshot.attempt_id for bar in bars)
    current = currency(engine, of, key, clock)
    return {
        "table": of.name,
        "partition": key,
        "readers_see": _readers_see(
            published=live is not None,
            marks=snapshot.version.marks if snapshot is not None else (),
            withheld=withheld,
            rolled_back=rolled_back,
            current=current,
        ),
        "currency": current,
        "deadline": lateness.of_partition(engine, of, key, clock.now_utc()),
        "placeholder": list(snapshot.version.marks) if snapshot is not None else [],
        "reconciled": lateness.reconciliations(engine.ledger, of.name, key),
        "agrees_with_ledger": agree,
        "content": None
        if snapshot is None
        else {
            "root": snapshot.version.root,
            "rows": snapshot.version.rows,
            "key": list(snapshot.version.key),
            "columns": dict(snapshot.version.columns),
            "published_utc": _iso(snapshot.published_utc),
            **_who(by_id[snapshot.attempt_id]),
            "transaction": snapshot.transaction,
            "file": str(engine.store.table(of).folder / snapshot.path),
        },
        "trace": None if snapshot is None else _trace(of, snapshot.trace),
        "waits_for": _awaited(of, key, current) if live is None and settled is None else [],
        "judgement": None if settled is None else _judgement(of, settled, by_id[settled.attempt_id], snapshot),
        "incidents": [_incident(i) for i in engine.ledger.incidents.all(of.name, key)],
        "arrivals": _arrivals(engine, of, key, settled),
        "first_rows": list(sample(_first_rows(engine, of, key), of.contract.pii)) if live is not None else [],
        "history": [_tried(t) for t in tried],
        "can_return_to": undoing.returns(engine, of, key),
        "bars": bars,
    }


def _awaited(of: Table, key: str, current: Facts) -> list[str]:
    """What a partition that was never judged waits for; nothing if it could be computed now."""
    if of.feed is not None and current["landed"] is None and not current["waiting"]:
        return [of.feed.delivery(key)]
    return [] if current["landed"] is not None else current["waiting"]


def _readers_see(*, published: bool, marks: Collection[str], withheld: bool, rolled_back: bool, current: Facts) -> str:
    """What readers see; ``newest`` only if nothing is to be computed of it, nor of what it is computed from.

    ``unknown``, if that cannot be seen: it may be the newest.
    """
    if not published:
        return "nothing"
    if withheld:
        return "last good"
    if rolled_back:
        return "rolled back"
    if current["stale"] or current["landed"]:
        return "stale"
    if marks:
        return "placeholder"
    return "may change" if current["first"] else "unknown" if current["waiting"] else "newest"


def _first_rows(engine: Engine, of: Table, key: str) -> pl.DataFrame:
    return engine.store.published(of, [key]).head(ROWS).collect()


def _who(tracked: Tracked) -> Facts:
    return {"attempt": tracked.attempt.id, "run": tracked.attempt.run_id}


def _trace(of: Table, trace: Trace) -> Facts:
    current = None if of.transform is None else code_version(of.transform).digest == trace.code
    return {
        "digest": trace.digest,
        "code": trace.code,
        "code_is_current": current,
        "contract": trace.contract,
        "contract_is_current": trace.contract == of.contract.version,
        "reads": [
            {
                "source": r.source,
                "partition": r.partition,
                "columns": list(r.columns),
                "rows": r.rows,
                "digest": r.digest,
            }
            for r in sorted(trace.reads)
        ],
    }


def _judgement(of: Table, settled: Settlement, tracked: Tracked, snapshot: Snapshot | None) -> Facts:
    """The last decision; with its trace where that is not the one of what readers see."""
    same = snapshot is not None and snapshot.trace.digest == settled.trace_digest
    return {
        "action": settled.action.value,
        "settled_utc": _iso(settled.settled_utc),
        **_who(tracked),
        "verdict": _verdict(settled.verdict),
        "says": list(why(settled.verdict)),
        "quarantined": settled.quarantined,
        "breaches": _breaches(of, settled.verdict),
        "trace": None if same else _trace(of, tracked.attempt.trace),
    }


def _verdict(verdict: Verdict) -> str:
    match verdict:
        case Held():
            return "held"
        case Broken():
            return "broken"
        case Unknown():
            return "unknown"


def _breaches(of: Table, verdict: Verdict) -> list[Facts]:
    match verdict:
        case Broken(breaches, _):
            return [
                {
                    "rule": b.rule,
                    "level": b.level.value,
                    "says": says(of, b.rule),
                    "rows": b.count if b.level is Level.ROW else None,
                    "found": found(b),
                    "sample": list(b.sample),
                }
                for b in breaches
            ]
        case Unknown(rule, cause):
            crashed = {"found": cause, "rows": None, "sample": list[Facts]()}
            return [{"rule": rule, "level": "crashed", "says": says(of, rule), **crashed}]
        case _:
            return []


def _incident(incident: Incident) -> Facts:
    return {
        "id": incident.id,
        "cause": incident.cause_key,
        "table": incident.table,
        "partition": incident.partition,
        "is_open": incident.is_open,
        "opened_utc": _iso(incident.opened_utc),
        "closed_utc": _iso(incident.closed_utc),
        "events": [
            {
                "at_utc": _iso(e.at_utc),
                "kind": e.kind,
                "attempt": e.attempt_id,
                "run": e.detail.get("run_id"),
                "late_by_s": e.detail.get("late_by_s"),
            }
            for e in incident.events
        ],
        "about": incident.about.value,
        "says": list(lateness.says(incident)) if incident.about is not About.CONTENT else [],
    }


def _arrivals(engine: Engine, of: Table, key: str, settled: Settlement | None) -> list[Facts]:
    """The files behind a partition of a table that keeps lineage, and what its last judgement made of their rows."""
    shares = {share.arrival_id: share for share in (settled.shares if settled is not None else ())}
    arrivals = engine.ledger.arrivals.by_id(shares.keys())
    if of.feed is not None:
        arrivals |= {a.id: a for a in engine.ledger.arrivals.all(of.feed.name) if a.partition == key}
    return [_arrival(arrivals[i], shares.get(i)) for i in sorted(arrivals)]


def _arrival(arrival: Arrival, share: ArrivalShare | None) -> Facts:
    terms = ("arrived", "published", "quarantined", "duplicates", "pending")
    return {
        "arrival": arrival.id,
        "file": f"{arrival.feed}/{arrival.file_name}",
        "sha256": arrival.sha256,
        "arrived_utc": _iso(arrival.arrived_utc),
        "superseded_by": arrival.superseded_by,
        "version": arrival.version,
        "waits": arrival.waits,
        "said": None if arrival.said is None else {"by": arrival.said.by, "why": arrival.said.why},
        "rows": None if share is None else {term: getattr(share, term) for term in terms},
    }


def _tried(tracked: Tracked) -> Facts:
    attempt = tracked.attempt
    return {
        "intended_utc": _iso(attempt.intended_utc),
        "decided_utc": _iso(tracked.decided_utc),
        "action": attempt.action.value,
        "state": tracked.state,
        "reason": tracked.reason,
        **_who(tracked),
        "root": None if attempt.version is None else attempt.version.root,
        "rows": None if attempt.version is None else attempt.version.rows,
        "quarantined": attempt.quarantined,
        "says": list(why(attempt.verdict)),
    }


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
