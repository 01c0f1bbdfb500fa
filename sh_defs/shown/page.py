"""The report as a page: ``report.html``, one file that opens from disk and asks nobody for anything.

Belongs here: what the page says first, and handing facts to the template. Does not belong here: gathering
(``report``), drawing (``charts``), looks (``templates/report.html``). Invariants: delivered cells, file names
and messages are text wherever they stand (the template escapes everything that is not a chart drawn here); the page
works without its script, which only shows what a mark of a chart stands for.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sh_core.accounts import RowAccount
from sh_core.masking import LONGEST
from sh_core.records import About
from sh_core.verdict import Level
from sh_defs.facts.evidence import Specimen
from sh_defs.facts.pausing import pause_facts
from sh_defs.facts.report import Fault, Report
from sh_defs.facts.saying import age, count, moment
from sh_defs.facts.standings import TableStanding, Visible, is_date
from sh_defs.shown import charts
from sh_defs.shown.json_form import account_as_json, put, rows_as_json, versions
from sh_defs.shown.terminal_late import spans

LISTED = 12
"""Partitions that rest on placeholders that are named per table; report.json has all."""

BREACHES, FAULTS = 7, 6
"""How many broken rules and open incidents the first screen lists: what withholds comes first, then what
breaks most rows; the oldest incidents."""

_SCRIPT = """
const tip = document.getElementById("tip");
document.addEventListener("pointermove", event => {
  const mark = event.target.closest(".chart [aria-label], .spark [aria-label]");
  tip.style.display = mark ? "block" : "none";
  if (!mark) return;
  tip.textContent = mark.getAttribute("aria-label");
  tip.style.left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8) + "px";
  tip.style.top = (event.clientY + 18 + tip.offsetHeight > innerHeight
    ? event.clientY - 10 - tip.offsetHeight : event.clientY + 18) + "px";
});
"""


@dataclass(frozen=True)
class Headline:
    """What the page says first.

    Attributes:
        level: ``good``, ``pending`` (something waits to be healed) or ``wrong`` (rows are missing).
        title: One sentence.
        detail: The rest of it.
    """

    level: str
    title: str
    detail: str


def write_page(report: Report, path: Path) -> None:
    """Put ``report.html`` where it belongs, whole or not at all."""
    put(path, page(report))


def page(report: Report) -> str:
    """The report as HTML."""
    environment = Environment(
        loader=PackageLoader("sh_defs.shown"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda value: f"{value:,}"
    environment.filters["count_of"] = count
    return environment.get_template("report.html").render(_facts(report))


def headline(report: Report) -> Headline:
    """Whether anything is wrong, in words."""
    rows = report.total.rows
    if rows.missing:
        detail = "That is a bug in selfheal, not in the data: report it with report.json."
        return Headline("wrong", f"{count(abs(rows.missing), 'row')} missing or counted twice", detail)
    fate = f"All {rows.arrived:,} delivered rows are accounted for"
    fate += f"; {count(rows.quarantined, 'row')} set aside." if rows.quarantined else "."
    withheld = sum(len(t.withheld) for t in report.tables)
    if withheld:
        tables = sum(bool(t.withheld) for t in report.tables)
        title = f"{count(withheld, 'partition')} of {count(tables, 'table')} withheld"
        return Headline("pending", title, fate)
    overdue = sum(feed["files"] for feed in report.late.get("feeds", []))
    if overdue:
        stood_in = sum(len(t.stood_in) for t in report.tables)
        meanwhile = f"; {count(stood_in, 'partition')} rest on placeholders" if stood_in else ""
        return Headline("pending", f"{count(overdue, 'file')} late{meanwhile}", fate)
    if report.total.unread or rows.pending:
        waiting = f"{rows.pending:,} rows" if rows.pending else f"{count(report.total.unread, 'file')}"
        return Headline("pending", f"Nothing is broken; {waiting} wait to be computed", fate)
    if not rows.arrived:
        return Headline("good", "Nothing was delivered yet", "There is nothing to account for.")
    return Headline("good", "Nothing is wrong", fate)


def _facts(report: Report) -> Mapping[str, Any]:
    """Everything that the template names."""
    tables, total = report.tables, report.total
    dated = {key: rows for key, rows in total.by_partition.items() if is_date(key)}
    script = Markup(_SCRIPT)  # noqa: S704  # ours, and the page runs no other
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    terms = rows_as_json(total.rows)
    published = [t.published_utc for t in tables if t.published_utc is not None]
    breaches = sorted(report.breaches, key=lambda b: (not b.withheld, b.level == Level.ROW, -b.rows, b.table, b.rule))
    most = max((b.rows for b in breaches), default=0)
    return {
        "headline": headline(report),
        "made": moment(report.made_utc),
        "versions": versions(),
        "script": script,
        "script_hash": f"sha256-{digest}",
        "total": total.rows,
        "arrivals": total.arrivals,
        "unread": total.unread,
        "withheld": sum(len(t.withheld) for t in tables),
        "partitions": sum(len(t.roots.keys() | set(t.withheld)) for t in tables),
        "blank": sum(v is Visible.WITHHELD for t in tables for v in t.visible.values()),
        "evidence": sum(t.quarantined for t in tables),
        "days": list(dated),
        "undated": total.rows.arrived - sum(rows.arrived for rows in dated.values()),
        "rules_broken": len({(q.table, q.rule) for q in report.quarantined}),
        "last_published": moment(max(published, default=None)),
        "last_age": age(max(published, default=None), report.made_utc),
        "outcomes": [
            {"name": name, "color": color, "rows": terms[name], "percent": _percent(terms[name], terms["arrived"])}
            for name, color in charts.OUTCOMES.items()
        ],
        "breaches": [{**vars(b), "percent": _percent(b.rows, most)} for b in breaches[:BREACHES]],
        "more_breaches": max(0, len(breaches) - BREACHES),
        "pauses": pause_facts(report.pauses),
        "late": [_late(feed) for feed in report.late.get("feeds", [])],
        "stood_in": sum(len(t.stood_in) for t in tables),
        "resting": [
            {"table": t.table, "partitions": len(t.stood_in), "which": ", ".join(t.stood_in[:LISTED])}
            for t in tables
            if t.stood_in
        ],
        "listed": LISTED,
        "reconciled": [
            {"table": r["table"], "at": moment(datetime.fromisoformat(r["at_utc"])), "says": r["says"]}
            for r in report.reconciled[:LISTED]
        ],
        "faults": [_fault(f) for f in sorted(report.faults, key=_is_late)[:FAULTS]],
        "more_faults": max(0, len(report.faults) - FAULTS),
        "chart_outcomes": Markup(charts.outcomes(dated)) if dated else None,  # noqa: S704
        "chart_unpublished": _unpublished(dated),
        "chart_visible": Markup(charts.visibility(tables)),  # noqa: S704  # drawn, and escaped, by vl-convert
        "chart_activity": Markup(charts.activity(tables, report.activity)) if report.activity else None,  # noqa: S704
        "visible": [(visible.value, color) for visible, color in charts.VISIBLE.items()],
        "actions": list(charts.ACTIONS.values()),
        "tables": [_table(t) for t in tables],
        "terms": list(terms),
        "accounts": [account_as_json(a) for a in (*report.feeds, total)],
        "specimens": [_specimen(s) for s in report.specimens],
    }


def _unpublished(accounts: Mapping[str, RowAccount]) -> Markup | None:
    """Rows by outcome without the published ones, whose number hides the others; None if there are no others."""
    if all(rows.published == rows.arrived for rows in accounts.values()):
        return None
    others = [outcome for outcome in charts.OUTCOMES if outcome != "published"]
    return Markup(charts.outcomes(accounts, others, height=80))  # noqa: S704  # drawn, and escaped, by vl-convert


def _is_late(fault: Fault) -> bool:
    return fault.incident.about is not About.CONTENT


def _fault(fault: Fault) -> Mapping[str, Any]:
    incident = fault.incident
    return {
        "table": incident.table,
        "partition": incident.partition,
        "since": moment(incident.opened_utc),
        "cause": incident.cause_key,
        "says": [_cut(line) for line in fault.says],
        "has_last_good": fault.has_last_good,
        "is_late": _is_late(fault),
    }


def _late(feed: Mapping[str, Any]) -> Mapping[str, Any]:
    oldest = feed["missing"][0]
    tables = {held["table"]: held for held in feed["holds_up"]}
    return {
        "feed": feed["feed"],
        "owner": feed["owner"],
        "files": feed["files"],
        "oldest": oldest["file"],
        "due": moment(datetime.fromisoformat(oldest["due_utc"])),
        "which": spans(feed["spans"]),
        "holds_up": [{"table": name, "which": spans(held["spans"])} for name, held in tables.items()],
    }


def _table(standing: TableStanding) -> Mapping[str, Any]:
    chart = charts.row_counts(standing)
    return {
        "name": standing.table,
        "station": standing.station.value,
        "owner": standing.owner,
        "published": len(standing.roots),
        "declared": standing.declared,
        "withheld": len(standing.withheld),
        "stood_in": len(standing.stood_in),
        "rows": standing.total_rows,
        "quarantined": standing.quarantined,
        "last_published": moment(standing.published_utc),
        "chart": None if chart is None else Markup(chart),  # noqa: S704  # drawn, and escaped, by vl-convert
    }


def _specimen(specimen: Specimen) -> Mapping[str, Any]:
    cells = [
        {"name": name, "text": _cut(json.dumps(value, ensure_ascii=False)), "suspect": name in specimen.suspects}
        for name, value in specimen.row.items()
        if value is not None or name in specimen.suspects
    ]
    return {**vars(specimen), "cells": cells}


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _percent(part: int, whole: int) -> float:
    return round(100 * max(0, part) / whole, 3) if whole else 0.0
