"""System columns: what the framework adds to a user's rows.

Belongs here: their names, types and meaning. Invariant: a name that starts with ``_`` is the framework's, is never part
of a contract and never of a version.
"""

import polars as pl

FILE = "_file"
"""``<feed>/<file name>`` that the row was delivered in (String). Published on raw and staged tables."""

LINE = "_line"
"""First physical line of the record in that file, a header being line 1; of a Parquet file, the row's number, the first
being 1 (Int64). Published on raw and staged tables."""

UNPARSED = "_unparsed"
"""Columns of the row whose text could not be parsed (List[String]); ``WHOLE_LINE`` when not even the line could be."""

TEXT = "_text"
"""What was delivered, only for rows with something that could not be parsed (String): the line, or its cells. Kept in
quarantine."""

PASSED_ON = (FILE, LINE, UNPARSED, TEXT)
"""What a staged transform must pass on unchanged: ``parse`` returns it, the gate needs it."""

RULES = "_rules"
"""In quarantine: every rule that the row broke (List[String]); ``parse:dep_time`` names the column that did not
parse."""

WHOLE_LINE = "*"

STANDS_IN = "_placeholder"
"""Whether the row's partition is, or rests on, a placeholder for something that is late (Boolean). Published on tables
that have placeholders and on everything downstream of them."""

LINEAGE: dict[str, pl.DataType] = {FILE: pl.String(), LINE: pl.Int64()}
"""Columns that raw and staged tables publish beside their contract's, so that every row stays accounted for."""


def is_system(name: str) -> bool:
    """Whether a column belongs to the framework."""
    return name.startswith("_")
