"""Every kind of partition, through the real engine: published once, reused, and healed exactly where it must be.

The incidents: the hour that comes twice in autumn overwrites the one before; a corrected airport recomputes all of
them; a table that reads "all" never hears of a new file.
"""

import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from deltalake import DeltaTable

from sh_core.conservation import not_in_partition
from sh_core.outcome import Published, Withheld
from sh_core.watch import Watch
from sh_defs.facts import inspecting
from sh_defs.facts.evidence import quarantine_counts
from sh_defs.facts.naming import address
from sh_defs.facts.report import feed_accounts, gather
from sh_defs.running import run_table
from sh_defs.shown.page import write_page
from sh_resources.book import LedgerBook
from sh_resources.clock import ManualClock
from sh_resources.engine import Engine
from tests.scenarios.bed import Bed
from tests.terminals import (
    COUNTS,
    FIRST,
    GRAPH,
    HOURS,
    LAST,
    NOW,
    STAFF,
    TABLES,
    VISITS,
    VISITS_BY,
    deliver,
    deliver_all,
    engine_at,
)

SECOND_ONE = "2024-11-03-01:00-0500"
"""The second hour that begins at one."""


def run(engine: Engine, now: datetime = NOW) -> dict[str, dict[str, str]]:
    """Bring every table up to date; returns, per table in which something was due, what became of it."""
    told: dict[str, dict[str, str]] = {}
    for table in GRAPH.tables:
        due = list(engine.look(table.name, table.partitions.begun(now)).stale)
        made = engine.materialize(table.name, due, run_id=uuid.uuid4().hex)
        outcomes = {outcome.partition: type(outcome).__name__ for outcome in made}
        if outcomes:
            told[table.name] = outcomes
    return told


def rows(engine: Engine, name: str) -> list[tuple[Any, ...]]:
    return sorted(engine.store.published(GRAPH[name]).collect().rows())


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    deliver_all(tmp_path)
    opened = engine_at(tmp_path)
    run(opened)
    yield opened
    opened.ledger.close()


def published(*keys: str) -> dict[str, str]:
    return dict.fromkeys(keys, Published.__name__)


def test_each_kind_is_published_and_then_reused(engine: Engine) -> None:
    assert [people for _, _, people in rows(engine, "hall_days")] == [240, 250, 240]
    assert [hours for _, hours, _ in rows(engine, "hall_days")] == [24, 25, 24]
    assert rows(engine, "visit_days") == [(FIRST + timedelta(days=n), 6, 3) for n in range(3)]
    trend = {(airport, day): (now, before) for airport, day, now, before in rows(engine, "visit_trend")}
    assert trend["San José", FIRST] == (3, 0)
    assert trend["San José", LAST] == (3, 3)
    assert rows(engine, "staff_regions") == [("east", 4), ("south", 2)]
    assert rows(engine, "all_visits") == [("minutes", 180)]
    assert rows(engine, "last_hall") == [("people", 240)]
    assert run(engine) == {}
    assert sum(account.rows.missing for account in feed_accounts(GRAPH, engine.ledger)) == 0


def test_the_hour_that_comes_twice_is_two_partitions(engine: Engine, tmp_path: Path) -> None:
    """A correction of the second of them concerns that hour and the day in New York, and nothing else."""
    deliver(tmp_path, COUNTS, SECOND_ONE, [("g1", 100)])
    assert run(engine) == {
        "raw_counts": published(SECOND_ONE),
        "stg_counts": published(SECOND_ONE),
        "hall_days": published("2024-11-03"),
    }
    by_hour = dict(
        engine.store.published(GRAPH["stg_counts"]).group_by("hour").agg(pl.col("people").sum()).collect().rows()
    )
    assert by_hour[datetime(2024, 11, 3, 5, tzinfo=UTC)] == 10
    assert by_hour[datetime(2024, 11, 3, 6, tzinfo=UTC)] == 100
    assert len(by_hour) == 73
    assert (date(2024, 11, 3), 25, 340) in rows(engine, "hall_days")


def test_the_last_hour_of_a_day_in_new_york_is_the_next_day_in_utc(engine: Engine, tmp_path: Path) -> None:
    deliver(tmp_path, COUNTS, "2024-11-04-23:00", [("g1", 1)])
    told = run(engine)
    assert told["hall_days"] == published("2024-11-04")
    assert told["last_hall"] == published("all")
    assert rows(engine, "last_hall") == [("people", 231)]


