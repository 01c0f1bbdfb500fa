"""Incident: a vendor wrote ``12.0`` for ``12``; a lenient cast made it null, and the mart showed fewer delays."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sh_core.parsing import Parser, day, hhmm, instant, integer, number, parse, text, year_month_day


def parsed(cells: Sequence[str | None], parser: Parser) -> list[object]:
    """Value per cell, or the word ``UNPARSED``."""
    raw = pl.LazyFrame({"x": cells, "_file": "f", "_line": range(2, len(cells) + 2)}, schema_overrides={"x": pl.String})
    rows = parse(raw, value=parser).collect()
    assert rows["_line"].to_list() == list(range(2, len(cells) + 2))
    return ["UNPARSED" if bad else value for value, bad in rows.select("value", "_unparsed").iter_rows()]


@pytest.mark.parametrize(
    ("parser", "good"),
    [
        (integer("x"), {"5": 5, "-3": -3, "+5": 5, "007": 7, "9223372036854775807": 2**63 - 1}),
        (number("x"), {"5": 5.0, "-0.5": -0.5, "1e3": 1000.0, ".5": 0.5, "10.357019999999999": 10.357019999999999}),
        (hhmm("x"), {"517": 317, "0517": 317, "1": 1, "0": 0, "0000": 0, "59": 59, "2359": 1439, "2400": 1440}),
        (text("x"), {"UA": "UA", " ": " ", "na": "na"}),
        (day("x"), {"2013-03-10": date(2013, 3, 10)}),
        (
            instant("x"),
            {
                "2013-03-10T07:00:00Z": datetime(2013, 3, 10, 7, tzinfo=UTC),
                "2013-03-10T07:00:00.5Z": datetime(2013, 3, 10, 7, microsecond=500_000, tzinfo=UTC),
            },
        ),
    ],
)
def test_what_parses(parser: Parser, good: dict[str, object]) -> None:
    assert parsed(list(good), parser) == list(good.values())


@pytest.mark.parametrize(
    ("parser", "bad"),
    [
        (integer("x"), ["12.0", " 5", "5 ", "1e3", "1,000", "1_000", "9223372036854775808", "x", "-", "0x1f", "٣"]),
        (number("x"), ["inf", "-inf", "nan", "NaN", "Infinity", "1e400", "1,5", " 1", "1 ", "--1", "mph"]),
        (hhmm("x"), ["2401", "60", "99", "1260", "2500", "12345", "-1", "5:17", "517 ", " 517", "5.0", "00000"]),
        (day("x"), ["2013-02-30", "2013-3-10", " 2013-03-10", "2013-03-10 ", "10.03.2013", "20130310", "+2013-03-10"]),
        (
            instant("x"),
            [
                "2013-03-10T07:00:00",
                "2013-03-10T07:00:00+00:00",
                "2013-03-10 07:00:00Z",
                "2013-02-30T07:00:00Z",
                "2013-03-10T24:00:00Z",
                "2013-03-10T07:00:60Z",
                "2013-3-10T7:0:0Z",
                " 2013-03-10T07:00:00Z",
            ],
        ),
    ],
)
def test_what_does_not_parse_is_named(parser: Parser, bad: list[str]) -> None:
    assert parsed(bad, parser) == ["UNPARSED"] * len(bad)


@pytest.mark.parametrize("parser", [integer("x"), number("x"), text("x"), hhmm("x"), day("x"), instant("x")])
def test_a_marker_of_absence_is_null_and_no_fault(parser: Parser) -> None:
    assert parsed(["NA", "", None], parser) == [None, None, None]


def test_each_row_names_exactly_its_own_columns_also_where_raw_and_typed_share_a_name() -> None:
    raw = pl.LazyFrame(
        {"flight": ["1", "one", "NA"], "delay": ["x", "2.5", "3"], "_file": ["f"] * 3, "_line": [2, 3, 4]}
    )
    rows = parse(raw, flight=integer("flight"), delay_min=integer("delay")).collect()
    assert rows.to_dict(as_series=False) == {
        "flight": [1, None, None],
        "delay_min": [None, None, 3],
        "_file": ["f"] * 3,
        "_line": [2, 3, 4],
        "_unparsed": [["delay_min"], ["flight", "delay_min"], []],
        "_text": ["flight=1 delay=x", "flight=one delay=2.5", None],
    }
    assert rows.schema["_unparsed"] == pl.List(pl.String)


def test_a_day_in_three_columns_is_unparsed_when_one_is_missing_and_absent_when_all_are() -> None:
    raw = pl.LazyFrame(
        {
            "y": ["2013", "2013", "NA", "2013", "13"],
            "m": ["2", "2", "NA", "NA", "2"],
            "d": ["3", "30", "NA", "3", "3"],
            "_file": ["f"] * 5,
            "_line": range(5),
        }
    )
    rows = parse(raw, date=year_month_day("y", "m", "d")).collect()
    assert rows["date"].to_list() == [date(2013, 2, 3), None, None, None, None]
    assert rows["_unparsed"].to_list() == [[], ["date"], [], ["date"], ["date"]]


def test_a_table_of_texts_has_nothing_unparsed() -> None:
    raw = pl.LazyFrame({"x": ["a", "b"], "_file": ["f", "f"], "_line": [2, 3]})
    assert parse(raw, x=text("x")).collect()["_unparsed"].to_list() == [[], []]


def test_markers_of_absence_can_be_declared_otherwise() -> None:
    """``NA`` is also a carrier's code."""
    raw = pl.LazyFrame({"x": ["NA", "-"], "_file": ["f", "f"], "_line": [2, 3]})
    assert parse(raw, na={"-"}, x=text("x")).collect()["x"].to_list() == ["NA", None]


@settings(deadline=None)
@given(st.lists(st.one_of(st.text(max_size=6), st.integers().map(str), st.floats().map(str)), min_size=1, max_size=20))
def test_no_text_becomes_a_silent_null(cells: list[str]) -> None:
    for parser in (integer("x"), number("x"), hhmm("x"), day("x"), instant("x")):
        for cell, value in zip(cells, parsed(cells, parser), strict=True):
            assert (value is None) == (cell in {"NA", ""})


def test_of_a_row_that_did_not_parse_the_delivered_cells_are_kept() -> None:
    """Typed, the cell is null: without this the quarantine would say that something was wrong, but not what it said."""
    raw = pl.LazyFrame({"x": ["1", "1o"], "y": ["a", "NA"], "_file": "f", "_line": [2, 3]})
    rows = parse(raw, number_of=integer("x"), name=text("y")).collect()
    assert rows["_text"].to_list() == [None, "x=1o y="]
