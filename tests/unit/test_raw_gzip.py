"""Gzip as it arrives: cut off, damaged, doubled, not gzip at all, or a bomb."""

import gzip
import time
import tracemalloc
import zlib
from datetime import date

import pytest

from sh_core.columns import LINE, TEXT, UNPARSED
from sh_core.contract import READABLE
from sh_core.errors import DeclarationError
from sh_core.feed import Feed
from sh_core.formats import Csv, JsonLines
from sh_core.partitions import Daily
from sh_resources.raw import RawFile, RawPartition, read_raw
from sh_resources.raw.gzipped import unpack

DAY = "2013-01-05"
DAYS = Daily(date(2013, 1, 1), date(2013, 12, 31))
NAME = "flights_2013-01-05.csv.gz"
BODY = b"a,b\n" + b"".join(b"%d,x%d\n" % (n, n * n) for n in range(5000))
PACKED = gzip.compress(BODY, mtime=0)


def a_feed(max_bytes: int = 2**20, layout: Csv | JsonLines | None = None) -> Feed:
    layout = layout or Csv(compression="gzip")
    return Feed("flights", "f_{partition}.csv.gz", ("a", "b"), DAYS, "team:f", format=layout, max_bytes=max_bytes)


def read(content: bytes, feed: Feed | None = None) -> RawPartition:
    return read_raw(feed or a_feed(), {DAY: RawFile.of(NAME, content)})[DAY]


def fault(part: RawPartition) -> str:
    """What the one breach says, once it is certain that nothing can be published."""
    (breach,) = part.breaches
    assert breach.rule == READABLE
    assert part.frame[UNPARSED].to_list() == [["*"]] * part.records
    assert part.frame.select("a", "b").null_count().row(0) == (part.records, part.records)
    return breach.detail


def test_a_packed_file_gives_the_rows_of_the_file_that_was_packed() -> None:
    plain = read_raw(a_feed(layout=Csv()), {DAY: RawFile.of(NAME, BODY)})[DAY]
    assert read(PACKED).frame.equals(plain.frame)
    assert plain.records == 5000


def test_members_one_after_the_other_are_one_file() -> None:
    """How a vendor's log writer appends; and zeros at the end are how a tape pads."""
    parts = [BODY[:1000], b"", BODY[1000:]]
    assert unpack(b"".join(gzip.compress(p) for p in parts) + bytes(512), 2**20).content == BODY


def test_a_million_little_members_take_time_in_proportion() -> None:
    """Copying a megabyte for each of them took a quarter of an hour for as many as a feed allows."""
    packed = gzip.compress(b"") * 1_000_000
    started = time.perf_counter()
    assert unpack(packed, 2**20).content == b""
    assert time.perf_counter() - started < 8


@pytest.mark.parametrize("name", ["", "x.csv"])
def test_a_name_and_other_fields_in_the_head_are_skipped(name: str) -> None:
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(BODY) + packer.flush()
    named = (
        packed[:3] + bytes([8 if name else 0]) + packed[4:10] + (name.encode() + b"\0" if name else b"") + packed[10:]
    )
    assert unpack(named, 2**20).content == BODY


