"""Parquet files as vendors write them, and what disks make of them."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sh_core.columns import LINE, TEXT, UNPARSED
from sh_core.contract import HEADER, READABLE
from sh_core.feed import Feed
from sh_core.formats import Parquet
from sh_core.partitions import Daily
from sh_resources.raw import RawFile, RawPartition, parquet_files, read_raw

DAY = "2013-01-05"
DAYS = Daily(date(2013, 1, 1), date(2013, 12, 31))
NAME = "flights_2013-01-05.parquet"


def packed(table: pa.Table, **options: Any) -> bytes:  # noqa: ANN401
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def read(content: bytes, *columns: str, max_bytes: int = 2**26) -> RawPartition:
    feed = Feed(
        "flights",
        "flights_{partition}.parquet",
        columns or ("a", "b"),
        DAYS,
        "team:f",
        format=Parquet(),
        max_bytes=max_bytes,
    )
    return read_raw(feed, {DAY: RawFile.of(NAME, content)})[DAY]


def ints(kind: pa.DataType, *values: int) -> "pa.Array[Any]":
    return pa.array(values, pa.int64()).cast(kind)


def test_a_row_carries_its_cells_its_day_its_file_and_its_number() -> None:
    part = read(packed(pa.table({"b": [1, 2], "a": ["x", "y"]})))
    assert part.frame.rows() == [
        ("x", "1", date(2013, 1, 5), f"flights/{NAME}", 1, [], None),
        ("y", "2", date(2013, 1, 5), f"flights/{NAME}", 2, [], None),
    ]
    assert part.breaches == ()


INSTANT = datetime(2013, 1, 5, 10, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pa.array(["x", "", None]), ["x", "", None]),
        (pa.array(["x", "", None], pa.large_string()), ["x", "", None]),
        (pa.array(["q", None, "q"]).dictionary_encode(), ["q", None, "q"]),
        (pa.array([1, -5, None]), ["1", "-5", None]),
        (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
        (pa.array([1.1, 1e16, -0.0, float("nan"), float("inf"), None]), ["1.1", "1e+16", "-0", "nan", "inf", None]),
        (pa.array([1.1, 3.4e38], pa.float32()), ["1.1", "3.4e+38"]),
        (pa.array([Decimal("1.10"), Decimal("-3.00"), None], pa.decimal128(30, 2)), ["1.10", "-3.00", None]),
        (pa.array([Decimal("1.10")], pa.decimal256(60, 2)), ["1.10"]),
        (pa.array([True, False, None]), ["true", "false", None]),
        (pa.array([date(2013, 1, 5), None]), ["2013-01-05", None]),
        (pa.array([date(2013, 1, 5)], pa.date64()), ["2013-01-05"]),
        (pa.array([INSTANT, None]), ["2013-01-05T10:15:00Z", None]),
        (pa.array([INSTANT], pa.timestamp("ns", "America/New_York")), ["2013-01-05T10:15:00Z"]),
        (pa.array([INSTANT + timedelta(microseconds=1)], pa.timestamp("us", "UTC")), ["2013-01-05T10:15:00.000001Z"]),
        (
            ints(pa.timestamp("ns", "UTC"), 0, 1, 1_500_000_000),
            ["1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000001Z", "1970-01-01T00:00:01.500Z"],
        ),
        (pa.array([datetime(2013, 1, 5, 10, 15)]), ["2013-01-05T10:15:00"]),  # noqa: DTZ001
        (pa.array([time(10, 15), time(10, 15, 0, 500_000)]), ["10:15:00", "10:15:00.500"]),
        (ints(pa.timestamp("us"), 2**63 - 1), ["<value out of range: 9223372036854775807>"]),
        (ints(pa.duration("us"), 5), ["5"]),
        (pa.array([b"\x00\xff", b"", None]), ["00ff", "", None]),
        (pa.array([b"abc", None], pa.binary(3)), ["616263", None]),
        (pa.nulls(2), [None, None]),
        (pa.array([[1, None], [], None]), ["[1,null]", "[]", None]),
        (pa.array([[1, 2], None], pa.list_(pa.int8(), 2)), ["[1,2]", None]),
        (pa.array([["a", 'ü"'], [None]]), ['["a","ü\\""]', "[null]"]),
        (pa.array([[[1], [2, 3]], [[]], None]), ["[[1],[2,3]]", "[[]]", None]),
        (pa.array([[1.5, float("nan")], [None]]), ['[1.5,"nan"]', "[null]"]),
        (
            pa.array([{"x": 1, "y": date(2013, 1, 5)}, None, {"x": None, "y": None}]),
            ['{"x":1,"y":"2013-01-05"}', None, '{"x":null,"y":null}'],
        ),
        (
            pa.array([[("k", 1.5), ("l", None)], None, []], pa.map_(pa.string(), pa.float64())),
            ['[["k",1.5],["l",null]]', None, "[]"],
        ),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_each_value_has_one_text(values: "pa.Array[Any]", texts: list[str | None]) -> None:
    part = read(packed(pa.table({"a": values})), "a")
    assert part.breaches == ()
    assert part.frame["a"].to_list() == texts


def test_many_batches_and_row_groups_are_one_file() -> None:
    """A dictionary may change from one group of rows to the next."""
    size = 3 * parquet_files._BATCH + 5
    table = pa.table({"a": [f"n{n % 1000}" for n in range(size)], "b": range(size)})
    part = read(packed(table, row_group_size=parquet_files._BATCH - 7))
    assert part.frame["a"].to_list() == table["a"].to_pylist()
    assert part.frame["b"].to_list() == [str(n) for n in range(size)]
    assert part.frame[LINE].to_list() == list(range(1, size + 1))


def test_no_rows_are_a_day_without_rows() -> None:
    part = read(packed(pa.table({"a": [], "b": []})))
    assert (part.records, part.breaches) == (0, ())


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (pa.table({"a": [1, 2]}), "missing column b"),
        (pa.table({"a": [1, 2], "b": [1, 2], "c d": [3, 4]}), "unexpected column 'c d'"),
        (pa.table([pa.array([1, 2])] * 3, names=["a", "b", "a"]), "repeated column a"),
    ],
)
def test_other_columns_withhold_the_file_and_lose_no_row(table: pa.Table, says: str) -> None:
    part = read(packed(table))
    (breach,) = part.breaches
    assert (breach.rule, breach.detail) == (HEADER, f"{NAME}: {says}; expected a, b")
    assert part.frame[UNPARSED].to_list() == [["*"], ["*"]]
    assert part.frame[LINE].to_list() == [1, 2]
    assert '"1"' in part.frame[TEXT][0]


def test_a_row_with_a_nul_is_unreadable() -> None:
    part = read(packed(pa.table({"a": ["x", "y\0", None], "b": [1, 2, None]})))
    assert part.frame.select("a", "b", LINE, UNPARSED).rows() == [
        ("x", "1", 1, []),
        (None, None, 2, ["*"]),
        (None, None, 3, []),
    ]
    assert json.loads(part.frame[TEXT][1]) == {"a": "y\0", "b": "2"}


def test_a_row_past_the_limit_is_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_files, "MAX_RECORD_BYTES", 100_000)
    part = read(packed(pa.table({"a": ["x" * 99_999, "x" * 100_000], "b": [1, 2]})))
    assert part.frame[UNPARSED].to_list() == [[], ["*"]]
    assert len(part.frame[TEXT][1]) < 66_000


GOOD = packed(pa.table({"a": [f"{n}" for n in range(1000)], "b": range(1000)}))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"", "the file is empty", id="empty"),
        pytest.param(b"<html>", "this looks like HTML or XML, not Parquet", id="error page"),
        pytest.param(b"a,b\n1,2\n", "it cannot be read as Parquet: ", id="CSV"),
        pytest.param(GOOD[:-1], "it cannot be read as Parquet: Parquet magic bytes not found", id="cut off"),
        pytest.param(GOOD[: len(GOOD) // 2] + b"PAR1", "it cannot be read as Parquet: ", id="cut in the middle"),
        pytest.param(GOOD[:100] + bytes(50) + GOOD[150:], "it cannot be read as Parquet: ", id="zeros within"),
    ],
)
def test_a_damaged_file_is_withheld_as_a_whole(content: bytes, says: str) -> None:
    """Half a column is no row."""
    part = read(content)
    (breach,) = part.breaches
    assert breach.rule == READABLE
    assert breach.detail.startswith(f"{NAME}: {says}")
    expected = [(1, ["*"], f"(the whole file, {len(content):,} bytes)")] if content else []
    assert part.frame.select(LINE, UNPARSED, TEXT).rows() == expected


@pytest.mark.parametrize("damage", range(0, 200, 10))
def test_a_flipped_byte_under_a_checksum_is_found(damage: int) -> None:
    """Without one, a flipped digit is another number and nobody can tell; vendors should write them."""
    checked = packed(pa.table({"a": ["x"] * 300, "b": np.arange(300)}), write_page_checksum=True, compression="none")
    at = 100 + damage
    part = read(checked[:at] + bytes([checked[at] ^ 1]) + checked[at + 1 :])
    assert part.breaches


def test_a_file_that_holds_fewer_rows_than_it_says_is_withheld(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row groups that a reader skips over would be rows that nobody misses."""
    all_of_them = pq.ParquetFile.iter_batches

    def first_only(self: pq.ParquetFile, size: int) -> Iterator[pa.RecordBatch]:
        yield next(iter(all_of_them(self, size)))

    table = pa.table({"a": np.arange(parquet_files._BATCH + 1), "b": np.arange(parquet_files._BATCH + 1)})
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", first_only)
    (breach,) = read(packed(table)).breaches
    assert breach.detail == f"{NAME}: it says that it has 8,193 rows, and holds 8,192"


