"""Plans with real files: every reason with what exactly differs, nothing written, and what a repair then runs.

The incidents: a plan that says "an input changed" and leaves it to the reader which; one that takes files in or notes
requests while it only looks; and a repair that runs something else than the plan that was agreed to.
"""

import hashlib
import random
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from sh_core.book import Request
from sh_core.errand import Errand, Insistence, Insisting
from sh_core.graph import Graph
from sh_core.inputs import Input
from sh_core.outcome import Published, Reused, Waiting, Withheld
from sh_core.plan import Plan, Selection
from sh_core.policy import Policy
from sh_core.table import Table
from sh_core.watch import Watch
from sh_defs.facts.planning import make_plan, plan_facts
from sh_defs.healing import heal
from sh_resources.book import LedgerBook
from sh_resources.clock import SystemClock
from sh_resources.engine import Engine
from tests.reading import (
    BIKES,
    GOOD_BIKES,
    GOOD_RIDES,
    GOOD_STOPS,
    GOOD_WEATHER,
    GRAPH,
    RIDES,
    STOPS,
    WEATHER,
    D,
    Row,
    deliver,
    deliver_all,
    engine_at,
    nine_of_ten_days,
    run,
    run_all,
)

CLOCK = SystemClock()
Facts = dict[str, Any]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with nine_of_ten_days(tmp_path, CLOCK) as engine:
        yield engine


def planned(engine: Engine, selection: Selection | None = None) -> Facts:
    return plan_facts(engine, make_plan(engine, CLOCK, selection), ["…"] if selection else [])


def of(facts: Facts, table: str, status: str = "due") -> dict[str, Facts]:
    found = [p for p in facts["partitions"] if p["table"] == table and p["status"] == status]
    return {p["partition"]: p for p in found}


def reason(one: Facts) -> Facts:
    (found,) = one["reasons"]
    assert isinstance(found, dict)
    return found


def with_table(engine: Engine, name: str, **changes: Any) -> Engine:  # noqa: ANN401 - fields of a Table
    """The same state, looked at with one table declared otherwise."""
    tables = [replace(t, **changes) if t.name == name else t for t in GRAPH.tables]
    return engine_at(engine.store.root, CLOCK, Graph.of(tables))


def ride(number: int, minutes: int, rows: Collection[Row] = GOOD_RIDES) -> list[Row]:
    """The same rides, one of which took longer."""
    return [(*row[:5], minutes) if row[0] == number else row for row in rows]


# ---- each reason


def test_nothing_is_due_and_what_was_not_delivered_is_waited_for(engine: Engine) -> None:
    facts = planned(engine)
    assert (facts["due"], facts["may_change"], facts["hops"]) == (0, 0, [])
    assert {p["status"] for p in facts["partitions"]} == {"waiting"}
    assert of(facts, "raw_rides", "waiting")[D[9]]["missing"] == [f"file rides_{D[9]}.csv of feed rides"]
    assert sum(len(s["partitions"]) for s in facts["settled"]) == sum(
        len(engine.ledger.publications.settlements(t.name)) for t in GRAPH.tables
    )


def test_a_file_that_landed_does_not_reach_beyond_a_paused_table(engine: Engine) -> None:
    """The incident: nothing is stale yet, so nobody asks what is paused; five steps are promised, and one is run."""
    engine.ledger.requests.pause("stg_rides", downstream=False, by="me", reason="", now_utc=CLOCK.now_utc())
    deliver(engine.store.root, RIDES, ride(1, 99), D[2])
    facts = planned(engine)
    assert [[t["table"] for t in hop["tables"]] for hop in facts["hops"]] == [["raw_rides"]]
    assert of(facts, "stg_rides", "held_back")[D[2]]["held"]["hold"] == "paused"


def test_a_file_that_landed_is_named_and_what_it_may_change(engine: Engine) -> None:
    deliver(engine.store.root, RIDES, ride(1, 99), D[2])
    deliver(engine.store.root, WEATHER, GOOD_WEATHER, D[3])  # the same again
    facts = planned(engine, Selection({"raw_rides": D}))
    assert of(facts, "raw_rides", "landed") == {
        D[2]: {"table": "raw_rides", "partition": D[2], "status": "landed", "hop": 1, "file": f"rides_{D[2]}.csv"}
    }
    assert of(facts, "raw_weather", "landed") == {}
    assert of(facts, "stg_rides", "may_change").keys() == {D[2]}
    assert of(facts, "week_totals", "may_change").keys() == {"2030-01-28"}
    assert of(facts, "recent_bikes", "may_change").keys() == set(D[2:5])


