"""CSV files: RFC 4180 taken strictly.

Belongs here: splitting CSV text into records and cells, and what is wrong with a header. Does not belong here: what is
common to all formats (``rows``). Invariant: everything after the header ends up in exactly one row, no cell is altered
or guessed; an empty cell is the empty text, and no readable cell is null but those of a column that the file lacks.

Cells in quotes may hold delimiters, doubled quotes and line ends; lines end with LF or CRLF, the last one perhaps with
neither. A record **cannot be read** if it

- has too few or too many cells, is a blank line, or is larger than ``MAX_RECORD_BYTES``,
- holds a NUL byte or bytes that are invalid in the feed's encoding,
- has a quote where none may stand (inside an unquoted cell, after a closing quote) or never closes one,
- has a carriage return outside of quotes that is not part of a CRLF: an old line end, or half of a damaged one.

Such a record becomes one unreadable row *per physical line* that it had reached when that became clear, and reading
resumes on the next line. So a quote that is opened and never closed makes every line from there on unreadable, one by
one: they count towards the feed's ``max_unparsable``, and none of them vanishes into a cell.

Files without quotes and flaws, which nearly all are, take a fast path, many files in one vectorised pass. The slow path
reads one file record by record; where the fast one applies, both give the same rows.

A file without any line breaks the rule ``header`` (an upload that died at once looks like that); a header alone is a
day without rows.
"""

import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from sh_core.columns import LINE, TEXT
from sh_core.feed import Feed
from sh_core.formats import Csv
from sh_core.verdict import RuleBreach
from sh_resources.raw.rows import (
    BOM,
    MAX_RECORD_BYTES,
    MAX_TEXT_BYTES,
    RawPartition,
    Row,
    all_unreadable,
    evidence,
    from_rows,
    header_breach,
    lines_of,
    looks_like,
    promised,
    unreadable,
    with_origin,
    without_line_end,
    wrong_columns,
)

_CR, _LF, _NUL, _QUOTE = b"\r", b"\n", b"\0", b'"'


def read_csv(feed: Feed, layout: Csv, files: Mapping[str, tuple[str, bytes]]) -> dict[str, RawPartition]:
    """Read CSV files of one feed.

    Args:
        feed: What the vendor promised.
        layout: The feed's format.
        files: File name and unpacked content by partition key.

    Returns:
        What each file holds, by partition key, in the order of ``files``.
    """
    encoding = layout.codec
    read: dict[str, RawPartition] = {}
    plain: dict[tuple[str, ...], dict[str, bytes]] = defaultdict(dict)
    for key, (file_name, delivered) in files.items():
        content, encoded = _as_utf8(delivered, encoding)
        columns_and_body = _split_plain(feed, layout, content) if encoded == "utf-8" else None
        if columns_and_body is None:
            read[key] = _read_any(feed, layout, key, file_name, content, encoded)
        else:
            columns, body = columns_and_body
            plain[columns][key] = body
    for columns, bodies in plain.items():
        read |= _read_plain(feed, layout, columns, bodies, {key: files[key][0] for key in bodies})
    return {key: read[key] for key in files}


def _as_utf8(content: bytes, encoding: str) -> tuple[bytes, str]:
    """The content and its encoding: UTF-8 without byte-order mark, unless some byte has no meaning in the encoding."""
    if encoding == "utf-8":
        return content.removeprefix(BOM), "utf-8"
    try:
        return content.decode(encoding).encode(), "utf-8"
    except UnicodeError:
        return content, encoding


# ------------------------------------------------------------------------------------------------- fast path


