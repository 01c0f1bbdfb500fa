"""Columns in Dagster's words: types, units, descriptions, rules, and where they come from.

Belongs here: the column schema and the column lineage of tables and feeds. Does not belong here: finding the lineage
out (``sh_core.lineage``), everything else about a table (``describing``). Invariant: a column is said to come from
columns that its transform was seen to ask for; where that cannot be seen, nothing is said.

Dagster's own page never shows ``dagster/column_lineage`` (other tools read it), so it is told in words, too.
"""

from collections.abc import Iterable, Mapping
from functools import cache

import dagster as dg
import polars as pl

from sh_assets.keys import feed_key, table_key
from sh_core.columns import LINEAGE, STANDS_IN
from sh_core.contract import PARSE, SCHEMA, Contract
from sh_core.feed import Feed
from sh_core.graph import Graph
from sh_core.lineage import Lineage, Origin, column_lineage
from sh_core.masking import MASK
from sh_core.reading import handed_over
from sh_core.table import Table

_LISTED = 8
"""Columns of files that a description names."""


def feed_schema(feed: Feed) -> dg.TableSchema:
    """Columns of a feed's files."""
    return dg.TableSchema(
        [
            dg.TableColumn(name, "text", description=_sentences(_masked(feed.pii, name)), tags=_tags(name, feed.pii))
            for name in feed.columns
        ]
    )


def table_schema(table: Table, graph: Graph) -> dg.TableSchema:
    """Columns of a table, each with what it means, its unit (a tag), its rules and where it comes from."""
    contract = table.contract
    return dg.TableSchema(
        [
            dg.TableColumn(
                name,
                _type(dtype),
                description=_sentences(
                    contract.column_descriptions.get(name, "").replace("``", "`"),
                    _masked(contract.pii, name),
                    _comes_from(table, graph, name),
                ),
                constraints=_constraints(contract, name),
                tags=_tags(name, contract.pii, contract.units, contract.key),
            )
            for name, dtype in contract.schema.items()
        ]
        + ([_STANDS_IN] if table.name in graph.marked else [])
    )


_STANDS_IN = dg.TableColumn(
    STANDS_IN,
    "Boolean",
    description=(
        "Whether the row's partition is, or rests on, a placeholder for something that is late. Filter on it to have "
        "the truth only; it is the framework's, and no transform reads it."
    ),
)


def table_lineage(table: Table, graph: Graph) -> dg.TableColumnLineage | None:
    """Which columns upstream each column is computed from; None where that cannot be told."""
    lineage = _lineage(table, graph)
    if lineage is None:
        return None
    keys = {t.name: table_key(t.name) for t in graph.tables}
    if table.feed is not None:
        keys[table.feed.name] = feed_key(table.feed)
    return dg.TableColumnLineage(
        {
            column: [dg.TableColumnDep(keys[source], name) for source, name in sorted(origins)]
            for column, origins in lineage.items()
        }
    )


# ---- where a column comes from


@cache
def argument_lineage(table: Table, graph: Graph) -> Lineage | None:
    """Per column, the arguments of the transform (for a raw table, the feed) and columns it is computed from."""
    return column_lineage(table, {i.name: _handed(table, graph[i.table], i.name) for i in table.inputs})


@cache
def _lineage(table: Table, graph: Graph) -> Lineage | None:
    """Per column, the upstream tables and columns it is computed from."""
    given, found = {i.name: i for i in table.inputs}, argument_lineage(table, graph)
    if found is None or table.feed is not None:
        return found
    return {column: frozenset((given[name].table, c) for name, c in origins) for column, origins in found.items()}


def _handed(table: Table, source: Table, argument: str) -> pl.Schema:
    """Columns of one argument of a transform."""
    (given,) = (i for i in table.inputs if i.name == argument)
    types = {**source.contract.schema, **LINEAGE}
    return pl.Schema({c: types[c] for c in (*handed_over(given, source), *(LINEAGE if table.keeps_lineage else ()))})


