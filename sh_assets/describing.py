"""Declarations in Dagster's words.

Belongs here: asset and check specs, code versions. Does not belong here: keys and partitions (``keys``), columns
(``schemas``), the text of a page (``introducing``), outcomes (``telling``), anything that runs (``build``). Invariant:
check names are exactly the declared ones.
"""

import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import dagster as dg

from sh_assets import on_time
from sh_assets.automation import due
from sh_assets.introducing import introduction
from sh_assets.keys import feed_key, partition_mapping, partitions_definition, table_key, windows
from sh_assets.schemas import feed_schema, table_lineage, table_schema
from sh_core.code_version import code_version
from sh_core.feed import Feed
from sh_core.formats import Csv, Format, JsonLines, Parquet
from sh_core.graph import Graph
from sh_core.lateness import owed
from sh_core.table import Table
from sh_resources.raw import reader_version

_SHORT = 12

PLACEHOLDER = "placeholder"
"""The check on tables whose content may rest on placeholders."""

LANDING = "landing"
"""Group of all feeds: where the graph begins."""

_KINDS: Mapping[type[Format], str] = {Csv: "csv", JsonLines: "json", Parquet: "parquet"}
"""Dagster's icons."""


def upstream(table: Table, graph: Graph) -> list[dg.AssetDep]:
    """What a table is computed from, and which partitions of it each of its own needs."""
    if table.feed is not None:
        return [dg.AssetDep(feed_key(table.feed))]
    return [
        dg.AssetDep(table_key(name), partition_mapping=partition_mapping(w, table.partitions, graph[name].partitions))
        for name, w in windows(table).items()
    ]


def describe_feed(feed: Feed) -> dg.AssetSpec:
    """The files of a feed, which arrive without our doing."""
    return dg.AssetSpec(
        feed_key(feed),
        description=feed.description or None,
        group_name=LANDING,
        kinds={_KINDS[type(feed.format)]},
        owners=[feed.owner] if feed.owner else [],
        tags={"station": LANDING, **_pii(feed.pii)},
        partitions_def=partitions_definition(feed.partitions),
        metadata={"dagster/column_schema": feed_schema(feed), "file_name": feed.file_name},
        freshness_policy=on_time.freshness(feed),
    )


def describe_table(table: Table, graph: Graph, folder: Path, *, automated: bool = False) -> dg.AssetSpec:
    """A table as an asset that logs its own materializations.

    Args:
        table: The declaration.
        graph: Where its inputs are declared.
        folder: Where its Delta table is.
        automated: Whether Dagster requests what is due of it.
    """
    contract, lineage = table.contract, table_lineage(table, graph)
    return dg.AssetSpec(
        table_key(table.name),
        deps=upstream(table, graph),
        description=introduction(table, graph),
        group_name=table.group,
        kinds={"polars", "deltalake"},
        tags={"station": table.station.value, **_pii(contract.pii)},
        owners=[contract.owner] if contract.owner else [],
        partitions_def=partitions_definition(table.partitions),
        code_version=spec_version(table),
        skippable=True,
        automation_condition=due() if automated else None,
        metadata={
            "dagster/column_schema": table_schema(table, graph),
            **({"dagster/column_lineage": lineage} if lineage else {}),
            "dagster/table_name": table.name,
            "dagster/uri": folder.as_uri(),
            "contract_version": contract.version,
        },
    )


def describe_checks(table: Table, graph: Graph) -> list[dg.AssetCheckSpec]:
    """One check per rule of the contract and partition; beside them whether it is there in time, and is the truth."""
    partitions = partitions_definition(table.partitions)
    with warnings.catch_warnings():
        # Partitioned checks are a preview; the release of Dagster is pinned, and tests hold what we use of them.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        rules = [
            dg.AssetCheckSpec(
                rule.name,
                asset=table_key(table.name),
                description=rule.description,
                partitions_def=partitions,
                metadata={"level": rule.level.value, "columns": list(rule.columns)},
            )
            for rule in table.contract.rules
        ]
        if table.name in graph.marked:
            said = "Nothing stands in for something that is late."
            rules.append(
                dg.AssetCheckSpec(PLACEHOLDER, asset=table_key(table.name), description=said, partitions_def=partitions)
            )
    return [*rules, *([on_time.spec(table_key(table.name), table.partitions)] if table.name in owed(graph) else [])]


@cache
def spec_version(table: Table) -> str:
    """What makes all of a table's partitions stale when it changes: its code and its contract."""
    if table.feed is not None:
        code = reader_version(table.feed)
    elif table.transform is not None:
        code = code_version(table.transform).digest
    else:
        raise AssertionError(table)  # a Table has a feed or a transform
    return f"{code[-_SHORT:]}-{table.contract.version[:_SHORT]}"


def _pii(columns: frozenset[str]) -> Mapping[str, str]:
    return {"pii": "masked"} if columns else {}
