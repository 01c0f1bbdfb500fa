"""Masking: personal data never leaves the tables in samples, previews or views of the quarantine.

Belongs here: masking, and small samples made of masked rows. Does not belong here: which columns are personal (the
contract's ``pii``). Invariant: what is masked cannot be recovered or compared, since every value looks the same; a hash
of a small domain, such as names, could be. A missing value stays missing: its absence is what a rule complains about.
"""

import math
from collections.abc import Collection
from datetime import date, time
from typing import Any

import polars as pl

from sh_core.columns import TEXT

MASK = "•••"
_NAMES_ONLY = frozenset({"NameError", "ColumnNotFoundError"})
"""Errors whose message names variables or columns, and no value."""

LONGEST_ERROR = 500
"""Characters of an error's message that are kept."""

LONGEST = 200
"""Characters of a text that a sample shows: the ledger and the UI keep samples, and a garbled line may be megabytes."""


def mask(frame: pl.DataFrame, pii: Collection[str]) -> pl.DataFrame:
    """Replace every value of the personal columns by ``•••``.

    Args:
        frame: Any rows, with or without system columns.
        pii: Columns that hold personal data; those that the frame lacks are ignored. If there are any, a line that
            could not be parsed (``_text``) is masked too, as it may hold all of them.

    Returns:
        The same rows and columns; masked columns are of type String, nulls stay null.
    """
    hidden = [c for c in frame.columns if c in pii or (c == TEXT and pii)]
    return frame.with_columns(pl.when(pl.col(c).is_not_null()).then(pl.lit(MASK)).alias(c) for c in hidden)


def sample(frame: pl.DataFrame, pii: Collection[str]) -> tuple[dict[str, Any], ...]:
    """Rows as plain dicts that JSON can hold, masked, long texts cut.

    Args:
        frame: The few rows to show.
        pii: Columns that hold personal data.

    Returns:
        One dict per row: dates as ISO text, NaN and infinities as text, nested values as lists and dicts.
    """
    return tuple({name: _plain(value) for name, value in row.items()} for row in mask(frame, pii).to_dicts())


def raised_as_text(error: BaseException, pii: Collection[str], where: str = "") -> str:
    """What was raised, in one line; of code that handles personal data without its message, which may quote a value.

    Args:
        error: What was raised.
        pii: Columns with personal data that the code was handed.
        where: Where to look, if that is known, e.g. ``in library.py, line 12``.
    """
    kind = " ".join(filter(None, (type(error).__name__, where)))
    if pii and type(error).__name__ not in _NAMES_ONLY:
        return f"{kind} (message not shown: {', '.join(sorted(pii))} is personal data)"
    said = str(error).strip().splitlines()
    return f"{kind}: {said[0] if said else '(no message)'}"[:LONGEST_ERROR]


def _plain(value: object) -> object:
    match value:
        case None | bool() | int():
            return value
        case float():
            # JSON has no NaN and no infinity.
            return value if math.isfinite(value) else str(value)
        case list():
            return [_plain(item) for item in value]
        case dict():
            return {str(name): _plain(item) for name, item in value.items()}
        case date() | time():
            return value.isoformat()
        case _:
            text = str(value)
            return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
