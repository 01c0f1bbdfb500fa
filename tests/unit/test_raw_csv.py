"""Each test is a delivery that went wrong somewhere once, and what must become of it."""

import csv
import time
import tracemalloc
from datetime import date

import polars as pl
import pytest

from sh_core.columns import FILE, LINE, TEXT, UNPARSED
from sh_core.contract import HEADER
from sh_core.errors import DeclarationError
from sh_core.feed import Feed
from sh_core.formats import Csv
from sh_core.partitions import Daily
from sh_core.verdict import Level
from sh_resources.raw import RawFile, RawPartition, csv_files, read_raw
from sh_resources.raw.rows import MAX_TEXT_BYTES

DAY = "2013-01-05"
DAYS = Daily(date(2013, 1, 1), date(2013, 12, 31))


def a_feed(*columns: str, delimiter: str = ",", encoding: str = "utf-8") -> Feed:
    layout = Csv(delimiter, encoding)
    return Feed("flights", "flights_{partition}.csv", columns or ("a", "b"), DAYS, "team:flights", format=layout)


def read(content: bytes, feed: Feed | None = None) -> RawPartition:
    feed = feed or a_feed()
    return read_raw(feed, {DAY: RawFile.of(feed.expected_file(DAY), content)})[DAY]


def cells(part: RawPartition, *columns: str) -> list[tuple[str | None, ...]]:
    return part.frame.select(columns or ("a", "b")).rows()


def unreadable(part: RawPartition) -> list[tuple[int, str]]:
    """Line and text of the unreadable rows, once it is certain that they carry nothing else."""
    rows = part.frame.filter(pl.col(UNPARSED).list.len() > 0)
    assert rows[UNPARSED].to_list() == [["*"]] * rows.height
    assert rows.select("a", "b").null_count().row(0) == (rows.height, rows.height)
    others = part.frame.filter(pl.col(UNPARSED).list.len() == 0)
    assert others.select("a", "b", TEXT).null_count().row(0) == (0, 0, others.height)
    return rows.select(LINE, TEXT).rows()


def test_a_row_carries_its_cells_its_day_its_file_and_its_line() -> None:
    part = read(b"a,b\n1,x\n2,y\n")
    assert part.frame.rows() == [
        ("1", "x", date(2013, 1, 5), "flights/flights_2013-01-05.csv", 2, [], None),
        ("2", "y", date(2013, 1, 5), "flights/flights_2013-01-05.csv", 3, [], None),
    ]
    assert part.frame.schema == {
        "a": pl.String,
        "b": pl.String,
        "date": pl.Date,
        FILE: pl.String,
        LINE: pl.Int64,
        UNPARSED: pl.List(pl.String),
        TEXT: pl.String,
    }
    assert part.records == 2
    assert part.breaches == ()


@pytest.mark.parametrize("content", [b"", b"a,b", b"a,b\n", b'"a",b\n', b"a;b\n1;2\n", b'a,b\n1,"2"\n', b"a,b\n1,2\n"])
def test_every_file_gives_the_same_schema(content: bytes) -> None:
    """A file of nulls or no rows must not turn a column to another type and break the concatenation of a year."""
    assert read(content).frame.schema == read(b"a,b\n1,x\n").frame.schema


@pytest.mark.parametrize("quote", ["", '"'], ids=["fast", "slow"])
def test_cells_are_not_touched(quote: str) -> None:
    """Zeros before a number, blanks and NA marks are the vendor's words; staging decides what they mean."""
    part = read(f"{quote}a{quote},b\n007,NA\n x , \n,\nnull,NaN\n#1,\t\n".encode())
    assert cells(part) == [("007", "NA"), (" x ", " "), ("", ""), ("null", "NaN"), ("#1", "\t")]
    assert unreadable(part) == []


def test_columns_in_another_order_are_no_fault() -> None:
    """A vendor that reorders columns must not put departure times under arrival."""
    part = read(b"b,a\nx,1\n")
    assert part.breaches == ()
    assert cells(part) == [("1", "x")]
    assert part.frame.columns[:2] == ["a", "b"]
    assert cells(read(b'b,a\n"x",1\n')) == [("1", "x")]


