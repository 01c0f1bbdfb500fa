"""The peers' benchmark measures what it says: the changes are those described, and what is stale counts as wrong."""

from pathlib import Path

import polars as pl
import pytest

from benchmarks.peers.changes import Change, Deliveries, Delivery, changes
from benchmarks.peers.measuring import BASE, CONTENDERS, OURS, THROUGH_DAGSTER, Arena, wrong_partitions

DAYS = 5
ALL = tuple(f"2013-01-0{n}" for n in range(1, DAYS + 1))
JANUARY, OLD = "2013-01-01", "2013-01-02"
FROM_OLD = ALL[1:]

RESTATED = {
    "raw_flights_jfk": (OLD,),
    "stg_flights": (OLD,),
    "int_flights_planes": (OLD,),
    "mart_daily": (OLD,),
    "mart_monthly": (JANUARY,),
    "feat_week": FROM_OLD,
}
FLOWN = (JANUARY, "2013-01-04")
"""Days on which the aircraft of (d) flew; counted below."""

EXPECTED: dict[str, dict[str, tuple[str, ...]]] = {
    "a": RESTATED,
    "b": {},
    "c": {"raw_flights_jfk": (OLD,), "stg_flights": (OLD,)},
    "d": {
        "raw_planes": ("all",),
        "stg_planes": ("all",),
        "int_flights_planes": FLOWN,
        "mart_daily": FLOWN,
        "mart_monthly": (JANUARY,),
    },
    "e": {},
    "f": {"mart_daily": ALL, "mart_monthly": (JANUARY,), "feat_week": ALL},
    "g": RESTATED,
}


@pytest.fixture(scope="module")
def first() -> Deliveries:
    return Deliveries.load(DAYS)


def cells_that_differ(one: Delivery, other: Delivery) -> list[tuple[str, str, str]]:
    header, *before = (line.split(",") for line in one.content.splitlines())
    _, *after = (line.split(",") for line in other.content.splitlines())
    return [
        (name, was, is_)
        for old, new in zip(before, after, strict=True)
        for name, was, is_ in zip(header, old, new, strict=True)
        if was != is_
    ]


def of(happening: list[Change], name: str) -> Delivery:
    delivery = next(change.delivery for change in happening if change.name == name)
    assert delivery is not None
    return delivery


def test_a_restatement_changes_one_cell_and_nothing_else(first: Deliveries) -> None:
    happening = changes(first)
    for name, column in (("a", "dep_delay"), ("c", "air_time"), ("d", "seats")):
        changed = of(happening, name)
        differing = cells_that_differ(first.file(changed.feed, changed.partition), changed)
        assert [cell[0] for cell in differing] == [column], name
    assert of(happening, "b") == of(happening, "g") == first.file("flights_jfk", OLD)
    assert next(change.before for change in happening if change.name == "g") == (of(happening, "a"),)


def test_the_aircraft_is_one_that_flew_on_the_days_expected(first: Deliveries) -> None:
    """Else (d) could reach no day, or all of them, and every contender would look the same."""
    register = of(changes(first), "d")
    before = first.file("planes", "all").content.splitlines()
    changed = [new for new, old in zip(register.content.splitlines(), before, strict=True) if new != old]
    aircraft = changed[0].split(",")[0]
    assert tuple(sorted({f.partition for f in first.files[1:] if f",{aircraft}," in f.content})) == FLOWN


def test_a_chain_that_is_too_short_for_the_changes_is_refused() -> None:
    with pytest.raises(ValueError, match="5 to 365"):
        Deliveries.load(4)


def saved(folder: Path, rows: pl.DataFrame) -> Path:
    folder.mkdir()
    rows.write_parquet(folder / "feat_week.parquet")
    return folder


def test_a_stale_partition_does_not_pass_for_right(tmp_path: Path) -> None:
    right = pl.DataFrame({"date": ["01", "01", "02"], "carrier": ["AA", "UA", "AA"], "share": [0.1, 0.2, 0.3]})
    should = saved(tmp_path / "should", right)
    stale = right.with_columns(pl.when(pl.col("date") == "02").then(0.30001).otherwise("share").alias("share"))
    rounded = right.sort("carrier", descending=True).with_columns(pl.col("share") + 1e-7)
    lost = right.filter(pl.col("date") == "01")
    empty = right.with_columns(pl.when(pl.col("date") == "01").then("share").alias("share"))
    assert wrong_partitions(saved(tmp_path / "stale", stale), should) == {"feat_week": ["02"]}
    assert wrong_partitions(saved(tmp_path / "lost", lost), should) == {"feat_week": ["02"]}
    assert wrong_partitions(saved(tmp_path / "empty", empty), should) == {"feat_week": ["02"]}
    assert wrong_partitions(saved(tmp_path / "rounded", rounded), should) == {}


@pytest.mark.slow
@pytest.mark.timeout(600)  # twenty processes, one after the other: 45 s on an idle machine
def test_this_project_runs_the_least_after_each_change(tmp_path: Path, first: Deliveries) -> None:
    """The executed sets by hand; brute force finds the same, and the tables are those of a rebuild."""
    arena, happening = Arena(tmp_path, first), changes(first)
    least = arena.measure(BASE, ("rebuild",), happening, lambda _: None)
    ours = arena.measure(OURS, CONTENDERS[OURS], happening, lambda _: None)
    # Two changes tell whether its counting works; that its runs are the engine's is tested elsewhere.
    some = [change for change in happening if change.name in ("a", "e")]
    through_dagster = arena.measure(THROUGH_DAGSTER, CONTENDERS[THROUGH_DAGSTER], some, lambda _: None)
    for found in (least, ours, through_dagster):
        executed = {
            name: {table: tuple(sorted(keys)) for table, keys in done["executed"].items()}
            for name, done in found.items()
        }
        assert executed == {name: EXPECTED[name] for name in found}
        assert [name for name, done in found.items() if done["wrong"]] == []
