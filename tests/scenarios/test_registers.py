"""Tables without partitions: a register is published, judged, withheld and taken over like any partition.

The incident: half a register arrives, replaces the whole one, and every row that looks something up finds nothing.
"""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from sh_core.errors import DeclarationError
from sh_core.graph import Graph
from sh_core.outcome import Fenced, Outcome, Published, Reused, Withheld
from sh_core.partitions import WHOLE, Partitions, Unpartitioned
from sh_core.table import Station, table
from sh_resources.delta import PartitionedDelta
from sh_resources.engine import Engine
from sh_resources.publisher import Step
from tests.pausing import PausingWriter
from tests.reading import BIKES, DAYS, GOOD_BIKES, GRAPH, NOON, D, deliver, engine_at, run

NEWER = (("b1", "black", 2), ("b4", "white", 4))
LATER = NOON + timedelta(hours=1)


def bikes(home: Path) -> list[str]:
    """What a plain Delta reader sees."""
    return sorted(pl.read_delta(str(home / "tables" / "stg_bikes"))["bike"].to_list())


def publish(engine: Engine) -> Outcome:
    run(engine, "raw_bikes")
    return run(engine, "stg_bikes")[WHOLE]


def test_a_reader_sees_one_snapshot_and_no_partition(tmp_path: Path) -> None:
    engine = engine_at(tmp_path)
    for rows in (GOOD_BIKES, NEWER, GOOD_BIKES[:2]):
        deliver(tmp_path, BIKES, rows)
        assert isinstance(publish(engine), Published)
        assert bikes(tmp_path) == sorted(str(row[0]) for row in rows)
    assert isinstance(publish(engine), Reused)
    seen = pl.read_delta(str(tmp_path / "tables" / "stg_bikes"))
    assert seen.columns == ["bike", "colour", "wheels", "_file", "_line"]
    delta = DeltaTable(tmp_path / "tables" / "stg_bikes")
    assert delta.metadata().partition_columns == []
    assert len(delta.file_uris()) == 1
    assert [s.version.rows for s in engine.ledger.publications.history("stg_bikes", WHOLE)] == [2, 2, 3]


def test_broken_rows_are_set_aside_and_too_many_keep_the_last_good_register(tmp_path: Path) -> None:
    engine = engine_at(tmp_path)
    deliver(tmp_path, BIKES, [*GOOD_BIKES, ("b4", "pink", 99)])
    first = publish(engine)
    assert isinstance(first, Published)
    assert first.quarantined == 1
    (row,) = engine.store.quarantined(GRAPH["stg_bikes"]).to_dicts()
    assert (row["rules"], row["file"], row["line"]) == (["wheels__le"], "bikes/bikes.csv", 5)
    assert "date" not in row

    deliver(tmp_path, BIKES, [("b1", "red", 2), ("b2", "blue", 99), ("b3", "green", 99)])
    withheld = publish(engine)
    assert isinstance(withheld, Withheld)
    assert withheld.last_good == first.version.root
    assert bikes(tmp_path) == ["b1", "b2", "b3"]
    assert engine.store.quarantined(GRAPH["stg_bikes"], [WHOLE]).height == 2
    (incident,) = engine.ledger.incidents.open()
    assert (incident.table, incident.partition) == ("stg_bikes", WHOLE)

    deliver(tmp_path, BIKES, NEWER)
    assert isinstance(publish(engine), Published)
    assert engine.ledger.incidents.open() == []
    assert engine.store.quarantined(GRAPH["stg_bikes"]).is_empty()
    assert bikes(tmp_path) == ["b1", "b4"]


def test_an_empty_register_is_a_register(tmp_path: Path) -> None:
    """Only a contract with ``min_rows`` may find fault with it; a header alone is content like any other."""
    engine = engine_at(tmp_path)
    deliver(tmp_path, BIKES, [])
    outcome = publish(engine)
    assert isinstance(outcome, Published)
    assert outcome.version.rows == 0
    assert bikes(tmp_path) == []
    deliver(tmp_path, BIKES, GOOD_BIKES)
    publish(engine)
    deliver(tmp_path, BIKES, [])
    again = publish(engine)
    assert isinstance(again, Published)
    assert again.version.root == outcome.version.root
    assert bikes(tmp_path) == []


