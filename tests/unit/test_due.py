"""When something is owed: on which clock, after which day, and on which days not at all.

The incidents: an alarm an hour early every morning from spring to autumn; one on every Sunday for a vendor who never
delivers on Sundays; a month that is called late on its second day.
"""

from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta

import pytest

from sh_core.due import By, DaysOff, Due, Within, deadline, refuse_due
from sh_core.errors import DeclarationError
from sh_core.partitions import Daily, Hourly, Monthly, Multi, Partitions, Static, Unpartitioned, Weekly

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
START = date(2030, 1, 7)
DAYS = Daily(START)


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


def due(of: Due, key: str, partitions: Partitions = DAYS) -> datetime | None:
    found = deadline(of, partitions, key)
    return None if found is None else found.due_utc


@pytest.mark.parametrize(
    ("key", "at_utc"),
    [
        ("2030-03-29", utc(2030, 3, 30, 5)),  # winter: an hour ahead of UTC
        ("2030-03-30", utc(2030, 3, 31, 4)),  # clocks were put forward in the night
        ("2030-10-26", utc(2030, 10, 27, 5)),  # and back
        ("2030-10-25", utc(2030, 10, 26, 4)),
    ],
)
def test_six_in_the_morning_is_six_on_that_clock_all_year(key: str, at_utc: datetime) -> None:
    assert due(By(time(6), BERLIN), key) == at_utc


def test_a_time_that_the_clock_skips_is_when_it_is_put_forward() -> None:
    assert due(By(time(2, 30), BERLIN), "2030-03-30") == utc(2030, 3, 31, 1)


def test_a_time_that_comes_twice_is_the_second_one() -> None:
    """Nobody is called late while it is still half past two somehow."""
    assert due(By(time(2, 30), BERLIN), "2030-10-26") == utc(2030, 10, 27, 1, 30)


def test_the_clock_of_the_due_time_is_not_that_of_the_partitions() -> None:
    days = Daily(START, timezone=NEW_YORK)
    assert due(By(time(6), BERLIN), "2030-01-08", days) == utc(2030, 1, 9, 5)


@pytest.mark.parametrize(("days_after", "day"), [(0, 9), (1, 10), (3, 12)])
def test_days_after_count_from_the_day_itself(days_after: int, day: int) -> None:
    assert due(By(time(18), days_after=days_after), "2030-01-09") == utc(2030, 1, day, 18)


def test_grace_moves_when_one_is_told_and_not_when_it_is_due() -> None:
    found = deadline(By(time(6), grace=timedelta(minutes=30)), DAYS, "2030-01-09")
    assert found is not None
    assert (found.due_utc, found.late_utc) == (utc(2030, 1, 10, 6), utc(2030, 1, 10, 6, 30))
    found = deadline(Within(timedelta(hours=1), grace=timedelta(minutes=5)), DAYS, "2030-01-09")
    assert found is not None
    assert found.late_utc - found.due_utc == timedelta(minutes=5)


def closed(weekdays: Collection[int] = (), *dates: date) -> DaysOff:
    return DaysOff(frozenset(weekdays), frozenset(dates))


def test_what_is_due_when_nobody_delivers_is_due_when_somebody_does() -> None:
    """Saturday, Sunday and a holiday on Monday: due on Tuesday."""
    due_on = By(time(6), closed=closed({5, 6}, date(2030, 1, 14)))
    assert due(due_on, "2030-01-10") == utc(2030, 1, 11, 6)  # Thursday's on Friday
    for day in ("2030-01-11", "2030-01-12", "2030-01-13"):
        assert due(due_on, day) == utc(2030, 1, 15, 6)


def test_of_days_without_business_nothing_is_owed() -> None:
    due_on = By(time(6), without=closed({6}, date(2030, 1, 9)))
    assert due(due_on, "2030-01-13") is None
    assert due(due_on, "2030-01-09") is None
    assert due(due_on, "2030-01-10") == utc(2030, 1, 11, 6)