def test_one_airport_and_day_heals_what_reads_it(engine: Engine, tmp_path: Path) -> None:
    key, next_day = "LGA|2024-11-03", "LGA|2024-11-04"
    deliver(tmp_path, VISITS, key, [("v0", 10), ("v1", 10), ("v2", 70)])
    told = run(engine)
    assert told.pop("all_visits") == published("all")
    assert told == {
        "raw_visits": published(key),
        "stg_visits": published(key),
        "visit_days": published("2024-11-03"),
        "visit_trend": published(key, next_day),
    }
    assert rows(engine, "all_visits") == [("minutes", 250)]


def test_one_key_of_a_list_heals_the_region_that_reads_it(engine: Engine, tmp_path: Path) -> None:
    deliver(tmp_path, STAFF, "San José", [("a",), ("b",), ("c",)])
    assert run(engine) == {
        "raw_staff": published("San José"),
        "stg_staff": published("San José"),
        "staff_regions": published("south"),
    }


def test_the_watch_finds_what_looking_at_everything_finds(engine: Engine, tmp_path: Path) -> None:
    """The sweep follows links, which are places among keys: one place off, and the wrong airport is computed."""
    watch = Watch(GRAPH, LedgerBook(engine, ManualClock(NOW)))
    assert watch.tick(NOW, {}, "test").stale == {}
    deliver(tmp_path, COUNTS, SECOND_ONE, [("g1", 100)])
    deliver(tmp_path, VISITS, "LGA|2024-11-03", [("v0", 1)])
    deliver(tmp_path, STAFF, "San José", [("a",)])
    engine.take_in(NOW)
    for table in GRAPH.tables:  # inputs first: each table hears of what was published just before
        found = set(engine.look(table.name, table.partitions.declared(NOW)).stale)
        for sweep in (False, True):
            assert set(watch.tick(NOW, {}, "test", sweep=sweep).stale.get(table.name, ())) == found, (table.name, sweep)
        list(engine.materialize(table.name, sorted(found), run_id=uuid.uuid4().hex))
    assert rows(engine, "all_visits") == [("minutes", 161)]
    assert watch.tick(NOW, {}, "test").stale == {}


def test_who_reads_all_hears_of_the_next_day(tmp_path: Path) -> None:
    """Of a set without end, all is what has begun: a new day changes it, and a required one is waited for."""
    deliver_all(tmp_path)
    clock = ManualClock(datetime(2024, 11, 4, 12, tzinfo=UTC))
    engine = engine_at(tmp_path, clock)
    run(engine, clock.now_utc())
    assert rows(engine, "all_visits") == [("minutes", 180)]
    deliver(tmp_path, VISITS, "JFK|2024-11-05", [("v0", 5)])
    assert run(engine, clock.now_utc()) == {}  # its day has not begun
    clock.advance(timedelta(days=1))
    told = run(engine, clock.now_utc())
    assert told["stg_visits"] == published("JFK|2024-11-05")
    assert told["all_visits"] == published("all")
    assert "visit_days" not in told  # two airports have not delivered
    waiting = engine.look("visit_days", ["2024-11-05"]).waiting["2024-11-05"]
    assert waiting == ("stg_visits[LGA|2024-11-05]", "stg_visits[San José|2024-11-05]")
    assert rows(engine, "all_visits") == [("minutes", 185)]
    clock.advance(timedelta(days=1))
    assert run(engine, clock.now_utc()) == {"all_visits": published("all")}  # the same content: nothing runs downstream
    engine.ledger.close()


def test_a_row_of_another_partition_breaks_a_rule(engine: Engine) -> None:
    """Published, it would be counted at an airport where it never was."""
    frame = engine.store.published(GRAPH["stg_visits"], ["LGA|2024-11-03"]).collect()
    assert not_in_partition({"LGA|2024-11-03": frame}, VISITS_BY) == {}
    breach = not_in_partition({"JFK|2024-11-03": frame}, VISITS_BY)["JFK|2024-11-03"]
    assert breach.detail == "2 rows belong to another airport, LGA; the first is visits/LGA_2024-11-03.csv line 2"
    breach = not_in_partition({"LGA|2024-11-02": frame}, VISITS_BY)["LGA|2024-11-02"]
    assert breach.detail.startswith("2 rows belong to another day, 2024-11-03")
    hour = engine.store.published(GRAPH["stg_counts"], [SECOND_ONE]).collect()
    assert not_in_partition({SECOND_ONE: hour}, HOURS) == {}
    assert list(not_in_partition({"2024-11-03-01:00": hour}, HOURS)) == ["2024-11-03-01:00"]