def shared_origins(table: Table, graph: Graph) -> Mapping[str, tuple[str, ...]]:
    """Columns upstream that every column depends on, per table: rows are chosen, joined or grouped by them.

    Empty for raw and staged tables, which take each row as it comes.
    """
    lineage = _lineage(table, graph)
    if not lineage or table.keeps_lineage:
        return {}
    return _by_table(frozenset.intersection(*lineage.values()))


def _own_origins(table: Table, graph: Graph, column: str) -> frozenset[Origin]:
    """What a column comes from that not every column depends on, or else what is called like it."""
    origins = (_lineage(table, graph) or {}).get(column, frozenset())
    shared = {(source, name) for source, names in shared_origins(table, graph).items() for name in names}
    return origins - shared or frozenset(o for o in origins if o[1] == column)


@cache
def _delivered(table: Table, graph: Graph, column: str) -> frozenset[str]:
    """Names of the columns, in delivered files, that a column's own origins come from in the end."""
    own = _own_origins(table, graph, column)
    if table.feed is not None:
        return frozenset(name for _, name in own)
    return frozenset(end for source, name in own for end in _delivered(graph[source], graph, name))


def _comes_from(table: Table, graph: Graph, column: str) -> str:
    """The sentence on it."""
    if table.feed is not None:
        return "From the file's name." if column in table.partitions.columns else ""
    sources: dict[tuple[str, ...], list[str]] = {}
    for source, columns in _by_table(_own_origins(table, graph, column)).items():
        sources.setdefault(columns, []).append(source)
    if not sources:
        return "From what every column depends on." if shared_origins(table, graph) else ""
    of = " and ".join(f"{listed(columns)} of {', '.join(map(link, tables))}" for columns, tables in sources.items())
    ends = sorted(_delivered(table, graph, column))
    more = f" and {len(ends) - _LISTED} more" if len(ends) > _LISTED else ""
    told = f" In the files: {listed(ends[:_LISTED])}{more}." if ends and not table.keeps_lineage else ""
    return f"From {of}.{told}"


def _by_table(origins: Iterable[Origin]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for source, name in sorted(origins):
        found[source] = (*found.get(source, ()), name)
    return found


def link(name: str) -> str:
    """A table's name as a link to its page."""
    return f"[{name}](/assets/{name})"


def listed(columns: Iterable[str]) -> str:
    """Columns as code, with commas."""
    return ", ".join(f"`{c}`" for c in columns)


# ---- what holds for it


def _constraints(contract: Contract, column: str) -> dg.TableColumnConstraints:
    """What Dagster has a place for, and in words the rules that are about this column alone."""
    rules = [r for r in contract.rules if r.columns == (column,) and r.name not in (SCHEMA, PARSE)]
    not_null, unique = f"{column}__not_null", {name for name, of in contract.unique.items() if of == (column,)}
    words = (r.description for r in rules if r.name != not_null and r.name not in unique)
    return dg.TableColumnConstraints(
        nullable=all(r.name != not_null for r in rules),
        unique=bool(unique),
        other=[w.removeprefix(f"{column} ").removeprefix("must ").removeprefix("be ") for w in words],
    )


def _tags(
    column: str, pii: Iterable[str], units: Mapping[str, str] | None = None, key: Iterable[str] = ()
) -> Mapping[str, str]:
    unit = (units or {}).get(column)
    return {
        **({"key": ""} if column in key else {}),
        **({"unit": unit} if unit else {}),
        **({"pii": ""} if column in pii else {}),
    }


def _masked(pii: Iterable[str], column: str) -> str:
    return f"Personal data, shown as {MASK}." if column in pii else ""


def _type(dtype: pl.DataType) -> str:
    """E.g. ``Datetime(us, UTC)``."""
    return str(dtype).replace("time_unit=", "").replace("time_zone=", "").replace("'", "")


def _sentences(*said: str) -> str | None:
    return " ".join(s if s.endswith((".", "!", "?")) else f"{s}." for s in said if s) or None
