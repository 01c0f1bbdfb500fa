"""What is executed is what had to be: random graphs and changes, against a naive reference (``sh_drills.oracle``).

A failure says with which seed it is repeated: ``python -m sh_drills.oracle --seed N --cases 1``. ``make soak`` tries
many more seeds, new ones each time.
"""

import os
from datetime import datetime
from random import Random

import pytest

from sh_drills.oracle import calendar, drive, schedule, system
from sh_drills.oracle.declared import graph_of
from sh_drills.oracle.drawing import draw_world
from sh_drills.oracle.reference import Rebuilt, Reference, Shown
from sh_drills.oracle.shapes import World
from tests.mutations import mutated

SLICE = 10
"""Seeds in one test, so that several processes share them."""

SEEDS = range(0, 80, SLICE)


@pytest.mark.parametrize("first", SEEDS)
def test_one_change_after_the_other(first: int) -> None:
    """The executed set is the reference's, each partition once; then nothing is requested any more."""
    for seed in range(first, first + SLICE):
        drive.quiescent(seed)


@pytest.mark.parametrize("first", SEEDS)
def test_everything_at_once(first: int) -> None:
    """Changes and deaths amid runs and ticks: nothing is lost, nothing is executed twice under one trace."""
    for seed in range(first, first + SLICE):
        schedule.interleaved(seed)


def test_a_graph_of_sixty_tables() -> None:
    assert drive.quiescent(1, tables=60).tables == 60
    assert schedule.interleaved(2, tables=60).tables == 60


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_many_more() -> None:
    first = int(os.environ.get("SELFHEAL_SEED", "1")) * 1_000_000
    for seed in range(first, first + int(os.environ.get("SELFHEAL_KILL_SCHEDULES", "1000"))):
        drive.quiescent(seed)
        schedule.interleaved(seed)


def test_a_seed_says_everything() -> None:
    assert drive.quiescent(7) == drive.quiescent(7)
    assert schedule.interleaved(7) == schedule.interleaved(7)


@pytest.mark.parametrize("seed", range(30))
def test_the_reference_knows_the_same_partitions(seed: int) -> None:
    """Two opinions on the calendar: were they different, every case would fail, and none would say why."""
    world = draw_world(Random(seed))
    graph = graph_of(world.shapes)
    now = datetime.fromisoformat(f"{world.today}T01:00:00+00:00")
    for shape in world.shapes.values():
        assert calendar.keys_of(shape.span, world.today) == tuple(graph[shape.name].partitions.declared(now))


# ---- the reference itself


def small_world(seed: int) -> World:
    """A world of three tables in which something is to be seen of the last one."""
    for number in range(seed, seed + 100):
        world = draw_world(Random(number), tables=3)
        reference = Reference(world)
        reference.follow()
        if any(shown.rows for (name, _), shown in reference.shown.items() if name == "t2"):
            return world
    raise AssertionError(seed)


def test_the_reference_comes_to_rest() -> None:
    reference = Reference(small_world(0))
    assert reference.follow()
    assert not reference.follow()


def test_rebuilding_finds_one_wrong_row() -> None:
    world = small_world(0)
    reference = Reference(world)
    reference.follow()
    assert not Rebuilt(world, reference.shown, {}).differences()
    place = next(p for p, shown in reference.shown.items() if p[0] == "t2" and shown.rows)
    wrong = {**reference.shown, place: Shown(reference.shown[place].columns, ())}
    assert len(Rebuilt(world, wrong, {}).differences()) == 1


def test_a_planted_fault_is_taken_out_again() -> None:
    """One that outlived its test would make every later test of the session worthless."""
    before = system.Watch
    with mutated("sh_core.watch", "patience = timedelta(", "patience = 7 * timedelta("):
        assert system.Watch is not before
    assert system.Watch is before
