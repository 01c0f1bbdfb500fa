"""Declarations in Dagster's words.

Belongs here: partitions, asset and check specs, column schemas, code versions. Does not belong here: outcomes
(``telling``), anything that runs (``build``). Invariant: partition keys and check names are exactly the declared ones.
"""

import warnings
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, assert_never

import dagster as dg
import polars as pl

from sh_core.code_version import code_version
from sh_core.contract import Split
from sh_core.feed import Feed
from sh_core.formats import Csv, Format, JsonLines, Parquet
from sh_core.graph import Graph
from sh_core.mapping import Window
from sh_core.masking import MASK
from sh_core.partitions import Daily, Monthly, Partitions, Periods, Unpartitioned, Weekly
from sh_core.table import Table
from sh_core.verdict import Level
from sh_resources.raw import reader_version

_SHORT = 12
_MONDAY = 1

_KINDS: Mapping[type[Format], str] = {Csv: "csv", JsonLines: "json", Parquet: "parquet"}
"""Dagster's icons."""


def table_key(name: str) -> dg.AssetKey:
    """The asset that a table is."""
    return dg.AssetKey([name])


def feed_key(feed: Feed) -> dg.AssetKey:
    """The external asset that a feed is."""
    return dg.AssetKey(["landing", feed.name])


def upstream(table: Table, graph: Graph) -> list[dg.AssetDep]:
    """What a table is computed from, and which partitions of it each of its own needs."""
    if table.feed is not None:
        return [dg.AssetDep(feed_key(table.feed))]
    return [
        dg.AssetDep(table_key(name), partition_mapping=partition_mapping(of, table.partitions, graph[name].partitions))
        for name, of in windows(table).items()
    ]


def windows(table: Table) -> dict[str, Window]:
    """Per upstream table the window that Dagster is told: an asset has one mapping per upstream asset.

    Where several arguments read one table, it spans all of theirs, and what may lie between.
    """
    spans: dict[str, Window] = {}
    for given in table.reads:
        one, other = given.window, spans.get(given.table, given.window)
        spans[given.table] = Window(min(one.first, other.first), max(one.last, other.last))
    return spans


def partition_mapping(window: Window, downstream: Partitions, upstream: Partitions) -> dg.PartitionMapping | None:
    """Dagster's mapping that names the same partitions, or covers them.

    Dagster moves a window by periods of the table that reads; a ``Window`` is moved by periods of the table that is
    read, so that a month can read the six days before it. Where the two are not of one length, the mapping covers what
    is read: Dagster shows that month as reading all of the month before.
    """
    if isinstance(upstream, Unpartitioned) or isinstance(downstream, Unpartitioned):
        return None  # Dagster takes the whole of a table without partitions by itself
    with warnings.catch_warnings():
        # A parameter in beta; the release of Dagster is pinned, and a test compares the mappings with our own.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.TimeWindowPartitionMapping(
            start_offset=_moved(window.first, downstream, upstream),
            end_offset=-_moved(-window.last, downstream, upstream),
            allow_nonexistent_upstream_partitions=True,
        )


_DAYS: dict[type[Periods], tuple[int, int]] = {Daily: (1, 1), Weekly: (7, 7), Monthly: (28, 31)}
"""Days of the shortest and of the longest period."""


def _moved(n: int, downstream: Periods, upstream: Periods) -> int:
    """The latest move by downstream periods that is nowhere later than one by ``n`` upstream periods."""
    if type(downstream) is type(upstream):
        return n
    (least, most), (at_least, at_most) = _DAYS[type(upstream)], _DAYS[type(downstream)]
    return n * most // at_least if n < 0 else n * least // at_most


def partitions_definition(partitions: Partitions) -> dg.TimeWindowPartitionsDefinition | None:
    """The same keys in the same order, those that lie in the future included.

    Of a set without end, all up to the period that is not over yet: its file may come any time. None for a table
    without partitions.
    """
    match partitions:
        case Unpartitioned():
            return None
        case Daily():
            return dg.DailyPartitionsDefinition(**_span(partitions))
        case Weekly():
            return dg.WeeklyPartitionsDefinition(day_offset=_MONDAY, **_span(partitions))
        case Monthly():
            return dg.MonthlyPartitionsDefinition(**_span(partitions))
        case _:
            assert_never(partitions)


