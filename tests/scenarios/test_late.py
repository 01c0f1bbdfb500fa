"""Incidents about what is late, tick by tick on an explicit clock: the real engine, ledger and watch.

The incidents: forty alarms in the night for one missing file, one per table; an alarm that nobody closes when the file
comes; one that comes again with every restart; a file that was rejected and is reported as missing.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from sh_core.due import By
from sh_core.graph import Graph
from sh_core.records import About, Incident
from sh_core.table import raw_table
from sh_resources.clock import ManualClock
from sh_resources.on_time import OnTime
from sh_resources.overdue import AT_ONCE, Kept, Watchman
from sh_resources.settings import load
from sh_resources.wiring import open_engine
from tests.late import (
    BERLIN,
    FRIDAY,
    MONDAY,
    SALES,
    SATURDAY,
    SUNDAY,
    TABLES,
    THURSDAY,
    TUESDAY,
    VISITS,
    WEDNESDAY,
    Shop,
    at,
    mart_trend,
    sales,
    visits,
    with_monday,
)

SHOP = {t.name: t for t in TABLES}

LATE = at(WEDNESDAY, 5, 30)
"""When the sales of Tuesday are late: 6:30 on Wednesday in Berlin."""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Monday is there, on Tuesday."""
    return with_monday(tmp_path)


def keep(shop: Shop) -> Kept:
    """As the sensor does in a new process: nothing is remembered."""
    return Watchman(shop.engine).keep(shop.clock.now_utc())


def every(shop: Shop) -> list[Incident]:
    return [i for i in shop.engine.ledger.incidents.all() if i.about is not About.CONTENT]


def kinds(incident: Incident) -> list[str]:
    return [event.kind for event in incident.events]


def detail(incident: Incident, event: int = 0) -> dict[str, Any]:
    return dict(incident.events[event].detail)


def both_there(shop: Shop, day: str) -> None:
    shop.land(SALES, day, sales(day, 1))
    shop.land(VISITS, day, visits(5))


def test_a_late_file_is_one_incident_with_everything_that_it_holds_up(shop: Shop) -> None:
    shop.land(VISITS, TUESDAY, visits(5))
    shop.heal()
    shop.until(LATE - timedelta(microseconds=1))
    assert keep(shop) == Kept()
    shop.until(LATE)
    assert keep(shop) == Kept(opened=1)
    (incident,) = every(shop)
    assert (incident.about, incident.cause_key) == (About.FILE, "late:sales")
    assert (incident.table, incident.partition) == ("sales", TUESDAY)
    assert incident.is_open
    assert incident.events[0].attempt_id is None
    found = detail(incident)
    assert found["file"] == f"sales_{TUESDAY}.csv"
    assert found["due_utc"] == at(WEDNESDAY, 5).isoformat()
    assert found["late_utc"] == LATE.isoformat()
    own = {"partitions": 1, "spans": [[TUESDAY, TUESDAY]]}
    window = {"partitions": 2, "spans": [[TUESDAY, WEDNESDAY]]}  # Wednesday's trend reads the two days before
    assert found["holds_up"]["tables"] == {
        "raw_sales": own,
        "stg_sales": own,
        "mart_sales": own,
        "mart_trend": window,
        "feat_trend": window,
        "mart_rate": own,
    }


def test_an_hour_late(shop: Shop) -> None:
    shop.until(LATE)
    keep(shop)
    shop.until(at(WEDNESDAY, 6))
    shop.land(SALES, TUESDAY, sales(TUESDAY, 7))
    shop.heal()
    assert keep(shop) == Kept(opened=1, closed=1)  # visits are late by now
    sold, visited = every(shop)
    assert (sold.is_open, kinds(sold)) == (False, ["opened", "closed"])
    assert detail(sold, 1) == {"came_utc": at(WEDNESDAY, 6).isoformat(), "late_by_s": 3600.0}
    assert (visited.cause_key, visited.is_open) == ("late:visits", True)


def test_a_week_late(shop: Shop) -> None:
    for day in (WEDNESDAY, THURSDAY, FRIDAY, SATURDAY, SUNDAY):
        shop.until(at(day, 4))
        if day != WEDNESDAY:
            both_there(shop, (date.fromisoformat(day) - timedelta(days=1)).isoformat())
        shop.heal()
        shop.until(at(day, 8))
        keep(shop)
    shop.until(at(WEDNESDAY, 5) + timedelta(days=7))
    shop.land(SALES, TUESDAY, sales(TUESDAY, 7))
    shop.heal()
    keep(shop)
    first = every(shop)[0]
    assert (first.table, first.partition, kinds(first)) == ("sales", TUESDAY, ["opened", "closed"])
    assert detail(first, 1)["late_by_s"] == timedelta(days=7).total_seconds()


