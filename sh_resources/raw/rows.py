"""What every reader returns: rows of text with their origin, and what is wrong with the file as a whole.

Belongs here: the shape of a raw partition; unreadable lines and files as rows; words about columns. Does not belong
here: any one format. Invariant: a row is unreadable or readable: either ``_text`` is null and ``_unparsed`` empty, or
``_text`` holds what came, ``_unparsed`` is ``["*"]`` and the feed's columns are null.
"""

import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import polars as pl

from sh_core.columns import FILE, LINE, TEXT, UNPARSED, WHOLE_LINE
from sh_core.contract import HEADER, READABLE
from sh_core.feed import Feed
from sh_core.verdict import Level, RuleBreach

MAX_RECORD_BYTES = 16 * 2**20
"""A longer record cannot be read: no table's row is that long, and memory stays a small multiple of the file."""

MAX_TEXT_BYTES = 64 * 2**10
"""How much of an unreadable line is kept as evidence; the whole of it is in the archive."""

BOM = b"\xef\xbb\xbf"

_BATCH = 20_000  # records that are held as Python objects before they become a frame
_SHOWN = 12  # column names of each kind that a message lists

_LOOKS_LIKE = {
    "HTML or XML": (b"<",),
    "JSON": (b"{", b"["),
    "a gzip file": (b"\x1f\x8b",),
    "a zip file": (b"PK\x03\x04",),
    "Parquet": (b"PAR1",),
    "UTF-16": (b"\xff\xfe", b"\xfe\xff"),
}


@dataclass(frozen=True)
class RawFile:
    """One delivered file.

    Attributes:
        name: Its name, without folder.
        size_bytes: Its size as delivered.
        content: Its bytes; None if there are more of them than the feed allows.
    """

    name: str
    size_bytes: int
    content: bytes | None

    @classmethod
    def of(cls, name: str, content: bytes) -> "RawFile":
        """A file whose bytes are all there."""
        return cls(name, len(content), content)


@dataclass(frozen=True)
class RawPartition:
    """One delivered file, read.

    Attributes:
        frame: One row per record, in file order: the feed's columns in their declared order (String), the partition
            column, ``_file``, ``_line``, ``_unparsed`` (``["*"]`` for what cannot be read, else empty) and ``_text``
            (what cannot be read, as it came, without its line end; else null). The feed's columns are null on
            unreadable rows.
        breaches: Breaches of the table-level rules ``readable`` and ``header``. Where there is one, all rows are
            unreadable.
    """

    frame: pl.DataFrame
    breaches: tuple[RuleBreach, ...] = ()

    @property
    def records(self) -> int:
        """What the file brought, readable or not; a CSV file's header does not count."""
        return self.frame.height


Row = tuple[str | int | None, ...]
"""Cells, line number and text of a row: the text is null on readable rows, the cells are on all others."""


def from_rows(feed: Feed, key: str, file_name: str, rows: Iterator[Row], columns: Sequence[str]) -> pl.DataFrame:
    """Rows of one file as a frame.

    Args:
        feed: What the vendor promised.
        key: The file's partition.
        file_name: The file's name.
        rows: Its rows.
        columns: Which of the feed's columns the rows' cells are, in order.
    """
    schema = dict.fromkeys(columns, pl.String()) | {LINE: pl.Int64(), TEXT: pl.String()}
    frames = [pl.DataFrame(schema=schema)]
    while batch := list(islice(rows, _BATCH)):
        frames.append(pl.DataFrame(list(zip(*batch, strict=True)), schema=schema, orient="col"))
    frame = pl.concat(frames)
    return with_origin(feed, frame, {key: file_name}, [frame.height])


def with_origin(feed: Feed, rows: pl.DataFrame, file_names: Mapping[str, str], heights: Sequence[int]) -> pl.DataFrame:
    """Complete rows (cells, ``_line``, ``_text``), the first ``heights[0]`` of which came from the first file, etc.

    Columns of the feed that they lack are null.
    """
    own = [feed.partitions.values(key) for key in file_names]
    periods = [pl.Series(name, [v[name] for v in own], dtype) for name, dtype in feed.partitions.columns.items()]
    names = pl.Series(FILE, [f"{feed.name}/{name}" for name in file_names.values()], pl.String)
    origin = np.repeat(np.arange(len(heights)), heights)
    unreadable = pl.col(TEXT).is_not_null()
    nothing = pl.lit([], pl.List(pl.String))
    absent = pl.lit(None, pl.String)
    return rows.select(
        *(name if name in rows.columns else absent.alias(name) for name in feed.columns),
        *(values.gather(origin) for values in periods),
        names.gather(origin),
        LINE,
        pl.when(unreadable).then(pl.lit([WHOLE_LINE])).otherwise(nothing).alias(UNPARSED),
        TEXT,
    )


