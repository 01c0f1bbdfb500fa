"""Which column types a Delta table can hold.

Belongs here: the translation of Polars types into Delta's, and the refusal of those that have none. Does not belong
here: tables (``delta_log``). Invariant: what is accepted comes back from the table as the same Polars type.
"""

from collections.abc import Mapping

import polars as pl
from deltalake import Schema
from polars.datatypes import DataTypeClass

from sh_core.errors import DeclarationError

_HOLDABLE = frozenset(
    {
        pl.Boolean,
        pl.Int8,
        pl.Int16,
        pl.Int32,
        pl.Int64,
        pl.Float32,
        pl.Float64,
        pl.Decimal,
        pl.String,
        pl.Binary,
        pl.Date,
    }
)


def delta_schema(columns: Mapping[str, pl.DataType], table: str) -> Schema:
    """The Delta schema of a table's columns.

    Args:
        columns: Type per column.
        table: Name of the table, for the message.

    Raises:
        DeclarationError: If a type has no counterpart, naming the column and what to use instead.
    """
    for name, dtype in columns.items():
        if not _is_holdable(dtype):
            msg = (
                f"table {table}: column {name} has type {dtype}, which a Delta table cannot hold: use Boolean, "
                "Int8 to Int64, Float32, Float64, Decimal, String, Binary, Date, Datetime in microseconds (UTC or "
                "without zone), or List and Struct of these"
            )
            raise DeclarationError(msg)
    return Schema.from_arrow(
        pl.DataFrame(schema=pl.Schema(columns)).to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    )


def _is_holdable(dtype: pl.DataType) -> bool:
    match dtype:
        case pl.Datetime():
            return dtype.time_unit == "us" and dtype.time_zone in (None, "UTC")
        case pl.List():
            return _is_holdable(_instance(dtype.inner))
        case pl.Struct():
            return all(_is_holdable(_instance(f.dtype)) for f in dtype.fields)
        case _:
            return dtype.base_type() in _HOLDABLE


def _instance(dtype: pl.DataType | DataTypeClass) -> pl.DataType:
    return dtype if isinstance(dtype, pl.DataType) else dtype()
