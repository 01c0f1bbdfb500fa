"""Parquet files: typed rows as rows of text.

Belongs here: opening a file and what is wrong with it, or with a row. Does not belong here: the text of a value
(``parquet_text``), what is common to all formats (``rows``). Invariant: each row of the file is exactly one row, and
its line is its number: the first row is line 1.

A row **cannot be read** if a cell holds a NUL, or its text is longer than ``MAX_RECORD_BYTES``. A file that is damaged
anywhere cannot be read as a whole: half a column is no row. A file without rows is a day without rows.
"""

import json
from collections.abc import Sequence

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from sh_core.columns import LINE, TEXT
from sh_core.feed import Feed
from sh_resources.raw.parquet_text import Texts, TooMuchTextError
from sh_resources.raw.rows import (
    MAX_RECORD_BYTES,
    MAX_TEXT_BYTES,
    RawFile,
    RawPartition,
    all_unreadable,
    header_breach,
    looks_like,
    not_read,
    promised,
    too_large,
    with_origin,
    wrong_columns,
)

_BATCH = 8192  # rows decoded at a time

_REFUSALS = (pa.ArrowException, OSError, ValueError, MemoryError)
"""What pyarrow raises on account of a file (its own errors are of the first two kinds, bad text of the third)."""


def read_parquet(feed: Feed, key: str, file: RawFile, content: bytes) -> RawPartition:
    """Read one Parquet file.

    Args:
        feed: What the vendor promised.
        key: The file's partition.
        file: The file.
        content: Its bytes.
    """
    try:
        with pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True) as opened:
            meta = opened.metadata
            packed = [meta.schema.column(i) for i in range(meta.num_columns)]
            unpacked = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
            # One value that is repeated a million times takes no room in a file, so texts stay one copy and numbers.
            shared = [column.path for column in packed if column.physical_type == "BYTE_ARRAY"]
        if unpacked > feed.max_bytes or meta.num_rows > feed.max_bytes:
            return too_large(feed, key, file, unpacked=True)
        with pq.ParquetFile(
            pa.BufferReader(content), read_dictionary=shared, page_checksum_verification=True
        ) as opened:
            names = opened.schema_arrow.names
            texts = Texts(len(names), feed.max_bytes)
            for batch in opened.iter_batches(_BATCH):
                texts.add(batch)
        cells = pl.concat(texts.frames)
    except TooMuchTextError:
        return too_large(feed, key, file, unpacked=True)
    except _REFUSALS as refusal:
        return not_read(feed, key, file, _why(content, refusal))
    if cells.height != meta.num_rows:
        return not_read(feed, key, file, f"it says that it has {meta.num_rows:,} rows, and holds {cells.height:,}")
    return _partition(feed, key, file.name, names, cells)


def _why(content: bytes, refusal: Exception) -> str:
    if not content:
        return "the file is empty"
    start = looks_like(content, but_not="Parquet")
    said = str(refusal).strip().splitlines() or [type(refusal).__name__]
    return f"{start}, not Parquet" if start else f"it cannot be read as Parquet: {said[0][:200]}"


def _partition(feed: Feed, key: str, file_name: str, names: Sequence[str], cells: pl.DataFrame) -> RawPartition:
    """Rows from text, the columns of which have numbers for names, as a file may use a name twice."""
    columns = feed.columns_of(names)
    if columns is None:
        texts = ((number, _evidence(names, row)) for number, row in enumerate(cells.iter_rows(), 1))
        breach = header_breach(file_name, wrong_columns(feed, names), promised(feed, ", "))
        return all_unreadable(feed, key, file_name, texts, breach)
    cells.columns = list(columns)
    holds_nul = pl.any_horizontal(pl.all().str.contains("\0", literal=True).fill_null(value=False))
    size = pl.sum_horizontal(pl.all().str.len_bytes().cast(pl.Int64))
    bad = cells.select(holds_nul | (size > MAX_RECORD_BYTES)).to_series().arg_true()
    said = {at: _evidence(names, cells.row(at)) for at in bad}
    text = pl.Series(TEXT, map(said.get, range(cells.height)), pl.String)
    line = pl.arange(1, cells.height + 1, dtype=pl.Int64).alias(LINE)
    cells = cells.with_columns(pl.when(text.is_null()).then(pl.all()).name.keep(), text, line)
    return RawPartition(with_origin(feed, cells, {key: file_name}, [cells.height]))


def _evidence(names: Sequence[str], row: Sequence[str | None]) -> str:
    """An unreadable row as JSON, cut if it is very long."""
    cells = dict(zip(names, row, strict=True))
    text = json.dumps(cells if len(cells) == len(row) else [names, row], ensure_ascii=False)
    return text if len(text) <= MAX_TEXT_BYTES else f"{text[:MAX_TEXT_BYTES]}… (cut after {MAX_TEXT_BYTES} characters)"
