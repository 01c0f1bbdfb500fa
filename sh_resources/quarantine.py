"""Quarantine: broken rows as evidence.

Belongs here: the shape in which broken rows are kept, and the masked view of them. Does not belong here: where they
are kept (``store``), or which rows are broken (``sh_core.gate``). Invariant: PII leaves this module only masked.

Every quarantine has the same columns, so that a contract can change without touching old evidence: the partition
column, ``rules`` (every rule the row broke), ``file``, ``line``, ``row`` (the row as JSON, unmasked) and ``attempt``
(the judgement it belongs to). The quarantine of a partition is the evidence of its last judgement.
"""

import json
from collections.abc import Collection

import polars as pl

from sh_core.columns import FILE, LINE, RULES, TEXT, is_system
from sh_core.masking import MASK

QUARANTINE_COLUMNS = pl.Schema(
    {"rules": pl.List(pl.String()), "file": pl.String(), "line": pl.Int64(), "row": pl.String(), "attempt": pl.String()}
)


def as_evidence(broken: pl.DataFrame, attempt_id: str) -> pl.DataFrame:
    """Broken rows in the shape of every quarantine.

    Args:
        broken: Rows as judged, with ``_rules`` and, where the table keeps lineage, ``_file`` and ``_line``.
        attempt_id: The judgement they belong to.

    Returns:
        One row per broken row with ``QUARANTINE_COLUMNS``.
    """
    content = [c for c in broken.columns if not is_system(c) or c == TEXT]
    return broken.select(
        pl.col(RULES).alias("rules"),
        (pl.col(FILE) if FILE in broken.columns else pl.lit(None, pl.String)).alias("file"),
        (pl.col(LINE) if LINE in broken.columns else pl.lit(None, pl.Int64)).alias("line"),
        pl.struct(content).struct.json_encode().alias("row"),
        pl.lit(attempt_id).alias("attempt"),
    )


def masked_evidence(evidence: pl.DataFrame, pii: Collection[str]) -> pl.DataFrame:
    """The view of quarantined rows that people get.

    Args:
        evidence: Rows with ``QUARANTINE_COLUMNS`` at least.
        pii: Columns to mask. A line that could not even be split into cells is masked whole if there are any.

    Returns:
        The same rows and columns; within ``row``, PII that is not null reads ``MASK``, and ``_text`` only shows where
        something could not be parsed.
    """
    hidden = {*pii, TEXT} if pii else set()

    def masked(row: str) -> str:
        cells = json.loads(row)
        if cells.get(TEXT) is None:
            cells.pop(TEXT, None)  # the line itself is kept only where it could not be read
        shown = {name: MASK if name in hidden and cell is not None else cell for name, cell in cells.items()}
        return json.dumps(shown, ensure_ascii=False)

    return evidence.with_columns(pl.Series("row", [masked(row) for row in evidence["row"]], dtype=pl.String))
