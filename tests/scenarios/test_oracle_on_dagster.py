"""The oracle's cases with Dagster's sensor and runs, on a Dagster instance in memory (``dagster_system``).

The incident: the watch decides what is right, and what Dagster makes of it is something else: a partition that it
calls by another name, a run that it does not know to be under way, a request that says less than the decision.
"""

import os
from pathlib import Path

import pytest

from sh_drills.oracle.changes import Change
from sh_drills.oracle.drawing import draw_file
from sh_drills.oracle.drive import Case, quiescent
from sh_drills.oracle.schedule import Turmoil
from tests.mutations import mutated
from tests.scenarios.dagster_system import DagsterSystem

TABLES = (3, 4, 4, 5)
MID_RUN = 8
"""Changes that arrive while a run is under way, in one case."""


def mid_run(seed: int, home: Path) -> Case:
    """A case in which changes arrive, and ticks come, while Dagster's runs are under way."""
    with DagsterSystem.at(home) as opened:
        case = Case.draw(seed, TABLES[seed % len(TABLES)], opened)
        system, turmoil = case.system, Turmoil(case)
        assert isinstance(system, DagsterSystem)
        case.turns = case.disturbed = True

        def meanwhile(name: str, key: str) -> None:
            if turmoil.inside or case.changes >= MID_RUN:
                return
            turmoil.inside, shape = True, case.world.shapes[name]
            case.story.append(f"(the run of {name}[{key}] goes on)")
            if shape.feed is None or case.rng.random() < 0.2:
                turmoil.deliver()
            else:  # the very partition that is being worked on
                case.world.files[shape.feed, key] = draw_file(case.rng, shape)
                case.changes += 1
                case.story.append(f"(meanwhile) {shape.feed}[{key}] restated: {case.world.files[shape.feed, key].rows}")
                system.notice(Change("restated", (shape.feed, key)))
            case.tick()
            turmoil.inside = False

        system.meanwhile = meanwhile
        case.settle_down()
        case.world.paused.clear()
        system.notice(Change("everything is resumed"))
        case.settle_down()
        case.check_content()
        case.check_quiet()
        case.check_traces()
        return case


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_what_dagster_executes_is_what_had_to_be(seed: int, tmp_path: Path) -> None:
    """After each change exactly the reference's set, each partition once; then no tick requests anything."""
    with DagsterSystem.at(tmp_path) as opened:
        assert quiescent(seed, changes=3, tables=TABLES[seed % len(TABLES)], opened=opened).ticks


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_changes_that_arrive_while_a_run_is_under_way(seed: int, tmp_path: Path) -> None:
    """None is lost, nothing is requested that a run works on, nothing is executed twice under one trace."""
    assert mid_run(seed, tmp_path).changes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "passage", "instead"),
    [
        ("sh_core.watch", "occupied = _together(busy, self.book.leased())", "occupied = _together(self.book.leased())"),
        ("sh_assets.in_progress", "if _heard_of(instance, record, since_utc):", "if False:"),
    ],
    ids=["who works on what is not asked", "runs of Dagster's are not in progress"],
)
def test_a_fault_in_what_is_in_progress_is_found(module: str, passage: str, instead: str, tmp_path: Path) -> None:
    """The oracle can fail here too; the pure cases find what is wrong in the decisions themselves."""
    with mutated(module, passage, instead), pytest.raises(AssertionError, match="requested while it was worked on"):
        mid_run(0, tmp_path)


@pytest.mark.slow
def test_a_fault_in_who_waits_for_whom_is_found(tmp_path: Path) -> None:
    with (
        mutated("sh_core.watch", "if now_utc - since < patience:", "if False:"),
        DagsterSystem.at(tmp_path) as opened,
        pytest.raises(AssertionError, match=r"executed for nothing: \[\('t3'"),
    ):
        quiescent(5, changes=3, tables=4, opened=opened)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_many_more(tmp_path: Path) -> None:
    first = int(os.environ.get("SELFHEAL_SEED", "1")) * 1_000_000
    for seed in range(first, first + 200):
        with DagsterSystem.at(tmp_path / f"{seed}") as opened:
            quiescent(seed, opened=opened)
        mid_run(seed, tmp_path / f"{seed} mid-run")