@pytest.mark.parametrize("left", [1, 9, 10, 11, 18, len(PACKED) // 2, len(PACKED) - 9, len(PACKED) - 1])
def test_a_file_cut_off_is_withheld_and_each_line_that_came_is_accounted_for(left: int) -> None:
    """Half a day of flights looks like a quiet day. What came out is evidence, and none of it is published."""
    part = read(PACKED[:left])
    came = zlib.decompressobj(31).decompress(PACKED[:left])
    whole_lines = came.splitlines()
    if came:
        assert fault(part) == (
            f"{NAME}: it is cut off in line {came.count(bytes([10])) + 1:,}, after {len(came):,} unpacked bytes"
        )
        assert part.frame.select(LINE, TEXT).rows() == [
            (n, line.decode()) for n, line in enumerate(whole_lines, 1) if n > 1
        ]
    else:
        assert part.frame.select(LINE, TEXT).rows() == [(1, f"(the whole file, {left:,} bytes)")]
        assert "cut off" in fault(part) or "not gzip" in fault(part)


@pytest.mark.parametrize("at", [12, len(PACKED) // 2, len(PACKED) - 8, len(PACKED) - 4])
def test_a_file_damaged_anywhere_is_withheld(at: int) -> None:
    """Body, checksum, length: whatever does not fit, nobody knows which lines are right."""
    damaged = PACKED[:at] + bytes([PACKED[at] ^ 0xFF]) + PACKED[at + 1 :]
    assert "it is damaged in line" in fault(read(damaged)) or "cut off" in fault(read(damaged))


def test_what_follows_the_end_and_is_no_gzip_withholds_the_file() -> None:
    """The second half of an upload under another name, perhaps: gzip itself only warns."""
    part = read(PACKED + b"rest")
    assert fault(part) == f"{NAME}: after its end come 4 bytes that are no gzip"
    assert part.records == 5000


def test_a_file_that_was_never_packed_is_told_so() -> None:
    part = read(BODY)
    assert fault(part) == f"{NAME}: it is not gzip: the first bytes are not those of one"
    assert part.frame.select(LINE, TEXT).rows() == [(1, f"(the whole file, {len(BODY):,} bytes)")]


def test_an_empty_file_holds_nothing() -> None:
    part = read(b"")
    assert (fault(part), part.records) == (f"{NAME}: it is empty", 0)


def test_json_lines_have_no_header_that_does_not_count() -> None:
    feed = a_feed(layout=JsonLines(compression="gzip"))
    packed = gzip.compress(b'{"a":1,"b":2}\n' * 3)
    assert read(packed, feed).frame[LINE].to_list() == [1, 2, 3]
    assert read(packed[:-1], feed).frame[LINE].to_list() == [1, 2, 3]


@pytest.mark.parametrize(("size", "fits"), [(2**20, True), (2**20 + 1, False)])
def test_the_limit_is_exact(size: int, fits: bool) -> None:
    packed = gzip.compress(b"x" * size)
    assert (unpack(packed, 2**20).fault is None) == fits
    assert unpack(packed, 2**20).is_too_large == (not fits)


@pytest.mark.parametrize("members", [1, 40])
def test_a_bomb_is_defused_at_the_limit(members: int) -> None:
    """A megabyte that unpacks to a gigabyte took the whole machine down; also piece by piece it must not."""
    packed = gzip.compress(bytes(2**30 // members)) * members
    tracemalloc.start()
    part = read(packed, a_feed(max_bytes=4 * 2**20))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * 2**20
    assert fault(part) == (
        f"{NAME}: the file is {len(packed):,} bytes and unpacks to more than the 4,194,304 that the feed allows "
        "(max_bytes); raise that, or have team:f deliver less at a time"
    )
    assert part.frame.select(LINE, TEXT).rows() == [(1, f"(the whole file, {len(packed):,} bytes)")]


def test_a_file_larger_than_allowed_is_not_unpacked() -> None:
    part = read(PACKED, a_feed(max_bytes=100))
    assert f"the file is {len(PACKED):,} bytes, the feed allows 100 (max_bytes)" in fault(part)
    unread = read_raw(a_feed(), {DAY: RawFile(NAME, 2**31, None)})[DAY]
    assert "the file is 2,147,483,648 bytes, the feed allows 1,048,576 (max_bytes)" in fault(unread)
    assert unread.frame.select(LINE, TEXT).rows() == [(1, "(the whole file, 2,147,483,648 bytes)")]


def test_another_compression_is_refused_at_import() -> None:
    with pytest.raises(DeclarationError, match="'zstd'"):
        Csv(compression="zstd")  # type: ignore[arg-type]


@pytest.mark.parametrize("max_bytes", [0, -1])
def test_a_feed_that_allows_nothing_is_refused(max_bytes: int) -> None:
    with pytest.raises(DeclarationError, match="max_bytes"):
        a_feed(max_bytes=max_bytes)