# ---------------------------------------------------------------------------------------- what cannot be read


def unreadable(width: int, number: int, text: str) -> Row:
    """One unreadable row of that many cells."""
    return (*[None] * width, number, text)


def all_unreadable(
    feed: Feed, key: str, file_name: str, texts: Iterable[tuple[int, str]], breach: RuleBreach
) -> RawPartition:
    """A withheld file: a row per line or record that came, with its number and text."""
    width = len(feed.columns)
    rows = (unreadable(width, number, text) for number, text in texts)
    return RawPartition(from_rows(feed, key, file_name, rows, feed.columns), (breach,))


def lines_of(content: bytes, encoding: str, first: int) -> Iterator[tuple[int, str]]:
    """Number and text of each physical line, from the one with that number on."""
    for number, raw in islice(enumerate(io.BytesIO(content), 1), first - 1, None):
        yield number, evidence(raw, encoding)


def not_read(feed: Feed, key: str, file: RawFile, why: str) -> RawPartition:
    """A file of which nothing could be read: one row stands for it, unless it is empty."""
    text = [(1, f"(the whole file, {file.size_bytes:,} bytes)")] if file.size_bytes else []
    return all_unreadable(feed, key, file.name, text, not_readable(file.name, why))


def not_readable(file_name: str, why: str) -> RuleBreach:
    """A breach of the rule ``readable``."""
    return RuleBreach(READABLE, Level.TABLE, 1, f"{file_name}: {why}")


def too_large(feed: Feed, key: str, file: RawFile, *, unpacked: bool = False) -> RawPartition:
    """A file that is larger than the feed allows, as delivered or else unpacked."""
    allowed = f"{feed.max_bytes:,}"
    size = (
        f" and unpacks to more than the {allowed} that the feed allows" if unpacked else f", the feed allows {allowed}"
    )
    advice = f"raise that, or have {feed.owner} deliver less at a time"
    return not_read(feed, key, file, f"the file is {file.size_bytes:,} bytes{size} (max_bytes); {advice}")


def evidence(raw: bytes, encoding: str) -> str:
    """An unreadable line as text, invalid bytes as escapes, without its line end; cut if it is very long."""
    raw = without_line_end(raw)
    text = raw[:MAX_TEXT_BYTES].decode(encoding, "backslashreplace")
    if len(raw) <= MAX_TEXT_BYTES:
        return text
    return f"{text}… (line of {len(raw)} bytes, cut after {MAX_TEXT_BYTES})"


def without_line_end(raw: bytes) -> bytes:
    """A physical line without LF or CRLF."""
    return raw[:-1].removesuffix(b"\r") if raw.endswith(b"\n") else raw


# ---------------------------------------------------------------------------------------------------- columns


def header_breach(where: str, problem: str, expected: str) -> RuleBreach:
    """A breach of the rule ``header``."""
    return RuleBreach(HEADER, Level.TABLE, 1, f"{where}: {problem}; expected {expected}")


def wrong_columns(feed: Feed, names: Iterable[str]) -> str:
    """How a file's columns differ from the promised ones; empty if ``feed.columns_of`` takes them."""
    found = Counter(names)
    came_as: dict[str, list[str]] = {}
    for name in found:
        if name in feed.columns_by_name:
            came_as.setdefault(feed.columns_by_name[name], []).append(name)
    problems = (
        listed("missing", [c for c in feed.columns if c not in came_as and c not in feed.optional]),
        listed("unexpected", [name for name in found if name not in feed.columns_by_name]),
        listed("repeated", [name for name in found if name in feed.columns_by_name and found[name] > 1]),
        *(both_names(column, several) for column, several in came_as.items() if len(several) > 1),
    )
    return "; ".join(filter(None, problems))


def both_names(column: str, names: Sequence[str]) -> str:
    """What to say of a column that came under several of its names."""
    return f"{column!r:.40} came under {len(names)} of its names ({', '.join(f'{name!r:.40}' for name in names)})"


def promised(feed: Feed, delimiter: str) -> str:
    """The promised columns, for people."""
    optional = [name for name in feed.columns if name in feed.optional]
    without = f", perhaps without {', '.join(optional)}" if optional else ""
    return f"{delimiter.join(feed.columns)}{without}"


def listed(what: str, names: Sequence[str]) -> str:
    """``missing columns a, b``; empty if there are none, and short however many and long they are."""
    shown = [name[:40] if name.isidentifier() else repr(name[:40]) for name in names[:_SHOWN]]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{what} column{'s'[: len(names) - 1]} {', '.join(shown)}{more}" if names else ""


def looks_like(content: bytes, but_not: str) -> str | None:
    """What a file may be that is not what it should be, by its first bytes."""
    for what, starts in _LOOKS_LIKE.items():
        if content.startswith(starts) and what != but_not:
            return f"this looks like {what}"
    return None
