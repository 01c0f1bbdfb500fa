"""Evidence: what is shown beside a sentence.

Belongs here: samples of rows as tables, and what is told of a withheld partition. Does not belong here: the sentences
themselves (``wording``), when they are told (``telling``). Invariant: rows are shown as they come from a verdict or
an outcome, which is masked; what explains a breach stands first.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from sh_assets import wording
from sh_assets.keys import partition_name
from sh_assets.wording import LastGood
from sh_core.columns import FILE, LINE, TEXT, UNPARSED, WHOLE_LINE, is_system
from sh_core.fingerprint import fingerprint
from sh_core.records import Incident
from sh_core.table import Table
from sh_core.verdict import Broken, Level, RuleBreach, Verdict
from sh_resources.ledger.codec import encode_verdict

SIDE = 2
"""Rows of a preview."""

TOLD = "selfheal/told"
"""Tag of an observation: what it tells, in short."""

_UTC = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:00|:\d\d)(\.\d+)?\+00:00")


def of_breach(breach: RuleBreach, table: Table) -> dict[str, Any]:
    """What a failed check shows."""
    rows = {"rows_broken": breach.count} if breach.level is Level.ROW else {}
    shown = as_table(breach.sample, table, _suspects(breach, table))
    return {**rows, **({"sample": shown} if shown else {})}


def of_withheld(
    table: Table,
    partition: str,
    verdict: Verdict,
    last_good: LastGood | None,
    incident: Incident | None,
    quarantine: Path,
    judged: int | None,
) -> dg.AssetObservation:
    """What a withheld partition's page shows above its last good content.

    Args:
        table: The table.
        partition: Partition key.
        verdict: Why it is withheld.
        last_good: What readers see instead.
        incident: The open incident.
        quarantine: Folder of the table's quarantine.
        judged: Rows that were judged, if that is known.
    """
    breaches = verdict.breaches if isinstance(verdict, Broken) else ()
    first = next((b for b in breaches if b.sample), None)
    sample = first and as_table(first.sample, table, _suspects(first, table), rest=False)
    since = f"No. {incident.id}, since {wording.moment(incident.opened_utc)}: {incident.cause_key}" if incident else ""
    name = f"{table.name}:{partition}"
    metadata: dict[str, Any] = {
        "verdict": dg.MetadataValue.md(wording.withheld(verdict, table, judged)),
        "last_good": wording.instead(last_good),
        **({"incident": since} if since else {}),
        **({"sample": sample} if sample else {}),
        **({"rows_broken": verdict.rows_broken} if isinstance(verdict, Broken) else {}),
        **({"quarantine": dg.MetadataValue.path(str(quarantine))} if _has_rows(breaches) else {}),
        "more": f"selfheal show {name}" + (f", selfheal quarantine show {name}" if _has_rows(breaches) else ""),
    }
    mark = fingerprint(
        "sh-told-1", [encode_verdict(verdict), last_good.root if last_good else "", str(incident and incident.id)]
    ).hex()
    return dg.AssetObservation(
        [table.name],
        partition=partition_name(table.partitions, partition),
        description="Withheld: what is broken, and what readers see instead.",
        metadata=metadata,
        tags={TOLD: mark},
    )


def _has_rows(breaches: Iterable[RuleBreach]) -> bool:
    return any(b.level is Level.ROW for b in breaches)


def _suspects(breach: RuleBreach, table: Table) -> list[str]:
    """Columns that explain a breach."""
    rule = next((r for r in table.contract.rules if r.name == breach.rule), None)
    named = rule.columns if rule is not None and len(rule.columns) < len(table.contract.columns) else ()
    unread = [c for row in breach.sample for c in row.get(UNPARSED) or () if c != WHOLE_LINE]
    return [*dict.fromkeys((*named, *unread)), TEXT]


def as_table(
    rows: Sequence[Mapping[str, Any]], table: Table, first: Iterable[str] = (), *, rest: bool = True
) -> dg.TableMetadataValue | None:
    """Rows as a table: some columns first, then file, line and key, then the rest.

    Args:
        rows: Masked rows, as ``masking.sample`` makes them.
        table: Whose rows they are.
        first: Columns to begin with; those that the rows lack are passed over.
        rest: Whether to show what is not among the first, file, line and key. A wide table makes a page wide.

    Returns:
        None for no rows. The framework's columns are left out where they hold nothing.
    """
    there = dict.fromkeys(name for row in rows for name in row)
    shown = [c for c in there if not is_system(c) or any(row.get(c) for row in rows)]
    wanted = dict.fromkeys([*first, FILE, LINE, *table.contract.key, *(shown if rest else ())])
    columns = [c for c in wanted if c in shown]
    if not rows or not columns:
        return None
    instants = _instants(table)
    return _table([{c: _cell(row.get(c), instant=c in instants) for c in columns} for row in rows])


def as_preview(rows: Sequence[Mapping[str, Any]], table: Table) -> dg.TableMetadataValue | None:
    """The first few rows, side by side: a column per row, so that no table is wider than a page."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if not columns:
        return None
    instants = _instants(table)
    records = [
        {"column": c, **{f"row {i}": _cell(row.get(c), instant=c in instants) for i, row in enumerate(rows[:SIDE], 1)}}
        for c in columns
    ]
    return _table(records)


def _table(records: Sequence[dict[str, str | int | float | bool | None]]) -> dg.TableMetadataValue:
    schema = dg.TableSchema([dg.TableColumn(c) for c in records[0]])
    return dg.MetadataValue.table([dg.TableRecord(r) for r in records], schema=schema)


def _instants(table: Table) -> set[str]:
    return {c for c, dtype in table.contract.schema.items() if isinstance(dtype, pl.Datetime)}


def _cell(value: object, *, instant: bool) -> str | int | float | bool | None:
    if value is None or isinstance(value, int | float | bool):
        return value
    return _UTC.sub(_short, str(value)) if instant else str(value)


def _short(found: re.Match[str]) -> str:
    """An instant without what is zero, e.g. ``2013-02-12 08:00 UTC``."""
    day, minute, second, fraction = found.groups()
    exact = f"{second}{fraction or ''}" if second != ":00" or fraction else ""
    return f"{day} {minute}{exact} UTC"
