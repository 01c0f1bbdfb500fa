"""The reach of a change that was not made, by columns: what is asked of declarations and lineage alone.

The incident: somebody corrects one column, is told that nobody reads it, and a mart changes.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime

import numpy as np
import pytest

from sh_assets.schemas import argument_lineage
from sh_core.links import Flags, places
from sh_core.suspects import named
from sh_core.whatif import Present, Touched, reach
from tests.reading import GRAPH, D

TODAY = datetime(2030, 3, 1, 12, tzinfo=UTC)


def all_of(value: bool) -> dict[str, Flags]:
    return {t.name: np.full(len(places(t.partitions, TODAY)), value) for t in GRAPH.tables}


def reached(
    table: str,
    keys: Collection[str],
    columns: Collection[str] | None = None,
    withheld: Mapping[str, Collection[str]] | None = None,
    never: Mapping[str, Collection[str]] | None = None,
) -> dict[str, Touched]:
    def flagged(of: Mapping[str, Collection[str]] | None) -> dict[str, Flags]:
        found = all_of(value=False)
        for name, some in (of or {}).items():
            for key in some:
                found[name][places(GRAPH[name].partitions, TODAY)[key]] = True
        return found

    there = {name: ~flags for name, flags in flagged(never).items()}
    present = Present(there, there, flagged(withheld))
    return reach(GRAPH, TODAY, {table: keys}, columns, lambda t: argument_lineage(t, GRAPH), present)


def computed(touched: Mapping[str, Touched]) -> dict[str, list[str]]:
    return {name: named(GRAPH[name].partitions, TODAY, found.computed) for name, found in touched.items()}


def test_an_unread_column_reaches_nobody() -> None:
    assert computed(reached("stg_rides", [D[2]], ["minutes"])) == {"stg_rides": [D[2]]}


def test_a_column_reaches_what_derives_from_it_and_no_more() -> None:
    touched = reached("stg_weather", [D[2]], ["degrees"])
    assert computed(touched) == {
        "stg_weather": [D[2]],
        "ride_details": [D[2]],
        "mild_days": list(D[2:5]),  # read as a window of three days
    }
    assert set(touched["ride_details"].columns) == {"degrees"}
    assert set(touched["mild_days"].columns) == {"degrees"}


def test_a_key_of_groups_reaches_every_column() -> None:
    touched = reached("stg_rides", [D[0]], ["city"])
    assert set(touched["week_totals"].columns) == {"week", "city", "rides"}
    assert computed(touched)["week_totals"] == ["2030-01-28"]


def test_keys_that_rows_are_looked_up_by_reach_what_is_looked_up() -> None:
    """Another bike is looked up, so its colour is another, although no colour was changed."""
    touched = reached("stg_rides", [D[0]], ["bike"])
    assert "colour" in touched["ride_details"].columns
    assert computed(touched)["recent_bikes"] == list(D[:3])


def test_a_changed_key_is_another_row_in_every_column() -> None:
    assert set(reached("stg_rides", [D[0]], ["ride"])["stg_rides"].columns) == set(GRAPH["stg_rides"].contract.columns)


def test_a_register_reaches_all_that_look_it_up() -> None:
    touched = reached("stg_bikes", ["all"], ["colour"])
    assert computed(touched) == {
        "stg_bikes": ["all"],
        "ride_details": list(D),
        "recent_bikes": list(D),
    }
    assert computed(reached("stg_bikes", ["all"], ["wheels"])) == {"stg_bikes": ["all"]}


def test_a_rule_that_refers_to_a_table_changes_content_only_where_it_withholds() -> None:
    touched = reached("stg_bikes", ["all"], ["bike"])
    assert computed(touched)["stg_rides"] == list(D)
    assert touched["stg_rides"].columns == {}
    touched = reached("stg_bikes", ["all"], ["bike"], withheld={"stg_rides": [D[1]]})
    assert {c: named(GRAPH["stg_rides"].partitions, TODAY, f) for c, f in touched["stg_rides"].columns.items()} == {
        c: [D[1]] for c in GRAPH["stg_rides"].contract.columns
    }
    assert computed(touched)["week_totals"] == ["2030-01-28"]


def test_what_was_never_computed_and_lacks_an_input_is_not_reached() -> None:
    never = {t.name: [D[9]] for t in GRAPH.tables if D[9] in places(t.partitions, TODAY)}
    assert D[9] not in computed(reached("stg_bikes", ["all"], ["colour"], never=never))["ride_details"]


def test_a_first_file_reaches_what_it_makes_possible() -> None:
    never = {"raw_rides": [D[9]], "stg_rides": [D[9]], "city_trends": [D[9]]}
    assert computed(reached("raw_rides", [D[9]], never=never))["city_trends"] == [D[9]]


@pytest.mark.parametrize("table", [t.name for t in GRAPH.tables if t.transform is not None])
def test_where_lineage_cannot_be_told_every_column_is_reached(table: str) -> None:
    source = next(g for g in GRAPH[table].inputs)
    keys = list(places(GRAPH[source.table].partitions, TODAY))
    there = all_of(value=True)
    column = next(c for c in GRAPH[source.table].contract.columns if c in (source.columns or (c,)))
    touched = reach(
        GRAPH, TODAY, {source.table: keys}, [column], lambda _: None, Present(there, there, all_of(value=False))
    )
    assert set(touched[table].columns) == set(GRAPH[table].contract.columns)