def test_any_reader_of_delta_can_open_the_tables(engine: Engine) -> None:
    """Polars takes partition values from folders, Arrow and others from the log: all of them must read the same."""
    for name in ("stg_counts", "stg_visits", "stg_staff", "visit_trend"):
        table = GRAPH[name]
        folder = str(engine.store.table(table).folder)
        ours = engine.store.published(table).collect()
        columns = ours.columns
        by = [*table.partitions.columns, *table.contract.key]
        expected = ours.sort(by)
        assert pl.read_delta(folder).select(columns).sort(by).equals(expected)
        arrow = pl.DataFrame(pl.from_arrow(DeltaTable(folder).to_pyarrow_table()))
        assert arrow.select(columns).sort(by).equals(expected)
    assert DeltaTable(str(engine.store.table(GRAPH["stg_visits"]).folder)).metadata().partition_columns == [
        "airport",
        "day",
    ]


def test_a_partition_is_replaced_in_its_folder(engine: Engine, tmp_path: Path) -> None:
    """delta-rs encodes paths in its log; a file that is removed under another spelling stays, and rows are doubled."""
    for people in (1, 2, 3):
        deliver(tmp_path, COUNTS, SECOND_ONE, [("g1", people)])
        run(engine)
        delta = engine.store.table(GRAPH["stg_counts"])
        live = delta.live([SECOND_ONE])
        assert len(live) == 1
        assert (delta.folder / live[0].path).exists()
        assert len(delta.state().files) == 73
    assert live[0].path.startswith("hour=2024-11-03%2006%3A00%3A00.000000/")


def test_quarantine_and_pages_name_every_kind(engine: Engine, tmp_path: Path) -> None:
    """Broken rows of an hour, of an airport and a day: whoever looks must be told the partition by its key."""
    deliver(tmp_path, COUNTS, SECOND_ONE, [("g1", "many")])
    deliver(tmp_path, VISITS, "LGA|2024-11-03", [("v0", "long")])
    told = run(engine)
    assert told["stg_counts"] == {SECOND_ONE: Withheld.__name__}
    counted = quarantine_counts(engine.store, [GRAPH["stg_counts"], GRAPH["stg_visits"]])
    assert {c["partition"] for c in counted} == {SECOND_ONE, "LGA|2024-11-03"}
    for name, key in (("stg_counts", SECOND_ONE), ("stg_visits", "LGA|2024-11-03"), ("stg_staff", "San José")):
        table, found = address(GRAPH, f"{name}:{key}", NOW)
        assert (table.name, found) == (name, key)
        assert inspecting.partition(engine, table, key, ManualClock(NOW))["partition"] == key
        assert inspecting.table(engine, table, NOW)["partitions"]["column"] == table.partitions.column
    report = gather(GRAPH, engine.store, engine.ledger, now_utc=NOW)
    assert {s.partition for s in report.specimens} == {SECOND_ONE, "LGA|2024-11-03"}
    write_page(report, tmp_path / "report.html")
    assert SECOND_ONE in (tmp_path / "report.html").read_text()


def test_dagster_runs_every_kind(tmp_path: Path) -> None:
    """Its runs are named by first and last partition: of two dimensions by rectangles, of hours across the change."""
    with Bed.at(tmp_path, TABLES) as bed:
        deliver_all(tmp_path)
        keys = {t.name: list(t.partitions.between(FIRST, LAST)) for t in GRAPH.tables}
        for table in GRAPH.tables:
            ran = run_table(bed.instance, bed.defs, table, keys[table.name])
            assert [(r.success, r.partitions) for r in ran] == [(True, tuple(keys[table.name]))], table.name
        for name in ("stg_counts", "stg_visits", "stg_staff", "staff_regions", "hall_days"):
            assert bed.instance.get_materialized_partitions(dg.AssetKey(name)) == set(keys[name])
        by_airport = {"dagster/partition/airport": "San José", "dagster/partition/day": "2024-11-03"}
        event = bed.instance.fetch_materializations(
            dg.AssetRecordsFilter(dg.AssetKey("stg_visits"), asset_partitions=["San José|2024-11-03"]), limit=1
        ).records[0]
        assert event.asset_materialization is not None
        assert by_airport.items() <= (event.asset_materialization.tags or {}).items()
        some = ["JFK|2024-11-02", "JFK|2024-11-03", "LGA|2024-11-02", "LGA|2024-11-03", "San José|2024-11-04"]
        ran = run_table(bed.instance, bed.defs, GRAPH["stg_visits"], some)
        assert [r.partitions for r in ran] == [tuple(some[:4]), tuple(some[4:])]
        assert all(r.success for r in ran)
