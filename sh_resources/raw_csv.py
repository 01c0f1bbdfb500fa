"""From delivered bytes to raw rows: every cell as text, with the file and line that it came from.

Belongs here: splitting a feed's CSV files into records, and saying which of them cannot be read.
Does not belong here: finding or archiving files (``landing``), typing a cell, judging a row (the gate).
Invariant: rows are conserved. Whatever the bytes, everything after the header ends up in exactly one row, no cell is
altered or guessed, and nothing is raised on account of content.

The format is RFC 4180 taken strictly: cells in quotes may hold delimiters, doubled quotes and line ends; lines end with
LF or CRLF, the last one perhaps with neither. A record **cannot be read** if it

- has too few or too many cells, is a blank line, or is larger than ``MAX_RECORD_BYTES``,
- holds a NUL byte or bytes that are invalid in the feed's encoding,
- has a quote where none may stand (inside an unquoted cell, after a closing quote) or never closes one,
- has a carriage return outside of quotes that is not part of a CRLF: an old line end, or half of a damaged one.

Such a record becomes one unreadable row *per physical line* that it had reached when that became clear, and reading
resumes on the next line. So a quote that is opened and never closed makes every line from there on unreadable, one by
one: they count towards the feed's ``max_unparsable``, and none of them vanishes into a cell.

Files without quotes and flaws, which nearly all are, take a fast path, many files in one vectorised pass. The slow path
reads one file record by record; where the fast one applies, both give the same rows.
"""

import io
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
import polars as pl

from sh_core.columns import FILE, LINE, TEXT, UNPARSED, WHOLE_LINE
from sh_core.feed import Feed
from sh_core.partitions import Unpartitioned
from sh_core.verdict import Level, RuleBreach

HEADER = "header"
"""Name of the table-level rule that a file's header line is the promised one."""

MAX_RECORD_BYTES = 16 * 2**20
"""A longer record cannot be read: no table's row is that long, and memory stays a small multiple of the file."""

MAX_TEXT_BYTES = 64 * 2**10
"""How much of an unreadable line is kept as evidence; the whole of it is in the archive."""

_BATCH = 20_000  # records that the slow path holds as Python objects before they become a frame
_SHOWN = 12  # column names of each kind that a message lists

_BOM = b"\xef\xbb\xbf"
_CR, _LF, _NUL, _QUOTE = b"\r", b"\n", b"\0", b'"'

_LOOKS_LIKE = {
    "HTML or XML": (b"<",),
    "JSON": (b"{", b"["),
    "a compressed file": (b"\x1f\x8b", b"PK\x03\x04"),
    "UTF-16": (b"\xff\xfe", b"\xfe\xff"),
}


@dataclass(frozen=True)
class RawPartition:
    """One delivered file, read.

    Attributes:
        frame: One row per record after the header, in file order: the feed's columns in their declared order (String,
            exactly as delivered; an empty cell is ``""``), the partition column, ``_file``, ``_line``, ``_unparsed``
            (``["*"]`` for an unreadable line, else empty) and ``_text`` (such a line as it came, without its line end;
            else null). The feed's columns are null on unreadable lines, and only there.
        breaches: A breach of the table-level rule ``header``, or nothing. Where the header is broken, all rows are
            unreadable, one per physical line.
    """

    frame: pl.DataFrame
    breaches: tuple[RuleBreach, ...] = ()

    @property
    def records(self) -> int:
        """Records after the header: what the file brought, readable or not."""
        return self.frame.height


def read_raw(feed: Feed, files: Mapping[str, tuple[str, bytes]]) -> dict[str, RawPartition]:
    """Read delivered files of one feed.

    Args:
        feed: What the vendor promised.
        files: File name and content by partition key.

    Returns:
        What each file holds, by partition key, in the order of ``files``.

    Raises:
        DeclarationError: If a key is no partition of the feed, or its encoding is unknown or does not contain ASCII
            (UTF-16, EBCDIC): lines and cells could not be told apart. Content never raises.
    """
    encoding = feed.format.codec
    read: dict[str, RawPartition] = {}
    plain: dict[bytes, dict[str, bytes]] = defaultdict(dict)
    for key, (file_name, delivered) in files.items():
        content, encoded = _as_utf8(delivered, encoding)
        header_and_body = _split_plain(feed, content) if encoded == "utf-8" else None
        if header_and_body is None:
            read[key] = _read_any(feed, key, file_name, content, encoded)
        else:
            header, body = header_and_body
            plain[header][key] = body
    for header, bodies in plain.items():
        read |= _read_plain(feed, header, bodies, {key: files[key][0] for key in bodies})
    return {key: read[key] for key in files}


