"""What must hold of every file, among them files nobody would think of."""

import csv
import io
from datetime import date

import polars as pl
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sh_core.columns import LINE, TEXT, UNPARSED
from sh_core.feed import Feed
from sh_core.formats import Csv
from sh_core.partitions import Daily
from sh_resources.raw import RawFile, RawPartition, csv_files, read_raw

DAYS = Daily(date(2013, 1, 1), date(2013, 12, 31))
DAY = "2013-01-05"
COLUMNS = ("dep_time", "carrier", "dest")
REAL = (
    b"dep_time,carrier,dest\n517,UA,IAH\n533,UA,IAH\n542,AA,MIA\nNA,B6,BQN\n554,DL,ATL\n554,UA,ORD\n555,B6,FLL\n"
    b'557,EV,IAD\n557,"B6, late",MCO\n558,AA,"O""Hare"\n558,"two\nlines",PBI\n558,B6,TPA\n558,UA,LAX\n'
)

in_any_time = settings(deadline=None)
"""How long one example takes says nothing on a shared machine."""

delimiters = st.sampled_from([",", ";", "\t", "|", " ", "\\", "'", "a", "0"])
awkward = st.sampled_from(
    ['"', '""', ",", ";", "\t", "\n", "\r", "\r\n", " ", "\ufeff", "é", "漢", "🛬", "NA", "\\", "#", "\x1a"]
)
any_text = st.lists(st.one_of(awkward, st.text(max_size=4)), max_size=4).map("".join)
encodable = any_text.map(lambda text: "".join(c for c in text if c != "\0" and not "\ud800" <= c <= "\udfff"))
"""What a cell may hold: anything but NUL, and what is no character on its own."""

rows_of_cells = st.lists(st.tuples(encodable, encodable, encodable), max_size=8)
line_ends = st.sampled_from(["\n", "\r\n"])


def a_feed(delimiter: str = ",", encoding: str = "utf-8", columns: tuple[str, ...] = COLUMNS) -> Feed:
    return Feed("flights", "flights_{partition}.csv", columns, DAYS, "team:flights", format=Csv(delimiter, encoding))


def read(content: bytes, feed: Feed) -> RawPartition:
    return read_raw(feed, {DAY: RawFile.of(feed.expected_file(DAY), content)})[DAY]


def cells(part: RawPartition) -> list[tuple[str | None, ...]]:
    return part.frame.select(COLUMNS).rows()


def written(rows: list[tuple[str, str, str]], delimiter: str, line_end: str) -> str:
    # Before Python 3.13 a writer of LF files leaves a lone CR unquoted, unless it quotes everything.
    quote_all = line_end == "\n"
    text = io.StringIO()
    writer = csv.writer(
        text,
        delimiter=delimiter,
        lineterminator=line_end,
        quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL,
    )
    writer.writerows([COLUMNS, *rows])
    return text.getvalue()


def check_sound(content: bytes, part: RawPartition) -> None:
    """What holds of any file whatever, told by counting line ends and not by parsing."""
    frame = part.frame
    unreadable = frame[TEXT].is_not_null()
    assert part.records == frame.height
    assert frame[UNPARSED].to_list() == [["*"] if is_bad else [] for is_bad in unreadable]
    for column in COLUMNS:
        assert frame[column].is_null().to_list() == unreadable.to_list()
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    last = len(lines) - (lines[-1] == b"")
    covered: list[int] = []
    for number, text, *row in frame.select(LINE, TEXT, *COLUMNS).iter_rows():
        covered += range(number, number + 1 + sum(cell.count("\n") for cell in row if cell is not None))
        if text is not None:
            line = lines[number - 1]
            assert text == (line.removesuffix(b"\r") if number < len(lines) else line).decode(
                "utf-8", "backslashreplace"
            )
    assert covered == list(range(2, last + 1))


@in_any_time
@given(rows_of_cells, delimiters, line_ends, st.booleans(), st.booleans())
@example([("", "", "")], ",", "\n", False, False)
@example([('"', ",", "\r\n")], ",", "\r\n", True, True)
def test_what_a_csv_writer_wrote_is_what_is_read(
    rows: list[tuple[str, str, str]], delimiter: str, line_end: str, bom: bool, cut_last_line_end: bool
) -> None:
    """A cell that is altered on the way in is wrong everywhere, and no later rule can tell."""
    text = written(rows, delimiter, line_end)
    content = b"\xef\xbb\xbf" * bom + text.removesuffix(line_end * cut_last_line_end).encode()
    part = read(content, a_feed(delimiter))
    assert part.breaches == ()
    assert cells(part) == rows
    check_sound(content, part)


@in_any_time
@given(rows_of_cells, st.sampled_from(["latin-1", "cp1252", "cp932", "gb18030", "euc_kr"]))
def test_every_encoding_gives_the_same_cells(rows: list[tuple[str, str, str]], encoding: str) -> None:
    """Bytes of a character's second half must not be taken for quotes, delimiters or line ends."""
    text = written(rows, "|", "\n").encode(encoding, "ignore")
    expected = [tuple(cell.encode(encoding, "ignore").decode(encoding) for cell in row) for row in rows]
    assert cells(read(text, a_feed("|", encoding))) == expected
    spoiled = read(text + b"\xff\xff\x81\n", a_feed("|", encoding))
    assert cells(spoiled)[: len(rows)] == expected


