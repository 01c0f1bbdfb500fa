"""What must hold of every gzip, JSON lines and Parquet file, among them files nobody would think of."""

import gzip
import io
import json
from datetime import date
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import example, given
from hypothesis import strategies as st

from sh_core.columns import LINE, TEXT, UNPARSED
from sh_core.contract import READABLE
from sh_core.feed import Feed
from sh_core.formats import Csv, Format, JsonLines, Parquet
from sh_core.partitions import Daily
from sh_resources.raw import RawFile, RawPartition, read_raw
from sh_resources.raw.gzipped import unpack

DAYS = Daily(date(2013, 1, 1), date(2013, 12, 31))
DAY = "2013-01-05"
COLUMNS = ("dep_time", "carrier", "dest")

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)
"""What a cell may hold: anything but NUL, and what is no character on its own."""

REAL_CSV = b"dep_time,carrier,dest\n517,UA,IAH\n533,UA,IAH\n542,AA,MIA\nNA,B6,BQN\n" * 3
REAL_JSON = (
    b'{"dep_time": 517, "carrier": "UA", "dest": "IAH"}\n{"dep_time": null, "carrier": "B6", "dest": ["BQN"]}\n' * 3
)


def a_feed(layout: Format) -> Feed:
    return Feed("flights", "f_{partition}", COLUMNS, DAYS, "team:flights", format=layout, max_bytes=2**20)


def read(content: bytes, layout: Format) -> RawPartition:
    return read_raw(a_feed(layout), {DAY: RawFile.of(f"f_{DAY}", content)})[DAY]


def cells(part: RawPartition) -> list[tuple[str | None, ...]]:
    return part.frame.select(COLUMNS).rows()


def check_sound(part: RawPartition) -> None:
    """What holds of any file whatever."""
    unreadable = part.frame[TEXT].is_not_null()
    assert part.frame[UNPARSED].to_list() == [["*"] if bad else [] for bad in unreadable]
    bad = part.frame.filter(unreadable)
    assert bad.select(COLUMNS).null_count().row(0) == (bad.height,) * 3
    assert bad.height == part.records or not part.breaches


def lines_in(content: bytes) -> list[bytes]:
    """Physical lines, told by counting line ends."""
    lines = content.split(b"\n")
    return lines[:-1] if lines[-1] == b"" else lines


@st.composite
def damaged(draw: st.DrawFn, original: bytes) -> bytes:
    """A real file, with a few bytes changed, lost, doubled or inserted, or cut off."""
    content = bytearray(original)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(content) - 1))
        kept = draw(st.integers(0, 2))
        new = draw(
            st.one_of(st.sampled_from([b"", b'"', b"\n", b"\r", b"\0", b"\xff", b"{", b"]"]), st.binary(max_size=4))
        )
        content[at : at + kept] = draw(st.sampled_from([new, bytes(content[at : at + 40])]))
    return bytes(content[: draw(st.sampled_from([len(content), draw(st.integers(1, len(content)))]))])


# ------------------------------------------------------------------------------------------------ JSON lines

numbers = st.one_of(
    st.integers(-(10**30), 10**30).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=4).map(lambda d: f"{d:f}"),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
)
"""Numbers as a vendor may write them."""

