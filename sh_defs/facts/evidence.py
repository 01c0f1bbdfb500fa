"""Evidence: the rows in quarantine, counted and shown.

Belongs here: every view of quarantined rows that people and programs get. Does not belong here: how they are kept and
masked (``sh_resources.quarantine``). Invariant: PII leaves only masked, since everything here is made of
``Store.quarantined``.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from sh_core.bars import ROLLED_BACK
from sh_core.graph import Graph
from sh_core.partitions import Partitions
from sh_core.table import Table
from sh_core.verdict import Level
from sh_defs.facts.naming import UnknownNameError, alike, meant
from sh_defs.facts.saying import rule_of
from sh_resources.store import Store

SPECIMENS = 12
"""Examples of quarantined rows in a report, one for a rule: the others of a rule look alike."""


@dataclass(frozen=True)
class Quarantined:
    """How many rows in quarantine break one rule; a row that breaks two is counted under both.

    Attributes:
        table: The table that the rows were meant for.
        rule: The broken rule.
        rows: How many.
    """

    table: str
    rule: str
    rows: int


@dataclass(frozen=True)
class Specimen:
    """One quarantined row, shown as an example, PII masked.

    Attributes:
        table: The table that it was meant for.
        partition: Its partition.
        rules: Every rule that it broke, and what the rule says.
        file: ``<feed>/<file name>`` that brought it; None where the table does not keep that.
        line: Its line in that file.
        row: Its cells.
        suspects: Columns that the broken rules look at; empty if they look at all of them.
    """

    table: str
    partition: str
    rules: Mapping[str, str]
    file: str | None
    line: int | None
    row: Mapping[str, Any]
    suspects: frozenset[str]


def specimen(table: Table, rule: str, evidence: pl.DataFrame) -> Specimen:
    """The first row in quarantine that breaks a rule.

    Args:
        table: The table.
        rule: A rule that some row of the evidence breaks.
        evidence: From ``Store.quarantined``, so masked.
    """
    broken = evidence.filter(pl.col("rules").list.contains(rule))
    row = broken.sort(*table.partitions.columns, "file", "line").row(0, named=True)
    rules = {name: rule_of(table, name) for name in row["rules"]}
    looked_at = {c for name, r in rules.items() if r is not None for c in (name.split(":")[1:] or r.columns)}
    return Specimen(
        table=table.name,
        partition=partition_in(row, table.partitions),
        rules={name: r.description if r is not None else "no rule of today's contract" for name, r in rules.items()},
        file=row["file"],
        line=row["line"],
        row=json.loads(row["row"]),
        suspects=frozenset(looked_at if len(looked_at) < len(table.contract.columns) else ()),
    )


def partition_in(row: Mapping[str, Any], partitions: Partitions) -> str:
    """Partition key that a row of a quarantine is of."""
    stored = {
        name: f"{row[name]:%Y-%m-%d %H:%M:%S.%f}" if isinstance(row[name], datetime) else str(row[name])
        for name in partitions.columns
    }
    return partitions.key_of(stored)


def by_rule(table: Table, evidence: pl.DataFrame) -> list[Quarantined]:
    """How many rows of a table break each rule, rules in order of their name."""
    rules = evidence.select(pl.col("rules").explode().alias("rule")).drop_nulls()
    counted = rules.group_by("rule").len().sort("rule")
    return [Quarantined(table.name, rule, rows) for rule, rows in counted.iter_rows()]


def specimens(
    graph: Graph, quarantined: Iterable[Quarantined], evidence: Mapping[str, pl.DataFrame]
) -> tuple[Specimen, ...]:
    """Examples of the rules that are broken most rarely; a row that would show twice shows once."""
    shown: list[Specimen] = []
    for q in sorted(quarantined, key=lambda q: (q.rows, q.table, q.rule)):
        example = specimen(graph[q.table], q.rule, evidence[q.table])
        if example not in shown:
            shown.append(example)
        if len(shown) == SPECIMENS:
            break
    return tuple(shown)


def quarantine_counts(store: Store, tables: Iterable[Table], rule: str | None = None) -> list[dict[str, Any]]:
    """Rows in quarantine by table, partition and rule; a row that breaks two counts under both.

    Raises:
        UnknownNameError: If none of the tables has such a rule.
    """
    wanted = tuple(tables)
    evidence = {t.name: store.quarantined(t) for t in wanted}
    _refuse_rule(wanted, evidence, rule)
    counted = []
    for of in wanted:
        rows = evidence[of.name].explode("rules").drop_nulls("rules")
        if rule is not None:
            rows = rows.filter(_breaks(pl.col("rules"), rule))
        by = [*of.partitions.columns, "rules"]
        groups = rows.group_by(by).agg(pl.len().alias("rows"), pl.col("file").drop_nulls().unique().sort()).sort(by)
        for group in groups.iter_rows(named=True):
            where = {"table": of.name, "partition": partition_in(group, of.partitions)}
            counted.append({**where, "rule": group["rules"], "rows": group["rows"], "files": group["file"]})
    return counted


def quarantined_rows(store: Store, of: Table, key: str | None, rule: str | None, limit: int) -> dict[str, Any]:
    """Rows in quarantine, masked.

    Args:
        store: Where it is.
        of: The table that they were meant for.
        key: Their partition; None for all.
        rule: A rule that they break; None for any.
        limit: How many at most.

    Raises:
        UnknownNameError: If the table has no such rule.
    """
    evidence = store.quarantined(of, None if key is None else [key])
    _refuse_rule([of], {of.name: evidence}, rule)
    if rule is not None:
        evidence = evidence.filter(pl.col("rules").list.eval(_breaks(pl.element(), rule)).list.any())
    rows = evidence.sort(*of.partitions.columns, "file", "line")
    return {
        "table": of.name,
        "partition": key,
        "rule": rule,
        "total": rows.height,
        "rows": [
            {
                "partition": partition_in(row, of.partitions),
                "rules": {name: says(of, name) for name in row["rules"]},
                "file": row["file"],
                "line": row["line"],
                "row": json.loads(row["row"]),
            }
            for row in rows.head(limit).iter_rows(named=True)
        ],
    }


def _breaks(name: pl.Expr, rule: str) -> pl.Expr:
    """Whether it is the rule: ``parse`` stands for ``parse:dep_time`` and all others of it."""
    return (name == rule) | name.str.starts_with(f"{rule}:")


def _refuse_rule(tables: Iterable[Table], evidence: Mapping[str, pl.DataFrame], rule: str | None) -> None:
    if rule is None:
        return
    # Those in quarantine too: a contract may have lost a rule since.
    rules = {r.name for t in tables for r in t.contract.rules if r.level is Level.ROW}
    rules |= {name for frame in evidence.values() for name in frame["rules"].explode().drop_nulls().to_list()}
    if rule not in rules:
        raise UnknownNameError(
            f"there is no rule {rule!r} that sets rows aside{meant(alike(rule, sorted(rules)))}. "
            "selfheal show TABLE lists a table's rules"
        )


def says(table: Table, name: str) -> str:
    """What a rule says; nothing of one that the contract no longer has."""
    if name == ROLLED_BACK:
        return "Content that was rolled back does not come back"
    rule = rule_of(table, name)
    return rule.description if rule is not None else ""