def _split_plain(feed: Feed, layout: Csv, content: bytes) -> tuple[tuple[str, ...], bytes] | None:
    """Columns and body (lines ended by LF) of a file that splits into cells at every delimiter; None for others."""
    if _QUOTE in content or _NUL in content:
        return None
    text = content.replace(b"\r\n", _LF)
    header, _, body = text.partition(_LF)
    delimiter = layout.delimiter.encode()
    names = header.split(delimiter, len(feed.columns))
    columns = feed.columns_of([name.decode() for name in names]) if _CR not in text and _is_utf8(header) else None
    if columns is None:
        return None
    width = len(columns)
    if body and not body.endswith(_LF):
        body += _LF
    marks = np.frombuffer(body, np.uint8)
    ends = marks == ord(_LF)
    if len(body) >= MAX_RECORD_BYTES and np.diff(np.flatnonzero(ends), prepend=-1).max() >= MAX_RECORD_BYTES:
        return None
    # The delimiters and line ends of a regular body, in order, are a table: each row delimiters, then one line end.
    regular_row = np.frombuffer(delimiter * (width - 1) + _LF, np.uint8)
    marks = marks[ends | (marks == ord(delimiter))]
    if marks.size % width or not (marks.reshape(-1, width) == regular_row).all():
        return None
    blank_line = body.startswith(_LF) or b"\n\n" in body
    return None if blank_line or not _is_utf8(body) else (columns, body)


def _is_utf8(content: bytes) -> bool:
    if content.isascii():
        return True
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _read_plain(
    feed: Feed, layout: Csv, columns: Sequence[str], bodies: Mapping[str, bytes], file_names: Mapping[str, str]
) -> dict[str, RawPartition]:
    """Read regular bodies with the same columns in one pass, by partition key."""
    delimiter = layout.delimiter
    # The first row is dropped: at the very start polars would take U+FEFF for a byte-order mark.
    first = delimiter.join("-" for _ in columns).encode()
    cells = pl.read_csv(
        b"".join((first, _LF, *bodies.values())),
        has_header=False,
        schema=dict.fromkeys(columns, pl.String()),
        separator=delimiter,
        quote_char=None,
        empty_string_is_null=False,
    ).slice(1)
    heights = [body.count(_LF) for body in bodies.values()]
    starts = np.cumsum([0, *heights[:-1]])
    line = pl.Series(LINE, np.arange(cells.height) - np.repeat(starts, heights) + 2, pl.Int64)
    text = pl.lit(None, pl.String).alias(TEXT)
    frame = with_origin(feed, cells.with_columns(line, text), file_names, heights)
    return {
        key: RawPartition(frame.slice(start, height))
        for key, start, height in zip(bodies, starts.tolist(), heights, strict=True)
    }


# ------------------------------------------------------------------------------------------------- slow path

_Record = tuple[int, list[bytes], list[str] | None]
"""Line number of a record's first line, its physical lines, and its cells, or None if they cannot be read."""


def _read_any(feed: Feed, layout: Csv, key: str, file_name: str, content: bytes, encoding: str) -> RawPartition:
    """Read one file, whatever it holds."""
    records = _records(content, encoding, layout.delimiter)
    _, header_lines, header = next(records, (1, [b""], None))
    columns = None if header is None else feed.columns_of(header)
    if columns is None:
        breach = _breach_of(feed, layout, file_name, header_lines[0], header)
        # Nothing is known of the columns, so neither is where a quoted cell would span lines: each line stands alone.
        return all_unreadable(feed, key, file_name, lines_of(content, encoding, first=2), breach)
    rows = _rows(records, len(columns), encoding)
    return RawPartition(from_rows(feed, key, file_name, rows, columns))


def _rows(records: Iterator[_Record], width: int, encoding: str) -> Iterator[Row]:
    """A row per readable record of that width, and one per physical line of the others."""
    for line, raw_lines, cells in records:
        if cells is not None and len(cells) == width:
            yield (*cells, line, None)
        else:
            for number, raw in enumerate(raw_lines, line):
                yield unreadable(width, number, evidence(raw, encoding))


