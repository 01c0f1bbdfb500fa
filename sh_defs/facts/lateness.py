"""Lateness: what is late, what that holds up, what stands in meanwhile and what is due next, as plain JSON values.

Belongs here: gathering it. Does not belong here: when something is owed (``sh_core.lateness``), what is late
(``sh_resources.overdue``), how it looks (``sh_defs.shown.terminal_late``). Invariants: nothing is written; whatever
there are thousands of comes as spans with a count, oldest first.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np

from sh_core.due import Deadline
from sh_core.graph import Graph
from sh_core.lateness import NEVER, Overdue, expected, held_up, spans
from sh_core.links import Numbers, declared, places
from sh_core.partitions.periods import micros, moment
from sh_core.placeholder import of_itself
from sh_core.reconciliation import Reconciliation
from sh_core.records import About, Incident
from sh_core.table import Table
from sh_defs.facts.saying import count
from sh_resources.engine import Engine
from sh_resources.ledger import Ledger
from sh_resources.on_time import OnTime
from sh_resources.overdue import State, Watchman, holding_up

LISTED = 20
"""Files of a feed, and placeholders of a table, that are named; of the rest their spans are told."""

NEXT = 10
"""Deadlines to come that are shown."""

Facts = dict[str, Any]


def late(engine: Engine, now_utc: datetime) -> Facts:
    """Everything that is late now.

    Args:
        engine: Where everything is.
        now_utc: Current time on the engine's clock.
    """
    watchman = Watchman(engine)
    state = watchman.look(now_utc)
    today = engine.calendar.at(now_utc)
    return {
        "now_utc": today.isoformat(),
        "feeds": [_feed(engine, name, files, state, now_utc) for name, files in state.files.items()],
        "tables": [
            {
                "table": name,
                "partition": key,
                **_times(own, today),
                "incident": _number(state, About.DEADLINE, name, key),
            }
            for name, keys in state.tables.items()
            for key, own in keys.items()
        ],
        "placeholders": placeholders(engine, now_utc),
        "next": _coming(watchman, now_utc),
    }


def placeholders(engine: Engine, now_utc: datetime) -> list[Facts]:
    """Per table that rests on placeholders: how many partitions do, which, and which are placeholders themselves."""
    found = []
    for table in engine.graph.tables:
        if table.name not in engine.graph.marked:
            continue
        shown = engine.ledger.publications.shown(table.name)
        marked = {key: seen for key, seen in shown.items() if seen.marks}
        if marked:
            own = {key: seen for key, seen in marked.items() if of_itself(seen.marks, table.name, key)}
            found.append(
                {
                    "table": table.name,
                    "partitions": len(marked),
                    "spans": _spans(table, marked, now_utc),
                    "own": [
                        {
                            "partition": key,
                            "marks": list(own[key].marks),
                            "since_utc": own[key].published_utc.isoformat(),
                        }
                        for key in sorted(own)[:LISTED]
                    ],
                    "more": max(0, len(own) - LISTED),
                }
            )
    return found


def reconciliations(ledger: Ledger, table: str | None = None, partition: str | None = None) -> list[Facts]:
    """Placeholders that the truth has replaced, newest first, and how far apart they were."""
    return [
        {
            "table": r.table,
            "partition": r.partition,
            "at_utc": r.at_utc.isoformat(),
            "attempt": r.attempt_id,
            **asdict(r.found),
            "says": _says(r.found),
        }
        for r in ledger.reconciliations.newest(table, partition, limit=LISTED)
    ]


def of_partition(engine: Engine, of: Table, key: str, now_utc: datetime) -> Facts | None:
    """When a partition is owed, and whether it is late; None if nothing is."""
    on_time = OnTime(Watchman(engine))
    (remark,) = on_time.remarks((About.DEADLINE, of.name), [key], now_utc)
    if remark.late_utc is None:
        return None
    return {
        "due_utc": (remark.due_utc or remark.late_utc).isoformat(),
        "late_utc": remark.late_utc.isoformat(),
        "is_late": not remark.passed,
        "there_utc": None if remark.came_utc is None else remark.came_utc.isoformat(),
        "late_by_s": remark.late_by_s,
        "file": remark.file_name,
        "incident": remark.incident,
    }


def says(incident: Incident) -> tuple[str, ...]:
    """What an incident about something late says of itself, in sentences."""
    detail = incident.events[0].detail if incident.events else {}
    what = detail.get("file") or f"{incident.table} {incident.partition}"
    said = [f"{what} was due {_minute(str(detail.get('due_utc', '')))}"]
    held = detail.get("holds_up")
    if isinstance(held, dict):
        tables = held.get("tables", {})
        said += [
            f"holds up {holds(tables)}" + (f" and {held['more_tables']} more tables" if "more_tables" in held else "")
        ]
    if "because_of" in detail:
        said.append(f"because of incident {detail['because_of']}")
    return tuple(said)


def holds(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """What is held up, in a line: ``4 partitions of 3 tables (stg_sales, mart_sales, mart_trend)``."""
    total = sum(of["partitions"] for of in tables.values())
    return f"{count(total, 'partition')} of {count(len(tables), 'table')} ({', '.join(tables)})"


def _feed(engine: Engine, name: str, files: Mapping[str, Overdue], state: State, now_utc: datetime) -> Facts:
    table = next(t for t in engine.graph.tables if t.feed is not None and t.feed.name == name)
    held = held_up(engine.graph, {table.name: dict.fromkeys(files, 1)}, now_utc)
    today = engine.calendar.at(now_utc)
    oldest = sorted(files.values(), key=lambda file: (file.deadline.late_utc, file.partition))
    return {
        "feed": name,
        "owner": "" if table.feed is None else table.feed.owner,
        "files": len(files),
        "spans": _spans(table, files, now_utc),
        "missing": [
            {
                "partition": file.partition,
                "file": file.file_name,
                **_times(file.deadline, today),
                "incident": _number(state, About.FILE, name, file.partition),
            }
            for file in oldest[:LISTED]
        ],
        "more": max(0, len(oldest) - LISTED),
        "holds_up": _held(engine.graph, held, now_utc),
    }


def _held(graph: Graph, held: Mapping[str, Numbers], now_utc: datetime) -> list[Facts]:
    return [
        {"table": name, "partitions": number, "spans": [list(span) for span in found]}
        for name, (number, found) in holding_up(graph, held, now_utc).items()
    ]


def _times(deadline: Deadline, today: datetime) -> Facts:
    by = max(0.0, (today - deadline.due_utc).total_seconds())
    return {"due_utc": deadline.due_utc.isoformat(), "late_utc": deadline.late_utc.isoformat(), "late_by_s": by}


def _number(state: State, about: About, name: str, key: str) -> int | None:
    opened = state.opened.get((about, name, key))
    return None if opened is None else opened.id


def _spans(table: Table, keys: Collection[str], now_utc: datetime) -> list[list[str]]:
    place = places(table.partitions, now_utc)
    flags = np.zeros(len(place), np.bool_)
    flags[[place[key] for key in keys if key in place]] = True
    undeclared = [[key, key] for key in sorted(keys) if key not in place]
    return [*map(list, spans(table.partitions, flags, now_utc)), *undeclared]


def _coming(watchman: Watchman, now_utc: datetime) -> list[Facts]:
    """The next deadlines of feeds whose file is not there yet, and of tables with one of their own."""
    engine, found = watchman.engine, list[Facts]()
    today = micros(engine.calendar.at(now_utc))
    for table in engine.graph.tables:
        feed = table.feed if table.feed is not None and table.feed.due is not None else None
        if feed is None and table.due is None:
            continue
        late_us = engine.deadlines.of(table.name, now_utc)
        ahead = np.flatnonzero((late_us > NEVER) & (late_us > today))
        ahead = ahead[np.argsort(late_us[ahead], kind="stable")][: 10 * NEXT]
        keys = declared(table.partitions, now_utc)
        named = [keys[place] for place in ahead.tolist()]
        there = watchman.met(table.name, named) if feed is None else watchman.arrived(feed.name, named)
        for place, key in zip(ahead.tolist(), named, strict=True):
            if key not in there:
                file = expected(feed, key) if feed is not None else None
                found.append(
                    {
                        "what": table.name if feed is None else feed.name,
                        "partition": key,
                        "file": None if file is None else file.file_name,
                        "late_utc": moment(int(late_us[place])).isoformat(),
                    }
                )
    return sorted(found, key=lambda coming: (coming["late_utc"], coming["what"], coming["partition"]))[:NEXT]


def _says(found: Reconciliation) -> str:
    said = f"{found.mark}: {count(found.rows_placeholder, 'row')} stood in, {found.rows_truth:,} true"
    if found.differ is None:
        return said
    apart = f"{found.only_placeholder:,} only in the placeholder, {found.only_truth:,} only in the truth"
    where = [f"{name} ({of.rows:,})" for name, of in found.columns.items() if of.rows]
    sums = [
        f"sum of {name} {of.placeholder:,} became {of.truth:,}"
        for name, of in found.columns.items()
        if of.placeholder is not None and of.truth is not None and of.placeholder != of.truth
    ]
    return "; ".join([said, apart, f"{found.differ:,} differ" + (f" in {', '.join(where)}" if where else ""), *sums])


def _minute(iso: str) -> str:
    return f"{datetime.fromisoformat(iso):%Y-%m-%d %H:%M} UTC" if iso else "earlier"
