"""Tables that read registers, weeks and months: what Dagster shows of them, and that nobody is stale for ever."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pytest

from sh_assets.describing import spec_version
from sh_core.outcome import Outcome, Reused, Waiting
from sh_core.partitions import WHOLE
from sh_defs.definitions import definitions
from sh_defs.running import Ran, run_table
from sh_resources import settings
from sh_resources.wiring import open_engine
from tests.graph.conftest import OVERRIDES, Ask, asking
from tests.reading import (
    BIKES,
    GOOD_BIKES,
    GOOD_RIDES,
    GRAPH,
    MONTHS,
    RIDES,
    WEATHER,
    D,
    Row,
    deliver,
    deliver_all,
)

pytestmark = pytest.mark.graph

SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
BROKEN_BIKES: tuple[Row, ...] = (("b1", "red", 99), ("b2", "blue", 99))


@dataclass(frozen=True)
class Rides:
    """A state folder of the graph of rides, with its definitions and a Dagster instance."""

    home: Path
    instance: dg.DagsterInstance
    defs: dg.Definitions
    outcomes: list[tuple[str, Outcome]] = field(default_factory=list)

    def run(self, *names: str) -> dict[str, list[Ran]]:
        """Materialize all partitions of tables, of all tables if none is named."""
        chosen = [t for t in GRAPH.tables if not names or t.name in names]
        return {t.name: run_table(self.instance, self.defs, t, t.partitions.keys()) for t in chosen}

    def kinds(self) -> Counter[str]:
        """How often each outcome was met since last asked."""
        found = Counter(type(o).__name__ for _, o in self.outcomes)
        self.outcomes.clear()
        return found

    def events(self, table: str) -> list[dg.EventLogRecord]:
        """Materializations of an asset, oldest first."""
        return list(reversed(self.instance.fetch_materializations(dg.AssetKey(table), limit=99).records))


def rides_at(home: Path, instance: dg.DagsterInstance) -> Rides:
    outcomes: list[tuple[str, Outcome]] = []
    found = settings.load({"SELFHEAL_HOME": str(home)})
    return Rides(home, instance, definitions(GRAPH, found, lambda t, o: outcomes.append((t.name, o))), outcomes)


@pytest.fixture
def rides(tmp_path: Path, instance: dg.DagsterInstance) -> Rides:
    """Nothing has happened yet."""
    return rides_at(tmp_path / "home", instance)


@pytest.fixture(scope="session")
def all_done(tmp_path_factory: pytest.TempPathFactory, empty: Path) -> Path:
    """A folder in which everything but one day's weather was delivered and run; copying it is quicker than a run."""
    folder = tmp_path_factory.mktemp("rides")
    shutil.copytree(empty, folder / "dagster")
    deliver_all(folder / "home")
    (folder / "home" / "landing" / "weather" / WEATHER.expected_file(D[3])).unlink()
    with dg.DagsterInstance.local_temp(str(folder / "dagster"), overrides=OVERRIDES) as opened:
        rides_at(folder / "home", opened).run()
    return folder


@pytest.fixture
def done(tmp_path: Path, all_done: Path) -> Iterator[Rides]:
    """Everything has run."""
    shutil.copytree(all_done, tmp_path / "done")
    with dg.DagsterInstance.local_temp(str(tmp_path / "done" / "dagster"), overrides=OVERRIDES) as opened:
        yield rides_at(tmp_path / "done" / "home", opened)


@contextmanager
def web(rides: Rides) -> Iterator[Ask]:
    """The web interface over the rides."""
    with asking(rides.instance, rides.home, "tests.reading") as answer:
        yield answer


def stale(ask: Ask, table: str) -> dict[str, str]:
    """What the web interface marks each partition as."""
    partitions = GRAPH[table].partitions
    whole = partitions.column is None
    of = "staleStatus" if whole else f"staleStatusByPartition(partitions: {json.dumps(list(partitions.keys()))})"
    (node,) = ask(f'{{assetNodes(assetKeys: [{{path: ["{table}"]}}]) {{ {of} }}}}')["assetNodes"]
    marks = [node["staleStatus"]] if whole else node["staleStatusByPartition"]
    return dict(zip(partitions.keys(), marks, strict=True))


def marked(ask: Ask, mark: str) -> dict[str, list[str]]:
    """Per table, the partitions that are marked so; tables without any are left out."""
    found = {t.name: [key for key, m in stale(ask, t.name).items() if m == mark] for t in GRAPH.tables}
    return {name: keys for name, keys in found.items() if keys}