def test_files_of_one_feed_may_differ_in_their_order_of_columns() -> None:
    """Files are read many at a time: neither rows nor columns may slip from one into another."""
    feed = a_feed()
    files = {
        "2013-01-04": RawFile.of("flights_2013-01-04.csv", b"b,a\nx,1\n"),
        "2013-01-01": RawFile.of("flights_2013-01-01.csv", b"a,b\n2,y\n3,z"),
        "2013-01-02": RawFile.of("flights_2013-01-02.csv", b"a,b\n"),
        "2013-01-03": RawFile.of("flights_2013-01-03.csv", b'a,b\n"4",w\n'),
        "2013-01-05": RawFile.of("flights_2013-01-05.csv", b"a,b\r\n5,v\r\n"),
    }
    read_all = read_raw(feed, files)
    assert list(read_all) == list(files)
    assert {key: cells(part) for key, part in read_all.items()} == {
        "2013-01-04": [("1", "x")],
        "2013-01-01": [("2", "y"), ("3", "z")],
        "2013-01-02": [],
        "2013-01-03": [("4", "w")],
        "2013-01-05": [("5", "v")],
    }
    for key, part in read_all.items():
        assert part.frame["date"].to_list() == [date.fromisoformat(key)] * part.records
        assert part.frame[FILE].to_list() == [f"flights/flights_{key}.csv"] * part.records
        assert part.frame[LINE].to_list() == list(range(2, part.records + 2))


def test_no_files_are_no_fault() -> None:
    assert read_raw(a_feed(), {}) == {}


@pytest.mark.parametrize("content", [b"a,b", b"a,b\n", b"a,b\r\n", b"\xef\xbb\xbfa,b\n", b'"a","b"'])
def test_a_header_alone_is_an_empty_day(content: bytes) -> None:
    """A day without flights is news, not a fault."""
    part = read(content)
    assert (part.records, part.breaches) == (0, ())


@pytest.mark.parametrize(
    "content", [b"a,b\n1,x\n2,y\n", b"a,b\n1,x\n2,y", b"a,b\r\n1,x\r\n2,y\r\n", b"a,b\n1,x\r\n2,y"]
)
def test_line_ends_are_no_part_of_a_cell(content: bytes) -> None:
    """A file that went through Windows must not end every row in an invisible carriage return."""
    assert cells(read(content)) == [("1", "x"), ("2", "y")]
    assert cells(read(content.replace(b"y", b'"y"'))) == [("1", "x"), ("2", "y")]


@pytest.mark.parametrize("body", [b"1,x\n", b'1,"x"\n'], ids=["fast", "slow"])
def test_a_byte_order_mark_is_dropped(body: bytes) -> None:
    """Excel writes one; the first column would be called U+FEFF a."""
    part = read(b"\xef\xbb\xbfa,b\n" + body)
    assert (cells(part), part.breaches) == ([("1", "x")], ())


@pytest.mark.parametrize("other", [b"2,y\n", b'2,"y"\n'], ids=["fast", "slow"])
def test_only_the_first_bytes_of_a_file_can_be_a_byte_order_mark(other: bytes) -> None:
    """Files are read glued together without their headers, where a reader might take a cell's start for the start."""
    assert cells(read(b"a,b\n\xef\xbb\xbf1,x\n" + other)) == [("\ufeff1", "x"), ("2", "y")]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        pytest.param(b"1", "1", id="too few cells: a line cut off"),
        pytest.param(b"1,x,y", "1,x,y", id="too many cells: a delimiter inside an unquoted cell"),
        pytest.param(b"", "", id="blank line"),
        pytest.param(b"1,\xff\xfe", "1,\\xff\\xfe", id="bytes that are no UTF-8"),
        pytest.param(b"1,\xc3", "1,\\xc3", id="half a character"),
        pytest.param(b"1,\0", "1,\0", id="NUL: a block never written to disk"),
        pytest.param(b'1,5" pipe', '1,5" pipe', id="quote in an unquoted cell"),
        pytest.param(b'1,"5" pipe"', '1,"5" pipe"', id="quote not doubled"),
        pytest.param(b'1,"x" ', '1,"x" ', id="something after a closing quote"),
        pytest.param(b'1,"\xff"', '1,"\\xff"', id="bad bytes in quotes"),
        pytest.param(b'1,"\0"', '1,"\0"', id="NUL in quotes"),
        pytest.param(b"1,x\r2,y", "1,x\r2,y", id="line ends of an old Macintosh"),
        pytest.param(b'1,"x"\r2,y', '1,"x"\r2,y', id="the same after quotes"),
        pytest.param(b'"1",x\r2', '"1",x\r2', id="the same beside quotes"),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_an_unreadable_line_costs_itself_only(line: bytes, text: str, end: bytes) -> None:
    """The line goes to quarantine with its text as evidence; its neighbours are published."""
    part = read(end.join((b"a,b", b"0,before", line, b"2,after", b"")))
    assert part.breaches == ()
    assert unreadable(part) == [(3, text)]
    assert cells(part) == [("0", "before"), (None, None), ("2", "after")]
    assert part.frame[LINE].to_list() == [2, 3, 4]