def test_another_file_is_told_with_its_size_and_versions(engine: Engine) -> None:
    before = engine.ledger.arrivals.current("rides", [D[2]])[D[2]]
    deliver(engine.store.root, RIDES, ride(1, 100), D[2])
    engine.take_in(CLOCK.now_utc())
    now = engine.ledger.arrivals.current("rides", [D[2]])[D[2]]
    found = reason(of(planned(engine), "raw_rides")[D[2]])
    assert found["says"] == "another file came for rides"
    assert (found["before"], found["now"]) == (before.sha256, now.sha256)
    sizes = f"{before.size_bytes} to {now.size_bytes} bytes"
    assert found["exactly"] == f"rides_{D[2]}.csv, {sizes}; {before.sha256[:8]} → {now.sha256[:8]}"


def test_the_columns_that_differ_are_named_and_no_others(engine: Engine) -> None:
    deliver(engine.store.root, RIDES, [(1, "b1", "Bern", "north", "lake", 10), *GOOD_RIDES[1:]], D[2])
    for name in ("raw_rides", "stg_rides"):
        run(engine, name, [D[2]])
    facts = planned(engine)
    found, looked_up = of(facts, "ride_details")[D[2]]["reasons"]
    assert found["detail"] == {"kind": "columns", "columns": ("stop_to",), "rows_before": 3, "rows_now": 3}
    assert found["says"] == "stg_rides: stop_to changed"
    assert looked_up["says"] == "rows of stg_stops looked up by city, stop_to of stg_rides: other keys occur"
    assert [len(of(facts, t)) for t in ("ride_details", "city_trends", "recent_bikes", "week_totals")] == [1, 0, 0, 0]


def test_another_number_of_rows_is_told(engine: Engine) -> None:
    deliver(engine.store.root, RIDES, GOOD_RIDES[:2], D[2])
    for name in ("raw_rides", "stg_rides"):
        run(engine, name, [D[2]])
    found = reason(of(planned(engine), "week_totals")["2030-01-28"])
    assert found["says"] == f"stg_rides {D[2]}: all columns that are read changed"
    assert found["exactly"].startswith("3 to 2 rows; sh1-")


BLACK, NO_B1, B9 = ("b1", "black", 2), GOOD_BIKES[1:], ("b9", "pink", 2)


@pytest.mark.parametrize(
    ("rides", "bikes", "says", "counts", "keys"),
    [
        (GOOD_RIDES, [BLACK, *NO_B1], "colour changed", (1, 0, 0), ("b1",)),
        (GOOD_RIDES, NO_B1, "some are gone", (0, 0, 1), ("b1",)),
        (
            [*GOOD_RIDES, (4, "b9", "Bern", "north", "south", 1)],
            [*GOOD_BIKES, B9],
            "some had been missing",
            (0, 1, 0),
            ("b9",),
        ),
    ],
)
def test_the_looked_up_rows_that_differ_are_told_by_key(
    tmp_path: Path, rides: list[Row], bikes: list[Row], says: str, counts: tuple[int, int, int], keys: tuple[str, ...]
) -> None:
    """The incident: "stg_bikes changed", and nobody knows which of ten thousand bikes."""
    deliver_all(tmp_path, D[:2])
    deliver(tmp_path, RIDES, rides, D[1])
    engine = engine_at(tmp_path, CLOCK)
    run_all(engine)
    deliver(tmp_path, BIKES, bikes)
    for name in ("raw_bikes", "stg_bikes"):
        run(engine, name)
    found = next(r for r in of(planned(engine), "ride_details")[D[1]]["reasons"] if r["source"] == "stg_bikes")
    assert found["says"] == f"rows of stg_bikes looked up by bike of stg_rides: {says}"
    assert (found["detail"]["changed"], found["detail"]["appeared"], found["detail"]["gone"]) == counts
    assert found["detail"]["keys"] == keys


