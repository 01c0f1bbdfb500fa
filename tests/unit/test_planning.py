"""Plans on declarations alone: order, reach and what belongs to a plan, against a naive walk over the mappings."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sh_core import planning
from sh_core.inputs import Required
from sh_core.links import Flags, links, places
from sh_core.mapping import Window, mapped
from sh_core.plan import Cost, Due, HeldBack, Landed, Outside, Plan, Reached, Selection, WaitsFor
from sh_core.policy import Held, Hold
from sh_core.staleness import FirstTime, Stale
from sh_core.survey import Survey
from sh_core.watch import Decision
from tests.reading import GRAPH, WEEKS, D

NOW = datetime(2030, 3, 1, 12, tzinfo=UTC)
TODAY = NOW
STALE = Stale("trace", (FirstTime(),))

Pair = tuple[str, str]
EVERY = [(t.name, key) for t in GRAPH.tables for key in t.partitions.declared(TODAY)]


def upstream(table: str, key: str) -> set[Pair]:
    """What a partition reads, naively."""
    of = GRAPH[table]
    return {
        (g.table, p)
        for g in of.reads
        for p in mapped(g.window, of.partitions, GRAPH[g.table].partitions, key, TODAY)
        if p in places(GRAPH[g.table].partitions, TODAY)
    }


UPSTREAM = {pair: upstream(*pair) for pair in EVERY}


def survey(
    due: Collection[Pair] = (),
    held: Mapping[Pair, Hold] | None = None,
    never: Collection[Pair] = (),
    paused: Collection[str] = (),
    landed: Collection[Pair] = (),
    busy: Collection[Pair] = (),
) -> Survey:
    """Everything is settled and published but what is named."""
    held = held or {}

    def by_table(pairs: Collection[Pair]) -> dict[str, list[str]]:
        return {t.name: [key for name, key in pairs if name == t.name] for t in GRAPH.tables}

    def all_but(pairs: Collection[Pair]) -> dict[str, Flags]:
        return {
            t.name: np.array([(t.name, key) not in pairs for key in places(t.partitions, TODAY)]) for t in GRAPH.tables
        }

    stale = {t: dict.fromkeys(keys, STALE) for t, keys in by_table([*due, *held]).items() if keys}
    decision = Decision(
        due={t: dict.fromkeys(keys, STALE) for t, keys in by_table(due).items() if keys},
        held={t: {key: Held(held[t, key]) for key in keys} for t, keys in by_table(list(held)).items() if keys},
        stale=stale,
        swept=True,
        looked=0,
    )
    there = all_but(never)
    there |= {t.feed.name: there[t.name] for t in GRAPH.tables if t.feed is not None}
    files = {t: dict.fromkeys(keys, f"{t}.csv") for t, keys in by_table(landed).items() if keys}
    return Survey(NOW, NOW, decision, all_but(never), there, {}, by_table(busy), frozenset(paused), files, {})


def steps(plan: Plan) -> dict[Pair, int]:
    return {
        (table, key): hop for hop, of in enumerate(plan.hops, start=1) for table, keys in of.items() for key in keys
    }


def after(pairs: Collection[Pair]) -> set[Pair]:
    """Everything that reads one of these, or something that does."""
    found = set(pairs)
    for pair in EVERY:  # inputs first
        if UPSTREAM[pair] & found:
            found.add(pair)
    return found


pairs = st.lists(st.sampled_from(EVERY), max_size=4)


@given(st.data())
def test_who_is_read_is_the_reverse_of_who_reads(data: st.DataObject) -> None:
    table = data.draw(st.sampled_from([t for t in GRAPH.tables if t.reads]))
    read = data.draw(st.sampled_from(table.reads))
    source = GRAPH[read.table].partitions
    mask = (
        np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
        if (n := len(places(table.partitions, TODAY)))
        else np.zeros(0, np.bool_)
    )
    found = links(read.window, table.partitions, source, TODAY).read(mask)
    keys = [key for key, wanted in zip(places(table.partitions, TODAY), mask, strict=True) if wanted]
    expected = {p for key in keys for p in mapped(read.window, table.partitions, source, key, TODAY)}
    assert [p for p, flag in zip(places(source, TODAY), found, strict=True) if flag] == [
        p for p in places(source, TODAY) if p in expected
    ]


@given(pairs)
def test_the_reach_of_what_is_due_is_everything_that_reads_it(due: list[Pair]) -> None:
    """The incident: a plan that leaves out the seventh day of a rolling week, and a repair that stops before it."""
    assert steps(planning.make(GRAPH, survey(due=set(due)), None)).keys() == after(due)


@given(pairs, st.lists(st.sampled_from(EVERY), min_size=1, max_size=3), st.booleans())
def test_a_steps_ancestors_come_before_it(due: list[Pair], named: list[Pair], downstream: bool) -> None:
    """The incident: a partition that is computed from what is about to change, and once more a moment later."""
    by_table = {t: [k for name, k in named if name == t] for t, _ in named}
    plan = planning.make(GRAPH, survey(due=set(due)), Selection(by_table, downstream))
    hops, moving = steps(plan), after(due)
    for pair, hop in hops.items():
        before = UPSTREAM[pair] & moving
        assert before <= hops.keys(), "an ancestor that may change is no step"
        assert hop == 1 + max((hops[p] for p in before), default=0)
    asked = after(named) if downstream else set(named)
    assert asked & moving <= hops.keys()
    for table, key, status in plan:
        if isinstance(status, Outside):
            assert UPSTREAM[table, key] & hops.keys()
            assert (UPSTREAM[table, key] & moving) - hops.keys()


def test_what_is_named_pulls_in_what_comes_first_and_what_comes_after() -> None:
    plan = planning.make(GRAPH, survey(due={("raw_weather", D[3])}), Selection({"stg_weather": [D[3]]}))
    assert steps(plan) == {
        ("raw_weather", D[3]): 1,
        ("stg_weather", D[3]): 2,
        ("ride_details", D[3]): 3,
        **{("mild_days", day): 3 for day in D[3:6]},
    }


def test_what_reads_something_else_that_is_due_is_not_run_early() -> None:
    found = survey(due={("raw_weather", D[3]), ("raw_weather", D[5])})
    plan = planning.make(GRAPH, found, Selection({"raw_weather": [D[3]]}))
    assert plan.statuses["mild_days"] == {
        D[3]: Reached(("stg_weather",), 3, is_new=False),
        D[4]: Reached(("stg_weather",), 3, is_new=False),
        D[5]: Outside(("stg_weather",)),
    }


def test_what_is_held_back_carries_nothing_on() -> None:
    """The incident: a plan that promises a week's total although its day was given up."""
    plan = planning.make(GRAPH, survey(held={("stg_rides", D[0]): Hold.GIVEN_UP}), None)
    assert dict(plan.statuses) == {"stg_rides": {D[0]: HeldBack(Held(Hold.GIVEN_UP), STALE)}}
    assert plan.hops == ()