def test_registers_days_weeks_and_months_all_run(done: Rides) -> None:
    missing = {"raw_weather": [D[3]], "stg_weather": [D[3]]}
    with web(done) as ask:
        assert marked(ask, "MISSING") == missing
        assert marked(ask, "STALE") == {}
    (event,) = done.events("stg_bikes")
    assert event.asset_materialization is not None
    assert event.partition_key is None
    tags = event.asset_materialization.tags or {}
    engine = open_engine(settings.load({"SELFHEAL_HOME": str(done.home)}), GRAPH)
    assert tags["dagster/data_version"] == engine.ledger.publications.current("stg_bikes")[WHOLE].version.root
    assert tags["dagster/code_version"] == spec_version(GRAPH["stg_bikes"])
    run = done.instance.get_run_by_id(event.run_id)
    assert run is not None
    assert not [tag for tag in run.tags if "partition" in tag]
    ran = {t.name: run_table(done.instance, done.defs, t, t.partitions.keys()) for t in (GRAPH["month_totals"],)}
    assert [(r.partitions, r.success) for r in ran["month_totals"]] == [(tuple(MONTHS.keys()), True)]


def test_the_feed_of_a_register_shows_each_arrival_once(rides: Rides) -> None:
    for rows in (GOOD_BIKES, GOOD_BIKES, GOOD_BIKES[:1]):
        deliver(rides.home, BIKES, rows)
        rides.run("raw_bikes")
    arrived = rides.instance.fetch_materializations(dg.AssetKey(["landing", "bikes"]), limit=9).records
    assert [r.partition_key for r in arrived] == [None, None]
    told = [m.tags or {} for r in arrived if (m := r.asset_materialization)]
    assert len({tags["dagster/data_version"] for tags in told}) == 2


def test_reuse_of_a_register_is_told_apart(rides: Rides) -> None:
    deliver(rides.home, BIKES, GOOD_BIKES)
    rides.run("raw_bikes", "stg_bikes")
    rides.kinds()
    rides.run("stg_bikes")
    assert rides.kinds() == {"Reused": 1}
    first, second = (r.asset_materialization for r in rides.events("stg_bikes"))
    assert first is not None
    assert second is not None
    assert [m.metadata["executed"].value for m in (first, second)] == [True, False]
    versions = [(m.tags or {})["dagster/data_version"] for m in (first, second)]
    assert versions[0] == versions[1]


def test_a_withheld_register_fails_its_checks_and_keeps_its_version(rides: Rides) -> None:
    deliver(rides.home, BIKES, GOOD_BIKES)
    rides.run("raw_bikes", "stg_bikes")
    deliver(rides.home, BIKES, BROKEN_BIKES)
    ran = rides.run("raw_bikes", "stg_bikes")
    assert [r.success for r in ran["stg_bikes"]] == [False]
    assert len(rides.events("stg_bikes")) == 1  # the one of before
    with web(rides) as ask:
        executions = 'assetCheckExecutions(assetKey: {path: ["stg_bikes"]}, checkName: "wheels__le", limit: 5)'
        found = ask(f"{{{executions} {{ partition status evaluation {{ severity description }}}}}}")[
            "assetCheckExecutions"
        ]
        assert [(f["partition"], f["status"]) for f in found] == [(None, "FAILED"), (None, "SUCCEEDED")]
        assert found[0]["evaluation"]["severity"] == "ERROR"
        assert "readers keep its last good content" in found[0]["evaluation"]["description"]
        checks = ask(
            '{assetNodes(assetKeys: [{path: ["stg_bikes"]}]) { assetChecksOrError { ... on AssetChecks { checks '
            "{ name executionForLatestMaterialization { status } }}}}}"
        )["assetNodes"][0]["assetChecksOrError"]["checks"]
        current = {c["name"]: c["executionForLatestMaterialization"]["status"] for c in checks}
        assert {name for name, status in current.items() if status != "SUCCEEDED"} == {"wheels__le"}

        deliver(rides.home, BIKES, GOOD_BIKES[:2])
        assert all(r.success for runs in rides.run("raw_bikes", "stg_bikes").values() for r in runs)
        assert stale(ask, "stg_bikes") == {WHOLE: "FRESH"}


def test_checks_of_a_register_run_alone_and_compute_nothing(rides: Rides) -> None:
    deliver(rides.home, BIKES, GOOD_BIKES)
    rides.run("raw_bikes", "stg_bikes")
    rides.kinds()
    job = dg.define_asset_job("some", selection=dg.AssetSelection.checks_for_assets("stg_bikes"))
    whole = dg.Definitions.merge(rides.defs, dg.Definitions(jobs=[job]))
    run = whole.resolve_job_def("some").execute_in_process(instance=rides.instance, run_config=SILENT)
    assert run.success
    told = [(e.check_name, e.partition, e.passed) for e in run.get_asset_check_evaluations()]
    assert sorted(told) == sorted((rule.name, None, True) for rule in GRAPH["stg_bikes"].contract.rules)
    assert rides.kinds() == {}


