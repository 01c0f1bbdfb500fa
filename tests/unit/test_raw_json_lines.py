"""JSON lines as vendors write them, and as they should not."""

import json
from datetime import date

import pytest

from sh_core.columns import LINE, TEXT, UNPARSED
from sh_core.contract import HEADER
from sh_core.feed import Feed
from sh_core.formats import JsonLines
from sh_core.partitions import Daily
from sh_resources.raw import RawFile, RawPartition, json_lines, read_raw

DAY = "2013-01-05"
DAYS = Daily(date(2013, 1, 1), date(2013, 12, 31))
NAME = "flights_2013-01-05.jsonl"


def read(content: bytes, *columns: str, encoding: str = "utf-8") -> RawPartition:
    layout = JsonLines(encoding)
    feed = Feed("flights", "flights_{partition}.jsonl", columns or ("a", "b"), DAYS, "team:flights", format=layout)
    return read_raw(feed, {DAY: RawFile.of(feed.expected_file(DAY), content)})[DAY]


def cells(part: RawPartition) -> list[tuple[str | None, ...]]:
    return part.frame.select("a", "b").rows()


def unreadable(part: RawPartition) -> list[tuple[int, str]]:
    rows = part.frame.filter(part.frame[TEXT].is_not_null())
    assert rows[UNPARSED].to_list() == [["*"]] * rows.height
    assert rows.select("a", "b").null_count().row(0) == (rows.height, rows.height)
    return rows.select(LINE, TEXT).rows()


def test_a_row_carries_its_cells_its_day_its_file_and_its_line() -> None:
    part = read(b'{"a": "x", "b": 1}\n{"b": "2", "a": "y"}\n')
    assert part.frame.rows() == [
        ("x", "1", date(2013, 1, 5), f"flights/{NAME}", 1, [], None),
        ("y", "2", date(2013, 1, 5), f"flights/{NAME}", 2, [], None),
    ]
    assert part.breaches == ()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1.10", "1.10"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("-0", "-0"),
        ("1E+2", "1E+2"),
        ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
        ("true", "true"),
        ("false", "false"),
        ("null", None),
        ('""', ""),
        ('"NA"', "NA"),
        ('" 007 "', " 007 "),
        ('"\\u00fc\\n\\"\\ud83d\\ude00"', 'ü\n"😀'),
        ('[1, 2.50, {"x": null, "ü": "\\u00fc"}]', '[1,2.50,{"x":null,"ü":"ü"}]'),
        ("{}", "{}"),
        ('["\\u0000"]', '["\\u0000"]'),
    ],
)
def test_a_value_becomes_its_text_and_no_number_is_computed_with(value: str, text: str | None) -> None:
    """A ticket number of 20 digits went through a float once, and every passenger had the same one."""
    part = read(f'{{"a": {value}, "b": 1}}\n'.encode())
    assert cells(part) == [(text, "1")]
    assert unreadable(part) == []


def test_a_key_that_some_lines_leave_out_is_null_there() -> None:
    """Vendors leave out what they do not know."""
    assert cells(read(b'{"a": 1}\n{"a": 1, "b": 2}\n')) == [("1", None), ("1", "2")]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"", id="blank"),
        pytest.param(b"{", id="cut off"),
        pytest.param(b'{"a": 1, "b": 2} {"a": 1, "b": 2}', id="two on a line"),
        pytest.param(b'{"a": 1, "b": 2},', id="comma of an array"),
        pytest.param(b'["a", "b"]', id="an array"),
        pytest.param(b"1", id="a number"),
        pytest.param(b'{"a": 1, "b": 2, "a": 3}', id="a key twice"),
        pytest.param(b'{"a": {"x": 1, "x": 2}, "b": 2}', id="a nested key twice"),
        pytest.param(b'{"a": 1, "b": 2, "c": 3}', id="a key that was not promised"),
        pytest.param(b'{"a": NaN, "b": 2}', id="NaN is no JSON"),
        pytest.param(b'{"a": -Infinity, "b": 2}', id="nor is infinity"),
        pytest.param(b"{'a': 1, 'b': 2}", id="printed by Python"),
        pytest.param(b'{"a": "\0", "b": 2}', id="NUL"),
        pytest.param(b'{"a": "\\u0000", "b": 2}', id="NUL, escaped"),
        pytest.param(b'{"a": "\\ud83d", "b": 2}', id="half a surrogate pair"),
        pytest.param(b'{"a": ["\\ud83d"], "b": 2}', id="the same, nested"),
        pytest.param(b'{"a": "\xff", "b": 2}', id="no UTF-8"),
        pytest.param(b'{"a": "x\ty", "b": 2}', id="a bare tab in a string"),
        pytest.param(b'{"a": ' + b"[" * 102 + b"]" * 102 + b', "b": 2}', id="too many brackets"),
        pytest.param(b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b', "b": 2}', id="more than the interpreter bears"),
        pytest.param(b'{"a": ' + b"[" * 5000, id="and never closed"),
        pytest.param(b'\xef\xbb\xbf{"a": 1, "b": 2}', id="byte-order mark not at the start"),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_an_unreadable_line_costs_itself_only(line: bytes, end: bytes) -> None:
    good = b'{"a": 1, "b": 2}'
    part = read(end.join([good, line, good, b""]))
    assert part.breaches == ()
    assert unreadable(part) == [(2, line.decode("utf-8", "backslashreplace"))]
    assert cells(part) == [("1", "2"), (None, None), ("1", "2")]
    assert part.frame[LINE].to_list() == [1, 2, 3]


