"""Names of files as vendors write them: which partition, version and part each one means."""

import re
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sh_core.errors import DeclarationError
from sh_core.feed import Feed
from sh_core.file_names import FileNames, Named
from sh_core.partitions import WHOLE, Daily, Hourly, Monthly, Multi, Partitions, Static, Unpartitioned, Weekly

DAYS = Daily(date(2013, 1, 1), date(2026, 12, 31))
ENDLESS = Daily(date(2020, 1, 1))
MONTHS = Monthly(date(2013, 1, 1), date(2026, 12, 31))
WEEKS = Weekly(date(2012, 12, 31), date(2026, 12, 27))
HOURS = Hourly(date(2026, 1, 1), date(2026, 12, 31))
LOCAL_HOURS = Hourly(date(2026, 1, 1), date(2026, 12, 31), timezone="America/New_York")
INDIAN_HOURS = Hourly(date(2026, 1, 1), date(2026, 12, 31), timezone="Asia/Kolkata", minute_offset=15)
AIRPORTS = Static(("JFK", "LGA", "JFK_2"), column="airport")
BOTH = Multi(airport=Static(("JFK", "LGA"), column="airport"), day=DAYS)


def feed(file_name: str, partitions: Partitions = DAYS) -> Feed:
    return Feed("counts", file_name, ("people",), partitions, owner="team:test")


@pytest.mark.parametrize(
    ("partitions", "template", "key", "name"),
    [
        (DAYS, "a_{partition:%Y%m%d}.csv", "2026-01-05", "a_20260105.csv"),
        (DAYS, "{partition:%m-%d-%Y}.csv", "2026-01-05", "01-05-2026.csv"),
        (DAYS, "{partition:%d.%m.%y}.csv", "2026-01-05", "05.01.26.csv"),
        (DAYS, "{partition:%d%b%Y}.csv", "2026-05-31", "31May2026.csv"),
        (DAYS, "{partition:%B %d, %Y}.csv", "2026-12-01", "December 01, 2026.csv"),
        (DAYS, "{partition:%Y%j}.csv", "2024-12-31", "2024366.csv"),
        (Daily(date(2026, 1, 1), hour_offset=6), "{partition:%Y%m%d}.csv", "2026-01-05", "20260105.csv"),
        (MONTHS, "{partition:%Y%m}.csv", "2026-02-01", "202602.csv"),
        (MONTHS, "{partition:%Y-%m-%d}.csv", "2026-02-01", "2026-02-01.csv"),
        (WEEKS, "{partition:%G-W%V}.csv", "2024-12-30", "2025-W01.csv"),
        (WEEKS, "{partition:%Y%m%d}.csv", "2024-12-30", "20241230.csv"),
        (HOURS, "{partition:%Y%m%dT%H}.csv", "2026-01-05-13:00", "20260105T13.csv"),
        (HOURS, "{partition:%H:%M %Y%m%d}.csv", "2026-01-05-13:00", "13:00 20260105.csv"),
        (INDIAN_HOURS, "{partition:%Y%m%d%H}.csv", "2026-01-05-13:15", "2026010513.csv"),
        (LOCAL_HOURS, "{partition:%Y%m%d%H%z}.csv", "2026-11-01-01:00", "2026110101-0400.csv"),
        (LOCAL_HOURS, "{partition:%Y%m%d%H%z}.csv", "2026-11-01-01:00-0500", "2026110101-0500.csv"),
        (BOTH, "{airport}{day:%Y%m%d}.csv", "LGA|2026-01-05", "LGA20260105.csv"),
        (BOTH, "{day:%Y%m%d}_{airport}.csv", "LGA|2026-01-05", "20260105_LGA.csv"),
    ],
)
def test_a_vendors_spelling_is_one_partition_and_back(
    partitions: Partitions, template: str, key: str, name: str
) -> None:
    of = feed(template, partitions)
    assert of.expected_file(key) == of.prefix(key) == name
    assert of.named(name) == Named(key)
    assert of.partition_of(name) == key
    assert of.has_one_name
    assert name in of.delivery(key)


