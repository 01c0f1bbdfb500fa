"""Hours, lists and combinations: which keys there are, what they stand for, and what is refused where it is written."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from sh_core.errors import DeclarationError
from sh_core.feed import Feed
from sh_core.mapping import SAME, All, Dimensions, Keys, Last, PartitionMapping, Window, mapped, refuse, width
from sh_core.partitions import Daily, Hourly, Monthly, Multi, Partitions, Static, Unpartitioned, Weekly

FIRST, LAST = date(2024, 11, 2), date(2024, 11, 4)
NEW_YORK = "America/New_York"
HOURS = Hourly(FIRST, LAST, timezone=NEW_YORK)
DAYS = Daily(FIRST, LAST)
AIRPORTS = Static(("JFK", "LGA"), column="airport")
BOTH = Multi(day=DAYS, airport=AIRPORTS)
ODD: Any = 1.5
NOW = datetime(2024, 11, 3, 5, 30, tzinfo=UTC)
"""Half past one in New York, the first time."""


# ----------------------------------------------------------------------------------------------------------- sets


def test_what_was_declared_before_there_were_clocks_is_what_it_was() -> None:
    """Its repr stands in messages, its fields in the code versions of transforms that mention it."""
    assert repr(DAYS) == ("Daily(start=datetime.date(2024, 11, 2), end=datetime.date(2024, 11, 4), column='date')")
    assert DAYS == Daily(FIRST, LAST, "date") == Daily(FIRST, LAST, timezone="UTC", hour_offset=0)
    assert Daily(FIRST, LAST, hour_offset=6) != DAYS != Daily(FIRST, LAST, timezone=NEW_YORK)
    assert repr(Daily(FIRST, hour_offset=6, timezone=NEW_YORK)).endswith("timezone='America/New_York', hour_offset=6)")


def test_the_hour_that_comes_twice_has_two_keys_and_two_instants() -> None:
    """Under one name the second would overwrite the first, and an hour of data would be gone."""
    first, second = "2024-11-03-01:00", "2024-11-03-01:00-0500"
    assert HOURS.after(first) == second
    assert HOURS.values(first) == {"hour": datetime(2024, 11, 3, 5, tzinfo=UTC)}
    assert HOURS.values(second) == {"hour": datetime(2024, 11, 3, 6, tzinfo=UTC)}
    assert HOURS.columns == {"hour": pl.Datetime("us", "UTC")}
    assert len(HOURS.keys()) == 73
    assert len(HOURS.between(date(2024, 11, 3), date(2024, 11, 3))) == 25


@pytest.mark.parametrize(
    "key",
    [
        "2024-11-02",
        "2024-11-02T10:00",
        "2024-11-02-10:30",
        "2024-11-02-10:00-0400",  # the first of two, or the only one, is called without
        "2024-11-03-01:00-05:00",
        "2024-11-03-01:00-0600",
        "2024-11-01-23:00",
        "2024-11-05-00:00",
        "24-11-02-10:00",
        "",
    ],
)
def test_an_hour_has_one_name(key: str) -> None:
    """Two names of one partition would be two leases on it."""
    with pytest.raises(DeclarationError, match="is no hourly partition from 2024-11-02 to 2024-11-04; write it like"):
        HOURS.check(key)


def test_the_hour_that_is_skipped_is_no_partition() -> None:
    spring = Hourly(date(2024, 3, 10), date(2024, 3, 10), timezone=NEW_YORK)
    assert list(spring.keys())[1:3] == ["2024-03-10-01:00", "2024-03-10-03:00"]
    with pytest.raises(DeclarationError, match="is no hourly partition"):
        spring.check("2024-03-10-02:00")


def test_a_set_without_end_is_declared_by_its_own_clock() -> None:
    """At eight in the evening of New York it is tomorrow in UTC; a partition of tomorrow would wait all night."""
    utc, here = Daily(FIRST), Daily(FIRST, timezone=NEW_YORK)
    evening = datetime(2024, 11, 3, 1, tzinfo=UTC)
    assert utc.declared(evening) == ("2024-11-02", "2024-11-03")
    assert here.declared(evening) == ("2024-11-02",)
    assert Hourly(FIRST, timezone=NEW_YORK).declared(NOW)[-1] == "2024-11-03-01:00"
    assert Daily(FIRST, hour_offset=6).declared(NOW) == ("2024-11-02",)
    assert Daily(date(2025, 1, 1)).declared(NOW) == ()
    assert (here.has_begun("2024-11-03", evening), utc.has_begun("2024-11-03", evening)) == (False, True)
    assert DAYS.begun(NOW, date(2024, 11, 3)) == ("2024-11-03",)
    assert BOTH.begun(NOW) == ("JFK|2024-11-02", "JFK|2024-11-03", "LGA|2024-11-02", "LGA|2024-11-03")
    assert AIRPORTS.begun(NOW) == AIRPORTS.declared(NOW) == ("JFK", "LGA")


def test_a_combination_is_spelled_in_the_order_of_its_names() -> None:
    assert Multi(airport=AIRPORTS, day=DAYS) == BOTH
    assert BOTH.keys()[:4] == ("JFK|2024-11-02", "JFK|2024-11-03", "JFK|2024-11-04", "LGA|2024-11-02")
    assert BOTH.values("LGA|2024-11-03") == {"airport": "LGA", "date": date(2024, 11, 3)}
    assert BOTH.key_of(BOTH.stored("LGA|2024-11-03")) == "LGA|2024-11-03"
    for wrong in ("2024-11-03|LGA", "LGA", "LGA|2024-11-03|x", "EWR|2024-11-03", "LGA|2024-11-09"):
        with pytest.raises(DeclarationError, match=r"is no (daily )?partition"):
            BOTH.check(wrong)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Daily(FIRST, timezone="Europe/Berlni"), "no time zone 'Europe/Berlni'.*did you mean Europe/Berlin"),
        (lambda: Daily(FIRST, timezone="../etc"), "there is no time zone"),
        (
            lambda: Daily(FIRST, hour_offset=24),
            "hour_offset of daily partitions is a whole number from 0 to 23",
        ),
        (lambda: Hourly(FIRST, minute_offset=60), "minute_offset of hourly partitions is a whole number from 0 to 59"),
        (lambda: Daily(FIRST, minute_offset=ODD), "minute_offset of daily partitions is a whole number"),
        (lambda: Hourly(FIRST, timezone="Australia/Lord_Howe"), "changed by a part of an hour before .*timezone='UTC'"),
        (lambda: Hourly(LAST, FIRST), "hourly partitions end on 2024-11-02, before they start on 2024-11-04"),
        (lambda: Static((), column="airport"), "static partitions of airport have no key"),
        (lambda: Static("JFK", column="airport"), "are a tuple of texts"),
        (lambda: Static(("JFK", "JFK"), column="airport"), "static partitions of airport name JFK twice"),
        (lambda: Static((ODD,), column="airport"), "1.5 cannot be a static partition of airport: it is a float"),
        (lambda: Static(("a/b",), column="c"), "'a/b' cannot be a static partition of c: it has '/' in it"),
        (lambda: Static(("a\nb",), column="c"), r"it has '\\n' in it, which file names"),
        (lambda: Static(("a|b",), column="c"), r"it has '\|' in it"),
        (lambda: Static(("a...b",), column="c"), r"it has \.\.\. in it"),
        (lambda: Static((" a",), column="c"), "begins or ends with what is easily overlooked"),
        (lambda: Static(("..",), column="c"), "it is no name of a folder"),
        (lambda: Static(("all",), column="c"), "it is the name of a table without partitions"),
        (lambda: Static(("ä" * 34,), column="c"), "takes 204 bytes as a folder's name, of 200"),
        (lambda: Multi(day=DAYS), "takes two dimensions, such as .* it was given day"),
        (lambda: Multi(a=DAYS, b=AIRPORTS, c=AIRPORTS), "takes two dimensions"),
        (lambda: Multi(a=DAYS, b=DAYS), "both dimensions of .* are kept in column 'date'"),
        (lambda: Multi(a=DAYS, b=ODD), r"Multi\(…\): b is Hourly\(…\), Daily\(…\)"),
        (lambda: Keys({"east": "JFK"}), "the keys that east reads are a tuple of texts"),
        (lambda: Dimensions(day=SAME, airport=ODD), "dimension airport is read by Window"),
    ],
)
def test_a_set_that_cannot_be_is_refused(make: Callable[[], object], message: str) -> None:
    """Where it is declared, and not months later, when the clock is changed or the disk says no."""
    with pytest.raises(DeclarationError, match=message):
        make()


# ------------------------------------------------------------------------------------------------------- mappings

REGIONS = Static(("east", "west"), column="region")
TWO_PERIODS = Multi(a=DAYS, b=Weekly(date(2024, 11, 4)))
TWO_LISTS = Multi(origin=AIRPORTS, dest=Static(("JFK", "LGA", "BTV"), column="to"))


@pytest.mark.parametrize(
    ("mapping", "downstream", "upstream", "why"),
    [
        (All(), Unpartitioned(), DAYS, None),
        (Last(), Unpartitioned(), BOTH, None),
        (All(), DAYS, Unpartitioned(), "has no partitions, so it is read whole: leave the window out"),
        (SAME, Unpartitioned(), AIRPORTS, "has partitions, but a table without partitions cannot say which"),
        (Dimensions(day=Last()), Unpartitioned(), BOTH, None),
        (
            Dimensions(day=SAME),
            Unpartitioned(),
            BOTH,
            "has a dimension day, which the reader lacks: read All()",
        ),
        (
            SAME,
            DAYS,
            AIRPORTS,
            "has static partitions, of which the reader's say nothing: read All()",
        ),
        (SAME, AIRPORTS, DAYS, "has daily partitions, of which the reader's say nothing"),
        (SAME, REGIONS, AIRPORTS, "has no partition east, west: say what these read with Keys"),
        (Window(-1, 0), AIRPORTS, AIRPORTS, "has a list of keys, in which Window(-1, 0) counts nothing"),
        (Keys({"east": ("JFK",), "west": ("LGA",)}), REGIONS, AIRPORTS, None),
        (Keys({"east": ("JFK",)}), REGIONS, AIRPORTS, "is read by Keys(…), which says nothing for west"),
        (Keys({"east": ("EWR",), "west": ("LGA",)}), REGIONS, AIRPORTS, "has no partition EWR; it has JFK, LGA"),
        (Keys({"north": ("JFK",)}), REGIONS, AIRPORTS, "is read by Keys(…) for north, which the reader has no"),
        (Keys({"east": ("JFK",)}), DAYS, DAYS, "is read by Keys(…), but that is for lists of keys on either side"),
        (Window(-1, 0), BOTH, BOTH, "has dimensions: say which is meant, Dimensions(airport=Window(-1, 0))"),
        (Dimensions(dya=SAME), BOTH, BOTH, "has no dimension dya; it has airport, day"),
        (Dimensions(day=SAME), DAYS, DAYS, "has one dimension: say how it is read without Dimensions(…)"),
        (Dimensions(day=Window(0, -1)), BOTH, BOTH, "has a dimension day, which would be read from 0 to -1"),
        (SAME, AIRPORTS, TWO_LISTS, None),  # of which one is the very same
        (SAME, Static(("LGA",), column="a"), TWO_LISTS, "could be read by either of dest and origin"),
        (
            SAME,
            Multi(a=DAYS, b=Weekly(date(2024, 11, 4))),
            Monthly(date(2024, 11, 1)),
            "could be read by either of a and b",
        ),
    ],
)
def test_a_mapping_that_cannot_work_is_refused(
    mapping: PartitionMapping, downstream: Partitions, upstream: Partitions, why: str | None
) -> None:
    found = refuse(mapping, downstream, upstream)
    assert (found is None) if why is None else (found is not None and found.startswith(why)), found


def test_days_of_two_zones_overlap_where_their_instants_do() -> None:
    """A day in New York begins five hours into UTC's: read by name, those hours would be a day late."""
    here = Daily(FIRST, LAST, timezone=NEW_YORK)
    assert mapped(SAME, here, DAYS, "2024-11-02", NOW) == ("2024-11-02", "2024-11-03")
    assert mapped(SAME, DAYS, here, "2024-11-03", NOW) == ("2024-11-02", "2024-11-03")
    assert mapped(Window(-1, 0), here, here, "2024-11-03", NOW) == ("2024-11-02", "2024-11-03")