def test_brackets_side_by_side_are_not_brackets_within_brackets() -> None:
    many = json.dumps([[n] for n in range(500)], separators=(",", ":"))
    assert cells(read(f'{{"a": {many}, "b": 1}}\n'.encode())) == [(many, "1")]
    deepest = "[" * 100 + "]" * 100
    assert cells(read(f'{{"a": {deepest}, "b": 1}}\n'.encode())) == [(deepest, "1")]


def test_a_long_line_is_unreadable_and_its_evidence_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "MAX_RECORD_BYTES", 100_000)
    part = read(b'{"a": "' + b"x" * 100_000 + b'", "b": 1}\n{"a": 1, "b": 2}\n')
    ((line, text),) = unreadable(part)
    assert line == 1
    assert text.endswith("… (line of 100017 bytes, cut after 65536)")
    assert cells(part)[1] == ("1", "2")


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf"])
def test_a_file_without_lines_is_a_day_without_rows(content: bytes) -> None:
    """There is no header to tell "nothing today" from "nothing arrived": how few are too few is for min_rows to say."""
    part = read(content)
    assert (part.records, part.breaches) == (0, ())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b'{"a": 1}\n{"a": 2}\n', f"{NAME}, all lines: missing column b; expected a, b", id="column gone"),
        pytest.param(
            b'{"a": 1, "b": 2, "c": 3, "d": 4}\n{"a": 1, "b": 2, "c": 3}\n',
            f"{NAME}, all lines: unexpected column c; expected a, b",
            id="column added",
        ),
        pytest.param(
            b'{"x": 1}\n{"x": 2, "y": 3}\n',
            f"{NAME}, all lines: missing columns a, b; unexpected column x; expected a, b",
            id="another feed's",
        ),
        pytest.param(
            b"<html>\n<p>503</p>\n",
            f"{NAME} line 1: this looks like HTML or XML, not JSON lines; expected a, b",
            id="error page",
        ),
        pytest.param(
            b"a,b\n1,2\n",
            f"{NAME} line 1: no line is a readable object of utf-8 JSON lines; expected a, b",
            id="CSV",
        ),
        pytest.param(
            b'[\n{"a": 1, "b": 2},\n{"a": 1, "b": 2},\n]\n',
            f"{NAME} line 1: no line is a readable object of utf-8 JSON lines; expected a, b",
            id="one big array",
        ),
        pytest.param(
            b"\x1f\x8b\x08\0\n",
            f"{NAME} line 1: this looks like a gzip file, not JSON lines; expected a, b",
            id="packed",
        ),
    ],
)
def test_another_layout_withholds_the_file_and_loses_no_line(content: bytes, says: str) -> None:
    part = read(content)
    (breach,) = part.breaches
    assert (breach.rule, breach.detail) == (HEADER, says)
    lines = content.decode("utf-8", "backslashreplace").splitlines()
    assert unreadable(part) == list(enumerate(lines, 1))


def test_another_encoding_is_read_as_declared() -> None:
    part = read('{"a": "Zürich", "b": "€"}\n'.encode("cp1252"), encoding="cp1252")
    assert cells(part) == [("Zürich", "€")]
    assert unreadable(read(b'{"a": "\x81", "b": 1}\n{"a": 1, "b": 2}\n', encoding="cp1252"))[0][0] == 1


def test_a_byte_order_mark_is_dropped() -> None:
    assert cells(read(b'\xef\xbb\xbf{"a": 1, "b": 2}')) == [("1", "2")]
