"""What is late, in Dagster: the sensor of the definitions that `dagster dev` loads, on Dagster's own storage.

The incidents: a backfill of an old day turns an asset green while this morning's file is missing; a check that goes red
and never green again; results that are stored without their partition, so that nobody can tell which day is meant; a
lost cursor, and what was late stays red for ever.
"""

import json
from dataclasses import dataclass, replace
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.freshness import CronFreshnessPolicy
from dagster._core.events import StepMaterializationData

from sh_assets.on_time import CHECK, freshness
from sh_core.due import By, DaysOff, Due, Within
from sh_core.feed import Feed
from sh_core.graph import Graph
from sh_core.partitions import Daily, Hourly, Monthly, Partitions, Static, Weekly
from sh_core.records import About
from sh_core.table import raw_table
from sh_defs.definitions import definitions
from sh_defs.running import run_table
from sh_drills.replay import land
from sh_resources.clock import ReplayCalendar
from sh_resources.overdue import Watchman
from sh_resources.settings import load
from sh_resources.wiring import open_engine
from tests.late import (
    BERLIN,
    GRAPH,
    MONDAY,
    SALES,
    TABLES,
    TUESDAY,
    VISITS,
    WEDNESDAY,
    Shop,
    at,
    sales,
    visits,
)


@dataclass
class Watched:
    """A shop, and Dagster's definitions of it."""

    shop: Shop
    instance: dg.DagsterInstance
    cursor: str | None = None
    said: str | None = None

    def tick(self) -> list[tuple[str, str | None, bool]]:
        """One tick of the sensor, in a new process; what it told, as the daemon records it."""
        shop = self.shop
        defs = definitions(GRAPH, load({"SELFHEAL_HOME": str(shop.home)}))
        resources = {"engine": shop.engine}
        (sensor,) = (s for s in defs.sensors or () if isinstance(s, dg.SensorDefinition) and s.name == "lateness")
        with dg.build_sensor_context(instance=self.instance, resources=resources, cursor=self.cursor) as context:
            done = sensor.evaluate_tick(context)
        told = []
        for event in done.asset_events:
            assert isinstance(event, dg.AssetCheckEvaluation)
            self.instance.report_runless_asset_event(event)
            told.append((event.asset_key.to_user_string(), event.partition, event.passed))
        self.cursor, self.said = done.cursor, done.skip_message
        return told

    def result(self, asset: str, partition: str) -> dg.AssetCheckEvaluation | None:
        """What the web interface shows of the check for one partition: the newest result."""
        key = dg.AssetCheckKey(dg.AssetKey(asset.split("/")), CHECK)
        for record in self.instance.event_log_storage.get_asset_check_execution_history(key, limit=100):
            event = record.event.dagster_event if record.event else None
            found = event.event_specific_data if event else None
            if isinstance(found, dg.AssetCheckEvaluation) and found.partition == partition:
                return found
        return None

    def is_green(self, asset: str, partition: str) -> bool | None:
        result = self.result(asset, partition)
        return None if result is None else result.passed


@pytest.fixture
def watched(tmp_path: Path, instance: dg.DagsterInstance) -> Watched:
    """Monday is there; nothing is late."""
    shop = Shop.at(tmp_path / "home", at(TUESDAY, 4))
    shop.land(SALES, MONDAY, sales(MONDAY, 10, 20))
    shop.land(VISITS, MONDAY, visits(3))
    shop.heal()
    return Watched(shop, instance)


RADIUS = ["feat_trend", "landing/sales", "mart_sales", "mart_trend", "raw_sales", "stg_sales"]
"""What is late at half past six; the rate has time until seven, when visits are due."""