def test_never(shop: Shop) -> None:
    """It stays open, and does not say so again with every tick."""
    shop.until(at(WEDNESDAY, 8))
    for _ in range(30):
        shop.until(shop.clock.now_utc() + timedelta(days=1))
        keep(shop)
    tuesday = [i for i in every(shop) if i.partition == TUESDAY]
    assert [(i.table, i.is_open, kinds(i)) for i in tuesday] == [
        ("sales", True, ["opened"]),
        ("visits", True, ["opened"]),
    ]


def test_early(shop: Shop) -> None:
    both_there(shop, TUESDAY)
    shop.heal()
    shop.until(at(WEDNESDAY, 12))
    assert keep(shop) == Kept()
    assert every(shop) == []


def test_what_came_and_became_late_while_nobody_looked(shop: Shop) -> None:
    """The daemon was down from before the deadline until after the file: it was taken in since, or not yet."""
    shop.until(at(WEDNESDAY, 12))
    both_there(shop, TUESDAY)
    assert keep(shop) == Kept()  # the files lie there, and nobody has taken them in
    shop.heal()
    assert keep(shop) == Kept()
    assert every(shop) == []


def test_what_became_late_while_nobody_looked(shop: Shop) -> None:
    shop.until(at(FRIDAY, 12))
    assert keep(shop) == Kept(opened=6)
    assert keep(shop) == Kept()
    sold = [i for i in every(shop) if i.table == "sales"]
    assert [i.partition for i in sold] == [TUESDAY, WEDNESDAY, THURSDAY]
    assert detail(sold[0])["late_utc"] == LATE.isoformat()
    assert detail(sold[0])["noticed_utc"] == at(FRIDAY, 12).isoformat()


def test_a_clock_that_jumps_back_neither_opens_nor_closes(shop: Shop) -> None:
    shop.until(at(WEDNESDAY, 12))
    keep(shop)
    back = Shop.at(shop.home, at(TUESDAY, 6))
    assert keep(back) == Kept()
    assert [i.is_open for i in every(back)] == [True, True]
    back.land(SALES, TUESDAY, sales(TUESDAY, 7))
    back.heal()
    assert keep(back) == Kept(closed=1)
    assert detail(every(back)[0], 1)["late_by_s"] == 0.0  # by this clock it is early
    back.until(at(WEDNESDAY, 12))
    assert keep(back) == Kept()


def test_a_clock_that_jumps_back_opens_nothing_for_the_past(shop: Shop) -> None:
    both_there(shop, TUESDAY)
    shop.heal()
    shop.until(at(WEDNESDAY, 12))
    keep(shop)
    back = Shop.at(shop.home, at(MONDAY, 3))
    assert keep(back) == Kept()
    back.until(at(WEDNESDAY, 13))
    assert keep(back) == Kept()


def test_arrived_but_held_is_not_late(shop: Shop) -> None:
    """The file is broken: that is one incident, about its content, and none about its absence."""
    shop.land(VISITS, TUESDAY, visits(5))
    shop.land(SALES, TUESDAY, b"shop,euros\n")
    shop.heal()
    shop.until(at(WEDNESDAY, 12))
    assert keep(shop) == Kept()
    assert {i.about for i in shop.engine.ledger.incidents.open()} == {About.CONTENT}


def test_a_late_file_that_arrives_broken_is_late_no_more(shop: Shop) -> None:
    shop.until(LATE)
    keep(shop)
    shop.land(SALES, TUESDAY, b"shop,euros\n")
    shop.heal()
    keep(shop)
    late, *_ = every(shop)
    assert (late.table, late.is_open) == ("sales", False)
    assert [i.table for i in shop.engine.ledger.incidents.open() if i.about is About.CONTENT] == ["raw_sales"]


