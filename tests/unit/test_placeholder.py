"""What stands in: which partition, with which dates and times, and how it is told from the truth.

The incident: yesterday's rows stand in for today's with yesterday's departure times, or an hour off after the clocks
were changed; or their mark is lost on the way, and a model learns from them.
"""

from dataclasses import replace
from datetime import UTC, date, datetime

import polars as pl
import pytest

from sh_core.errors import DeclarationError
from sh_core.partitions import Daily, Hourly, Monthly, Static, Weekly
from sh_core.partitions.multi import Periods
from sh_core.placeholder import Mark, Placeholder, moved, of_itself
from sh_core.table import Station
from sh_core.version import Version, digest
from tests import late

DAYS = Daily(date(2030, 1, 1))
UTC_TIME = pl.Datetime("us", "UTC")


def rows(**columns: object) -> pl.DataFrame:
    return pl.DataFrame(columns)


@pytest.mark.parametrize(
    ("periods", "of", "key", "first"),
    [
        (DAYS, "previous", "2030-02-10", ["2030-02-09", "2030-02-08"]),
        (DAYS, "same_weekday", "2030-02-10", ["2030-02-03", "2030-01-27"]),
        (DAYS, "previous", "2030-01-02", ["2030-01-01"]),
        (DAYS, "same_weekday", "2030-01-05", []),
        (Weekly(date(2030, 1, 7)), "previous", "2030-01-21", ["2030-01-14", "2030-01-07"]),
        (Monthly(date(2030, 1, 1)), "previous", "2030-03-01", ["2030-02-01", "2030-01-01"]),
        (Hourly(date(2030, 1, 1)), "previous", "2030-01-01-02:00", ["2030-01-01-01:00", "2030-01-01-00:00"]),
        (Hourly(date(2030, 1, 1)), "same_weekday", "2030-01-08-02:00", ["2030-01-01-02:00"]),
    ],
)
def test_the_nearest_comes_first_and_never_one_from_before_the_first(
    periods: Periods, of: str, key: str, first: list[str]
) -> None:
    found = Placeholder(of).candidates(periods, key)  # type: ignore[arg-type]
    assert found[: len(first)] == first
    assert len(found) <= 62
    assert len(found) == len(first) or len(first) == 2


def test_dates_and_times_move_and_nothing_else_does() -> None:
    before = rows(
        date=[date(2030, 1, 31)],
        booked=[date(2030, 1, 30)],
        at_utc=pl.Series([datetime(2030, 1, 31, 8, tzinfo=UTC)], dtype=UTC_TIME),
        local=[datetime(2030, 1, 31, 9)],  # noqa: DTZ001 - a wall-clock time is what is meant
        name=["a"],
        empty=pl.Series([None], dtype=pl.Date),
    )
    after = moved(before, Placeholder("previous"), DAYS, "2030-01-31", "2030-02-02")
    assert after.schema == before.schema
    assert after.to_dicts() == [
        {
            "date": date(2030, 2, 2),
            "booked": date(2030, 2, 1),
            "at_utc": datetime(2030, 2, 2, 8, tzinfo=UTC),
            "local": datetime(2030, 2, 2, 9),  # noqa: DTZ001
            "name": "a",
            "empty": None,
        }
    ]
    only = moved(before, Placeholder("previous", shift=("booked",)), DAYS, "2030-01-31", "2030-02-02")
    assert only["at_utc"].equals(before["at_utc"])
    assert only["booked"].to_list() == [date(2030, 2, 1)]
    assert only["date"].to_list() == [date(2030, 2, 2)]  # that of the partition always moves


@pytest.mark.parametrize(
    ("source", "key", "then", "now"),
    [
        ("2030-03-30", "2030-03-31", "2030-03-30T08:00", "2030-03-31T07:00"),  # 9:00 before and after
        ("2030-10-26", "2030-10-27", "2030-10-26T07:00", "2030-10-27T08:00"),  # 9:00 before and after
        ("2030-03-30", "2030-03-31", "2030-03-30T01:30", "2030-03-31T01:30"),  # 2:30 does not exist: 24 h later
        ("2030-10-26", "2030-10-27", "2030-10-26T00:30", "2030-10-27T00:30"),  # 2:30 comes twice: the first
    ],
)
def test_times_of_day_stay_on_the_clock_that_is_named(source: str, key: str, then: str, now: str) -> None:
    before = rows(
        date=[date.fromisoformat(source)],
        at_utc=pl.Series([datetime.fromisoformat(then).replace(tzinfo=UTC)], dtype=UTC_TIME),
    )
    berlin = moved(before, Placeholder("previous", timezone="Europe/Berlin"), DAYS, source, key)
    assert berlin["at_utc"].to_list() == [datetime.fromisoformat(now).replace(tzinfo=UTC)]
    plain = moved(before, Placeholder("previous"), DAYS, source, key)
    assert plain["at_utc"].dt.time().equals(before["at_utc"].dt.time())