def test_a_late_file_turns_its_partition_red_everywhere_and_no_other(watched: Watched) -> None:
    shop = watched.shop
    assert sorted(watched.tick()) == [("landing/sales", MONDAY, True), ("landing/visits", MONDAY, True)]
    shop.until(at(WEDNESDAY, 5, 30))
    shop.heal()
    assert sorted(watched.tick()) == [(name, TUESDAY, False) for name in RADIUS]
    assert watched.tick() == []
    result = watched.result("landing/sales", TUESDAY)
    assert result is not None
    assert result.severity is dg.AssetCheckSeverity.WARN
    (incident,) = (i for i in shop.engine.ledger.incidents.open() if i.about is About.FILE)
    assert result.metadata["incident"].value == incident.id
    assert result.metadata["expected_file"].value == f"sales_{TUESDAY}.csv"
    assert result.metadata["due"].value == at(WEDNESDAY, 5).timestamp()
    assert result.metadata["late_by_s"].value == 1800.0
    of_mart = watched.result("mart_sales", TUESDAY)
    assert of_mart is not None
    assert of_mart.metadata["expected_file"].value == f"sales_{TUESDAY}.csv"
    assert of_mart.metadata["incident"].value == incident.id
    assert watched.result("mart_sales", MONDAY) is None


def test_it_turns_green_when_the_truth_is_there_and_not_with_the_placeholder(watched: Watched) -> None:
    shop = watched.shop
    shop.land(VISITS, TUESDAY, visits(5))
    shop.until(at(WEDNESDAY, 6))
    watched.tick()
    shop.heal()
    assert shop.marks()["mart_sales"] == [TUESDAY]
    assert watched.tick() == [("landing/visits", TUESDAY, True)]
    shop.land(SALES, TUESDAY, sales(TUESDAY, 7))
    shop.engine.take_in(shop.clock.now_utc())
    assert watched.tick() == [("landing/sales", TUESDAY, True)]
    shop.heal()
    assert sorted(watched.tick()) == [(n, TUESDAY, True) for n in sorted([*RADIUS, "mart_rate"]) if n[0] != "l"]
    assert watched.tick() == []
    last = watched.result("landing/sales", TUESDAY)
    assert last is not None
    assert last.passed
    assert last.metadata["late_by_s"].value == 3600.0
    assert "1 h late" in str(last.description)


def test_an_old_day_that_is_computed_again_turns_nothing_green(watched: Watched) -> None:
    shop = watched.shop
    shop.until(at(WEDNESDAY, 6))
    watched.tick()
    shop.land(SALES, MONDAY, sales(MONDAY, 500))
    shop.heal()
    assert watched.tick() == []
    assert watched.is_green("mart_sales", TUESDAY) is False


def test_a_lost_cursor_repeats_and_loses_nothing(watched: Watched) -> None:
    """Lost while the file came: what had been told to be late would stay red for ever."""
    shop = watched.shop
    shop.land(VISITS, TUESDAY, visits(5))
    shop.until(at(WEDNESDAY, 5, 30))
    told = watched.tick()
    assert ("mart_sales", TUESDAY, False) in told
    for lost in (None, "no cursor of ours"):
        watched.cursor = lost
        assert {t for t in watched.tick() if not t[2]} == {t for t in told if not t[2]}
    shop.land(SALES, TUESDAY, sales(TUESDAY, 7))
    shop.heal()
    watched.cursor = None
    green = watched.tick()
    assert {(name, TUESDAY, True) for name in RADIUS} <= set(green)
    assert all(passed for _, _, passed in green)
    assert watched.tick() == []


def test_what_is_told_is_bounded_and_kept_in_spans(watched: Watched) -> None:
    watched.shop.until(at(TUESDAY, 12) + timedelta(days=200))
    for _ in range(20):
        told = watched.tick()
        assert len(told) <= 300
        if not told:
            break
    assert watched.said is not None
    assert "none is new" in watched.said
    late = json.loads(watched.cursor or "")["late"]
    assert late["file:sales"] == [[TUESDAY, (date.fromisoformat(TUESDAY) + timedelta(days=199)).isoformat()]]
    assert len(watched.cursor or "") < 1000


def test_a_clock_that_jumps_back_turns_nothing_green(watched: Watched) -> None:
    watched.shop.until(at(WEDNESDAY, 6))
    watched.tick()
    back = Watched(Shop.at(watched.shop.home, at(MONDAY, 12)), watched.instance, watched.cursor)
    assert back.tick() == []
    back.shop.until(at(WEDNESDAY, 6))
    assert back.tick() == []


# ------------------------------------------------------------------------------------------------- definitions, runs


SINCE = Daily(date(2024, 3, 25))
"""Dagster knows no partitions that lie in the future of the machine's clock: the same week, six years earlier."""