def test_what_waits_for_its_ancestor_is_due_a_hop_later() -> None:
    found = survey(due={("raw_rides", D[0])}, held={("stg_rides", D[0]): Hold.ANCESTOR})
    assert planning.make(GRAPH, found, None).statuses["stg_rides"][D[0]] == Due(STALE, 2)


def test_a_paused_table_stops_the_reach_and_says_so() -> None:
    plan = planning.make(GRAPH, survey(due={("raw_rides", D[0])}, paused={"stg_rides"}), None)
    assert plan.statuses["stg_rides"] == {D[0]: HeldBack(Held(Hold.PAUSED), None, ("raw_rides",))}
    assert steps(plan) == {("raw_rides", D[0]): 1}


def test_what_another_process_works_on_is_no_step_but_may_change_what_follows() -> None:
    plan = planning.make(GRAPH, survey(busy={("stg_weather", D[0])}), None)
    assert plan.statuses["stg_weather"] == {D[0]: HeldBack(Held(Hold.BUSY))}
    assert plan.statuses["ride_details"][D[0]] == Reached(("stg_weather",), 2, is_new=False)
    assert plan.steps["stg_weather"] == {D[0]}  # to be waited for


def test_what_waits_is_reached_only_if_all_that_it_needs_may_come() -> None:
    """The incident: a plan that says a week may change although six of its days have not been delivered."""
    never = {(t, day) for t in ("raw_rides", "stg_rides") for day in D[7:]} | {("week_totals", WEEKS.keys()[1])}
    due = {("raw_rides", day) for day in D[7:9]}
    waiting = planning.make(GRAPH, survey(due=due, never=never), None).statuses["week_totals"]
    assert waiting == {WEEKS.keys()[1]: WaitsFor((f"stg_rides[{D[7]}]", f"stg_rides[{D[8]}]", f"stg_rides[{D[9]}]"))}
    due = {("raw_rides", day) for day in D[7:]}
    ready = planning.make(GRAPH, survey(due=due, never=never), None).statuses["week_totals"]
    assert ready == {WEEKS.keys()[1]: Reached(("stg_rides",), 3, is_new=True)}


def test_a_file_that_was_not_delivered_is_waited_for_by_name() -> None:
    plan = planning.make(GRAPH, survey(never={("raw_rides", D[2])}), None)
    assert plan.statuses["raw_rides"] == {D[2]: WaitsFor((f"file rides_{D[2]}.csv of feed rides",))}


def test_a_file_that_was_not_taken_in_is_the_first_step() -> None:
    plan = planning.make(GRAPH, survey(landed={("raw_weather", D[0])}, never={("raw_weather", D[0])}), None)
    assert plan.statuses["raw_weather"] == {D[0]: Landed("raw_weather.csv", 1)}
    assert plan.statuses["stg_weather"] == {D[0]: Reached(("raw_weather",), 2, is_new=False)}


def test_cost_is_by_table_and_unknown_where_a_table_is() -> None:
    plan = planning.make(GRAPH, survey(due={("raw_weather", day) for day in D[:3]}), Selection({"raw_weather": D[:3]}))
    plan = replace(plan, costs={"raw_weather": Cost(10.0, 0.5)})
    assert plan.cost(plan.hops[0]) == Cost(30.0, 1.5)
    assert plan.cost(plan.hops[1]) == Cost(None, None)


def test_settled_partitions_are_told_only_where_they_were_asked_for() -> None:
    plan = planning.make(GRAPH, survey(due={("stg_stops", "all")}), Selection({"week_totals": WEEKS.keys()}))
    assert plan.settled == {"week_totals": tuple(WEEKS.keys())}
    assert plan.statuses == {}


def test_the_graph_has_every_kind_of_input() -> None:
    """These tests mean nothing on a graph without windows, lookups, references and inputs that may be missing."""
    reads = [g for t in GRAPH.tables for g in t.reads]
    assert any(g.lookup for g in reads)
    assert any(isinstance(g.window, Window) and g.window.first for g in reads)
    assert any(g.name.startswith("@") for g in reads)
    assert any(not isinstance(g.present, Required) for g in reads)


def test_an_empty_selection_is_nothing() -> None:
    assert planning.make(GRAPH, survey(due={("stg_stops", "all")}), Selection({})).hops == ()
