"""The report as JSON: ``report.json`` (``docs/report.md``).

Belongs here: keys and plain values, and putting a file where it belongs. Does not belong here: gathering facts
(``report``). Invariant: a file is there whole or not at all.
"""

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, fields
from importlib import metadata
from pathlib import Path
from typing import Any

from sh_core.accounts import RowAccount
from sh_defs.facts.pausing import pause_facts
from sh_defs.facts.report import FeedAccount, Report
from sh_defs.facts.standings import TableStanding

SCHEMA = 1
"""Raised whenever a key of the JSON form changes its meaning or goes away; new keys do not raise it."""

_PACKAGES = ("selfheal", "dagster", "polars", "pandera", "deltalake", "sqlalchemy")


def versions() -> Mapping[str, str]:
    """Of Python, this project, and the libraries that decide content."""
    return {"python": platform.python_version(), **{p: metadata.version(p) for p in _PACKAGES}}


def as_json(report: Report) -> dict[str, Any]:
    """The report as plain JSON values; see ``docs/report.md``."""
    span = list(report.span)
    return {
        "schema": SCHEMA,
        "made_utc": report.made_utc.isoformat(),
        "versions": versions(),
        "span": {"first": span[0], "last": span[-1], "days": len(span)} if span else None,
        "accounts": {
            "feeds": [account_as_json(f) for f in report.feeds],
            "total": account_as_json(report.total),
            "partitions": [
                {"partition": partition, **rows_as_json(rows)} for partition, rows in report.total.by_partition.items()
            ],
        },
        "quarantined": [asdict(q) for q in report.quarantined],
        "breaches": [asdict(b) for b in report.breaches],
        "tables": [_table_as_json(t) for t in report.tables],
        "last_published_utc": {t.table: t.published_utc and t.published_utc.isoformat() for t in report.tables},
        "incidents": [
            {
                "id": f.incident.id,
                "cause": f.incident.cause_key,
                "table": f.incident.table,
                "partition": f.incident.partition,
                "opened_utc": f.incident.opened_utc.isoformat(),
                "says": list(f.says),
                "has_last_good": f.has_last_good,
                "about": f.incident.about.value,
            }
            for f in report.faults
        ],
        "late": dict(report.late),
        "reconciliations": [dict(r) for r in report.reconciled],
        "pauses": pause_facts(report.pauses),
        "runs": [{**asdict(r), "seconds": round(r.seconds, 3)} for r in report.runs],
        "seconds": {part: round(s, 3) for part, s in report.seconds.items()},
    }


def account_as_json(account: FeedAccount) -> dict[str, Any]:
    """A feed's account as plain JSON values."""
    return {
        "feed": account.feed,
        "arrivals": account.arrivals,
        "unread": account.unread,
        **rows_as_json(account.rows),
    }


def rows_as_json(rows: RowAccount) -> dict[str, int]:
    """The terms of an account, and what is missing."""
    return {**{f.name: getattr(rows, f.name) for f in fields(RowAccount)}, "missing": rows.missing}


def write_json(report: Report, path: Path) -> None:
    """Put ``report.json`` where it belongs, whole or not at all."""
    put(path, json.dumps(as_json(report), indent=2, ensure_ascii=False) + "\n")


def put(path: Path, text: str) -> None:
    """Write a file whole, or not at all: readers see the old one until then."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _table_as_json(standing: TableStanding) -> dict[str, Any]:
    return {
        "table": standing.table,
        "station": standing.station.value,
        "owner": standing.owner,
        "declared": standing.declared,
        "published": len(standing.roots),
        "withheld": list(standing.withheld),
        "placeholders": list(standing.stood_in),
        "rows": standing.total_rows,
        "quarantined": standing.quarantined,
        "root": standing.root,
        "roots": dict(standing.roots),
    }