@pytest.mark.parametrize(
    ("partitions", "template", "name"),
    [
        (DAYS, "{partition:%Y%m%d}.csv", "20260230.csv"),  # no such day
        (DAYS, "{partition:%Y%m%d}.csv", "00000101.csv"),
        (DAYS, "{partition:%Y%m%d}.csv", "20121231.csv"),  # before the first
        (DAYS, "{partition:%Y%m%d}.csv", "2026-01-05.csv"),  # spelled as a key
        (DAYS, "{partition:%Y%m%d}.csv", "2026010५.csv"),  # a digit, but none of the file's
        (DAYS, "{partition:%Y%m%d}.csv", "20260105.csv\n"),
        (DAYS, "{partition:%Y%j}.csv", "2026000.csv"),
        (DAYS, "{partition:%Y%j}.csv", "2026366.csv"),  # not a leap year
        (DAYS, "{partition:%Y%j}.csv", "9999999.csv"),
        (DAYS, "{partition:%d%b%Y}.csv", "31may2026.csv"),
        (MONTHS, "{partition:%Y-%m-%d}.csv", "2026-02-02.csv"),  # not a month's first day
        (WEEKS, "{partition:%G-W%V}.csv", "2025-W53.csv"),  # the year has 52
        (WEEKS, "{partition:%Y%m%d}.csv", "20241231.csv"),
        (HOURS, "{partition:%Y%m%d%H}.csv", "2026010524.csv"),
        (LOCAL_HOURS, "{partition:%Y%m%d%H%z}.csv", "2026030802-0500.csv"),  # skipped by the clock
        (LOCAL_HOURS, "{partition:%Y%m%d%H%z}.csv", "2026110101-0600.csv"),
        (LOCAL_HOURS, "{partition:%Y%m%d%H%z}.csv", "0001010100+2359.csv"),
    ],
)
def test_a_name_that_no_calendar_has_is_no_partitions(partitions: Partitions, template: str, name: str) -> None:
    assert feed(template, partitions).named(name) is None


SPELLINGS: list[tuple[Daily | Weekly | Monthly | Hourly, str]] = [
    *((ENDLESS, spelling) for spelling in ("%Y%m%d", "%m-%d-%Y", "%d%b%y", "%y%j", "%B%d%Y")),
    *((WEEKS, spelling) for spelling in ("%G%V", "%y%m%d")),
    *((MONTHS, spelling) for spelling in ("%b%Y", "%y%m", "%Y%m%d")),
    *((LOCAL_HOURS, spelling) for spelling in ("%Y%m%d%H%M%z", "%z%H%j%y")),
    *((INDIAN_HOURS, spelling) for spelling in ("%Y%m%d%H", "%H.%M %d.%m.%Y")),
]


@given(st.data())
def test_every_period_has_a_name_of_its_own_in_every_spelling(data: st.DataObject) -> None:
    """The incident to prevent: two days that have one name, so that the file of one is published as the other's."""
    partitions, spelling = data.draw(st.sampled_from(SPELLINGS))
    keys = partitions.declared(datetime(2026, 12, 31, tzinfo=UTC))
    one, other = data.draw(st.sampled_from(keys)), data.draw(st.sampled_from(keys))
    names = FileNames(f"x{{partition:{spelling}}}y", partitions)
    assert names.read(names.write(one)) == Named(one)
    assert (names.write(one) == names.write(other)) == (one == other)


# ------------------------------------------------------------------------------------------------- versions and parts


@pytest.mark.parametrize(
    ("partitions", "template", "named", "name", "expected", "prefix"),
    [
        (
            DAYS,
            "a_{partition:%Y%m%d}.v{version}.csv",
            Named("2026-01-05", "12"),
            "a_20260105.v12.csv",
            "a_20260105.v*.csv",
            "a_20260105.v",
        ),
        (
            DAYS,
            "{version}_{partition}.csv",
            Named("2026-01-05", "20260106T061500Z"),
            "20260106T061500Z_2026-01-05.csv",
            "*_2026-01-05.csv",
            "",
        ),
        (
            DAYS,
            "{partition}.csv.{version}",
            Named("2026-01-05", "2026-01-06T06:15:00.25"),
            "2026-01-05.csv.2026-01-06T06:15:00.25",
            "2026-01-05.csv.*",
            "2026-01-05.csv.",
        ),
        (
            BOTH,
            "{airport}-{part}-{day}_{version}.csv",
            Named("JFK|2026-01-05", "3", "terminal_4.v2"),
            "JFK-terminal_4.v2-2026-01-05_3.csv",
            "JFK-*-2026-01-05_*.csv",
            "JFK-",
        ),
        (Unpartitioned(), "planes_{version}.csv", Named(WHOLE, "7"), "planes_7.csv", "planes_*.csv", "planes_"),
        (AIRPORTS, "{part}_{partition}.csv", Named("JFK_2", None, "a"), "a_JFK_2.csv", "*_JFK_2.csv", ""),
        (
            DAYS,
            "{partition}_{version}_{part}",
            Named("2026-01-05", "1", "a_2.csv"),
            *["2026-01-05_1_a_2.csv"],
            *["2026-01-05_*_*", "2026-01-05_"],
        ),
    ],
)
def test_a_name_says_version_and_part_too(
    partitions: Partitions, template: str, named: Named, name: str, expected: str, prefix: str
) -> None:
    of = feed(template, partitions)
    assert not of.has_one_name
    assert of.named(name) == named
    assert of.expected_file(named.partition) == expected
    assert of.prefix(named.partition) == prefix