def test_hours_weeks_and_months_move_by_their_own_length() -> None:
    at = pl.Series([datetime(2030, 1, 31, 8, tzinfo=UTC)], dtype=UTC_TIME)
    hours = Hourly(date(2030, 1, 1), column="hour")
    frame = rows(hour=pl.Series([datetime(2030, 1, 31, 8, tzinfo=UTC)], dtype=hours.columns["hour"]), at_utc=at)
    found = moved(frame, Placeholder("previous"), hours, "2030-01-31-08:00", "2030-01-31-11:00")
    assert found["at_utc"].to_list() == [datetime(2030, 1, 31, 11, tzinfo=UTC)]
    months = Monthly(date(2030, 1, 1))
    found = moved(
        rows(month=[date(2030, 1, 1)], at_utc=at), Placeholder("previous"), months, "2030-01-01", "2030-02-01"
    )
    assert found["at_utc"].to_list() == [datetime(2030, 2, 28, 8, tzinfo=UTC)]  # there is no 31 February


def content(marks: tuple[str, ...] = ()) -> Version:
    return digest(rows(key=[1], value=[2]), ("key",)).finish().marked(marks)


def test_a_mark_is_part_of_every_digest() -> None:
    """So the truth is never equal to what stood in for it, whatever is read of it."""
    real, marked, other = content(), content((str(Mark("t", "b", "a")),)), content((str(Mark("t", "b", "c")),))
    assert len({v.root for v in (real, marked, other)}) == 3
    assert len({v.of(["value"]) for v in (real, marked, other)}) == 3
    assert marked.of(["key", "value"]) == marked.root  # as for any other content
    assert Version.from_json(marked.to_json()) == marked
    assert marked.marked(()) == real
    assert "marks" not in real.to_json()  # what was stored before there were marks reads as it did


def test_a_placeholder_is_told_from_what_rests_on_one() -> None:
    marks = (str(Mark("stg_sales", "2030-01-02", "2030-01-01")),)
    assert of_itself(marks, "stg_sales", "2030-01-02")
    assert not of_itself(marks, "stg_sales", "2030-01-0")
    assert not of_itself(marks, "mart_sales", "2030-01-02")
    assert not of_itself(marks, "sales", "2030-01-02")


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"of": "yesterday"}, "Placeholder\\('previous'\\)"),
        ({"of": "previous", "shift": "at_utc"}, "with a comma"),
        ({"of": "previous", "timezone": "Berlin"}, "Europe/Berlin"),
    ],
)
def test_what_names_nothing_is_refused_where_it_is_written(said: dict[str, str], complaint: str) -> None:
    with pytest.raises(DeclarationError, match=complaint):
        Placeholder(**said)  # type: ignore[arg-type]


def test_a_table_that_cannot_have_one_is_refused() -> None:
    sales = late.stg_sales
    assert sales.if_late is not None
    for if_late, complaint in (
        (replace(sales.if_late, shift=("euros",)), "shift names euros"),
        (replace(sales.if_late, shift=("date",)), "shift names date"),
        (replace(sales.if_late, shift=("nothing",)), "shift names nothing"),
    ):
        with pytest.raises(DeclarationError, match=complaint):
            replace(sales, if_late=if_late)
    with pytest.raises(DeclarationError, match="nor for features"):
        replace(sales, station=Station.FEATURE)
    with pytest.raises(DeclarationError, match="nothing may stand in for delivered text"):
        replace(late.TABLES[0], if_late=Placeholder("previous"))
    with pytest.raises(DeclarationError, match="partitions in time"):
        replace(sales, partitions=Static(("a",), column="date"))
    with pytest.raises(DeclarationError, match="that of a day or an hour"):
        replace(sales, partitions=Weekly(date(2030, 1, 7), column="date"), if_late=Placeholder("same_weekday"))
    with pytest.raises(DeclarationError, match="if_late is Placeholder"):
        replace(sales, if_late="previous")  # type: ignore[arg-type]