lines = st.lists(st.one_of(awkward, st.sampled_from(list("1x,,,,\n\n")), st.text(max_size=3)), max_size=30)
plain_bytes = lines.map(lambda parts: "".join(parts).encode("utf-8", "surrogatepass"))
bodies = st.one_of(plain_bytes, st.binary(max_size=40))


@in_any_time
@given(
    bodies, st.sampled_from([b"dep_time,carrier,dest\n", b"\xef\xbb\xbfdest,dep_time,carrier\r\n", b"", b"dep_time\n"])
)
@example(b"\xef\xbb\xbf1,2,3\n", b"dep_time,carrier,dest\n")
@example(b'1,"', b"dep_time,carrier,dest\n")
def test_no_bytes_make_the_reader_raise_or_lose_a_record(body: bytes, header: bytes) -> None:
    check_sound(header + body, read(header + body, a_feed()))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A real file, with a few bytes changed, lost, doubled or inserted, or cut off."""
    content = bytearray(REAL)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(content) - 1))
        new = draw(st.sampled_from([b"", b'"', b",", b"\n", b"\r", b"\0", b"\xff", b"\xc3", b"x", b'"\n', b",\r\n"]))
        content[at : at + draw(st.integers(0, 2))] = new
    return bytes(content[: draw(st.integers(len(content) // 2, len(content)))])


@in_any_time
@given(damaged())
def test_damage_to_a_real_file_loses_no_record(content: bytes) -> None:
    check_sound(content, read(content, a_feed()))


@in_any_time
@given(st.integers(0, len(REAL)), st.sampled_from([b'"', b",", b"\0", b"\xff", b"\r", b"", b"x"]))
def test_one_damaged_byte_changes_no_other_record_than_its_own(at: int, new: bytes) -> None:
    """In the part of the file before any quote: what is published of the other lines is what was delivered."""
    start = REAL.index(b"\n") + 1
    plain = REAL[: REAL.index(b'557,"')]
    at = start + at % (len(plain) - start)
    content = plain[:at] + new + plain[at + 1 :]
    intact = {tuple(line.split(",")) for line in plain[start:].decode().splitlines()}
    touched = plain[:at].count(b"\n") + 1
    part = read(content, a_feed())
    for row, line in zip(cells(part), part.frame[LINE], strict=True):
        assert row in intact or None in row or line in (touched, touched + 1)


@st.composite
def plain_files(draw: st.DrawFn) -> tuple[str, list[bytes]]:
    """A delimiter and files that may or may not be regular, but usually nearly are."""
    delimiter = draw(delimiters)
    cell = st.one_of(st.sampled_from(["", " ", "1", "NA", "\ufeff", "é", "#", "\\", "🛬"]), encodable)
    files = []
    for _ in range(draw(st.integers(1, 4))):
        rows = draw(st.lists(st.tuples(cell, cell, cell), max_size=5))
        header = draw(st.permutations(["b", "c", "d"]))
        end = draw(line_ends)
        text = end.join(delimiter.join(row) for row in [header, *rows])
        files.append((text + draw(st.sampled_from(["", end, end + end]))).encode())
    return delimiter, files


@in_any_time
@given(plain_files())
@example((",", [b"b,c,d\n\xef\xbb\xbf1,2,3\n"]))
@example((",", [b"b,c,d\r\n1,2,3\r\n", b"b,c,d\n4,5,6", b"d,c,b\n7,8,9\n"]))
def test_the_fast_path_and_the_slow_path_agree(delimiter_and_files: tuple[str, list[bytes]]) -> None:
    """Else a quote somewhere in a file would change how its other lines are read."""
    delimiter, contents = delimiter_and_files
    feed = a_feed(delimiter, columns=("b", "c", "d"))
    files = {
        key: RawFile.of(feed.expected_file(key), content) for key, content in zip(DAYS.keys(), contents, strict=False)
    }
    for key, part in read_raw(feed, files).items():
        assert isinstance(feed.format, Csv)
        content = files[key].content or b""
        slow = csv_files._read_any(feed, feed.format, key, files[key].name, content, "utf-8")
        assert part.frame.equals(slow.frame)
        assert part.frame.schema == slow.frame.schema
        assert part.breaches == slow.breaches


def test_the_fast_path_is_taken_by_ordinary_files() -> None:
    """Else the property above would compare the slow path with itself."""
    for content in (b"b,c,d\n1,2,3\n", b"d,c,b\r\n1,,\r\n", "b,c,d\né,\ufeff,🛬".encode(), b"b,c,d", b"b,c,d\n, ,\n"):
        assert csv_files._split_plain(a_feed(columns=("b", "c", "d")), Csv(), content) is not None


@in_any_time
@given(rows_of_cells)
def test_strict_csv_as_python_reads_it_gives_the_same_cells(rows: list[tuple[str, str, str]]) -> None:
    """The dialect is nobody's invention: a second implementation reads well-formed files alike."""
    text = written(rows, ",", "\r\n")
    theirs = list(csv.reader(io.StringIO(text, newline=""), strict=True))[1:]
    assert [list(row) for row in cells(read(text.encode(), a_feed()))] == theirs


def test_frames_of_damaged_and_sound_files_can_be_concatenated() -> None:
    contents = [REAL, b"", b"dep_time,carrier,dest\n", b"\0", b"dep_time,carrier,dest\n1,2,3\n"]
    feed = a_feed()
    files = {
        key: RawFile.of(feed.expected_file(key), content) for key, content in zip(DAYS.keys(), contents, strict=False)
    }
    parts = read_raw(feed, files)
    assert pl.concat([part.frame for part in parts.values()]).height == sum(part.records for part in parts.values())
