"""A watch whose runs have other code than it has: somebody edited a file and did not reload the definitions.

The incident: each run is a new process and computes under the new code; the watch goes on with the old one, finds what
was computed stale, requests it again and again, and in the end says that it failed too often, though nothing failed.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from sh_core.policy import Hold, Policy
from sh_core.watch import Decision, Watch
from sh_drills.oracle.declared import graph_of
from sh_drills.oracle.shapes import MART as IS_MART
from sh_drills.oracle.shapes import RAW, STAGED, Code, Gate, Given, Pick, Shape, Span
from tests.conformance.book_drivers import MONDAY, SHAPES, TUESDAY, Driver, edited, opened

MART = SHAPES["mart"]
assert MART.code is not None
NEW = edited(MART, code=replace(MART.code, plus=1))
NEWER = edited(MART, code=replace(MART.code, plus=2))
REDECLARED = edited(MART, reads=(MART.reads[0], MART.reads[2]))
HOUR = 3600.0

ENDLESS = Span("daily", date(2024, 2, 26))
DAILY = {
    shape.name: shape
    for shape in (
        Shape("raw_g", RAW, ENDLESS, ("k", "a"), Gate(50), feed="g"),
        Shape("stg_g", STAGED, ENDLESS, ("k", "a"), Gate(50), (Given("raw_g", "raw_g"),)),
        Shape(
            "total",
            IS_MART,
            Span("whole"),
            ("k", "a"),
            Gate(50),
            (Given("stg_g", "stg_g", every="all", least=1),),
            Code("stg_g", 1000, (Pick("stg_g", "a", "max", 1),)),
        ),
    )
}
"""A table whose recipe is another one with each new day, since it reads all days."""


@pytest.fixture(params=["memory", "ledger"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Driver]:
    """The old code; everything of two days was computed under it."""
    with opened(request.param, tmp_path) as driver:
        for key in (MONDAY, TUESDAY):
            deliver(driver, key, 5)
        driver.arrive("r", "all", ((1, 3), (9, 9)))
        for name in ("raw_r", "stg_r"):
            driver.run(name, ["all"])
        driver.run("mart", [MONDAY, TUESDAY])
        yield driver


@pytest.fixture
def new(old: Driver) -> Iterator[Driver]:
    """A process with the new code, which has done nothing yet."""
    driver = old.beside(NEW)
    yield driver
    driver.close()


def deliver(driver: Driver, key: str, a: int) -> None:
    """A day's file comes, and is staged."""
    driver.arrive("f", key, ((1, a, 7), (2, 6, 8)))
    for name in ("raw_f", "stg_f"):
        driver.run(name, [key])


def watching(driver: Driver, shapes: Mapping[str, Shape] = SHAPES) -> Watch:
    """A watch that has just been loaded."""
    return Watch(graph_of(shapes), driver.book, Policy())


def tick(watch: Watch, at: Driver, runs: Driver | None, *, seconds: float = 1.0) -> Decision:
    """One tick, and whatever is due is run by a process; or by one that dies."""
    decision = watch.tick(at.later(seconds), {}, "a test")
    for name, keys in decision.due.items():
        if runs is not None:
            runs.run(name, list(keys))
    return decision


def holds(decision: Decision) -> dict[tuple[str, str], Hold]:
    return {(name, key): held.hold for name, found in decision.held.items() for key, held in found.items()}


def due(decision: Decision) -> set[tuple[str, str]]:
    return {(name, key) for name, found in decision.due.items() for key in found}


def test_what_its_runs_compute_under_other_code_is_held_and_not_requested_again(old: Driver, new: Driver) -> None:
    watch = watching(old)
    assert not due(tick(watch, old, new))
    deliver(old, TUESDAY, 4)
    assert due(tick(watch, old, new)) == {("mart", TUESDAY)}
    for _ in range(50):
        decision = tick(watch, old, new, seconds=60)
        assert not due(decision)
        assert holds(decision) == {("mart", TUESDAY): Hold.OTHER_CODE}
    reloaded = tick(watching(new, NEW), new, new)
    assert due(reloaded) == {("mart", MONDAY)}, "of the edit, which nobody had told of; and nothing twice"
    assert not holds(reloaded)