def _as_utf8(content: bytes, encoding: str) -> tuple[bytes, str]:
    """The content and its encoding: UTF-8 without byte-order mark, unless some byte has no meaning in the encoding."""
    if encoding == "utf-8":
        return content.removeprefix(_BOM), "utf-8"
    try:
        return content.decode(encoding).encode(), "utf-8"
    except UnicodeError:
        return content, encoding


# ------------------------------------------------------------------------------------------------- fast path


def _split_plain(feed: Feed, content: bytes) -> tuple[bytes, bytes] | None:
    """Header line and body (lines ended by LF) of a file that splits into cells at every delimiter; None for others."""
    if _QUOTE in content or _NUL in content:
        return None
    text = content.replace(b"\r\n", _LF)
    header, _, body = text.partition(_LF)
    delimiter, width = feed.format.delimiter.encode(), len(feed.columns)
    if _CR in text or sorted(header.split(delimiter, width)) != sorted(name.encode() for name in feed.columns):
        return None
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
    return None if blank_line or not _is_utf8(body) else (header, body)


def _is_utf8(content: bytes) -> bool:
    if content.isascii():
        return True
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _read_plain(
    feed: Feed, header: bytes, bodies: Mapping[str, bytes], file_names: Mapping[str, str]
) -> dict[str, RawPartition]:
    """Read regular bodies under the same header in one pass, by partition key."""
    delimiter = feed.format.delimiter
    # The header is read as a row and dropped: at the very start polars would take U+FEFF for a byte-order mark.
    cells = pl.read_csv(
        b"".join((header, _LF, *bodies.values())),
        has_header=False,
        schema=dict.fromkeys(header.decode().split(delimiter), pl.String()),
        separator=delimiter,
        quote_char=None,
        empty_string_is_null=False,
    ).slice(1)
    heights = [body.count(_LF) for body in bodies.values()]
    starts = np.cumsum([0, *heights[:-1]])
    line = pl.Series(LINE, np.arange(cells.height) - np.repeat(starts, heights) + 2, pl.Int64)
    text = pl.lit(None, pl.String).alias(TEXT)
    frame = _with_origin(feed, cells.with_columns(line, text), file_names, heights)
    return {
        key: RawPartition(frame.slice(start, height))
        for key, start, height in zip(bodies, starts.tolist(), heights, strict=True)
    }


def _with_origin(feed: Feed, rows: pl.DataFrame, file_names: Mapping[str, str], heights: list[int]) -> pl.DataFrame:
    """Complete rows (cells, ``_line``, ``_text``), the first ``heights[0]`` of which came from the first file, etc."""
    partitions, periods = feed.partitions, []
    if not isinstance(partitions, Unpartitioned):
        periods = [pl.Series(partitions.column, list(map(partitions.value, file_names)), partitions.dtype)]
    names = pl.Series(FILE, [f"{feed.name}/{name}" for name in file_names.values()], pl.String)
    origin = np.repeat(np.arange(len(heights)), heights)
    unreadable = pl.col(TEXT).is_not_null()
    nothing = pl.lit([], pl.List(pl.String))
    return rows.select(
        *feed.columns,
        *(values.gather(origin) for values in periods),
        names.gather(origin),
        LINE,
        pl.when(unreadable).then(pl.lit([WHOLE_LINE])).otherwise(nothing).alias(UNPARSED),
        TEXT,
    )


# ------------------------------------------------------------------------------------------------- slow path

_Record = tuple[int, list[bytes], list[str] | None]
"""Line number of a record's first line, its physical lines, and its cells, or None if they cannot be read."""


