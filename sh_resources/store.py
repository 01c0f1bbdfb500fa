"""Where each declared table and its quarantine are kept.

Belongs here: folders, columns as stored, reading published rows and quarantine. Does not belong here: how Delta is
written (``delta``), or who may write (``publisher``). Invariant: quarantine rows are evidence; nothing here reads them
back into a table.
"""

from collections.abc import Collection
from pathlib import Path

import polars as pl

from sh_core.columns import LINEAGE, STANDS_IN
from sh_core.graph import Graph
from sh_core.table import Table
from sh_resources.delta import PartitionedDelta
from sh_resources.delta_files import RecentFiles
from sh_resources.quarantine import QUARANTINE_COLUMNS, masked_evidence


class Store:
    """Published tables and their quarantines under one root."""

    def __init__(self, root: Path, graph: Graph) -> None:
        """Lay out a graph's tables.

        Args:
            root: Folder that holds ``tables/<table>`` and ``quarantine/<table>``.
            graph: The declared tables.

        Raises:
            DeclarationError: If a table has a column that Delta cannot hold.
        """
        self.root, self._graph = root, graph
        recent = RecentFiles()
        self._tables = {
            t.name: PartitionedDelta(root / "tables" / t.name, stored_columns(t, graph), t.partitions, recent)
            for t in graph.tables
        }
        self._quarantines = {
            t.name: PartitionedDelta(root / "quarantine" / t.name, QUARANTINE_COLUMNS, t.partitions, recent)
            for t in graph.tables
        }

    def table(self, table: Table) -> PartitionedDelta:
        """The Delta table of published rows."""
        return self._tables[table.name]

    def quarantine(self, table: Table) -> PartitionedDelta:
        """The Delta table of rows set aside."""
        return self._quarantines[table.name]

    def published(self, table: Table, partitions: Collection[str] | None = None) -> pl.LazyFrame:
        """Rows that readers see now.

        Args:
            table: Which table.
            partitions: Keys to read; None reads all.

        Returns:
            Contract columns, file and line for raw and staged tables, and for tables that may rest on placeholders
            whether they do; one row per published row.
        """
        delta = self.table(table)
        return delta.scan(delta.live(partitions), published_columns(table, self._graph))

    def quarantined(self, table: Table, partitions: Collection[str] | None = None) -> pl.DataFrame:
        """Rows set aside, with PII masked.

        Args:
            table: Which table.
            partitions: Keys to read; None reads all.

        Returns:
            One row per quarantined row: partition columns, ``rules``, ``file``, ``line``, ``row`` (JSON text,
            PII masked) and ``attempt``.
        """
        delta = self.quarantine(table)
        return masked_evidence(delta.scan(delta.live(partitions)).collect(), table.contract.pii)


def stored_columns(table: Table, graph: Graph) -> pl.Schema:
    """Columns of a table's files: those of the contract but the partition columns, and those of the framework."""
    columns = {name: dtype for name, dtype in table.contract.schema.items() if name not in table.partitions.columns}
    return pl.Schema({**columns, **_own_columns(table, graph)})


def published_columns(table: Table, graph: Graph) -> list[str]:
    """Columns as readers get them, in the contract's order."""
    return [*table.contract.columns, *_own_columns(table, graph)]


def _own_columns(table: Table, graph: Graph) -> dict[str, pl.DataType]:
    """What the framework publishes beside the contract's columns: file and line, whether it rests on a placeholder."""
    mark: dict[str, pl.DataType] = {STANDS_IN: pl.Boolean()} if table.name in graph.marked else {}
    return {**(LINEAGE if table.keeps_lineage else {}), **mark}