def test_what_was_run_by_hand_under_other_code_is_requested_once(old: Driver, new: Driver) -> None:
    """The run finds it settled and writes nothing that readers see."""
    watch = watching(old)
    tick(watch, old, new)
    new.run("mart", [MONDAY, TUESDAY])
    assert due(tick(watch, old, new)) == {("mart", MONDAY), ("mart", TUESDAY)}
    for seconds in (1.0, 30.0, 600.0, 2900.0):
        decision = tick(watch, old, new, seconds=seconds)
        assert not due(decision)
        assert set(holds(decision).values()) == {Hold.OTHER_CODE}
    assert not tick(watching(new, NEW), new, new).stale


def test_it_is_asked_for_so_often_and_never_said_to_have_failed(old: Driver, new: Driver) -> None:
    watch, requested, told = watching(old), Counter[tuple[str, str]](), set[Hold]()
    tick(watch, old, new)
    new.run("mart", [MONDAY])
    for _ in range(200):
        decision = tick(watch, old, new, seconds=HOUR / 10)
        requested.update(due(decision))
        told.update(holds(decision).values())
    assert requested == {("mart", MONDAY): Policy().most_tries}
    assert told == {Hold.OTHER_CODE}


def test_what_changes_while_it_is_held_is_held_until_the_reload(old: Driver, new: Driver) -> None:
    watch = watching(old)
    tick(watch, old, new)
    deliver(old, TUESDAY, 4)
    assert due(tick(watch, old, new)) == {("mart", TUESDAY)}
    deliver(old, TUESDAY, 3)
    decision = tick(watch, old, new)
    assert not due(decision)
    assert holds(decision) == {("mart", TUESDAY): Hold.OTHER_CODE}
    reloaded = watching(new, NEW)
    assert due(tick(reloaded, new, new)) == {("mart", TUESDAY), ("mart", MONDAY)}
    assert not tick(reloaded, new, new).stale


def test_whoever_reads_fewer_days_is_other_code_too(old: Driver) -> None:
    """The transform says the same as before; only what it is handed differs."""
    watch, other = watching(old), old.beside(REDECLARED)
    tick(watch, old, other)
    deliver(old, TUESDAY, 4)
    assert due(tick(watch, old, other)) == {("mart", TUESDAY)}
    assert holds(tick(watch, old, other)) == {("mart", TUESDAY): Hold.OTHER_CODE}
    other.close()


def test_an_edit_and_a_reload_make_everything_due_at_once_also_when_it_is_taken_back(old: Driver, new: Driver) -> None:
    both = {("mart", MONDAY), ("mart", TUESDAY)}
    assert not due(tick(watching(old), old, old))
    for driver, shapes in ((new, NEW), (old, SHAPES), (new, NEW)):
        watch = watching(driver, shapes)
        assert due(tick(watch, driver, driver)) == both
        after = tick(watch, driver, driver)
        assert not after.stale


def test_an_edit_that_is_taken_back_without_any_reload_heals_by_itself(old: Driver, new: Driver) -> None:
    watch = watching(old)
    tick(watch, old, new)
    deliver(old, TUESDAY, 4)
    tick(watch, old, new)
    assert holds(tick(watch, old, old)) == {("mart", TUESDAY): Hold.OTHER_CODE}
    assert due(tick(watch, old, old, seconds=HOUR)) == {("mart", TUESDAY)}
    assert not tick(watch, old, old).stale


def test_a_run_of_the_old_code_that_ends_late_is_repaired_at_once(old: Driver, new: Driver) -> None:
    """A rolling deployment: a run of the old code goes on after the new watch began."""
    watch = watching(new, NEW)
    assert due(tick(watch, new, new)) == {("mart", MONDAY), ("mart", TUESDAY)}
    assert not tick(watch, new, new).stale
    fresh = watching(new, NEW)
    tick(fresh, new, new)
    old.run("mart", [MONDAY])
    assert due(tick(fresh, new, new)) == {("mart", MONDAY)}
    assert not tick(fresh, new, new).stale


def test_a_run_of_the_old_code_that_undoes_what_was_requested_is_repaired_within_the_hour(
    old: Driver, new: Driver
) -> None:
    watch = watching(new, NEW)
    assert due(tick(watch, new, new)) == {("mart", MONDAY), ("mart", TUESDAY)}
    old.run("mart", [MONDAY])
    assert holds(tick(watch, new, new)) == {("mart", MONDAY): Hold.OTHER_CODE}
    assert due(tick(watch, new, new, seconds=HOUR)) == {("mart", MONDAY)}
    assert not tick(watch, new, new).stale