@pytest.mark.parametrize("body", [b"0,x\n1,x\r\r\n", b'"0",x\n1,x\r\r\n', b"0,x\n1,x\r"])
def test_half_a_line_end_is_not_taken_for_a_whole_one(body: bytes) -> None:
    """CR CR LF comes from a file converted twice; a final CR alone from one cut off between CR and LF."""
    part = read(b"a,b\n" + body)
    assert cells(part)[0] == ("0", "x")
    assert unreadable(part) == [(3, "1,x\r")]


def test_a_blank_line_is_unreadable_even_in_a_feed_of_one_column() -> None:
    """An empty cell of one column is written ``""``; a blank line is a gap."""
    part = read(b'a\n1\n\n""\n2\n', a_feed("a"))
    assert part.frame.select("a", TEXT).rows() == [("1", None), (None, ""), ("", None), ("2", None)]
    assert read(b"a\n\n", a_feed("a")).frame.select("a", TEXT).rows() == [(None, "")]


def test_a_final_line_end_is_no_record_but_a_second_one_is() -> None:
    assert read(b"a,b\n1,x\n").records == 1
    assert unreadable(read(b"a,b\n1,x\n\n")) == [(3, "")]


def test_a_quoted_cell_may_hold_delimiters_quotes_and_line_ends() -> None:
    """The line number stays that of the file on disk, where a person looks the record up."""
    part = read(b'a,b\r\n"1,5","say ""x"""\r\n2,"one\r\ntwo\n\nfour\rfive"\r\n"",""\r\n3,y\r\n')
    assert cells(part) == [("1,5", 'say "x"'), ("2", "one\r\ntwo\n\nfour\rfive"), ("", ""), ("3", "y")]
    assert part.frame[LINE].to_list() == [2, 3, 7, 8]
    assert unreadable(part) == []


def test_a_quote_never_closed_swallows_nothing() -> None:
    """A lenient reader makes one enormous cell of the rest of the day, and reports one row too few cells, if that."""
    part = read(b'a,b\n1,x\n2,"y\n3,z\n4,w\n')
    assert cells(part)[0] == ("1", "x")
    assert unreadable(part) == [(3, '2,"y'), (4, "3,z"), (5, "4,w")]


def test_a_quote_closed_in_the_wrong_place_costs_the_lines_in_between() -> None:
    """Between a stray quote and the next one nobody knows what is text: no line of it may be published."""
    part = read(b'a,b\n1,x\n2,"y\n3,z\n4,"w"\n5,v\n')
    assert unreadable(part) == [(3, '2,"y'), (4, "3,z"), (5, '4,"w"')]
    assert cells(part)[-1] == ("5", "v")


def test_a_record_over_several_lines_with_a_cell_too_many_is_one_row_per_line() -> None:
    """A stray quote often meets another by chance: the lines must count singly against the feed's tolerance."""
    part = read(b'a,b\n1,"x\n2,y\n3",z,w\n4,v\n')
    assert unreadable(part) == [(2, '1,"x'), (3, "2,y"), (4, '3",z,w')]
    assert cells(part)[-1] == ("4", "v")


def test_bad_bytes_inside_a_quoted_cell_do_not_hide_where_it_ends() -> None:
    """Else the lines of a comment would be published as rows."""
    part = read(b'a,b\n1,"x\xff\n2,y\nz"\n3,w\n')
    assert unreadable(part) == [(2, '1,"x\\xff'), (3, "2,y"), (4, 'z"')]
    assert cells(part)[-1] == ("3", "w")


