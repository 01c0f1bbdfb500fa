"""A model that is trained on what nobody could know yet looks brilliant, and fails on its first day in production.

Facts from after departure are changed in the delivered files, and the files go through the whole graph again: every
feature of a flight must stay as it was, while the next day's, which may look back on them, must not.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sh_assets.flights import TABLES
from sh_assets.flights.feeds import FLIGHT_FEEDS, WEATHER_FEEDS
from sh_core.graph import Graph
from sh_core.outcome import Published
from sh_drills.replay import Replay, land, morning_after
from sh_resources.clock import ReplayCalendar
from sh_resources.engine import Engine
from sh_resources.settings import load
from sh_resources.wiring import open_engine

DAY = date(2013, 1, 9)
DAYS = [DAY - timedelta(days=n) for n in range(8, -2, -1)]
NOON = datetime(2013, 1, 9, 17, tzinfo=UTC)
"""Noon in New York."""
AFTER_DEPARTURE = ("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "tailnum")


@dataclass
class World:
    """The graph with some days delivered and published."""

    home: Path
    engine: Engine

    def publish(self) -> None:
        """Bring every table up to date."""
        for table in self.engine.graph.tables:
            keys = table.partitions.between(DAYS[0], DAYS[-1])
            list(self.engine.materialize(table.name, keys, run_id=f"{table.name}{datetime.now(UTC)}"))

    def features(self, day: date) -> pl.DataFrame:
        """Of one day, sorted by flight."""
        rows = pl.read_delta(str(self.home / "tables" / "feat_departure_delay")).filter(pl.col("date") == day)
        return rows.sort("origin", "carrier", "flight")


@pytest.fixture(scope="module")
def replay() -> Replay:
    return Replay.load()


@pytest.fixture
def world(tmp_path: Path, replay: Replay) -> Iterator[World]:
    replay.deliver(tmp_path / "landing", DAYS)
    settings = load({"SELFHEAL_HOME": str(tmp_path)})
    ReplayCalendar(settings.calendar).put(morning_after(DAYS[-1]))
    engine = open_engine(settings, Graph.of(TABLES))
    world = World(tmp_path, engine)
    world.publish()
    yield world
    engine.ledger.close()


def on_clock(hhmm: str, hours: int) -> str:
    minutes = int(hhmm) // 100 * 60 + int(hhmm) % 100 + 60 * hours
    return f"{minutes // 60 % 24}{minutes % 60:02}"


def other_facts(row: Mapping[str, str], chance: random.Random) -> dict[str, str]:
    """The same flight on another course: cancelled, or hours later, on another aircraft; still a possible one."""
    if row["arr_delay"] == "NA" or chance.random() < 0.2:
        return {**row, **dict.fromkeys(AFTER_DEPARTURE, "NA")}
    hours = chance.randint(1, 5)
    return {
        **row,
        "dep_time": on_clock(row["dep_time"], hours),
        "arr_time": on_clock(row["arr_time"], hours),
        "dep_delay": str(int(row["dep_delay"]) + 60 * hours),
        "arr_delay": str(int(row["arr_delay"]) + 60 * hours),
        "tailnum": f"N{chance.randint(100, 999)}XX",
    }


def other_weather(row: Mapping[str, str], chance: random.Random) -> dict[str, str]:
    """Other figures for reports from after noon; earlier ones as they were."""
    if datetime.fromisoformat(row["time_hour"]) <= NOON:
        return dict(row)
    return {**row, "temp": "-10.5", "dewp": "-20.5", "wind_speed": str(chance.randint(30, 60)), "wind_gust": "NA"}


def test_nothing_that_happens_after_departure_shows_in_a_flights_features(world: World, replay: Replay) -> None:
    chance = random.Random(20130109)
    before, before_next_day = world.features(DAY), world.features(DAY + timedelta(days=1))
    flights_before = pl.read_delta(str(world.home / "tables" / "stg_flights")).filter(pl.col("date") == DAY)
    for feeds, change in ((FLIGHT_FEEDS, other_facts), (WEATHER_FEEDS, other_weather)):
        for feed in feeds:
            header, *lines = replay.files[feed.name, DAY].decode().splitlines()
            rows = [change(dict(zip(feed.columns, line.split(","), strict=True)), chance) for line in lines]
            content = "\n".join([header, *(",".join(row.values()) for row in rows)]) + "\n"
            land(world.home / "landing" / feed.name / feed.expected_file(DAY.isoformat()), content.encode())
    world.publish()

    flights = pl.read_delta(str(world.home / "tables" / "stg_flights")).filter(pl.col("date") == DAY)
    assert flights.height == flights_before.height  # every changed flight is a possible one: none was set aside
    both = flights.join(flights_before, on=["date", "origin", "carrier", "flight"], suffix="_before")
    assert both.filter(pl.col("dep_delay_min").eq_missing(pl.col("dep_delay_min_before"))).height < 0.05 * both.height

    after = world.features(DAY)
    by_noon = pl.col("sched_dep_utc") <= NOON
    assert before.filter(by_noon).height > 300
    assert_frame_equal(after.filter(by_noon), before.filter(by_noon))
    weather = ["temp_f", "wind_speed_mph", "precip_in", "visib_mi", "weather_age_min"]
    assert_frame_equal(after.drop(weather), before.drop(weather))
    assert not after.filter(~by_noon)["temp_f"].equals(before.filter(~by_noon)["temp_f"])

    next_day = world.features(DAY + timedelta(days=1))
    for learnt in ("route_dep_delay_mean_7d_min", "carrier_dep_delay_mean_1d_min", "carrier_cancelled_share_1d"):
        assert not next_day[learnt].equals(before_next_day[learnt])


def test_the_features_of_a_flight_do_not_wait_for_its_facts(world: World, replay: Replay) -> None:
    """The schedule alone, with not one departure in it, gives the features that the finished day gives."""
    before = world.features(DAY)
    for feed in FLIGHT_FEEDS:
        header, *lines = replay.files[feed.name, DAY].decode().splitlines()
        rows = [dict(zip(feed.columns, line.split(","), strict=True)) for line in lines]
        planned = [{**row, **dict.fromkeys(AFTER_DEPARTURE, "NA")} for row in rows]
        content = "\n".join([header, *(",".join(row.values()) for row in planned)]) + "\n"
        land(world.home / "landing" / feed.name / feed.expected_file(DAY.isoformat()), content.encode())
    outcomes = {
        name: list(world.engine.materialize(name, [DAY.isoformat()], run_id=name))
        for name in (*(f"raw_{feed.name}" for feed in FLIGHT_FEEDS), "stg_flights", "feat_departure_delay")
    }
    assert all(isinstance(outcome, Published) for (outcome,) in list(outcomes.values())[:4])
    assert_frame_equal(world.features(DAY), before)