def test_what_is_stale_is_what_reads_the_partition_and_a_run_makes_it_current(done: Rides) -> None:
    """Dagster knows which tables read which days; not which rows and columns, so it may call too much stale."""
    readers = ("ride_details", "city_trends", "recent_bikes", "mild_days", "week_totals", "month_totals")
    deliver(done.home, RIDES, [*GOOD_RIDES, (4, "b3", "Bern", "north", "south", 1)], D[2])
    with web(done) as ask:
        done.run("raw_rides")
        assert marked(ask, "STALE") == {"stg_rides": [D[2]]}
        done.run("stg_rides")
        assert (
            marked(ask, "STALE")
            == {
                "ride_details": [D[2]],
                "city_trends": [*D[2:10]],  # one arrow for three windows: all days from today to a week ago
                "recent_bikes": list(D[2:5]),
                "mild_days": [D[2]],
                "week_totals": ["2030-01-28"],
                "month_totals": [MONTHS.keys()[0]],
            }
        )
        done.run(*readers)
        assert marked(ask, "STALE") == {}

        deliver(done.home, BIKES, [*GOOD_BIKES[:2], ("b3", "black", 3)])
        done.run("raw_bikes", "stg_bikes")
        concerned = ("stg_rides", "ride_details", "recent_bikes")
        assert marked(ask, "STALE") == {name: list(D) for name in concerned}
        done.kinds()
        done.run(*concerned)
        assert done.kinds() == {"Reused": 26, "Published": 4}
        assert marked(ask, "STALE") == {}


def test_what_comes_later_makes_those_stale_that_did_without_it(done: Rides) -> None:
    deliver_all(done.home)
    with web(done) as ask:
        done.run("raw_weather", "stg_weather")
        assert marked(ask, "STALE") == {"ride_details": [D[3]], "mild_days": [D[3], D[4], D[5]]}
        done.run("ride_details", "mild_days")
        assert marked(ask, "STALE") == {}


def test_nothing_of_an_input_had_come_and_then_the_first_does(rides: Rides) -> None:
    """No weather ever, so there is no event to point to."""
    deliver_all(rides.home, D[:1])
    weather = rides.home / "landing" / "weather" / WEATHER.expected_file(D[0])
    weather.rename(rides.home / "later.csv")
    needed = ("raw_rides", "raw_bikes", "raw_stops", "stg_bikes", "stg_stops", "stg_rides", "ride_details")
    for name in needed:
        run_table(rides.instance, rides.defs, GRAPH[name], GRAPH[name].partitions.keys()[:1])
    with web(rides) as ask:
        assert stale(ask, "ride_details")[D[0]] == "FRESH"
        (rides.home / "later.csv").rename(weather)
        rides.run("raw_weather", "stg_weather")
        assert stale(ask, "ride_details")[D[0]] == "STALE"


def test_a_table_waits_for_a_register_by_name(rides: Rides) -> None:
    deliver_all(rides.home)
    (rides.home / "landing" / "bikes" / "bikes.csv").unlink()
    ran = rides.run("raw_bikes", "raw_rides", "stg_rides")
    assert {name: [r.success for r in runs] for name, runs in ran.items()} == {
        "raw_rides": [True],
        "raw_bikes": [False],
        "stg_rides": [False],
    }
    waits = [o for name, o in rides.outcomes if name == "stg_rides"]
    assert waits == [Waiting(day, ("stg_bikes[all]",)) for day in D]


def test_registers_and_days_in_one_run(rides: Rides) -> None:
    """Chosen together in the web interface, with the days of the run: a register has no day, and runs all the same."""
    deliver_all(rides.home)
    names = ("raw_rides", "raw_bikes", "stg_bikes", "stg_rides", "recent_bikes")
    job = dg.define_asset_job("some", selection=dg.AssetSelection.assets(*names))
    whole = dg.Definitions.merge(rides.defs, dg.Definitions(jobs=[job]))
    run = whole.resolve_job_def("some").execute_in_process(
        instance=rides.instance,
        tags={"dagster/asset_partition_range_start": D[0], "dagster/asset_partition_range_end": D[2]},
        run_config=SILENT,
    )
    assert run.success
    told = Counter(
        key.path[-1] for e in run.get_asset_materialization_events() if (key := e.asset_key) and key.path[0] in names
    )
    assert told == {"raw_rides": 3, "raw_bikes": 1, "stg_bikes": 1, "stg_rides": 3, "recent_bikes": 3}
    rides.kinds()
    rides.run("stg_bikes")
    assert [type(o) for _, o in rides.outcomes] == [Reused]