def test_silent_for_three_days_then_all_at_once(shop: Shop) -> None:
    for day in (WEDNESDAY, THURSDAY, FRIDAY):
        shop.until(at(day, 12))
        shop.heal()
        assert keep(shop) == Kept(opened=2)
    for day in (TUESDAY, WEDNESDAY, THURSDAY):
        both_there(shop, day)
    shop.heal()
    assert keep(shop) == Kept(closed=6)
    assert shop.engine.ledger.incidents.open() == []
    late_by = [detail(i, 1)["late_by_s"] for i in every(shop) if i.table == "sales"]
    assert late_by == [(7 + 24 * n) * 3600.0 for n in (2, 1, 0)]


def test_a_restated_file_is_not_late_again(shop: Shop) -> None:
    shop.until(LATE)
    keep(shop)
    for euros in (7, 8, 7):
        shop.land(SALES, TUESDAY, sales(TUESDAY, euros))
        shop.heal()
        keep(shop)
    assert [kinds(i) for i in every(shop) if i.table == "sales"] == [["opened", "closed"]]


def test_two_processes_at_once_open_one(shop: Shop) -> None:
    shop.until(at(FRIDAY, 12))
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: keep(shop), range(4)))
    assert sum(kept.opened for kept in done) == len(every(shop)) == 6


