"""What plans say of many partitions at once.

The incident: a feed by airport and day, of which a year is still to come, is a line for each file that it waits for.
"""

import io
from typing import Any

import pytest
from rich.console import Console

from sh_core.links import places
from sh_defs.shown import terminal_plan
from sh_defs.shown.grouping import grouped, spans
from tests.terminals import COUNTS, GRAPH, NOW, VISITS, VISITS_BY

Facts = dict[str, Any]


def place_of(table: str) -> dict[str, int]:
    return dict(places(GRAPH[table].partitions, NOW)) if table in GRAPH else {}


def waiting(table: str, key: str, *missing: str) -> Facts:
    return {"table": table, "partition": key, "status": "waiting", "missing": list(missing)}


def plan_of(*partitions: Facts) -> Facts:
    """A plan in which nothing is due."""
    cost = {"rows": None, "seconds": None}
    about = {"due": 0, "may_change": 0, "cost": cost, "hops": [], "settled": [], "pauses": [], "asked": []}
    return {**about, "partitions": list(partitions)}


def shown(facts: Facts, *, full: bool) -> list[str]:
    out = io.StringIO()
    terminal_plan.plan(Console(file=out, width=100), facts, place_of, full=full)
    return out.getvalue().splitlines()


@pytest.mark.parametrize("full", [False, True])
def test_files_of_a_combination_that_are_waited_for_are_told_in_one_line(*, full: bool) -> None:
    keys = VISITS_BY.declared(NOW)
    assert len(keys) > 4
    lines = shown(plan_of(*(waiting("raw_visits", key, VISITS.delivery(key)) for key in keys)), full=full)
    (told,) = [line.split("for ", 1)[1] for line in lines if "for " in line]
    assert told == "file …_….csv of feed visits"
    assert any(f"{keys[0]}.." in line for line in lines)


@pytest.mark.parametrize("full", [False, True])
def test_thousands_that_wait_are_a_line_for_each_table_and_reason(*, full: bool) -> None:
    hours = COUNTS.partitions.declared(NOW)
    found = [waiting("raw_counts", key, COUNTS.delivery(key)) for key in hours]
    found += [waiting("stg_counts", key, f"raw_counts[{key}]") for key in hours]
    lines = shown(plan_of(*found), full=full)
    assert len(found) > 90
    assert len(lines) < 20
    assert any(f"{len(found):,} partitions" in line for line in lines)


def test_a_short_part_of_a_key_is_found_as_a_word_only() -> None:
    """A list whose keys are single letters must not take letters out of the sentence."""
    keys = ["e|f", "i|l"]
    found = [waiting("t", key, f"file t_{key.replace('|', '_')}.csv of feed feeds") for key in keys]
    (group,) = grouped(found, lambda _: {})
    assert group.text == "for file t_…_….csv of feed feeds"


def test_neighbours_are_a_span_and_what_is_between_divides_it() -> None:
    place = {key: number for number, key in enumerate("abcd")}
    assert spans(["d", "a", "b"], place) == ["a..b", "d"]