def _span(periods: Periods) -> dict[str, Any]:
    span = {"start_date": periods.start.isoformat(), "timezone": "UTC"}
    if periods.end is None:
        return {**span, "end_offset": 1}
    end = datetime.combine(periods.end, datetime.min.time(), UTC) + timedelta(days=1)
    # Dagster's end is exclusive, and periods that are not over only exist as far as the offset reaches.
    ahead = max(0, (end - datetime.now(UTC)).days + 1)
    return {**span, "end_date": end.date().isoformat(), "end_offset": ahead}


def partition_name(partitions: Partitions, key: str) -> str | None:
    """What Dagster calls a partition; a table without partitions has none there."""
    return None if isinstance(partitions, Unpartitioned) else key


def describe_feed(table: Table, feed: Feed) -> dg.AssetSpec:
    """The files of a feed, which arrive without our doing."""
    columns = [dg.TableColumn(name, "text", description=_marks(None, pii=name in feed.pii)) for name in feed.columns]
    return dg.AssetSpec(
        feed_key(feed),
        description=feed.description or None,
        group_name=table.group,
        kinds={_KINDS[type(feed.format)]},
        owners=[feed.owner] if feed.owner else [],
        partitions_def=partitions_definition(feed.partitions),
        metadata={"dagster/column_schema": dg.TableSchema(columns), "file_name": feed.file_name},
    )


def describe_table(table: Table, graph: Graph, folder: Path) -> dg.AssetSpec:
    """A table as an asset that logs its own materializations.

    Args:
        table: The declaration.
        graph: Where its inputs are declared.
        folder: Where its Delta table is.
    """
    contract = table.contract
    return dg.AssetSpec(
        table_key(table.name),
        deps=upstream(table, graph),
        description=_description(table),
        group_name=table.group,
        kinds={"polars", "deltalake"},
        tags={"station": table.station.value},
        owners=[contract.owner] if contract.owner else [],
        partitions_def=partitions_definition(table.partitions),
        code_version=spec_version(table),
        skippable=True,
        metadata={
            "dagster/column_schema": _column_schema(table),
            "dagster/table_name": table.name,
            "dagster/uri": folder.as_uri(),
            "contract_version": contract.version,
        },
    )


def describe_checks(table: Table) -> list[dg.AssetCheckSpec]:
    """One check per rule of the contract and partition."""
    partitions = partitions_definition(table.partitions)
    with warnings.catch_warnings():
        # Partitioned checks are a preview; the release of Dagster is pinned, and tests hold what we use of them.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(
                rule.name,
                asset=table_key(table.name),
                description=rule.description,
                partitions_def=partitions,
                metadata={"level": rule.level.value, "columns": list(rule.columns)},
            )
            for rule in table.contract.rules
        ]


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


def _description(table: Table) -> str:
    contract = table.contract
    key = ", ".join(f"`{c}`" for c in contract.key) or "none: rows have no identity"
    match contract.on_breach:
        case Split(max_fraction):
            policy = f"Broken rows are set aside while they are at most {100 * max_fraction:.3g} % of a partition."
        case _:
            policy = "One broken row withholds its partition."
    rules = [
        f"- **{r.name}** {'' if r.level is Level.ROW else '(whole partition) '}{r.description}" for r in contract.rules
    ]
    return "\n".join([table.description, "", f"**Key** {key}", "", f"**Rules** {policy}", "", *rules])


def _column_schema(table: Table) -> dg.TableSchema:
    contract = table.contract
    rules = {rule.name for rule in contract.rules}
    return dg.TableSchema(
        [
            dg.TableColumn(
                name,
                _type(dtype),
                description=_marks(contract.units.get(name), pii=name in contract.pii),
                constraints=dg.TableColumnConstraints(
                    nullable=f"{name}__not_null" not in rules, other=["key"] if name in contract.key else []
                ),
            )
            for name, dtype in contract.schema.items()
        ]
    )


def _type(dtype: pl.DataType) -> str:
    """E.g. ``Datetime(us, UTC)``."""
    return str(dtype).replace("time_unit=", "").replace("time_zone=", "").replace("'", "")


def _marks(unit: str | None, *, pii: bool) -> str | None:
    said: Iterable[str] = [*([f"in {unit}"] if unit else []), *([f"personal data, shown as {MASK}"] if pii else [])]
    return ", ".join(said) or None