HEADER_FAULTS = [
    pytest.param(b"", 0, "the file is empty", id="0 bytes: the upload died at once"),
    pytest.param(b"\xef\xbb\xbf", 0, "the file is empty", id="byte-order mark only"),
    pytest.param(b"\n1,x\n", 1, "starts with an empty line", id="empty header"),
    pytest.param(b"a,c\n1,x\n2,y\n", 2, "missing column b; unexpected column c", id="renamed column"),
    pytest.param(b"a\n1\n", 1, "missing column b", id="column gone"),
    pytest.param(b"a,b,c,d e\n1,x,y,z\n", 1, "unexpected columns c, 'd e'", id="columns added"),
    pytest.param(b"a,b,a\n1,x,2\n", 1, "repeated column a", id="column twice"),
    pytest.param(b"a,B\n1,x\n", 1, "missing column b; unexpected column B", id="other case"),
    pytest.param(b"a, b\n1,x\n", 1, "unexpected column ' b'", id="blank in a name"),
    pytest.param(b"a,b,\n1,x,\n", 1, "unexpected column ''", id="trailing delimiter"),
    pytest.param(b"a;b\n1;x\n", 1, "the delimiter is ';', not ','", id="German Excel"),
    pytest.param(b'"a";"b"\n1;x\n', 1, "the delimiter is ';', not ','", id="German Excel with quotes"),
    pytest.param(b"<!DOCTYPE html>\n<p>503, sorry\n", 1, "looks like HTML", id="error page named .csv"),
    pytest.param(b'{"error":\n"quota"}', 1, "looks like JSON", id="error message named .csv"),
    pytest.param(b"\x1f\x8b\x08\0\0\0\n\0\0", 1, "looks like a gzip file", id="compressed"),
    pytest.param("\ufeffa,b\n1,x".encode("utf-16-le"), 1, "looks like UTF-16", id="UTF-16"),
    pytest.param(b"a,b\0\n1,x\n", 1, "no readable utf-8 CSV", id="NUL in the header"),
    pytest.param(b"a,\xff\n1,x\n", 1, "no readable utf-8 CSV", id="bad bytes in the header"),
    pytest.param(b'a,"b\n1,x\n2,y\n', 2, "no readable utf-8 CSV", id="quote never closed in the header"),
    pytest.param(b"a,b\r1,x\r2,y\r", 0, "no readable utf-8 CSV", id="old Macintosh: all in one line"),
    pytest.param(b"a,b\r\r\n1,x\r\r\n", 1, "no readable utf-8 CSV", id="CR CR LF throughout"),
]


@pytest.mark.parametrize(("content", "records", "says"), HEADER_FAULTS)
def test_a_broken_header_withholds_the_file_and_loses_no_line(content: bytes, records: int, says: str) -> None:
    """Guessing columns by position publishes wrong values; dropping the file loses rows from the account."""
    part = read(content)
    (breach,) = part.breaches
    assert (breach.rule, breach.level, breach.count) == (HEADER, Level.TABLE, 1)
    assert breach.detail.startswith("flights_2013-01-05.csv line 1: ")
    assert breach.detail.endswith("; expected a,b")
    assert says in breach.detail
    assert part.records == records
    assert [line for line, _ in unreadable(part)] == list(range(2, records + 2))


def test_a_file_without_header_does_not_show_a_passenger_in_the_message() -> None:
    """The first line of data would travel into logs and the UI as names of unexpected columns."""
    (breach,) = read(b"Smith,1970-01-01\nJones,1980-01-01\n").breaches
    assert "Smith" not in breach.detail
    assert "none of the columns is there" in breach.detail


def test_the_message_about_a_header_stays_short() -> None:
    """A binary file that happens to start like a header must not write a megabyte into the ledger."""
    header = ",".join(["a", *(f"{'x' * 500}{i}" for i in range(10_000))]).encode()
    (breach,) = read(header).breaches
    assert "and 9988 more" in breach.detail
    assert len(breach.detail) < 1_000


def test_another_encoding_is_read_as_declared() -> None:
    feed = a_feed(encoding="cp1252")
    assert cells(read("a,b\n1,Zürich\n2,€\n".encode("cp1252"), feed)) == [("1", "Zürich"), ("2", "€")]
    assert cells(read('a,b\n1,"Zürich"\n'.encode("cp1252"), feed)) == [("1", "Zürich")]


def test_a_byte_without_meaning_in_another_encoding_costs_its_line_only() -> None:
    part = read("a,b\n1,Zürich\n2,\x81\n".encode("latin-1"), a_feed(encoding="cp1252"))
    assert cells(part)[0] == ("1", "Zürich")
    assert unreadable(part) == [(3, "2,\\x81")]


def test_a_vendor_that_turns_to_utf_8_unannounced_is_not_read_as_if_it_had_told() -> None:
    """Depending on its letters, each file would be read in one encoding or the other."""
    part = read("a,b\n1,Ánimo\n".encode(), a_feed(encoding="cp1252"))
    assert unreadable(part) == [(2, "1,Ã\\x81nimo")]


