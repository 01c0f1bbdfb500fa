"""The whole real year through landing zone, gate and store equals the same year computed another way.

What this prevents: a pipeline that heals back to figures that were wrong all along, and rows that vanish on the way.
Every delivered line is archived, parsed, typed, judged, published and read back here with plain Delta; the other side
(``independent``) is SQL over the package's own files and shares no code with it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sh_assets.flights import TABLES
from sh_assets.flights.feeds import DAYS
from sh_core.accounts import RowAccount
from sh_core.columns import is_system
from sh_core.graph import Graph
from sh_core.outcome import Outcome, Published
from sh_drills.replay import Replay
from sh_resources.engine import Engine
from sh_resources.settings import load
from sh_resources.wiring import open_engine
from tests.scenarios.independent import KEYS, SET_ASIDE, expected

RULES = {"stg_flights": "slower_than_sound", "stg_weather": "wind_speed_mph__in_range"}
FLIGHTS, WEATHER, REGISTERS = 336_776, 26_115, 3_322 + 1_458 + 16


@dataclass(frozen=True)
class Year:
    """The year as published.

    Attributes:
        home: State folder.
        engine: What published it.
        outcomes: Per table, what became of each partition.
    """

    home: Path
    engine: Engine
    outcomes: dict[str, list[Outcome]]

    def published(self, name: str) -> pl.DataFrame:
        """A table as any Delta reader sees it."""
        return pl.read_delta(str(self.home / "tables" / name))


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Year]:
    """The year, delivered and published once for all tests here."""
    home = tmp_path_factory.mktemp("year")
    Replay.load().deliver(home / "landing", list(map(DAYS.value, DAYS.keys())))
    engine = open_engine(load({"SELFHEAL_HOME": str(home)}), Graph.of(TABLES))
    outcomes = {
        t.name: list(engine.materialize(t.name, t.partitions.keys(), run_id="year")) for t in engine.graph.tables
    }
    yield Year(home, engine, outcomes)
    engine.ledger.close()


def test_every_partition_is_published(year: Year) -> None:
    """Nothing of the real year is bad enough to withhold a day; the repeated hour of 2013-11-03 is not."""
    for name, outcomes in year.outcomes.items():
        assert [o.partition for o in outcomes] == list(year.engine.graph[name].partitions.keys())
        assert all(isinstance(o, Published) for o in outcomes), name
    assert year.engine.ledger.incidents.open() == []


@pytest.mark.parametrize("name", [table.name for table in TABLES if table.feed is None])
def test_the_published_table_equals_the_independent_computation(year: Year, name: str) -> None:
    """Every column of every row of every table that is computed; one that ``independent`` does not have fails here."""
    assert_same_rows(year.published(name), expected(name), KEYS[name])


def assert_same_rows(published: pl.DataFrame, wanted: pl.DataFrame, key: Sequence[str]) -> None:
    """Every column of every row, with its type; floats within 1e-9, in any order of columns and rows.

    Args:
        published: A table as its readers see it.
        wanted: What it must hold. File and line are compared if it has them.
        key: Columns that tell the rows apart.
    """
    unsaid = {c for c in published.columns if is_system(c)} - set(wanted.columns)
    assert set(published.columns) - unsaid == set(wanted.columns)
    assert not wanted.select(key).is_duplicated().any(), "the key does not tell the expected rows apart"
    assert_frame_equal(published.select(wanted.columns).sort(key), wanted.sort(key), rel_tol=0, abs_tol=1e-9)


def test_raw_tables_hold_the_package_cell_by_cell(year: Year) -> None:
    """Markers such as NA are still text here."""
    for kind, height in {"flights": FLIGHTS, "weather": WEATHER}.items():
        names = [t.name for t in year.engine.graph.tables if t.name.startswith(f"raw_{kind}")]
        rows = pl.concat([year.published(name) for name in names])
        assert rows.height == height
        assert rows.null_count().sum_horizontal().sum() == 0


@pytest.mark.parametrize("name", RULES)
def test_the_known_errors_of_the_source_are_in_quarantine_and_nothing_else_is(year: Year, name: str) -> None:
    """With rule, file and line. A bound that cut off real but rare values would hide them for ever."""
    table = year.engine.graph[name]
    (row,) = year.engine.store.quarantined(table).to_dicts()
    assert row["rules"] == [RULES[name]]
    cells = {k: v for k, v in SET_ASIDE[name].items() if isinstance(v, str | int)}
    assert all(f'"{k}": {v!r}'.replace("'", '"') in row["row"] for k, v in cells.items())
    landed = (year.home / "landing" / row["file"]).read_text().splitlines()[row["line"] - 1]
    assert all(str(v) in landed.split(",") for v in cells.values())


def test_the_repeated_hour_is_published_with_both_its_observations(year: Year) -> None:
    """At the end of daylight saving the local hour 1 comes twice; the two are an hour apart in UTC."""
    night = year.published("stg_weather").filter(
        pl.col("observed_utc").is_between(
            pl.datetime(2013, 11, 3, 5, time_zone="UTC"), pl.datetime(2013, 11, 3, 6, time_zone="UTC")
        )
    )
    assert night.group_by("origin").len()["len"].to_list() == [2, 2, 2]
    assert night["origin"].n_unique() == 3


def test_rows_are_conserved_for_every_arrival(year: Year) -> None:
    """Against the lines of the delivered files, counted here."""
    total = RowAccount()
    for feed in year.engine.graph.feeds:
        kind = feed.name.split("_")[0]
        for account in year.engine.ledger.accounts(feed.name, f"raw_{feed.name}", f"stg_{kind}"):
            landed = (year.home / "landing" / feed.name / account.arrival.file_name).read_bytes()
            assert account.account.arrived == landed.count(b"\n") - 1
            assert account.account.missing == 0
            assert account.account.pending == account.account.superseded == 0
            total += account.account
    arrived = FLIGHTS + WEATHER + REGISTERS
    assert total == RowAccount(arrived=arrived, published=arrived - 2, quarantined=2)


def test_the_archive_holds_what_was_delivered(year: Year) -> None:
    """Byte for byte, by content."""
    for feed in year.engine.graph.feeds[:2]:
        for arrival in year.engine.ledger.arrivals.all(feed.name):
            landed = (year.home / "landing" / feed.name / arrival.file_name).read_bytes()
            assert year.engine.landing.shelf(feed).content(arrival.sha256) == landed


def test_no_table_but_raw_and_staged_shows_file_and_line(year: Year) -> None:
    """Lineage is in no version, so no transform downstream may see it."""
    for table in year.engine.graph.tables:
        shown = {c for c in year.published(table.name).columns if is_system(c)}
        mark = {"_placeholder"} if table.name in year.engine.graph.marked else set()
        assert shown == mark | ({"_file", "_line"} if table.keeps_lineage else set())


def test_a_second_run_computes_nothing(year: Year) -> None:
    """Same inputs, same code: reused, and not one commit."""
    for table in year.engine.graph.tables:
        look = year.engine.look(table.name, table.partitions.keys())
        assert look.stale == {}
        assert look.waiting == {}