@pytest.mark.parametrize(
    "name", ["2026-01-05_.csv", "2026-01-05_v1.csv", "2026-01-05_1.2.csv", "2026-01-05_1_2.csv", "2026-01-05_*.csv"]
)
def test_what_is_neither_digits_nor_a_time_stamp_is_no_version(name: str) -> None:
    """Compared as text, 1.10 would be older than 1.9."""
    assert feed("{partition}_{version}.csv").named(name) is None


@given(st.text(alphabet="ab_-.12", min_size=1), st.text(alphabet="0123456789", min_size=1))
def test_a_name_is_read_in_one_way_only(part: str, version: str) -> None:
    names = FileNames("{part}_-{partition:%Y%m%d}.{version}", DAYS)
    name = names.write("2026-01-05", version, part)
    read = names.read(name)
    assert read == (None if "_-" in part else Named("2026-01-05", version, part))


@pytest.mark.parametrize(
    ("partitions", "template", "message"),
    [
        (DAYS, "{partition:%Y%m}.csv", "{partition:%Y%m}, which does not say the day; write e.g. {partition:%Y%m%d}"),
        (DAYS, "{partition:%m%d}.csv", "does not say the day"),
        (MONTHS, "{partition:%Y}.csv", "does not say the month; write e.g. {partition:%Y%m}"),
        (WEEKS, "{partition:%Y-W%V}.csv", "does not say the week; write e.g. {partition:%G-W%V}"),
        (HOURS, "{partition:%Y%m%d}.csv", "does not say the hour; write e.g. {partition:%Y%m%d%H}"),
        (LOCAL_HOURS, "{partition:%Y%m%d%H}.csv", "which of the two hours when the clock of America/New_York is put"),
        (DAYS, "{partition:%Y%m%d%H}.csv", "but daily partitions have no time of day"),
        (DAYS, "{partition:%Y%m%d%s}.csv", "%s in {partition:%Y%m%d%s}, which is not understood; there are %Y %y"),
        (DAYS, "{partition:%Y%m%d%}.csv", "which is not understood"),
        (DAYS, "{partition:%Y%m%d%d}.csv", "%d in {partition:%Y%m%d%d}, twice"),
        (Daily(date(1913, 1, 1)), "{partition:%y%m%d}.csv", "two digits mean 1969 to 2068"),
        (BOTH, "{airport:%Y}_{day}.csv", "keys of a list are written as they are; write {airport}"),
        (DAYS, "{partition:}.csv", "which cannot be spelled in another way; write {partition}"),
        (DAYS, "{partition}_{version:03}.csv", "which cannot be spelled in another way; write {version}"),
        (
            DAYS,
            "{partition}_{verison}.csv",
            "has {verison}, which stands for nothing; there are {partition}, {version}",
        ),
        (DAYS, "{partition}_{part}_{part}.csv", "has {part} twice"),
        (DAYS, "{partition}{version}.csv", "needs some text between {partition} and {version}"),
        (DAYS, "{partition}-{version}{part}.csv", "needs some text between {version} and {part}"),
        (DAYS, "{partition:%Y/%m/%d}.csv", "must contain {partition} once and no folder"),
        (DAYS, "{version}.csv", "must contain {partition} once and no folder"),
        (AIRPORTS, "{partition}_{part}.csv", "'JFK_2' could also be 'JFK' with '2' as {part}; put {part} first"),
    ],
)
def test_a_name_that_could_mean_two_things_is_refused(partitions: Partitions, template: str, message: str) -> None:
    with pytest.raises(DeclarationError, match=re.escape(message)) as raised:
        feed(template, partitions)
    assert str(raised.value).startswith("feed counts: ")


def test_a_dimension_called_version_is_a_dimension() -> None:
    """Feeds from before there were versions in names keep their meaning."""
    of = feed("{version}_{day}.csv", Multi(version=Static(("a", "b"), column="version"), day=DAYS))
    assert of.named("a_2026-01-05.csv") == Named("2026-01-05|a")
    assert of.has_one_name
