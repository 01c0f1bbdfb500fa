"""Which files are looked for at every tick."""

from datetime import UTC, date, datetime

import pytest

from sh_core.arriving import HORIZON, MOST_OPEN, NEWEST, is_declared, open_partitions, recent_partitions
from sh_core.feed import Feed
from sh_core.partitions import Daily, Hourly, Monthly, Multi, Partitions, Static, Unpartitioned

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


def feed(partitions: Partitions, name: str = "f_{partition}.csv") -> Feed:
    return Feed("f", name, ("a",), partitions, owner="team:test")


def test_the_newest_days_are_open_and_those_that_never_came() -> None:
    days = feed(Daily(date(2026, 1, 1)))
    recent = recent_partitions(days, NOW)
    assert (recent[0], recent[-1], len(recent)) == ("2026-03-10", "2026-01-10", HORIZON)
    arrived = set(recent) - {"2026-03-10", "2026-02-01", "2026-01-05"}
    assert open_partitions(days, NOW, arrived) == ("2026-03-10", "2026-03-09", "2026-03-08", "2026-02-01")


def test_a_feed_of_many_years_opens_no_more_than_a_young_one() -> None:
    """The incident: after ten years each tick looks for 3,650 files, and by then it takes longer than its interval."""
    old, young = (feed(Daily(date(year, 1, 1))) for year in (1990, 2026))
    assert open_partitions(old, NOW, ()) == open_partitions(young, NOW, ())
    assert len(open_partitions(feed(Hourly(date(1990, 1, 1))), NOW, ())) == HORIZON


def test_what_has_not_begun_is_not_open() -> None:
    assert open_partitions(feed(Daily(date(2026, 3, 11))), NOW, ()) == ()
    assert open_partitions(feed(Daily(date(2026, 3, 10))), NOW, ()) == ("2026-03-10",)
    assert open_partitions(feed(Daily(date(2026, 3, 1), date(2026, 3, 20))), NOW, ())[0] == "2026-03-10"


def test_a_feed_that_has_ended_keeps_its_last_days_open() -> None:
    """A vendor restates the end of the year in spring."""
    ended = feed(Daily(date(2025, 1, 1), date(2025, 12, 31)))
    assert open_partitions(ended, NOW, recent_partitions(ended, NOW)) == ("2025-12-31", "2025-12-30", "2025-12-29")


def test_days_are_those_of_the_feeds_own_clock() -> None:
    """At noon in London the next day has begun in Auckland."""
    zone = feed(Daily(date(2026, 1, 1), timezone="Pacific/Auckland"))
    assert open_partitions(zone, NOW, ())[0] == "2026-03-11"


def test_months_are_open_as_months() -> None:
    arrived = recent_partitions(feed(Monthly(date(2020, 1, 1))), NOW)
    assert open_partitions(feed(Monthly(date(2020, 1, 1))), NOW, arrived) == ("2026-03-01", "2026-02-01", "2026-01-01")


def test_what_is_no_period_is_always_open() -> None:
    assert open_partitions(feed(Unpartitioned(), "f.csv"), NOW, {"all"}) == ("all",)
    assert open_partitions(feed(Static(["b", "a"], column="c")), NOW, {"a", "b"}) == ("b", "a")


def test_of_combinations_the_newest_are_open_for_every_other_key() -> None:
    both = feed(
        Multi(airport=Static(["JFK", "LGA"], column="airport"), day=Daily(date(2026, 1, 1))), "{airport}_{day}.csv"
    )
    arrived = set(recent_partitions(both, NOW)) - {"LGA|2026-02-01"}
    found = open_partitions(both, NOW, arrived)
    newest = [f"{airport}|2026-03-{day}" for day in ("10", "09", "08") for airport in ("JFK", "LGA")]
    assert list(found) == [*newest, "LGA|2026-02-01"]


def test_of_two_kinds_of_periods_a_combination_is_as_old_as_its_older_one() -> None:
    both = feed(Multi(a=Daily(date(2026, 3, 9)), b=Monthly(date(2026, 2, 1), column="month")), "{a}_{b}.csv")
    assert recent_partitions(both, NOW) == (
        "2026-03-10|2026-03-01",
        "2026-03-09|2026-03-01",
        "2026-03-09|2026-02-01",
        "2026-03-10|2026-02-01",
    )


def test_so_many_are_open_at_most_and_these_are_the_newest() -> None:
    many = Static([f"k{n}" for n in range(700)], column="k")
    both = feed(Multi(a=many, day=Daily(date(2020, 1, 1))), "{a}_{day}.csv")
    found = open_partitions(both, NOW, ())
    assert len(found) == MOST_OPEN
    assert {key.partition("|")[2] for key in found} == {"2026-03-10", "2026-03-09"}
    assert NEWEST > 1


@pytest.mark.parametrize(
    ("partitions", "key", "declared"),
    [
        (Daily(date(2026, 1, 1)), "2026-03-10", True),
        (Daily(date(2026, 1, 1)), "2026-03-11", False),
        (Daily(date(2026, 1, 1), date(2026, 3, 31)), "2026-03-11", True),
        (Static(["a"], column="c"), "a", True),
        (Unpartitioned(), "all", True),
        (Multi(a=Static(["x"], column="c"), d=Daily(date(2026, 1, 1))), "x|2026-03-10", True),
        (Multi(a=Static(["x"], column="c"), d=Daily(date(2026, 1, 1))), "x|2026-03-11", False),
    ],
)
def test_a_partition_is_declared_as_soon_as_its_set_says_so(partitions: Partitions, key: str, declared: bool) -> None:
    assert is_declared(partitions, key, NOW) is declared
    assert (key in partitions.declared(NOW)) is declared