def test_a_vendor_who_was_silent_for_a_year_is_noticed_by_and_by(shop: Shop) -> None:
    """Bounded, the longest overdue first: the tick does not stand still for it."""
    shop.until(at(TUESDAY, 12) + timedelta(days=365))
    first = keep(shop)
    assert first == Kept(opened=AT_ONCE, left=2 * 365 - AT_ONCE)
    assert {i.partition for i in every(shop)} == {
        (date.fromisoformat(TUESDAY) + timedelta(days=n)).isoformat() for n in range(AT_ONCE // 2)
    }
    while keep(shop).left:
        pass
    assert len(every(shop)) == 2 * 365


def with_slo(home: Path, now_utc: datetime, **more: time) -> Shop:
    """The rate is promised by eight in Berlin, the trend by a quarter to seven."""
    times = {"mart_rate": time(8), "mart_trend": time(6, 45), **more}
    promised = {name: replace(SHOP[name], due=By(at_, BERLIN)) for name, at_ in times.items()}
    graph = Graph.of(promised.get(t.name, t) for t in TABLES)
    shop = Shop.at(home, now_utc)
    shop.engine = open_engine(load({"SELFHEAL_HOME": str(home)}), graph, clock=shop.clock, patience_s=0)
    return shop


def test_a_table_that_misses_its_own_deadline_has_an_incident_of_its_own(shop: Shop) -> None:
    """All files are there, and nobody has computed it: nothing upstream explains that."""
    both_there(shop, TUESDAY)
    shop.engine.take_in(shop.clock.now_utc())
    slo = with_slo(shop.home, at(WEDNESDAY, 6, 59))
    assert [i.opened for i in (keep(slo),)] == [1]  # the trend, by 6:45
    slo.until(at(WEDNESDAY, 7))
    assert keep(slo) == Kept(opened=1)
    trend, rate = every(slo)
    assert (trend.cause_key, trend.about, trend.table) == ("late:mart_trend", About.DEADLINE, "mart_trend")
    assert (rate.cause_key, rate.partition) == ("late:mart_rate", TUESDAY)
    assert detail(trend)["holds_up"]["tables"].keys() == {"mart_trend", "feat_trend"}
    shop.heal()
    assert keep(slo) == Kept(closed=2)
    assert [kinds(i) for i in every(slo)] == [["opened", "closed"]] * 2


def test_a_late_table_explains_the_tables_that_it_makes_late(shop: Shop) -> None:
    both_there(shop, TUESDAY)
    shop.engine.take_in(shop.clock.now_utc())
    slo = with_slo(shop.home, at(WEDNESDAY, 12), feat_trend=time(7))
    assert keep(slo) == Kept(opened=2)
    assert {i.cause_key for i in every(slo)} == {"late:mart_trend", "late:mart_rate"}


def test_an_open_incident_explains_a_late_table_also_when_the_clock_jumps_back(shop: Shop) -> None:
    """By that clock the file is not late yet, and the table, which is promised earlier, is."""
    shop.land(VISITS, TUESDAY, visits(5))
    shop.heal()
    early = with_slo(shop.home, at(WEDNESDAY, 12), mart_trend=time(6))
    assert keep(early) == Kept(opened=1)
    back = with_slo(shop.home, at(WEDNESDAY, 5, 10), mart_trend=time(6))
    assert keep(back) == Kept()


def test_a_late_file_explains_the_tables_that_it_makes_late(shop: Shop) -> None:
    slo = with_slo(shop.home, at(WEDNESDAY, 12))
    assert keep(slo) == Kept(opened=2)
    assert {i.cause_key for i in every(slo)} == {"late:sales", "late:visits"}


def test_a_table_that_is_withheld_names_the_incident_that_is_why(shop: Shop) -> None:
    shop.land(VISITS, TUESDAY, visits(5))
    shop.land(SALES, TUESDAY, b"shop,euros\n")
    shop.heal()
    slo = with_slo(shop.home, at(WEDNESDAY, 12))
    assert keep(slo) == Kept(opened=2)
    (broken,) = (i for i in slo.engine.ledger.incidents.open() if i.about is About.CONTENT)
    assert [detail(i)["because_of"] for i in every(slo)] == [broken.id, broken.id]


def test_a_placeholder_keeps_no_promise(shop: Shop) -> None:
    """What stands in for the truth does not close the incident of a table that owes the truth."""
    promised = replace(mart_trend, due=By(time(6, 45), BERLIN))
    graph = Graph.of(promised if t.name == mart_trend.name else t for t in TABLES)
    shop.until(at(WEDNESDAY, 12))
    shop.heal()
    assert TUESDAY in shop.marks()["mart_trend"]
    engine = open_engine(load({"SELFHEAL_HOME": str(shop.home)}), graph, clock=shop.clock, patience_s=0)
    assert Watchman(engine).met("mart_trend", [MONDAY, TUESDAY]) == {MONDAY}


def test_a_feed_that_owes_nothing_any_more_has_no_open_incident(shop: Shop) -> None:
    """The vendor is dropped, or a holiday was forgotten: the declaration says so, and nobody has to close anything."""
    shop.until(at(WEDNESDAY, 12))
    keep(shop)
    loose = replace(SALES, due=None)
    graph = Graph.of(raw_table(loose) if t.feed is SALES else t for t in TABLES)
    engine = open_engine(load({"SELFHEAL_HOME": str(shop.home)}), graph, clock=shop.clock, patience_s=0)
    assert Watchman(engine).keep(shop.clock.now_utc()) == Kept(withdrawn=1)
    assert [(i.table, i.is_open) for i in every(shop)] == [("sales", False), ("visits", True)]


def test_a_feed_called_like_a_table_has_incidents_of_its_own(tmp_path: Path) -> None:
    """The incident: the file's incident is closed by whatever is published of the table, or forbids it one."""
    twin = replace(SALES, name="stg_sales")
    feed_table = replace(raw_table(twin), name="raw_sales")
    graph = Graph.of(feed_table if t.name == "raw_sales" else t for t in TABLES)
    clock = ManualClock(at(WEDNESDAY, 12))
    engine = open_engine(load({"SELFHEAL_HOME": str(tmp_path)}), graph, clock=clock, patience_s=0)
    Watchman(engine).keep(clock.now_utc())
    late = [i for i in engine.ledger.incidents.open() if i.table == "stg_sales"]
    assert [(i.about, i.partition) for i in late] == [(About.FILE, TUESDAY)]
    assert engine.ledger.incidents.open("stg_sales") == []


def test_what_can_do_without_the_late_file_is_on_time(shop: Shop) -> None:
    """A trend that takes as many of the days before as there are is published, and late for nobody."""
    waits = replace(SHOP["stg_sales"], if_late=None)
    graph = Graph.of(waits if t.name == waits.name else t for t in TABLES)
    engine = open_engine(load({"SELFHEAL_HOME": str(shop.home)}), graph, clock=shop.clock, patience_s=0)
    shop.until(at(THURSDAY, 4))
    both_there(shop, WEDNESDAY)
    engine.take_in(shop.clock.now_utc())
    for name in ("raw_sales", "stg_sales", "mart_trend"):
        list(engine.materialize(name, [WEDNESDAY], run_id=name))
    shop.until(at(THURSDAY, 12))
    on_time = OnTime(Watchman(engine))
    on_time.watchman.keep(shop.clock.now_utc())
    late = on_time.late(shop.clock.now_utc())
    assert late[About.FILE, "sales"].keys() == {TUESDAY}
    assert late[About.DEADLINE, "mart_trend"].keys() == {TUESDAY}