def test_what_all_read_alike_is_read_once() -> None:
    """Weighed by its partitions, a year of days that read all days would be read one day at a time, 365 times over."""
    assert width(All(), DAYS, HOURS, NOW) == width(Last(), DAYS, HOURS, NOW) == 1
    assert width(SAME, DAYS, Hourly(FIRST, LAST), NOW) == 24
    assert width(SAME, DAYS, BOTH, NOW) == 2
    assert width(Keys({"east": ("JFK", "LGA"), "west": ("LGA",)}), REGIONS, AIRPORTS, NOW) == 2
    assert width(Dimensions(day=SAME), BOTH, Multi(day=Hourly(FIRST, LAST), airport=AIRPORTS), NOW) == 24


# ---------------------------------------------------------------------------------------------------------- feeds


def feed(partitions: Partitions, file_name: str) -> Feed:
    return Feed("counts", file_name, ("people",), partitions, owner="team:test")


@pytest.mark.parametrize(
    ("partitions", "file_name", "key", "file"),
    [
        (HOURS, "c_{partition}.csv", "2024-11-03-01:00-0500", "c_2024-11-03-01:00-0500.csv"),
        (AIRPORTS, "{partition}.csv", "JFK", "JFK.csv"),
        (BOTH, "{airport}_{day}.csv", "LGA|2024-11-03", "LGA_2024-11-03.csv"),
        (BOTH, "{day}{airport}.csv", "LGA|2024-11-03", "2024-11-03LGA.csv"),
        (TWO_LISTS, "{origin}-{dest}.csv", "BTV|JFK", "JFK-BTV.csv"),
    ],
)
def test_a_file_name_is_one_partition_and_back(partitions: Partitions, file_name: str, key: str, file: str) -> None:
    of = feed(partitions, file_name)
    assert of.expected_file(key) == file
    assert of.partition_of(file) == key
    assert of.partition_of(file.replace("2024", "2025").replace("JFK", "XXX")) is None
    assert of.expected_file(partitions.example) in of.takes


@pytest.mark.parametrize(
    ("partitions", "file_name", "message"),
    [
        (BOTH, "{partition}.csv", "must contain {airport} and {day} once and no folder"),
        (BOTH, "{airport}.csv", "must contain {day} once and no folder"),
        (AIRPORTS, "counts.csv", "must contain {partition} once"),
        (
            Multi(a=Static(("x", "x_y"), column="a"), b=Static(("z", "y_z"), column="b")),
            "{a}_{b}.csv",
            "'x_y_z.csv' would be the file of two partitions",
        ),
    ],
)
def test_a_file_name_that_does_not_say_which_is_refused(partitions: Partitions, file_name: str, message: str) -> None:
    """A file for two partitions would be published as either, and the other would wait for ever."""
    with pytest.raises(DeclarationError) as raised:
        feed(partitions, file_name)
    assert message in str(raised.value)


def test_columns_of_either_dimension_are_the_frameworks() -> None:
    with pytest.raises(DeclarationError, match="airport: such column names are reserved"):
        Feed("counts", "{airport}_{day}.csv", ("airport",), BOTH, owner="team:test")
