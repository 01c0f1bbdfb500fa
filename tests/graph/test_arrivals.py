"""The sensor of arrivals: what Dagster is told of files that came, once each, whatever dies in between."""

import hashlib
from pathlib import Path

import dagster as dg
import pytest

from sh_core.errors import FeedError
from sh_resources import settings
from sh_resources.engine import Engine
from sh_resources.wiring import open_engine
from sh_sensors import arrivals as module
from tests.graph.domain import BROKEN, GOOD, GRAPH, KEYS, RAW, SPLIT, VISITS, World

FEED = dg.AssetKey(["landing", VISITS.name])


def tick(world: World, cursor: str | None = None, *, told: bool = True) -> tuple[str | None, str | None]:
    """One tick, as the daemon does it: events first, then the cursor. What it said, and the new cursor."""
    sensor = world.defs.resolve_sensor_def("arrivals")
    with dg.build_sensor_context(
        world.instance, cursor, definitions=world.defs, resources={"engine": engine(world)}
    ) as context:
        found = sensor.evaluate_tick(context)
    if told:
        for event in found.asset_events:
            assert isinstance(event, dg.AssetMaterialization)
            world.instance.report_runless_asset_event(event)
    return found.skip_message, found.cursor


def shown(world: World) -> list[tuple[str | None, str]]:
    """Every event of the feed, oldest first: partition, and the number of the arrival."""
    records = world.instance.fetch_materializations(FEED, limit=100).records
    events = [record.asset_materialization for record in reversed(records)]
    return [(event.partition, (event.tags or {})["selfheal/arrival"]) for event in events if event is not None]


def engine(world: World) -> Engine:
    return open_engine(settings.load({"SELFHEAL_HOME": str(world.home)}), GRAPH)


def file_of(world: World, key: str) -> Path:
    return world.home / "landing" / VISITS.name / VISITS.expected_file(key)


def test_an_arrival_is_told_with_its_content_and_what_it_replaces(world: World) -> None:
    world.deliver({KEYS[0]: GOOD})
    said, cursor = tick(world)
    assert (said, cursor) == ("Taken in: 1 of visits.", "1")
    old = hashlib.sha256(file_of(world, KEYS[0]).read_bytes()).hexdigest()
    world.deliver({KEYS[0]: SPLIT})
    assert tick(world, cursor) == ("Taken in: 1 of visits.", "2")
    content = file_of(world, KEYS[0]).read_bytes()
    event = world.instance.fetch_materializations(FEED, limit=1).records[0].asset_materialization
    assert event is not None
    assert (event.tags or {})["dagster/data_version"] == hashlib.sha256(content).hexdigest()
    facts = {name: value.value for name, value in event.metadata.items()}
    arrived = facts.pop("arrived")
    assert isinstance(arrived, float)
    assert facts == {
        "file_name": VISITS.expected_file(KEYS[0]),
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "arrival": 2,
        "supersedes": 1,
        "supersedes_file": VISITS.expected_file(KEYS[0]),
        "supersedes_sha256": old,
    }
    assert tick(world, "2") == ("Nothing new has landed.", "2")
    assert shown(world) == [(KEYS[0], "1"), (KEYS[0], "2")]


def test_what_was_recorded_before_the_process_died_is_told_by_the_next_tick(world: World) -> None:
    """The incident: killed between the ledger and Dagster, and the page of the feed never shows the file."""
    world.deliver({KEYS[0]: GOOD})
    world.deliver({KEYS[1]: GOOD})
    tick(world, told=False)
    assert shown(world) == []
    assert tick(world) == ("Nothing new has landed.", "2")
    assert shown(world) == [(KEYS[0], "1"), (KEYS[1], "2")]


def test_a_lost_cursor_tells_nothing_twice(world: World) -> None:
    for rows in (GOOD, SPLIT, GOOD):
        world.deliver({KEYS[0]: rows})
        tick(world)
    assert shown(world) == [(KEYS[0], "1"), (KEYS[0], "2"), (KEYS[0], "3")]
    tick(world)
    assert len(shown(world)) == 3


def test_what_a_run_took_in_and_told_the_sensor_tells_no_second_time(world: World) -> None:
    world.deliver({KEYS[0]: GOOD})
    world.run(RAW, KEYS[:1])
    assert tick(world) == ("Nothing new has landed.", "1")
    world.deliver({KEYS[0]: SPLIT})
    tick(world, "1")
    world.run(RAW, KEYS[:1])
    assert shown(world) == [(KEYS[0], "1"), (KEYS[0], "2")]


def test_what_was_taken_in_without_dagster_is_told(world: World) -> None:
    world.deliver({KEYS[0]: GOOD})
    engine(world).take_in_files(VISITS.name, [VISITS.expected_file(KEYS[0])])
    assert tick(world) == ("Nothing new has landed.", "1")
    assert shown(world) == [(KEYS[0], "1")]


def test_many_arrivals_are_told_tick_by_tick(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TOLD", 2)
    world.deliver(dict.fromkeys(KEYS[:5], GOOD))
    cursor, sizes = None, []
    for _ in range(4):
        _, cursor = tick(world, cursor)
        sizes.append(len(shown(world)))
    assert sizes == [2, 4, 5, 5]


def test_a_feed_in_trouble_keeps_no_arrival_from_being_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.deliver({KEYS[0]: BROKEN})
    tick(world, told=False)

    def failing(*_: object, **__: object) -> dict[str, int]:
        raise FeedError("feed weather: the disk is gone")

    monkeypatch.setattr(Engine, "take_in", failing)
    assert tick(world) == ("feed weather: the disk is gone", "1")
    assert shown(world) == [(KEYS[0], "1")]
    with pytest.raises(FeedError, match="the disk is gone"):
        tick(world, "1")


def test_another_ledger_begins_to_count_anew_and_its_content_is_told(world: World) -> None:
    for rows in (GOOD, SPLIT):
        world.deliver({KEYS[0]: rows})
        tick(world)
    for file in world.home.glob("ledger.sqlite*"):
        file.unlink()
    world.deliver({KEYS[0]: BROKEN})
    again = World.at(world.home, world.instance)
    tick(again)
    event = again.instance.fetch_materializations(FEED, limit=1).records[0].asset_materialization
    assert event is not None
    content = file_of(world, KEYS[0]).read_bytes()
    assert (event.tags or {})["dagster/data_version"] == hashlib.sha256(content).hexdigest()
