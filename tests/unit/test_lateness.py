"""What should have been there by now, and what that holds up, for a graph with days, months, windows and lists.

The incidents: a month is called late on its second day; a table is called late before its inputs are due; the report
of a whole year is told to wait for one day, and nobody says so.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import pandera.polars as pa
import polars as pl
import pytest

from sh_core.contract import Contract
from sh_core.due import By, DaysOff, Due
from sh_core.feed import Feed
from sh_core.graph import Graph
from sh_core.inputs import Input, Partial
from sh_core.lateness import Deadlines, held_up, owed, spans
from sh_core.links import declared, places
from sh_core.mapping import All, Window
from sh_core.partitions import Daily, Hourly, Monthly, Multi, Partitions, Static, Unpartitioned
from sh_core.table import Station, Table, raw_table, table

DAYS, MONTHS = Daily(date(2030, 1, 1)), Monthly(date(2030, 1, 1))
SIX, SEVEN = By(time(6)), By(time(7), grace=timedelta(minutes=30))


def feed(name: str, due: Due | None, partitions: Partitions = DAYS) -> Feed:
    return Feed(name, name + "_{partition}.csv", ("v",), partitions, owner="team:test", due=due)


class Row(pa.DataFrameModel):
    """One row."""

    date: pl.Date
    month: pl.Date
    v: str


CONTRACT = Contract(Row, owner="team:test")


def made(name: str, partitions: Partitions, reads: dict[str, Input], due: Due | None = None) -> Table:
    arguments = ", ".join(reads)
    scope: dict[str, object] = {"pl": pl}
    exec(f"def {name}({arguments}):\n    'A table.'\n    return pl.concat([{arguments}])", scope)
    function = scope[name]
    assert callable(function)
    return table(contract=CONTRACT, partitions=partitions, station=Station.MART, reads=reads, due=due)(function)


GRAPH = Graph.of(
    [
        raw_table(feed("early", SIX)),
        raw_table(feed("later", SEVEN)),
        raw_table(feed("loose", None)),
        made("both", DAYS, {"a": Input("raw_early"), "b": Input("raw_later")}),
        made("own", DAYS, {"a": Input("raw_early")}, due=By(time(5))),
        made("free", DAYS, {"a": Input("raw_loose")}),
        made("trend", DAYS, {"a": Input("both", window=Window(-2, 0), present=Partial())}),
        made("month", MONTHS, {"a": Input("both")}),
        made("ever", Unpartitioned(), {"a": Input("both", window=All())}),
    ]
)
NOON = datetime(2030, 1, 10, 12, tzinfo=UTC)


def at(day: int, hour: int, minute: int = 0, month: int = 1) -> datetime:
    return datetime(2030, month, day, hour, minute, tzinfo=UTC)


@pytest.fixture
def deadlines() -> Deadlines:
    return Deadlines(GRAPH)


@pytest.mark.parametrize(
    ("name", "late_utc"),
    [
        ("raw_early", at(10, 6)),
        ("raw_later", at(10, 7, 30)),
        ("raw_loose", None),
        ("both", at(10, 7, 30)),  # the latest of what it reads
        ("own", at(10, 5)),  # by hand, also earlier
        ("free", None),
        ("trend", at(10, 7, 30)),
    ],
)
def test_a_table_is_due_when_all_that_it_reads_is(deadlines: Deadlines, name: str, late_utc: datetime | None) -> None:
    assert deadlines.late_utc(name, "2030-01-09", NOON) == late_utc


def test_it_is_late_at_its_deadline_and_not_before(deadlines: Deadlines) -> None:
    for moment, late in ((at(10, 7, 29), False), (at(10, 7, 30), True)):
        assert deadlines.is_late("both", "2030-01-09", moment) is late
        place = places(DAYS, moment)["2030-01-09"]
        assert bool(deadlines.passed("both", moment)[place]) is late


def test_a_month_on_its_second_day_is_owed_when_nobody_knows_yet(deadlines: Deadlines) -> None:
    assert deadlines.late_utc("month", "2030-01-01", at(2, 12)) is None
    assert not deadlines.passed("month", at(2, 12)).any()
    assert deadlines.late_utc("month", "2030-01-01", at(31, 12)) == at(1, 7, 30, month=2)
    assert deadlines.is_late("month", "2030-01-01", at(1, 7, 30, month=2))


def test_days_to_come_make_deadlines_as_they_begin(deadlines: Deadlines) -> None:
    """Deadlines are kept from one look to the next, and must not be those of a week ago."""
    assert deadlines.late_utc("both", "2030-01-09", at(3, 12)) is None
    assert deadlines.late_utc("both", "2030-01-09", NOON) == at(10, 7, 30)
    assert len(deadlines.of("both", NOON)) == 10
    assert len(deadlines.of("both", at(3, 12))) == 3


def test_the_calendar_decides_and_not_the_clock() -> None:
    replayed = Deadlines(GRAPH, lambda now: now - timedelta(days=5))
    assert replayed.is_late("both", "2030-01-04", NOON)
    assert not replayed.is_late("both", "2030-01-05", NOON)


def nothing(feed: str, keys: Collection[str]) -> Collection[str]:
    del feed, keys
    return ()


def test_overdue_are_files_that_are_owed_and_not_there(deadlines: Deadlines) -> None:
    asked: dict[str, list[str]] = {}

    def arrived(feed: str, keys: Collection[str]) -> Collection[str]:
        asked[feed] = list(keys)
        return {"2030-01-01", "2030-01-03"}

    found = deadlines.overdue(arrived, at(5, 7))
    assert asked == {
        "early": ["2030-01-01", "2030-01-02", "2030-01-03", "2030-01-04"],
        "later": ["2030-01-01", "2030-01-02", "2030-01-03"],
    }
    assert {name: list(of) for name, of in found.items()} == {
        "early": ["2030-01-02", "2030-01-04"],
        "later": ["2030-01-02"],
    }
    file = found["later"]["2030-01-02"]
    assert (file.file_name, file.deadline.due_utc, file.deadline.late_utc) == (
        "later_2030-01-02.csv",
        at(3, 7),
        at(3, 7, 30),
    )


def test_periods_without_files_are_never_overdue() -> None:
    """January 6 and 13 are Sundays."""
    weekdays = By(time(6), without=DaysOff(frozenset({6})))
    graph = Graph.of([raw_table(feed("f", weekdays)), made("t", DAYS, {"a": Input("raw_f")})])
    deadlines = Deadlines(graph)
    missing = deadlines.overdue(lambda feed, keys: {"2030-01-01"}, at(15, 12))["f"]
    there_or_not_owed = {"2030-01-01", "2030-01-06", "2030-01-13", "2030-01-15"}
    assert set(DAYS.declared(at(15, 12))) - missing.keys() == there_or_not_owed
    assert deadlines.late_utc("t", "2030-01-06", at(15, 12)) is None


def test_files_are_owed_from_the_first_one_on_that_ever_came(deadlines: Deadlines) -> None:
    """The incident: somebody declares a feed from 2013 on, has the files of last week, and gets 5,000 alarms."""

    def missing(*there: str) -> list[str]:
        return list(deadlines.overdue(lambda feed, keys: set(there), at(9, 12)).get("early", ()))

    assert missing("2030-01-05", "2030-01-07") == ["2030-01-06", "2030-01-08"]
    assert missing("2030-01-08") == []
    assert missing("2030-01-09") == []  # before it was due, and the first one ever
    assert missing() == ["2030-01-08"]  # of a vendor who never delivered, the newest


def test_hours_and_combinations_have_deadlines_too() -> None:
    hours = Hourly(date(2030, 1, 1))
    both = Multi(region=Static(("n", "s"), column="region"), day=DAYS)
    combined = replace(feed("m", None), partitions=both, file_name="{region}_{day}.csv", due=SIX)
    graph = Graph.of([raw_table(feed("h", SIX, hours)), raw_table(combined)])
    found = Deadlines(graph).overdue(nothing, at(2, 6))
    assert len(found["h"]) == 24
    assert sorted(found["m"]) == sorted(key for key in both.declared(at(2, 6)) if "2030-01-01" in key)


def test_a_file_holds_up_everything_that_reads_it() -> None:
    held = held_up(GRAPH, {"raw_early": {"2030-01-05": 1}}, NOON)
    names = {table.name: declared(table.partitions, NOON) for table in GRAPH.tables}
    assert {name: tuple(names[name][at] for at in np.flatnonzero(by).tolist()) for name, by in held.items()} == {
        "raw_early": ("2030-01-05",),
        "both": ("2030-01-05",),
        "own": ("2030-01-05",),
        "trend": ("2030-01-05", "2030-01-06", "2030-01-07"),
        "month": ("2030-01-01",),
        "ever": ("all",),
    }
    assert held_up(GRAPH, {"raw_loose": {"2030-01-05": 1}}, NOON).keys() == {"raw_loose", "free"}
    assert held_up(GRAPH, {}, NOON) == {}
    assert held_up(GRAPH, {"raw_early": {"2031-01-01": 1}}, NOON) == {}


def test_what_several_hold_up_is_named_after_the_greatest() -> None:
    held = held_up(GRAPH, {"raw_early": {"2030-01-03": 7, "2030-01-05": 9}, "raw_later": {"2030-01-05": 8}}, NOON)
    place = places(DAYS, NOON)
    trend = {key: int(held["trend"][at]) for key, at in place.items() if held["trend"][at]}
    assert trend == {"2030-01-03": 7, "2030-01-04": 7, "2030-01-05": 9, "2030-01-06": 9, "2030-01-07": 9}
    assert held["ever"].tolist() == [9]
    assert int(held["raw_later"][place["2030-01-05"]]) == 8
    assert "free" not in held


def test_neighbours_are_one_span() -> None:
    flags = np.array([key[-2:] in {"01", "02", "05", "10"} for key in places(DAYS, NOON)])
    assert spans(DAYS, flags, NOON) == [
        ("2030-01-01", "2030-01-02"),
        ("2030-01-05", "2030-01-05"),
        ("2030-01-10", "2030-01-10"),
    ]
    assert spans(DAYS, np.zeros(10, np.bool_), NOON) == []
    assert spans(DAYS, np.ones(10, np.bool_), NOON) == [("2030-01-01", "2030-01-10")]


def test_tables_without_any_due_time_have_no_deadline() -> None:
    assert owed(GRAPH) == {t.name for t in GRAPH.tables} - {"raw_loose", "free"}