def _read_any(feed: Feed, key: str, file_name: str, content: bytes, encoding: str) -> RawPartition:
    """Read one file, whatever it holds."""
    records = _records(content, encoding, feed.format.delimiter)
    _, header_lines, header = next(records, (1, [b""], None))
    breach = _breach_of(feed, file_name, header_lines[0], header)
    if breach is None:
        columns = header or []
        rows = _rows(records, len(columns), encoding)
    else:
        # Nothing is known of the columns, so neither is where a quoted cell would span lines: each line stands alone.
        columns = list(feed.columns)
        lines = islice(enumerate(io.BytesIO(content), 1), 1, None)
        rows = _rows(((number, [raw], None) for number, raw in lines), len(columns), encoding)
    schema = dict.fromkeys(columns, pl.String()) | {LINE: pl.Int64(), TEXT: pl.String()}
    frames = [pl.DataFrame(schema=schema)]
    while batch := list(islice(rows, _BATCH)):
        frames.append(pl.DataFrame(list(zip(*batch, strict=True)), schema=schema, orient="col"))
    frame = pl.concat(frames)
    frame = _with_origin(feed, frame, {key: file_name}, [frame.height])
    return RawPartition(frame, () if breach is None else (breach,))


def _rows(records: Iterator[_Record], width: int, encoding: str) -> Iterator[tuple[str | int | None, ...]]:
    """Cells, line number and text: a row per readable record of that width, and one per physical line of the others."""
    for line, raw_lines, cells in records:
        if cells is not None and len(cells) == width:
            yield (*cells, line, None)
        else:
            for number, raw in enumerate(raw_lines, line):
                yield (*[None] * width, number, _evidence(raw, encoding))


def _evidence(raw: bytes, encoding: str) -> str:
    """An unreadable line as text, invalid bytes as escapes, without its line end; cut if it is very long."""
    raw = _without_line_end(raw)
    text = raw[:MAX_TEXT_BYTES].decode(encoding, "backslashreplace")
    if len(raw) <= MAX_TEXT_BYTES:
        return text
    return f"{text}… (line of {len(raw)} bytes, cut after {MAX_TEXT_BYTES})"


def _without_line_end(raw: bytes) -> bytes:
    return raw[:-1].removesuffix(_CR) if raw.endswith(_LF) else raw


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
            return cells if readable and _without_line_end(raw) else None
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


def _breach_of(feed: Feed, file_name: str, raw: bytes, header: list[str] | None) -> RuleBreach | None:
    """What is wrong with a header, given its first line as it came and its cells if they could be read."""
    names = Counter(header)
    if names == Counter(feed.columns):
        return None
    if names.keys() & set(feed.columns):
        problems = (
            _listed("missing", [name for name in feed.columns if name not in names]),
            _listed("unexpected", [name for name in names if name not in feed.columns]),
            _listed("repeated", [name for name in feed.columns if names[name] > 1]),
        )
        problem = "; ".join(filter(None, problems))
    else:
        # Not a header at all, perhaps a row of data: say what it looks like, but quote nothing from it.
        unread = f"this is no readable {feed.format.encoding} CSV" if header is None else "none of the columns is there"
        problem = _guess(feed, _without_line_end(raw[:MAX_TEXT_BYTES])) or unread
    detail = f"{file_name} line 1: {problem}; expected {feed.format.delimiter.join(feed.columns)}"
    return RuleBreach(HEADER, Level.TABLE, 1, detail)


def _listed(what: str, names: list[str]) -> str:
    """``missing columns a, b``; empty if there are none, and short however many and long they are."""
    shown = [name[:40] if name.isidentifier() else repr(name[:40]) for name in names[:_SHOWN]]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{what} column{'s'[: len(names) - 1]} {', '.join(shown)}{more}" if names else ""


def _guess(feed: Feed, line: bytes) -> str | None:
    """What a first line may be that names none of the promised columns."""
    if not line.strip():
        return "the file is empty or starts with an empty line"
    for what, starts in _LOOKS_LIKE.items():
        if line.startswith(starts):
            return f"this looks like {what}, not CSV"
    for other in {",", ";", "\t", "|"} - {feed.format.delimiter}:
        if sorted(line.replace(_QUOTE, b"").split(other.encode())) == sorted(name.encode() for name in feed.columns):
            return f"the delimiter is {other!r}, not {feed.format.delimiter!r}"
    return None