def test_every_row_of_a_register_is_accounted_for(tmp_path: Path) -> None:
    engine = engine_at(tmp_path)
    deliver(tmp_path, BIKES, [*GOOD_BIKES, ("b4", "pink", 99), ("b5", "pink", "two")])
    outcome = publish(engine)
    assert isinstance(outcome, Published)
    (share,) = outcome.shares
    assert (share.arrived, share.published, share.quarantined) == (5, 3, 2)


@pytest.fixture
def writers() -> Iterator[list[PausingWriter]]:
    """Writers that are laid to rest after the test."""
    started: list[PausingWriter] = []
    yield started
    for writer in started:
        writer.end()


@pytest.mark.parametrize("stalled_after", list(Step))
@pytest.mark.parametrize("published_before", [False, True])
def test_whoever_dies_at_whatever_step_leaves_a_whole_register(
    stalled_after: Step, *, published_before: bool, tmp_path: Path, writers: list[PausingWriter]
) -> None:
    """A stalled writer is taken over after its lease; then it wakes up, and may change nothing any more."""
    home = engine_at(tmp_path)
    if published_before:
        deliver(tmp_path, BIKES, GOOD_BIKES[:1])
        publish(home)
    deliver(tmp_path, BIKES, GOOD_BIKES)
    run(home, "raw_bikes")
    late = PausingWriter(home, "late", "stg_bikes", [WHOLE], NOON)
    writers.append(late)
    late.until(stalled_after)
    deliver(tmp_path, BIKES, NEWER)
    list(engine_at(tmp_path).materialize("raw_bikes", [WHOLE], run_id="newer"))
    prompt = PausingWriter(home, "prompt", "stg_bikes", [WHOLE], LATER)
    writers.append(prompt)
    (outcome,) = prompt.to_the_end()
    assert isinstance(outcome, Published)
    assert bikes(tmp_path) == ["b1", "b4"]

    (outcome,) = late.to_the_end()
    assert isinstance(outcome, Published | Reused | Fenced)
    assert bikes(tmp_path) == ["b1", "b4"]
    (live,) = home.store.table(GRAPH["stg_bikes"]).state().files.values()
    assert (live.partition, live.path) == (WHOLE, home.ledger.publications.current("stg_bikes")[WHOLE].path)
    assert home.ledger.publications.unconfirmed("stg_bikes") == []
    folder = tmp_path / "tables" / "stg_bikes"
    left = {file.name for file in folder.glob("*.parquet")}
    assert live.path in left <= {s.path for s in home.ledger.publications.history("stg_bikes", WHOLE)}


# ---- a table that is laid out otherwise than declared


@pytest.mark.parametrize("first", [DAYS, Unpartitioned()])
def test_a_table_cannot_become_partitioned_in_place(first: Partitions, tmp_path: Path) -> None:
    """What is there would be read as something else, or reported as another program's doing."""
    second = Unpartitioned() if first == DAYS else DAYS
    folder, key = tmp_path / "some_table", first.keys()[0]
    columns = {"n": pl.Int64()}
    made = PartitionedDelta(folder, columns, first)
    made.prepare([key])
    was, now = ("date", "nothing") if first == DAYS else ("nothing", "date")
    other = PartitionedDelta(folder, columns, second)
    message = f"table some_table: it is partitioned by {was} and declared with {now}; .* give it a new name"
    for use in (other.prepare, other.state):
        with pytest.raises(DeclarationError, match=message):
            use([second.keys()[0]])
    assert made.state([key]).files == {}


def test_the_graph_does_not_care_where_a_register_stands(tmp_path: Path) -> None:
    """A chain of tables without partitions, with no day anywhere."""

    @table(contract=GRAPH["stg_bikes"].contract, partitions=Unpartitioned(), station=Station.MART)
    def fleet(stg_bikes: pl.LazyFrame) -> pl.LazyFrame:
        """All bikes with two wheels."""
        return stg_bikes.filter(pl.col("wheels") == 2)

    names = ("raw_bikes", "stg_bikes")
    engine = engine_at(tmp_path, graph=Graph.of([*(GRAPH[n] for n in names), fleet]))
    deliver(tmp_path, BIKES, GOOD_BIKES)
    for name in (*names, "fleet"):
        run(engine, name)
    assert sorted(pl.read_delta(str(tmp_path / "tables" / "fleet"))["bike"]) == ["b1", "b2"]
    with pytest.raises(DeclarationError, match=f"'{D[0]}' is no partition of a table without partitions"):
        run(engine, "fleet", [D[0]])
