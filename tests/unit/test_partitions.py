"""Partition sets: which keys there are, and which days they stand for."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sh_core.errors import DeclarationError
from sh_core.partitions import WHOLE, Daily, Monthly, Unpartitioned, Weekly

Periods = Daily | Weekly | Monthly
KINDS: tuple[type[Daily] | type[Weekly] | type[Monthly], ...] = (Daily, Weekly, Monthly)
MONDAY = date(2029, 12, 31)

days = st.dates(date(1990, 1, 1), date(2090, 12, 31))


@st.composite
def sets(draw: st.DrawFn) -> Periods:
    """A set of up to 40 periods, some without end."""
    kind = draw(st.sampled_from(KINDS))
    some = kind(date(1990, 1, 1))  # a Monday
    start = some.floor(draw(days))
    if draw(st.booleans()):
        return kind(start)
    return kind(start, some.last_day(some.shift(start, draw(st.integers(0, 39)))))


@given(sets(), days, st.integers(0, 400))
def test_periods_have_no_gap_and_no_overlap(periods: Periods, first: date, length: int) -> None:
    """Each day belongs to exactly one period: a row whose day had none, or two, could not be placed."""
    last = first + timedelta(days=length)
    keys = periods.between(first, last)
    assert list(keys) == sorted(set(keys))
    covered = [d for key in keys for d in _days_of(periods, key)]
    assert covered == [covered[0] + timedelta(days=i) for i in range(len(covered))] if covered else True
    inside = [first + timedelta(days=i) for i in range(length + 1)]
    assert {d for d in inside if periods.start <= d and (periods.end is None or d <= periods.end)} <= set(covered)
    for key in keys:  # none that lies wholly outside
        assert set(_days_of(periods, key)) & set(inside)
        assert periods.value(key) == _days_of(periods, key)[0]


def _days_of(periods: Periods, key: str) -> list[date]:
    first = date.fromisoformat(key)
    match periods:
        case Daily():
            return [first]
        case Weekly():
            return [first + timedelta(days=i) for i in range(7)]
        case Monthly():
            return [first + timedelta(days=i) for i in range(31) if (first + timedelta(days=i)).month == first.month]


@given(sets())
def test_the_key_after_is_the_next_one(periods: Periods) -> None:
    """Neighbours are put into one run; a leap day or a year's end in between must not cut it, nor bridge a gap."""
    end = periods.end or periods.start + timedelta(days=400)
    keys = list(periods.between(periods.start, end))
    if periods.end is not None:
        assert keys == list(periods.keys())
    assert [periods.after(key) for key in keys[:-1]] == keys[1:]


def test_keys_of_each_kind() -> None:
    assert Daily(date(2024, 2, 28), date(2024, 3, 1)).keys() == ("2024-02-28", "2024-02-29", "2024-03-01")
    assert Weekly(MONDAY, date(2030, 1, 13)).keys() == ("2029-12-31", "2030-01-07")
    assert Monthly(date(2029, 12, 1), date(2030, 1, 31)).keys() == ("2029-12-01", "2030-01-01")
    assert Unpartitioned().keys() == (WHOLE,) == Unpartitioned().between(MONDAY, MONDAY)
    assert (Daily(MONDAY).column, Weekly(MONDAY).column, Monthly(date(2030, 1, 1)).column) == ("date", "week", "month")


@pytest.mark.parametrize(
    ("kind", "start", "end", "message"),
    [
        (Daily, "2030-01-02", "2030-01-01", "daily partitions end on 2030-01-01, before they start on 2030-01-02"),
        (Weekly, "2030-01-01", None, "weekly partitions cannot start on 2030-01-01, within a period: take 2029-12-31"),
        (Weekly, "2029-12-31", "2030-01-07", "cannot end on 2030-01-07, within a period: take 2030-01-13"),
        (Monthly, "2030-01-02", None, "monthly partitions cannot start on 2030-01-02, within a period: take 2030-01-0"),
        (Monthly, "2024-01-01", "2024-02-28", "cannot end on 2024-02-28, within a period: take 2024-02-29"),
    ],
)
def test_a_set_that_is_cut_off_is_refused(kind: type[Periods], start: str, end: str | None, message: str) -> None:
    """Half a month would be published under the name of the whole one."""
    with pytest.raises(DeclarationError, match=message):
        kind(date.fromisoformat(start), date.fromisoformat(end) if end else None)


@pytest.mark.parametrize(
    ("periods", "key"),
    [
        (Daily(MONDAY, date(2030, 1, 2)), "2030-01-03"),
        (Daily(MONDAY), "2029-12-30"),
        (Daily(MONDAY), "20300101"),  # Python reads it as a date; two names of one partition would be two leases
        (Daily(MONDAY), "2030-W01-1"),
        (Daily(MONDAY), "2030-02-30"),
        (Daily(MONDAY), WHOLE),
        (Weekly(MONDAY), "2030-01-01"),
        (Monthly(date(2030, 1, 1)), "2030-01-02"),
        (Monthly(date(2030, 1, 1)), "2030-01"),
    ],
    ids=str,
)
def test_a_key_of_another_set_is_refused(periods: Periods, key: str) -> None:
    with pytest.raises(DeclarationError, match=rf"'{key}' is no {periods.NAME} partition from {periods.start} .*write"):
        periods.check(key)


def test_a_table_without_partitions_has_the_one() -> None:
    Unpartitioned().check(WHOLE)
    with pytest.raises(DeclarationError, match=r"'2030-01-01' is no partition of a table without partitions.*'all'"):
        Unpartitioned().check("2030-01-01")


def test_a_set_without_end_cannot_be_listed_and_reaches_as_far_as_asked() -> None:
    """Listing it would never come to an end."""
    endless = Monthly(date(2030, 1, 1))
    with pytest.raises(DeclarationError, match="monthly partitions from 2030-01-01 have no end"):
        endless.keys()
    assert endless.between(date(2029, 1, 1), date(2030, 2, 1)) == ("2030-01-01", "2030-02-01")
    endless.check("2999-12-01")