THEN = Graph.of(
    raw_table(replace(t.feed, partitions=SINCE)) if t.feed is not None else replace(t, partitions=SINCE) for t in TABLES
)
DAY_1, DAY_2, DAY_3 = "2024-03-25", "2024-03-26", "2024-03-27"


@dataclass
class Past:
    """The same shop, with Dagster's runs, on a calendar that stands in the past."""

    home: Path
    instance: dg.DagsterInstance

    def __post_init__(self) -> None:
        settings = load({"SELFHEAL_HOME": str(self.home)})
        self.engine = open_engine(settings, THEN)
        self.defs = definitions(THEN, settings)
        self.calendar = ReplayCalendar(settings.calendar)
        self.calendar.put(at(DAY_3, 6))

    def land(self, feed: Feed, day: str, content: bytes) -> None:
        folder = self.home / "landing" / feed.name
        folder.mkdir(parents=True, exist_ok=True)
        land(folder / feed.expected_file(day), content)

    def run(self, table: str, key: str) -> tuple[bool, dict[str, dg.AssetCheckEvaluation], list[Any]]:
        """A run as automation launches it: whether it succeeded, the results of its checks, what it materialized."""
        (done,) = run_table(self.instance, self.defs, THEN[table], [key])
        events = [e.dagster_event for e in self.instance.all_logs(done.run_id) if e.dagster_event is not None]
        found = [e.event_specific_data for e in events]
        checks = {e.check_name: e for e in found if isinstance(e, dg.AssetCheckEvaluation)}
        made = [e.materialization for e in found if isinstance(e, StepMaterializationData)]
        return done.success, checks, made


@pytest.fixture
def past(tmp_path: Path, instance: dg.DagsterInstance) -> Past:
    """Monday is there and computed; it is Wednesday, seven in the morning in Berlin."""
    past = Past(tmp_path / "home", instance)
    past.land(SALES, DAY_1, sales(DAY_1, 10, 20))
    for table in ("raw_sales", "stg_sales"):
        assert past.run(table, DAY_1)[0]
    return past


def test_a_run_says_itself_what_is_late_and_what_stands_in(past: Past) -> None:
    success, found, (made,) = past.run("stg_sales", DAY_2)
    assert success
    assert {name for name, e in found.items() if not e.passed} == {"placeholder", CHECK}
    assert found["placeholder"].severity is dg.AssetCheckSeverity.WARN
    assert f"stg_sales[{DAY_2}] from {DAY_1}" in str(found["placeholder"].description)
    assert made.metadata["placeholder"].value == [f"stg_sales[{DAY_2}] from {DAY_1}"]
    _, found, (made,) = past.run("stg_sales", DAY_1)
    assert {name for name, e in found.items() if not e.passed} == set()
    assert {"placeholder", CHECK} <= found.keys()
    assert "placeholder" not in made.metadata


def test_the_run_that_brings_the_truth_says_how_far_off_the_placeholder_was(past: Past) -> None:
    past.run("stg_sales", DAY_2)
    past.land(SALES, DAY_2, sales(DAY_2, 10, 25, 7))
    past.run("raw_sales", DAY_2)
    success, found, (made,) = past.run("stg_sales", DAY_2)
    assert success
    assert (found["placeholder"].passed, found[CHECK].passed) == (True, True)
    said = made.metadata["replaced_placeholder"].value
    assert said == (f"stg_sales[{DAY_2}] from {DAY_1}: 2 rows stood in, 3 are true: 0 only there, 1 only now, 1 differ")
    records = made.metadata["replaced_placeholder_columns"].records
    assert [(r.data["column"], r.data["sum that stood in"], r.data["true sum"]) for r in records] == [
        ("euros", "30", "42")
    ]


def test_a_run_that_has_to_wait_says_that_it_is_late(past: Past) -> None:
    """A planned check of which nothing is heard counts as skipped, and hides the red one."""
    success, found, _ = past.run("stg_visits", DAY_2)
    assert not success
    assert {name: e.passed for name, e in found.items()} == {CHECK: False}


