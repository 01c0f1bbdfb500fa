"""A little domain with personal data, and a folder in which it lives, for tests of the Dagster layer.

visits (feed) → raw_visits → stg_visits → mart_rooms. Nights are 1 to 30; a visit outside is set aside while at most
half of a day's visits are broken, a day with more is withheld. A visit to room ``666`` crashes a rule.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import dagster as dg
import pandera.polars as pa
import polars as pl

from sh_core.contract import Contract, Split
from sh_core.contract import field as column
from sh_core.feed import Feed
from sh_core.graph import Graph
from sh_core.outcome import Outcome
from sh_core.parsing import integer, parse, text
from sh_core.partitions import Daily
from sh_core.table import Station, Table, raw_table, table
from sh_defs.definitions import definitions
from sh_defs.running import Ran, run_table
from sh_resources import settings

DAYS = Daily(date(2024, 2, 26), date(2024, 3, 10))  # a leap day, and the start of daylight saving in New York
KEYS = tuple(DAYS.keys())
VISITS = Feed(
    "visits", "visits_{partition}.csv", ("guest", "room", "nights"), DAYS, owner="team:hotel", pii=frozenset({"guest"})
)


class Visit(pa.DataFrameModel):
    """One row per guest."""

    date: pl.Date
    guest: str = column(pii=True)
    """Who stayed."""
    room: str
    nights: int = column(unit="nights", in_range={"min_value": 1, "max_value": 30})


class Room(pa.DataFrameModel):
    """One row per room."""

    date: pl.Date
    room: str
    guests: int = column(ge=1)


def no_devil(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Nobody stays in 666."""
    if "666" in rows.select("room").collect().to_series():
        raise ZeroDivisionError("the devil")
    return rows.select(pl.lit(value=True))


STAYS = Contract(Visit, key=("guest",), owner="team:hotel", on_breach=Split(0.5), table_rules=(no_devil,))
ROOMS = Contract(Room, key=("room",), owner="team:hotel")


@table(contract=STAYS, partitions=DAYS, station=Station.STAGED, group="hotel")
def stg_visits(raw_visits: pl.LazyFrame) -> pl.LazyFrame:
    """Visits, typed."""
    typed = parse(raw_visits, guest=text("guest"), room=text("room"), nights=integer("nights"))
    return pl.concat([typed, raw_visits.select("date")], how="horizontal")


@table(contract=ROOMS, partitions=DAYS, station=Station.MART, reads={"stg_visits": ["date", "room"]}, group="hotel")
def mart_rooms(stg_visits: pl.LazyFrame) -> pl.LazyFrame:
    """Guests per room."""
    return stg_visits.group_by("date", "room").agg(guests=pl.len().cast(pl.Int64))


TABLES = (raw_table(VISITS, group="hotel"), stg_visits, mart_rooms)
GRAPH = Graph.of(TABLES)
RAW, STG, MART = (GRAPH[name] for name in ("raw_visits", "stg_visits", "mart_rooms"))

GOOD = (("Ada", "12", 3), ("Alan", "7", 1), ("Grace", "12", 2))
SPLIT = (*GOOD, ("Mallory", "9", 99))
"""One broken row of four: set aside."""
BROKEN = (("Ada", "12", 3), ("Mallory", "9", 99), ("Eve", "9", -1))
"""Two broken rows of three: withheld."""
CRASHING = (*GOOD, ("Lucifer", "666", 1))


@dataclass(frozen=True)
class World:
    """A state folder with its definitions and a Dagster instance."""

    home: Path
    instance: dg.DagsterInstance
    defs: dg.Definitions
    outcomes: list[tuple[str, Outcome]] = field(default_factory=list)

    @classmethod
    def at(cls, home: Path, instance: dg.DagsterInstance) -> "World":
        """Definitions over a folder, with every outcome noted."""
        outcomes: list[tuple[str, Outcome]] = []
        found = settings.load({"SELFHEAL_HOME": str(home)})
        defs = definitions(GRAPH, found, lambda t, o: outcomes.append((t.name, o)))
        return cls(home, instance, defs, outcomes)

    def deliver(self, rows: Mapping[str, Iterable[tuple[object, ...]]]) -> None:
        """Let files land whole, by partition."""
        folder = self.home / "landing" / VISITS.name
        folder.mkdir(parents=True, exist_ok=True)
        for partition, visits in rows.items():
            lines = [",".join(VISITS.columns), *(",".join(map(str, row)) for row in visits)]
            part = folder / f".{partition}.part"
            part.write_text("".join(f"{line}\n" for line in lines))
            part.replace(folder / VISITS.expected_file(partition))

    def run(self, of: Table, partitions: Iterable[str], *, force: bool = False) -> list[Ran]:
        """Materialize partitions of one table."""
        return run_table(self.instance, self.defs, of, list(partitions), force=force)

    def run_all(self, partitions: Iterable[str]) -> list[bool]:
        """Materialize partitions of every table, inputs first; per table whether it succeeded."""
        wanted = list(partitions)
        return [all(r.success for r in self.run(t, wanted)) for t in GRAPH.tables]

    def statuses(self, of: Table) -> str:
        """One letter per partition: Materialized, Failed, or a dot where nothing happened yet."""
        asset = self.defs.resolve_asset_graph().get(dg.AssetKey(of.name))
        assert asset.partitions_def is not None
        found = self.instance.get_status_by_partition(asset.key, list(KEYS), asset.partitions_def)
        assert found is not None
        return "".join("." if status is None else status.value[0] for status in found.values())

    def events(self, ran: Ran, kind: dg.DagsterEventType) -> list[dg.DagsterEvent]:
        """Events of one kind of a run, in order."""
        logged = self.instance.all_logs(ran.run_id, of_type=kind)
        return [entry.dagster_event for entry in logged if entry.dagster_event is not None]