def test_who_never_delivers_owes_nothing_that_can_be_said() -> None:
    with pytest.raises(DeclarationError, match="some of 0"):
        closed(range(7))
    gone = closed((), *(date(2030, 1, 10) + timedelta(days=n) for n in range(400)))
    with pytest.raises(DeclarationError, match="nobody delivers for 400 days"):
        due(By(time(6), closed=gone), "2030-01-09")


@pytest.mark.parametrize(
    ("partitions", "key", "at_utc"),
    [
        (Weekly(date(2030, 1, 7)), "2030-01-07", utc(2030, 1, 14, 6)),  # the Monday after
        (Monthly(date(2030, 1, 1)), "2030-02-01", utc(2030, 3, 1, 6)),
        (Monthly(date(2030, 1, 1)), "2030-12-01", utc(2031, 1, 1, 6)),
        (Hourly(START), "2030-01-09-22:00", utc(2030, 1, 10, 6)),
        (Daily(START, date(2030, 1, 9)), "2030-01-09", utc(2030, 1, 10, 6)),
    ],
)
def test_every_kind_of_period_is_due_after_its_last_day(partitions: Partitions, key: str, at_utc: datetime) -> None:
    assert due(By(time(6)), key, partitions) == at_utc


def test_an_hour_is_of_the_day_that_it_is_on_the_clock_of_the_due_time() -> None:
    """23:00 UTC is the next day in Berlin."""
    assert due(By(time(6), BERLIN), "2030-01-09-22:00", Hourly(START)) == utc(2030, 1, 10, 5)
    assert due(By(time(6), BERLIN), "2030-01-09-23:00", Hourly(START)) == utc(2030, 1, 11, 5)


@pytest.mark.parametrize(
    ("partitions", "key", "at_utc"),
    [
        (Hourly(START), "2030-01-09-22:00", utc(2030, 1, 9, 23, 20)),
        (DAYS, "2030-01-09", utc(2030, 1, 10, 0, 20)),
        (Daily(START, timezone=BERLIN), "2030-03-30", utc(2030, 3, 30, 23, 20)),
        (Daily(START, timezone=BERLIN), "2030-03-31", utc(2030, 3, 31, 22, 20)),  # a day of 23 hours
        (Monthly(date(2030, 1, 1)), "2030-02-01", utc(2030, 3, 1, 0, 20)),
    ],
)
def test_within_counts_from_the_end_of_the_period(partitions: Partitions, key: str, at_utc: datetime) -> None:
    assert due(Within(timedelta(minutes=20)), key, partitions) == at_utc


def test_a_combination_is_due_when_its_time_is() -> None:
    both = Multi(region=Static(("north", "south"), column="region"), day=DAYS)
    keys = [key for key in both.declared(utc(2030, 1, 11)) if "2030-01-09" in key]
    assert len(keys) == 2
    assert {due(By(time(6)), key, both) for key in keys} == {utc(2030, 1, 10, 6)}


def test_a_key_that_is_none_is_refused() -> None:
    for key in ("2029-01-01", "yesterday"):
        with pytest.raises(DeclarationError):
            due(By(time(6)), key)


@pytest.mark.parametrize("partitions", [Unpartitioned(), Static(("a",), column="c")])
def test_nobody_can_say_when_a_list_is_late(partitions: Partitions) -> None:
    assert "partitions in time" in str(refuse_due(By(time(6)), partitions))
    assert refuse_due(None, partitions) is None
    assert refuse_due(By(time(6)), DAYS) is None
    assert "due is By" in str(refuse_due("06:00", DAYS))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: By(time(6, tzinfo=UTC)), "the zone beside it"),
        (lambda: By(time(6, 0, 30)), "hour and minute"),
        (lambda: By(time(6), "Europe/Nowhere"), "Nowhere"),
        (lambda: By(time(6), days_after=-1), "days_after"),
        (lambda: By(time(6), grace=timedelta(-1)), "grace"),
        (lambda: Within(timedelta(-1)), "after"),
        (lambda: Within(timedelta(1), grace=timedelta(-1)), "grace"),
        (lambda: DaysOff(frozenset({7})), "weekdays"),
    ],
)
def test_what_names_no_time_is_refused(wrong: object, said: str) -> None:
    assert callable(wrong)
    with pytest.raises(DeclarationError, match=said):
        wrong()
