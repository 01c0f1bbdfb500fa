"""Links: what all partitions of a table read, at once, is what each of them reads.

The incident: the sweep believes that a corrected day concerns nobody, and a month stays wrong although every input of
it is right.
"""

import time
from datetime import UTC, date, datetime
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sh_core.errors import DeclarationError
from sh_core.links import Flags, Numbers, links
from sh_core.mapping import SAME, All, Dimensions, Last, PartitionMapping, Window, mapped
from sh_core.partitions import Daily, Hourly, Monthly, Multi, Partitions, Static, Unpartitioned
from tests.partition_sets import NOW, Reading, readings

DAYS = Daily(date(2024, 1, 1), date(2024, 12, 31))
MONTHS = Monthly(date(2024, 1, 1), date(2024, 12, 31))
AIRPORTS = Static(("JFK", "LGA", "EWR"), column="airport")


def whom(reading: Reading, now: datetime = NOW) -> tuple[list[str], list[str], list[list[str]]]:
    """Declared keys of either table, and what each partition reads, one by one."""
    mapping, downstream, upstream = reading
    mine, theirs = list(downstream.declared(now)), list(upstream.declared(now))
    return mine, theirs, [list(mapped(mapping, downstream, upstream, key, now)) for key in mine]


@given(readings(), st.randoms(use_true_random=False))
def test_links_are_what_every_partition_reads(reading: Reading, random: Random) -> None:
    mine, theirs, read = whom(reading)
    found = links(*reading, NOW)
    assert (found.n_down, found.n_up) == (len(mine), len(theirs))
    place = {key: i for i, key in enumerate(theirs)}
    declared = [[place[key] for key in keys if key in place] for keys in read]
    ranges = zip(found.low, found.high, strict=True)
    each = [list(range(low, high)) for low, high in ranges]
    bounds = zip(found.starts[:-1], found.starts[1:], strict=True)
    linked = [[i for places in each[a:b] for i in places] for a, b in bounds]
    assert linked == declared
    assert found.widths.tolist() == [len(keys) for keys in read]  # what is not declared yet counts: it is waited for
    some: Flags = np.array([random.random() < 0.2 for _ in theirs], bool)
    assert found.counted(some).tolist() == [sum(bool(some[i]) for i in places) for places in declared]
    assert found.reading(some).tolist() == [any(some[i] for i in places) for places in declared]
    values: Numbers = np.array([random.randrange(-5, 50) for _ in theirs], np.int64)
    assert found.newest(values, -9).tolist() == [
        max((int(values[i]) for i in places), default=-9) for places in declared
    ]


@given(readings())
def test_links_backwards_are_who_reads_each_partition(reading: Reading) -> None:
    """A change is followed downstream: whoever reads the partition is found, and nobody else."""
    mine, theirs, read = whom(reading)
    found = links(*reading, NOW)
    for i, key in enumerate(theirs[:20]):
        one = np.zeros(len(theirs), bool)
        one[i] = True
        assert [mine[d] for d in np.flatnonzero(found.reading(one))] == [
            own for own, keys in zip(mine, read, strict=True) if key in keys
        ]


def test_a_month_waits_for_the_days_that_have_not_come() -> None:
    """On the second of a month it has read what there is; it is not complete, and must not be taken for it."""
    days, months = Daily(date(2024, 1, 1)), Monthly(date(2024, 1, 1))
    found = links(SAME, months, days, datetime(2024, 2, 2, 12, tzinfo=UTC))
    assert found.n_up == 33
    assert found.widths.tolist() == [31, 29]
    assert found.counted(np.ones(33, bool)).tolist() == [31, 2]


def test_links_serve_until_a_partition_is_added() -> None:
    """A sweep asks every few seconds; building them anew each time would be all it does."""
    days = Daily(date(2024, 1, 1))
    morning, evening = datetime(2024, 2, 2, 1, tzinfo=UTC), datetime(2024, 2, 2, 23, tzinfo=UTC)
    assert links(All(), days, days, morning) is links(All(), days, days, evening)
    assert links(All(), days, days, datetime(2024, 2, 3, tzinfo=UTC)).n_up == 34


def test_a_register_and_its_readers() -> None:
    whole = Unpartitioned()
    found = links(SAME, DAYS, whole, NOW)
    assert found.widths.tolist() == [1] * 366
    assert links(All(), whole, DAYS, NOW).widths.tolist() == [366]
    assert links(Last(), whole, DAYS, NOW).newest(np.arange(366), -1).tolist() == [365]
    with pytest.raises(DeclarationError, match="a table without partitions cannot say which"):
        links(SAME, whole, DAYS, NOW)


def test_nothing_is_declared_yet() -> None:
    """A set that begins next year has no partition to link."""
    later = Daily(date(2031, 1, 1))
    assert links(SAME, later, DAYS, NOW).n_down == 0
    found = links(Last(), DAYS, later, NOW)
    assert found.newest(np.zeros(0, np.int64), -1).tolist() == [-1] * 366
    assert found.counted(np.zeros(0, bool)).sum() == 0


@pytest.mark.parametrize(
    ("mapping", "downstream", "upstream"),
    [
        (All(), "days", "days"),
        (Window(-6, 0), "days", "days"),
        (SAME, "days", "hours"),
        (SAME, "hours", "days"),
        (SAME, "days", "both"),
        (Dimensions(day=Window(-6, 0)), "both", "both"),
    ],
)
def test_ten_years_are_linked_at_once(mapping: PartitionMapping, downstream: str, upstream: str) -> None:
    """3,650 days that each read all others are 13 million pairs, which nobody may write down one by one."""
    first, last = date(2020, 1, 1), date(2029, 12, 28)
    days = Daily(first, last)
    sets: dict[str, Partitions] = {
        "days": days,
        "hours": Hourly(first, last, timezone="Europe/Berlin"),
        "both": Multi(day=days, airport=AIRPORTS),
    }
    started = time.process_time()
    found = links(mapping, sets[downstream], sets[upstream], NOW)
    mask = np.ones(found.n_up, bool)
    assert (found.counted(mask) == found.widths).all()
    assert found.newest(np.arange(found.n_up), -1).max() == found.n_up - 1
    assert time.process_time() - started < 5  # it takes a tenth of a second; pair by pair it would be minutes