scalars = st.one_of(
    texts.map(lambda text: (json.dumps(text), text)),
    texts.map(lambda text: (json.dumps(text, ensure_ascii=False), text)),
    numbers.map(lambda number: (number, number)),
    st.sampled_from([("true", "true"), ("false", "false"), ("null", None)]),
)
nested = st.recursive(
    st.one_of(texts, st.integers(), st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
).filter(lambda value: isinstance(value, list | dict))
compact = nested.map(
    lambda v: (json.dumps(v, indent=1).replace("\n", " "), json.dumps(v, ensure_ascii=False, separators=(",", ":")))
)
values = st.one_of(scalars, compact)
"""A value as written and as it must be read."""


@given(
    st.lists(st.tuples(values, values, values), min_size=1, max_size=6), st.sampled_from(["\n", "\r\n"]), st.booleans()
)
def test_what_was_written_as_json_is_what_is_read(
    rows: list[tuple[tuple[str, str | None], ...]], end: str, cut_last_end: bool
) -> None:
    """No digit, blank or letter changes on the way in."""
    lines = ["{" + ", ".join(f'"{c}": {w}' for c, (w, _) in zip(COLUMNS, row, strict=True)) + "}" for row in rows]
    content = (end.join(lines) + end * (not cut_last_end)).encode()
    part = read(content, JsonLines())
    assert part.breaches == ()
    assert cells(part) == [tuple(read_as for _, read_as in row) for row in rows]
    assert part.frame[LINE].to_list() == list(range(1, len(rows) + 1))


@given(st.one_of(st.binary(max_size=60), damaged(REAL_JSON)))
@example(b"\n")
@example(b'{"dep_time":1e999}')
def test_each_line_of_json_is_one_row_whatever_it_says(content: bytes) -> None:
    part = read(content, JsonLines())
    check_sound(part)
    lines = lines_in(content.removeprefix(b"\xef\xbb\xbf"))
    assert part.frame[LINE].to_list() == list(range(1, len(lines) + 1))
    for number, text in part.frame.filter(part.frame[TEXT].is_not_null()).select(LINE, TEXT).rows():
        raw = lines[number - 1]
        assert text in (
            raw.removesuffix(b"\r").decode("utf-8", "backslashreplace"),
            raw.decode("utf-8", "backslashreplace"),
        )


# ------------------------------------------------------------------------------------------------------- gzip


@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=3), st.integers(0, 9))
def test_what_was_packed_is_what_is_unpacked(members: list[bytes], level: int) -> None:
    unpacked = unpack(b"".join(gzip.compress(m, level) for m in members), 2**20)
    assert (unpacked.content, unpacked.fault) == (b"".join(members), None)


@given(damaged(gzip.compress(REAL_CSV, mtime=0)))
def test_damage_to_a_packed_file_is_found_or_harmless(content: bytes) -> None:
    """Harmless: a bit of the head that means nothing. What is found withholds all, line by line as far as it came."""
    part = read(content, Csv(compression="gzip"))
    check_sound(part)
    unpacked = unpack(content, 2**20)
    if unpacked.fault is None:
        assert unpacked.content == REAL_CSV * (len(unpacked.content) // len(REAL_CSV))
    elif unpacked.content:
        assert part.frame[LINE].to_list() == list(range(2, len(lines_in(unpacked.content)) + 1))
    else:
        assert part.frame[LINE].to_list() == [1]


# ---------------------------------------------------------------------------------------------------- Parquet

rows_of_values = st.lists(
    st.tuples(
        st.one_of(st.none(), texts),
        st.one_of(st.none(), st.floats()),
        st.one_of(
            st.none(),
            st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**20), max_value=10**20),
        ),
    ),
    max_size=8,
)


def parquet(rows: list[tuple[str | None, float | None, Decimal | None]], **options: int | bool) -> bytes:
    kinds = (pa.string(), pa.float64(), pa.decimal128(38, 6))
    columns = [pa.array([row[at] for row in rows], kind) for at, kind in enumerate(kinds)]
    out = io.BytesIO()
    pq.write_table(pa.table(columns, names=list(COLUMNS)), out, **options)  # type: ignore[arg-type]
    return out.getvalue()


@given(rows_of_values, st.booleans())
def test_a_parquet_cell_reads_back_as_the_value_it_was(
    rows: list[tuple[str | None, float | None, Decimal | None]], dictionary: bool
) -> None:
    part = read(parquet(rows, use_dictionary=dictionary), Parquet())
    assert part.breaches == ()
    assert part.records == len(rows)
    for (text, number, exact), (as_text, as_number, as_exact) in zip(rows, cells(part), strict=True):
        assert as_text == text
        assert (as_number is None) == (number is None)
        assert as_number is None or repr(float(as_number)) == repr(number)
        assert (None if as_exact is None else Decimal(as_exact)) == exact


REAL_PARQUET = parquet([("UA", 5.17, Decimal("1.5")), (None, None, None), ("B6", float("inf"), Decimal(-3))] * 20)


@given(st.one_of(st.binary(max_size=60), damaged(REAL_PARQUET)))
def test_no_parquet_file_makes_the_reader_raise_or_lose_a_row(content: bytes) -> None:
    """It is read whole, with as many rows as it says; or one row stands for all of it."""
    part = read(content, Parquet())
    check_sound(part)
    assert part.frame[LINE].to_list() == list(range(1, part.records + 1))
    if any(breach.rule == READABLE for breach in part.breaches):
        assert part.frame[TEXT].to_list() == [f"(the whole file, {len(content):,} bytes)"] * (content != b"")
    else:
        assert part.records == pq.read_metadata(pa.BufferReader(content)).num_rows