def test_rows_are_compared_only_if_the_same_keys_were_looked_up(engine: Engine) -> None:
    """The incident: a ride went elsewhere, and the stop that it goes to now is said to have appeared."""
    deliver(engine.store.root, RIDES, [(1, "b1", "Bern", "north", "north", 10), *GOOD_RIDES[1:]], D[2])
    deliver(engine.store.root, STOPS, [(*row[:2], 9, *row[3:]) for row in GOOD_STOPS])
    for name in ("raw_rides", "raw_stops", "stg_rides", "stg_stops"):
        run(engine, name)
    says = [r["says"] for r in of(planned(engine), "ride_details")[D[2]]["reasons"]]
    assert says == [
        "stg_rides: stop_to changed",
        "rows of stg_stops looked up by city, stop_from of stg_rides: zone changed",
        "rows of stg_stops looked up by city, stop_to of stg_rides: other keys occur",
    ]


def test_looked_up_rows_that_are_not_kept_are_only_said_to_differ(engine: Engine) -> None:
    deliver(engine.store.root, BIKES, [BLACK, *NO_B1])
    old = engine.ledger.publications.current("stg_bikes")["all"].path
    for name in ("raw_bikes", "stg_bikes"):
        run(engine, name)
    (engine.store.table(GRAPH["stg_bikes"]).folder / old).unlink()
    found = reason(of(planned(engine), "ride_details")[D[0]])
    assert found["says"] == (
        "rows of stg_bikes looked up by bike of stg_rides changed; what was looked up then is not kept"
    )


def test_a_key_that_a_rule_refers_to(engine: Engine) -> None:
    deliver(engine.store.root, BIKES, GOOD_BIKES[:2])
    for name in ("raw_bikes", "stg_bikes"):
        run(engine, name)
    found = reason(of(planned(engine), "stg_rides")[D[0]])
    assert found["says"] == "stg_bikes: bike changed"
    assert found["exactly"].startswith("3 to 2 rows; ")


def test_an_input_that_comes_late(engine: Engine) -> None:
    deliver(engine.store.root, WEATHER, GOOD_WEATHER, D[9])
    for name in ("raw_weather", "stg_weather"):
        run(engine, name, [D[9]])
    assert of(planned(engine), "mild_days") == {}  # D[9] has no rides, and nothing else reads its weather
    deliver(engine.store.root, RIDES, GOOD_RIDES, D[9])
    for name in ("raw_rides", "stg_rides"):
        run(engine, name, [D[9]])
    found = of(planned(engine), "mild_days")
    assert {key: reason(one)["says"] for key, one in found.items()} == {D[9]: "it was never computed"}


def other_totals(stg_rides: pl.LazyFrame) -> pl.LazyFrame:
    """Rides per week and city, counted otherwise."""
    week = pl.col("date").dt.truncate("1w").alias("week")
    return stg_rides.group_by(week, "city").agg(pl.len().cast(pl.Int64).alias("rides")).drop_nulls("city")


def test_edited_code_is_shown_as_a_diff(engine: Engine) -> None:
    other = with_table(engine, "week_totals", transform=other_totals)
    facts = planned(other)
    assert {p["table"] for p in facts["partitions"] if p["status"] == "due"} == {"week_totals"}
    found = reason(of(facts, "week_totals")["2030-01-28"])
    assert found["says"] == "its code was edited"
    removed, added = ([line[1:].strip() for line in found["lines"] if line.startswith(sign)] for sign in "-+")
    assert any("drop_nulls('city').group_by" in line for line in removed), found["lines"]
    assert any(line.endswith(".drop_nulls('city')") for line in added), found["lines"]
    other.ledger.close()


def test_an_edited_contract_is_shown_clause_by_clause(engine: Engine) -> None:
    contract = replace(GRAPH["week_totals"].contract, min_rows=1, drop_duplicates=True)
    other = with_table(engine, "week_totals", contract=contract)
    found = reason(of(planned(other), "week_totals")["2030-01-28"])
    assert found["says"] == "its contract was edited"
    assert found["lines"] == [
        "+rule rows__min: At least 1 rows",
        "-duplicates: exact copies are kept",
        "+duplicates: exact copies are dropped",
    ]
    other.ledger.close()


def test_an_edited_threshold_names_both_values(engine: Engine) -> None:
    table = GRAPH["stg_weather"]
    (reference,) = GRAPH["stg_rides"].contract.references
    contract = replace(GRAPH["stg_rides"].contract, references=(replace(reference, max_missing=0.25),))
    other = with_table(engine, "stg_rides", contract=contract)
    then, now = reason(of(planned(other), "stg_rides")[D[0]])["lines"]
    assert (then[0], now[0]) == ("-", "+")
    assert "50" in then
    assert "25" in now
    assert of(planned(other), table.name) == {}
    other.ledger.close()