def test_the_check_of_a_feed_can_be_run(past: Past) -> None:
    Watchman(past.engine).keep(past.engine.now_utc())
    key = dg.AssetCheckKey(dg.AssetKey(["landing", "sales"]), CHECK)
    job = dg.define_asset_job("look", selection=dg.AssetSelection.checks(key))
    done = dg.Definitions.merge(past.defs, dg.Definitions(jobs=[job])).resolve_job_def("look")
    ran = done.execute_in_process(instance=past.instance)
    assert ran.success
    results = [
        e.event_specific_data for e in ran.all_events if e.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ]
    told = [(e.partition, e.passed) for e in results if isinstance(e, dg.AssetCheckEvaluation)]
    assert told == [(DAY_2, False)]


def test_checks_are_declared_where_something_is_owed(watched: Watched) -> None:
    graph = definitions(GRAPH, load({"SELFHEAL_HOME": str(watched.shop.home)})).resolve_asset_graph()
    on_time = {k.asset_key.to_user_string() for k in graph.asset_check_keys if k.name == CHECK}
    assert on_time == {"landing/sales", "landing/visits", *(t.name for t in GRAPH.tables)}
    stands_in = {k.asset_key.to_user_string() for k in graph.asset_check_keys if k.name == "placeholder"}
    assert stands_in == set(GRAPH.marked)
    schema = graph.get(dg.AssetKey("mart_sales")).metadata["dagster/column_schema"]
    assert "_placeholder" in [c.name for c in schema.columns]
    schema = graph.get(dg.AssetKey("feat_trend")).metadata["dagster/column_schema"]
    assert "_placeholder" not in [c.name for c in schema.columns]


# ------------------------------------------------------------------------------------------------- freshness policies


def feed(partitions: Partitions, due: Due) -> Feed:
    name = "f_{partition}.csv"
    return Feed("f", name, ("a",), partitions, owner="team:test", due=due)


DAY = Daily(date(2030, 3, 25), timezone=BERLIN)


@pytest.mark.parametrize(
    ("partitions", "due", "cron", "hours"),
    [
        (DAY, By(time(6), BERLIN, grace=timedelta(minutes=30)), "30 6 * * *", 6.5),
        (Daily(date(2030, 3, 25)), By(time(0, 30)), "30 0 * * *", 0.5),
        (DAY, By(time(23, 30), BERLIN, days_after=0, grace=timedelta(hours=2)), "30 1 * * *", 1.5),
        (Weekly(date(2030, 3, 25)), By(time(6), days_after=2), "0 6 * * 2", 30),
        (Monthly(date(2030, 3, 1)), By(time(6), days_after=3), "0 6 3 * *", 54),
        (Hourly(date(2030, 3, 25)), Within(timedelta(minutes=20)), "20 * * * *", 20 / 60),
    ],
)
def test_a_policy_passes_from_the_end_of_the_period_to_its_deadline(
    partitions: Partitions, due: Due, cron: str, hours: float
) -> None:
    policy = freshness(feed(partitions, due))
    assert isinstance(policy, CronFreshnessPolicy)
    assert (policy.deadline_cron, policy.lower_bound_delta) == (cron, timedelta(hours=hours))


@pytest.mark.parametrize(
    ("partitions", "due"),
    [
        (Daily(date(2030, 3, 25), date(2030, 4, 25)), By(time(6))),  # nothing is owed when it is over
        (DAY, By(time(6), BERLIN, closed=DaysOff(frozenset({5, 6})))),
        (DAY, By(time(6), BERLIN, without=DaysOff(dates=frozenset({date(2030, 4, 1)})))),
        (DAY, By(time(18), BERLIN, days_after=0)),  # its file can come before the day is over
        (DAY, By(time(6), BERLIN, days_after=2)),  # the file of the day before comes in between
        (DAY, By(time(6), "America/New_York")),
        (DAY, Within(timedelta(hours=6))),
        (Hourly(date(2030, 3, 25)), By(time(6))),
        (Hourly(date(2030, 3, 25)), Within(timedelta(hours=3))),
    ],
)
def test_where_dagster_would_say_something_else_there_is_no_policy(partitions: Partitions, due: Due) -> None:
    assert freshness(feed(partitions, due)) is None


def test_lists_have_no_policy() -> None:
    plain = Feed("f", "f_{partition}.csv", ("a",), Static(("a", "b"), column="which"), owner="team:test")
    assert freshness(plain) is None
