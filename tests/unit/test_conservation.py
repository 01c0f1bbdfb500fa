"""The incident: a filter or join in a transform loses rows, or doubles them, and every total is quietly wrong."""

from datetime import date

import polars as pl
import pytest

from sh_core.conservation import Handed, not_conserved, not_in_partition, shares_of
from sh_core.deliveries import Several
from sh_core.feed import Feed
from sh_core.partitions import Daily
from sh_core.records import ArrivalShare

DAYS = Daily(date(2030, 1, 1), date(2030, 1, 3))
ONE, TWO = DAYS.keys()[:2]


def feed(name: str, file_name: str = "{partition}.csv", several: Several = Several.LATEST) -> Feed:
    return Feed(name, file_name, ("x",), DAYS, owner="team:test", several=several)


def rows(*lines: int, file: str = "feed/a.csv") -> pl.DataFrame:
    """Rows known by file and line."""
    return pl.DataFrame({"_file": [file] * len(lines), "_line": lines}, schema={"_file": pl.String, "_line": pl.Int64})


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        (rows(2, 3), "lost 1 row, the first being feed/a.csv line 4"),
        (rows(), "lost 3 rows, the first being feed/a.csv line 2"),
        (rows(2, 3, 4, 4), "doubled 1 row, the first being feed/a.csv line 4"),
        (rows(2, 3, 4, 99), "made up 1 row, the first being feed/a.csv line 99"),
        (
            rows(2, 3, 3),
            "lost 1 row, the first being feed/a.csv line 4; doubled 1 row, the first being feed/a.csv line 3",
        ),
    ],
)
def test_a_transform_that_loses_or_doubles_rows_is_told_which(returned: pl.DataFrame, told: str) -> None:
    """The partition beside it, which is fine, is not held against it."""
    given = {ONE: [rows(2, 3), rows(4)], TWO: [rows(2)]}
    found = not_conserved(given, {ONE: returned, TWO: rows(2)})
    assert {key: breach.detail for key, breach in found.items()} == {ONE: f"the transform {told}"}


def test_rows_in_another_order_are_conserved() -> None:
    """Order is nobody's business."""
    assert not_conserved({ONE: [rows(2, 3), rows(4)]}, {ONE: rows(4, 2, 3)}) == {}


def test_a_transform_that_drops_file_and_line_is_told_to_pass_them_on() -> None:
    """Without them no row can be traced."""
    (breach,) = not_conserved({ONE: [rows(2)]}, {ONE: pl.DataFrame({"x": [1]})}).values()
    assert "must pass on _file" in breach.detail


def test_rows_of_another_day_are_found() -> None:
    """The partition column is not in the file: published under the wrong key, such rows would change their date."""
    good = pl.DataFrame({"date": [date(2030, 1, 1)] * 2})
    stray = pl.DataFrame({"date": [date(2030, 1, 2), date(2030, 1, 3)]})
    empty = good.clear()
    found = not_in_partition({ONE: good, TWO: stray, DAYS.keys()[2]: empty}, DAYS)
    assert {key: breach.detail for key, breach in found.items()} == {TWO: "1 row belongs to another date, 2030-01-03"}


def test_the_first_row_of_another_day_is_found_in_its_file() -> None:
    """A person corrects a line of a file, not a date."""
    rows = pl.DataFrame(
        {"date": [date(2030, 1, 1), date(2030, 1, 5), date(2030, 1, 3)], "_file": "f/b.csv", "_line": [2, 9, 7]},
        schema_overrides={"_line": pl.Int64},
    )
    (breach,) = not_in_partition({ONE: rows}, DAYS).values()
    assert breach.detail == "2 rows belong to another date, 2030-01-03 (1), 2030-01-05 (1); the first is f/b.csv line 7"


def test_each_arrival_is_told_what_became_of_its_rows() -> None:
    """Also the one that had no row at all, and the one whose rows the transform lost."""
    other = rows(2, 3, file="other/b.csv")
    shares = shares_of(
        {ONE: pl.concat([rows(2, 3), other])},
        {ONE: rows(4)},
        {ONE: rows(5)},
        {ONE: [Handed(1, 4, feed("feed")), Handed(2, 3, feed("other")), Handed(3, 0, feed("empty"))]},
    )
    assert set(shares[ONE]) == {
        ArrivalShare(1, arrived=4, published=2, quarantined=1, duplicates=1),
        ArrivalShare(2, arrived=3, published=2),
        ArrivalShare(3, arrived=0),
    }


def test_each_part_of_a_partition_is_told_what_became_of_its_rows() -> None:
    """Also under a name that the part had when it came with the same rows before."""
    parts = feed("feed", "{partition}_{part}.v{version}.csv", Several.APPEND)
    a, b, older = (f"feed/2030-01-01_{name}.csv" for name in ("a.v1", "b.v2", "b.v1"))
    shares = shares_of(
        {ONE: pl.concat([rows(2, 3, file=a), rows(2, file=b)])},
        {ONE: rows(3, file=older)},
        {ONE: rows(4, file=a)},
        {ONE: [Handed(2, 2, parts, "b"), Handed(1, 3, parts, "a"), Handed(3, 0, parts, "c")]},
    )
    assert shares[ONE] == (
        ArrivalShare(1, arrived=3, published=2, duplicates=1),
        ArrivalShare(2, arrived=2, published=1, quarantined=1),
        ArrivalShare(3, arrived=0),
    )