def test_a_second_byte_that_looks_like_the_delimiter_is_none() -> None:
    """In Shift-JIS the second byte of a character may be ``|``."""
    text = "a|b\n1|ポ\n"
    assert b"\x83|" in text.encode("cp932")
    assert cells(read(text.encode("cp932"), a_feed(delimiter="|", encoding="cp932"))) == [("1", "ポ")]
    assert cells(read(text.encode("cp932") + b"2|\xff\n", a_feed(delimiter="|", encoding="cp932")))[0] == ("1", "ポ")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "UTF8", "U8"])
def test_every_name_of_utf_8_means_the_same(encoding: str) -> None:
    """``utf-8-sig`` applied line by line would eat U+FEFF at the start of every line."""
    content = b"\xef\xbb\xbfa,b\n\xef\xbb\xbf1,x\n\xff,\n"
    part = read(content, a_feed(encoding=encoding))
    assert cells(part) == [("\ufeff1", "x"), (None, None)]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32-le", "cp037", "no-such", "rot13"])
def test_an_encoding_without_ascii_is_refused_by_name(encoding: str) -> None:
    with pytest.raises(DeclarationError, match=encoding):
        read(b"", a_feed(encoding=encoding))


def test_a_key_that_is_no_partition_is_refused() -> None:
    with pytest.raises(DeclarationError, match="2014-01-01"):
        read_raw(a_feed(), {"2014-01-01": RawFile.of("flights_2014-01-01.csv", b"a,b\n1,x\n")})


def test_a_cell_larger_than_the_csv_module_allows_is_read_without_touching_its_limit() -> None:
    """That limit is global to the process: another library's setting would decide which rows exist."""
    limit = csv.field_size_limit()
    long = "x" * (limit + 1)
    assert cells(read(f'a,b\n1,"{long}"\n2,{long}\n'.encode())) == [("1", long), ("2", long)]
    assert cells(read(f"a,b\n2,{long}\n".encode())) == [("2", long)]
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize("body", ["1,{}", '1,"{}"', "1,{}\r", '1,"{}"\r'])
def test_a_record_past_the_limit_is_unreadable(body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "MAX_RECORD_BYTES", 100)
    longest = 100 - len(body.format("")) - len("\n")
    assert unreadable(read(f"a,b\n{body.format('x' * longest)}\n2,y\n".encode())) == []
    assert [line for line, _ in unreadable(read(f"a,b\n{body.format('x' * (longest + 1))}\n2,y\n".encode()))] == [2]


def test_a_record_over_many_lines_is_given_up_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "MAX_RECORD_BYTES", 20)
    part = read(b'a,b\n1,"0123\n56789\n1234567\n2,y\n')
    assert [line for line, _ in unreadable(part)] == [2, 3, 4]
    assert cells(part)[-1] == ("2", "y")


def test_evidence_of_an_endless_line_is_cut() -> None:
    """A quarantine row of 200 MB can be opened by nobody; the archive keeps the whole file."""
    ((line, text),) = unreadable(read(b"a,b\n" + b"x" * (MAX_TEXT_BYTES + 1) + b"\n"))
    assert line == 2
    assert text.startswith("x" * MAX_TEXT_BYTES + "… (line of 65537 bytes")
    ((_, whole),) = unreadable(read(b"a,b\n" + b"x" * MAX_TEXT_BYTES + b"\n"))
    assert whole == "x" * MAX_TEXT_BYTES


@pytest.mark.parametrize("start", [b"", b"a,b\n", b'a,b\n"'], ids=["as header", "as record", "in quotes"])
@pytest.mark.parametrize("filler", [b"x", b",", b"a,", b";"])
def test_a_huge_file_without_line_end_does_not_take_the_machine_down(start: bytes, filler: bytes) -> None:
    """A disk image under the wrong name; split at its commas it would become millions of Python strings."""
    content = start + filler * (40 * 2**20 // len(filler))
    tracemalloc.start()
    part = read(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * len(content)
    assert part.records == len(unreadable(part)) == (1 if start else 0)


def test_an_open_quote_before_many_lines_takes_time_in_proportion() -> None:
    """Reading on from each line again, or copying the open cell per line, would take hours on a year's file."""
    content = b'a,b\n1,"' + b"x\n" * 200_000
    started = time.perf_counter()
    assert read(content).records == 200_000
    assert time.perf_counter() - started < 10