def test_text_that_is_no_utf_8_withholds_the_file() -> None:
    """Polars would trust it, and read beyond."""
    content = packed(pa.table({"a": ["find me"], "b": [1]}), compression="none", use_dictionary=False)
    assert content.count(b"find me") >= 1
    (breach,) = read(content.replace(b"find me", b"find \xff\xfe")).breaches
    assert "Invalid UTF8" in breach.detail


def peak() -> int:
    """Most bytes that Arrow ever held."""
    held = pa.default_memory_pool().max_memory()
    assert held is not None
    return held


@pytest.mark.parametrize("stores_types", [True, False])
def test_a_text_repeated_a_million_times_is_measured_before_it_is_made(stores_types: bool) -> None:
    """A file of a few kB that is 200 GB of text, whether or not it says that it has a dictionary."""
    repeated = pa.DictionaryArray.from_arrays(np.zeros(2_000_000, np.int32), pa.array(["x" * 10**5]))
    content = packed(pa.table({"a": repeated, "b": np.zeros(2_000_000, np.int8)}), store_schema=stores_types)
    assert len(content) < 30_000
    before = peak()
    part = read(content)
    assert peak() - before < 2**26
    assert part.breaches[0].detail == (
        f"{NAME}: the file is {len(content):,} bytes and unpacks to more than the 67,108,864 that the feed allows "
        "(max_bytes); raise that, or have team:f deliver less at a time"
    )
    assert part.records == 1


@pytest.mark.parametrize(("max_bytes", "fits"), [(800_000, True), (799_999, False)])
def test_what_is_short_in_the_file_and_long_as_text_is_measured_as_text(max_bytes: int, fits: bool) -> None:
    """A million zeros take a few bytes; each cell counts as one more than its text."""
    content = packed(pa.table({"a": np.zeros(200_000, np.int8), "b": np.zeros(200_000, np.int8)}))
    assert (read(content, max_bytes=max_bytes).breaches == ()) == fits


@pytest.mark.parametrize("values", [np.zeros(5_000_000), np.random.default_rng(0).normal(size=50_000)])
def test_more_than_allowed_is_not_read(values: Any) -> None:  # noqa: ANN401
    (breach,) = read(packed(pa.table({"a": values, "b": values})), max_bytes=2**19).breaches
    assert breach.rule == READABLE
    assert "max_bytes" in breach.detail