def test_two_deployments_undo_each_others_work_once_an_hour_at_most(old: Driver, new: Driver) -> None:
    watches = {old: watching(old), new: watching(new, NEW)}
    requested = Counter[tuple[str, str]]()
    for _ in range(600):
        for driver, watch in watches.items():
            requested.update(due(tick(watch, driver, driver, seconds=15)))
    hours = 600 * 2 * 15 / HOUR
    assert max(requested.values()) <= 2 * (hours + 1)
    old_left = watching(new, NEW)
    for _ in range(3):
        tick(old_left, new, new)
    assert not old_left.tick(new.later(1), {}, "a test").stale


@pytest.mark.parametrize("looked", [False, True], ids=["alone", "the old watch looked just before"])
def test_what_really_fails_is_given_up(old: Driver, new: Driver, *, looked: bool) -> None:
    """Runs of the newest code that die are no other code, whatever was looked at before the reload."""
    if looked:
        deliver(old, MONDAY, 5)
        old.run("mart", [MONDAY, TUESDAY])
    watch, told = watching(new, NEW), set[Hold]()
    for _ in range(60):
        told.update(holds(tick(watch, new, None, seconds=120)).values())
    assert told == {Hold.BACKING_OFF, Hold.GIVEN_UP}


def test_three_codes_in_a_row_and_the_last_one_wins(old: Driver, new: Driver) -> None:
    newest = old.beside(NEWER)
    first, last = watching(old), watching(newest, NEWER)
    tick(first, old, new)
    new.run("mart", [MONDAY])
    tick(first, old, new)
    assert due(tick(last, newest, newest)) == {("mart", MONDAY), ("mart", TUESDAY)}
    assert not tick(last, newest, newest).stale
    assert set(holds(tick(first, old, newest)).values()) <= {Hold.OTHER_CODE}
    assert not tick(last, newest, newest).stale
    newest.close()


def test_what_its_own_runs_compute_is_requested_again_as_soon_as_it_changes(old: Driver) -> None:
    watch = watching(old)
    tick(watch, old, old)
    for a in (4, 3, 2):
        deliver(old, TUESDAY, a)
        assert due(tick(watch, old, old)) == {("mart", TUESDAY)}
        assert not tick(watch, old, old).stale


def test_a_new_day_is_no_other_code(old: Driver) -> None:
    """Whoever reads all days reads one more from midnight on, and had another recipe before."""
    driver = old.beside(DAILY)
    watch, places = watching(driver, DAILY), [("raw_g", MONDAY), ("stg_g", MONDAY), ("total", "all")]
    driver.later(22.9 * HOUR)
    driver.arrive("g", MONDAY, ((1, 5),))
    for place in places:
        assert due(tick(watch, driver, driver)) == {place}
    driver.arrive("g", MONDAY, ((1, 4),))
    for place in places[:2]:
        assert due(tick(watch, driver, driver)) == {place}
    driver.later(0.2 * HOUR)  # past midnight
    decision = tick(watch, driver, driver)
    assert (due(decision), holds(decision)) == ({places[2]}, {})
    driver.close()


def test_what_failed_yesterday_is_requested_at_once_where_the_new_day_is_read_too(old: Driver) -> None:
    """It would be computed from something else; and nothing was confirmed at midnight that could tell of it."""
    driver = old.beside(DAILY)
    watch = watching(driver, DAILY)
    midnight = datetime(2024, 2, 29, tzinfo=UTC)
    driver.later((midnight - driver.later(0)).total_seconds() - 12)
    driver.arrive("g", MONDAY, ((1, 5),))
    for place in (("raw_g", MONDAY), ("stg_g", MONDAY)):
        assert due(tick(watch, driver, driver)) == {place}
    assert due(tick(watch, driver, None)) == {("total", "all")}
    assert holds(tick(watch, driver, None)) == {("total", "all"): Hold.REQUESTED}
    assert holds(tick(watch, driver, None)) == {("total", "all"): Hold.REQUESTED}
    assert due(tick(watch, driver, None, seconds=10)) == {("total", "all")}
    driver.close()