def test_inputs_that_are_declared_otherwise(engine: Engine) -> None:
    inputs = (Input("stg_rides", ("date", "city", "minutes"), argument="stg_rides"),)
    other = with_table(engine, "week_totals", inputs=inputs)
    says = {r["says"] for r in of(planned(other), "week_totals")["2030-01-28"]["reasons"]}
    assert says == {f"it reads other columns of stg_rides{d}: minutes more" for d in ("", *(f" {k}" for k in D[1:7]))}
    other.ledger.close()


def test_files_that_somebody_else_removed(engine: Engine) -> None:
    snapshot = engine.ledger.publications.current("week_totals")["2030-01-28"]
    shutil.rmtree(engine.store.table(GRAPH["week_totals"]).folder)
    assert snapshot.path
    recipe = engine.ledger.serials  # a sweep alone cannot know: nothing that it counts has changed
    recipe.acknowledge("week_totals", ["2030-01-28"], recipe.now(), 1)
    found = reason(of(planned(engine), "week_totals")["2030-01-28"])
    assert found["kind"] == "astray"


def test_what_failed_too_often_is_held_back_unless_a_person_insists(engine: Engine) -> None:
    deliver(engine.store.root, STOPS, GOOD_STOPS[:3])
    engine.take_in(CLOCK.now_utc())
    watch = Watch(GRAPH, LedgerBook(engine, CLOCK))
    for _ in range(Policy().most_tries):
        watch.book.request(
            [Request("raw_stops", "all", watch.book.look("raw_stops", ["all"]).stale["all"])], "test", CLOCK.now_utc()
        )
    CLOCK.sleep(Policy().first_pause_s)  # until then the last request may be on its way
    facts = planned(engine)
    assert of(facts, "raw_stops", "held_back")["all"]["held"]["hold"] == "given_up"
    assert facts["hops"] == []
    named = Selection({"raw_stops": ["all"]})
    plan = make_plan(engine, CLOCK, named, Insistence(named.named))
    told = of(plan_facts(engine, plan), "raw_stops")["all"]
    assert told["overrides"]["says"] == "failed too often, needs a person"
    assert of(plan_facts(engine, plan), "stg_stops", "may_change").keys() == {"all"}


# ---- nothing is written


def everything(engine: Engine) -> tuple[str, dict[str, Any]]:
    """Every row of the ledger, and every file with its content."""
    with sa.create_engine(f"sqlite:///{engine.store.root / 'ledger.sqlite'}").connect() as connection:
        names = sa.inspect(connection).get_table_names()
        rows = {name: connection.execute(sa.text(f"SELECT * FROM {name}")).all() for name in sorted(names)}
    files = {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(engine.store.root.rglob("*"))
        if path.is_file() and "ledger.sqlite" not in path.name
    }
    return repr(rows), files


def test_a_plan_leaves_no_trace(engine: Engine) -> None:
    """The incident: somebody looked, and from then on automation believed that a file had been dealt with."""
    root = engine.store.root
    deliver(root, RIDES, ride(1, 98), D[1])
    engine.take_in(CLOCK.now_utc())
    run(engine, "raw_rides", [D[1]])
    deliver(root, BIKES, [BLACK, *NO_B1])  # landed only
    engine.ledger.requests.pause("ride_details", downstream=False, by="me", reason="", now_utc=CLOCK.now_utc())
    fresh = with_table(engine, "week_totals", transform=other_totals)  # its code is not kept, and need not be
    before = everything(fresh)
    for selection in (None, Selection({"stg_rides": D, "ride_details": D}, downstream=True)):
        assert planned(fresh, selection)["partitions"]
    assert everything(fresh) == before
    fresh.ledger.close()


# ---- what is planned is what is run