def _records(content: bytes, encoding: str, delimiter: str) -> Iterator[_Record]:
    """Every record of a file, the header's first, each with the physical lines that it spans."""
    lines = io.BytesIO(content)
    number = 1
    while True:
        raw_lines: list[bytes] = []
        cells = _cells(lines, raw_lines, encoding, delimiter)
        if not raw_lines:
            return
        yield number, raw_lines, cells
        number += len(raw_lines)


def _cells(lines: Iterator[bytes], raw_lines: list[bytes], encoding: str, delimiter: str) -> list[str] | None:
    """Draw the next record's physical lines into ``raw_lines``, and split it into cells.

    Returns:
        The cells; None if the record cannot be read, as soon as that is clear and the quotes allow it.
    """
    cells: list[str] = []
    quoted: list[str] | None = None
    readable = True
    size = 0
    for raw in lines:
        raw_lines.append(raw)
        size += len(raw)
        if size > MAX_RECORD_BYTES:
            return None
        # A line with bad bytes may still open or close a quoted cell, so it is split like any other.
        readable = readable and _NUL not in raw
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            text, readable = raw.decode(encoding, "replace"), False
        try:
            quoted = _split_line(text, delimiter, cells, quoted)
        except _MisplacedError:
            return None
        if quoted is None:
            return cells if readable and without_line_end(raw) else None
    return None


class _MisplacedError(Exception):
    """A quote or a carriage return stands where none may."""


def _split_line(text: str, delimiter: str, cells: list[str], quoted: list[str] | None) -> list[str] | None:
    """Append the cells of a physical line (with its line end) to ``cells``.

    ``quoted`` holds the pieces of the quoted cell that the line before left open, if it did. Returned are those of the
    cell that is open at the end of this line, or None if the record ends here.
    """
    stop = len(text) - (2 if text.endswith("\r\n") else text.endswith("\n"))
    if quoted is None and '"' not in text and "\r" not in text[:stop]:
        cells.extend(text[:stop].split(delimiter))
        return None
    at = 0
    while True:
        if quoted is None and text.startswith('"', at):
            quoted, at = [], at + 1
        if quoted is None:
            end = text.find(delimiter, at)
            end = stop if end < 0 else end
            cell = text[at:end]
            if '"' in cell or "\r" in cell:
                raise _MisplacedError
        else:
            end = text.find('"', at)
            if end < 0:
                quoted.append(text[at:])
                return quoted
            quoted.append(text[at:end])
            if text.startswith('"', end + 1):
                quoted.append('"')
                at = end + 2
                continue
            cell, quoted = "".join(quoted), None
            end += 1
        cells.append(cell)
        if end == stop:
            return None
        if text[end] != delimiter:
            raise _MisplacedError
        at = end + 1


# ---------------------------------------------------------------------------------------------------- header


def _breach_of(feed: Feed, layout: Csv, file_name: str, raw: bytes, header: list[str] | None) -> RuleBreach:
    """What is wrong with a header, given its first line as it came and its cells if they could be read."""
    if header is not None and not feed.columns_by_name.keys().isdisjoint(header):
        problem = wrong_columns(feed, header)
    else:
        # Not a header at all, perhaps a row of data: say what it looks like, but quote nothing from it.
        unread = f"this is no readable {layout.encoding} CSV" if header is None else "none of the columns is there"
        problem = _guess(feed, layout, without_line_end(raw[:MAX_TEXT_BYTES])) or unread
    return header_breach(f"{file_name} line 1", problem, promised(feed, layout.delimiter))


def _guess(feed: Feed, layout: Csv, line: bytes) -> str | None:
    """What a first line may be that names none of the promised columns."""
    if not line.strip():
        return "the file is empty or starts with an empty line"
    if other := looks_like(line, but_not="CSV"):
        return f"{other}, not CSV"
    for delimiter in {",", ";", "\t", "|"} - {layout.delimiter}:
        if feed.columns_of(line.replace(_QUOTE, b"").decode("utf-8", "replace").split(delimiter)) is not None:
            return f"the delimiter is {delimiter!r}, not {layout.delimiter!r}"
    return None