def carry_out(engine: Engine, plan: Plan, meddle: Callable[[], None] = lambda: None) -> dict[tuple[str, str], bool]:
    """Run a plan without Dagster; per partition that was run, whether its content is new."""
    ran: dict[tuple[str, str], bool] = {}
    errand = Errand(Insisting(LedgerBook(engine, CLOCK), Insistence(), Policy(), CLOCK.now_utc()), plan.steps)
    for table, keys in plan.steps.items():
        if engine.graph[table].feed is not None:
            errand.look(table, keys)
    watch = Watch(engine.graph, errand)

    def run_due(table: Table, due: Any) -> None:  # noqa: ANN401
        meddle()
        for outcome in engine.materialize(table.name, list(due), run_id="repair"):
            assert isinstance(outcome, Published | Withheld)
            assert (table.name, outcome.partition) not in ran, "run twice"
            ran[table.name, outcome.partition] = isinstance(outcome, Published) and not outcome.refreshed

    heal(
        engine.graph,
        lambda: watch.tick(CLOCK.now_utc(), {}, "repair:test"),
        run_due,
        CLOCK,
        patience_s=0.0,
    )
    return ran


def change_something(root: Path, dice: random.Random) -> None:
    match dice.randrange(4):
        case 0:
            deliver(root, RIDES, ride(dice.randrange(1, 4), dice.randrange(100)), dice.choice(D))
        case 1:
            rows = [
                (n, f"b{dice.randrange(1, 5)}", dice.choice(("Bern", "Genf")), "north", "lake", 1) for n in range(3)
            ]
            deliver(root, RIDES, rows, dice.choice(D))
        case 2:
            deliver(root, WEATHER, [("Bern", dice.randrange(20)), ("Genf", 6)], dice.choice(D))
        case _:
            deliver(root, BIKES, [(f"b{n}", dice.choice(("red", "blue")), 2) for n in range(1, 5)])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_a_repair_runs_the_plan_and_nothing_else(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    deliver_all(tmp_path, D[:8])
    engine = engine_at(tmp_path, CLOCK)
    run_all(engine)
    for _ in range(3):
        for _ in range(dice.randrange(1, 4)):
            change_something(tmp_path, dice)
        if dice.random() < 0.5:
            engine.take_in(CLOCK.now_utc())
        name = dice.choice(("raw_rides", "stg_rides", "week_totals", "ride_details"))
        keys = dice.sample(list(GRAPH[name].partitions.declared(CLOCK.now_utc())), 2)
        for selection in (Selection({name: keys}, downstream=dice.random() < 0.5), None):
            plan = make_plan(engine, CLOCK, selection)
            steps = {
                (table, key): n for n, hop in enumerate(plan.hops) for table, found in hop.items() for key in found
            }
            ran = carry_out(engine, plan)
            assert ran.keys() <= steps.keys()
            assert {(t, k) for t, k, s in plan if type(s).__name__ == "Due"} <= ran.keys()
            order = [steps[pair] for pair in ran]
            assert order == sorted(order), "not hop by hop"
            for table, key in steps.keys() - ran.keys():  # cut off, since nothing that they read is new
                assert engine.look(table, [key]).settled
    assert make_plan(engine, CLOCK, None).hops == ()
    assert {o for outcomes in run_all(engine).values() for o in map(type, outcomes.values())} <= {Reused, Waiting}
    engine.ledger.close()


def test_unchanged_output_cuts_the_rest_off(engine: Engine) -> None:
    deliver(engine.store.root, RIDES, ride(1, 97), D[1])  # minutes, which nobody reads
    plan = make_plan(engine, CLOCK, None)
    assert len(plan.hops) == 3
    assert carry_out(engine, plan) == {("raw_rides", D[1]): True, ("stg_rides", D[1]): True}


def test_what_changes_meanwhile_and_does_not_belong_to_the_plan_is_left(engine: Engine) -> None:
    deliver(engine.store.root, RIDES, GOOD_RIDES[:1], D[1])
    plan = make_plan(engine, CLOCK, Selection({"raw_rides": [D[1]]}))

    def meddle() -> None:
        deliver(engine.store.root, WEATHER, [("Bern", 40)], D[1])
        engine.take_in(CLOCK.now_utc())

    ran = carry_out(engine, plan, meddle)
    assert {"raw_rides", "stg_rides", "ride_details", "week_totals"} <= {table for table, _ in ran}
    assert not {"raw_weather", "stg_weather"} & {table for table, _ in ran}
    assert of(planned(engine), "raw_weather").keys() == {D[1]}


def test_what_a_partition_costs_is_remembered(engine: Engine) -> None:
    costs = engine.ledger.publications.costs([t.name for t in GRAPH.tables])
    assert {name: cost.rows for name, cost in costs.items()}["stg_rides"] == 3.0
    assert all(cost.seconds is not None and 0 < cost.seconds < 5 for cost in costs.values())
