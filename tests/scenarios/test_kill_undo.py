"""kill -9 of a real process in the middle of a rollback or of a tidying.

The incidents: a rollback dies half-way, and the bad rows come back with the next run, since nobody wrote down that they
are bad; a tidying dies half-way, and a snapshot is offered whose file is gone, or a table shows a file that is.
"""

import os
import signal
from collections.abc import Sequence
from datetime import timedelta
from multiprocessing.context import ForkServerContext
from pathlib import Path

import polars as pl
import pytest

from sh_core.outcome import Outcome, Published, Reused
from sh_resources.clock import ManualClock
from sh_resources.delta import PartitionedDelta
from sh_resources.publisher import Step
from sh_resources.rollback import Wish
from sh_resources.tidying import disagreements
from tests.little import DAYS, GRAPH, NAMES, NOON, deliver, engine_at
from tests.scenarios.victim import Death, deadly

ONE, TWO = DAYS.keys()[:2]
RAW, STAGED, MART = NAMES
GOOD, BAD = [("a", 1, 10.0), ("b", 1, 1000.0), ("c", 1, 3.0)], [("a", 1, 11.0)]
LIVES, DIES = 0, -signal.SIGKILL


def roll_back(home: Path, name: str, death: Death | None, hour: int) -> None:
    """Runs in a process of its own."""
    engine = engine_at(home, ManualClock(NOON + timedelta(hours=hour)), on_step=deadly(death))
    engine.rollback(name, ONE, Wish(made_by="ada"), run_id=f"undo-{hour}")


def tidy(home: Path, step: Step | None, removals: int | None, hour: int) -> None:
    """Likewise; dies at a step, or right before it removes so many files."""
    engine = engine_at(home, ManualClock(NOON + timedelta(hours=hour)), on_step=deadly(Death(step) if step else None))
    remove = PartitionedDelta.unstage
    left = removals if removals is not None else 10**9

    def unstage(delta: PartitionedDelta, paths: Sequence[str]) -> None:
        nonlocal left
        for path in paths:
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            remove(delta, [path])

    PartitionedDelta.unstage = unstage  # type: ignore[assignment, method-assign]
    for table in GRAPH.tables:
        list(engine.tidier.tidy(table, f"tidy-{hour}", keep_days=0, keep_newest=0, chunk=1))


def in_a_process(processes: ForkServerContext, target: object, *arguments: object) -> int | None:
    process = processes.Process(target=target, args=arguments)  # type: ignore[arg-type]
    process.start()
    process.join(60)
    return process.exitcode


def run_all(home: Path, hour: int) -> list[Outcome]:
    engine = engine_at(home, ManualClock(NOON + timedelta(hours=hour)))
    return [o for name in NAMES for o in engine.materialize(name, [ONE], run_id=f"run-{hour}")]


def shown(home: Path, name: str) -> list[object]:
    """What a plain Delta reader sees."""
    rows = pl.read_delta(str(home / "tables" / name))
    return sorted(rows["value"]) if "value" in rows.columns else sorted(rows["value_mean"])


def check(home: Path, hour: int) -> None:
    engine = engine_at(home, ManualClock(NOON + timedelta(hours=hour)))
    for table in GRAPH.tables:
        assert disagreements(table, engine.store, engine.ledger, engine.now_utc()) == []
        assert engine.ledger.publications.unconfirmed(table.name) == []
        settled = engine.ledger.publications.settlements(table.name).values()
        evidence = engine.store.quarantined(table, [ONE])
        assert evidence.height == sum(s.quarantined for s in settled), "the quarantine is of what is settled"
        assert set(evidence["attempt"]) <= {s.attempt_id for s in settled}
    assert [a for a in engine.ledger.accounts("readings", RAW, STAGED) if a.account.missing or not a.is_read] == []


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("name", [RAW, STAGED])
def test_killed_in_a_rollback_readers_see_the_one_or_the_other_and_it_stays(
    step: Step, name: str, tmp_path: Path, processes: ForkServerContext
) -> None:
    """Whoever comes next finishes or discards it; if it was committed the bar holds, although its maker is dead."""
    for hour, rows in enumerate((GOOD, BAD)):
        deliver(tmp_path, ONE, rows)
        run_all(tmp_path, hour)
    good, bad = (["10.0", "1000.0", "3.0"], ["11.0"]) if name == RAW else ([3.0, 10.0], [11.0])
    assert in_a_process(processes, roll_back, tmp_path, name, Death(step), 2) == DIES
    seen = shown(tmp_path, name)
    assert seen == (good if step in (Step.COMMITTED, Step.CONFIRMED, Step.RELEASED) else bad)
    run_all(tmp_path, 3)
    assert shown(tmp_path, name) == seen, "a run after the death changed its mind"
    check(tmp_path, 3)
    assert in_a_process(processes, roll_back, tmp_path, name, None, 4) == LIVES
    assert shown(tmp_path, name) == good
    assert in_a_process(processes, roll_back, tmp_path, name, None, 5) == LIVES
    run_all(tmp_path, 6)
    assert (shown(tmp_path, name), shown(tmp_path, STAGED), shown(tmp_path, MART)) == (good, [3.0, 10.0], [3.0, 10.0])
    assert all(isinstance(o, Reused) for o in run_all(tmp_path, 7))
    check(tmp_path, 7)
    assert len(engine_at(tmp_path).ledger.bars.standing(name)[ONE]) == 1


@pytest.mark.parametrize("removals", [0, 1, 2, 5])
def test_killed_between_any_two_files_nothing_is_offered_that_is_gone(
    removals: int, tmp_path: Path, processes: ForkServerContext
) -> None:
    """What readers see stays, what is offered is there, and the next tidying removes the rest."""
    for hour, rows in enumerate((GOOD, BAD, GOOD[:1])):
        deliver(tmp_path, ONE, rows)
        run_all(tmp_path, hour)
    before = {name: shown(tmp_path, name) for name in NAMES}
    assert in_a_process(processes, tidy, tmp_path, None, removals, 24) == DIES
    check(tmp_path, 25)
    assert {name: shown(tmp_path, name) for name in NAMES} == before
    assert in_a_process(processes, tidy, tmp_path, None, None, 26) == LIVES
    for name in NAMES:
        assert len(list((tmp_path / "tables" / name).glob("**/date=*/*.parquet"))) == 1
    assert list((tmp_path / "quarantine" / STAGED).glob("**/date=*/*.parquet")) == []
    check(tmp_path, 27)
    deliver(tmp_path, ONE, BAD)
    assert all(isinstance(o, Published) for o in run_all(tmp_path, 28))


@pytest.mark.parametrize("step", Step)
def test_what_a_killed_publish_leaves_is_tidied_and_what_a_killed_tidying_holds_is_given_back(
    step: Step, tmp_path: Path, processes: ForkServerContext
) -> None:
    """A rollback dies at any step, then a tidying dies with leases in its hands; the later ones do the work.

    What the first of them finds committed and confirms was seen by readers until then, as far as the ledger knows.
    """
    for hour, rows in enumerate((GOOD, BAD)):
        deliver(tmp_path, ONE, rows)
        run_all(tmp_path, hour)
    assert in_a_process(processes, roll_back, tmp_path, STAGED, Death(step), 2) == DIES
    seen = shown(tmp_path, STAGED)
    assert in_a_process(processes, tidy, tmp_path, Step.LEASED, None, 24) == DIES
    for hour in (48, 72):
        assert in_a_process(processes, tidy, tmp_path, None, None, hour) == LIVES
        check(tmp_path, hour + 1)
    assert shown(tmp_path, STAGED) == seen
    left = {name: len(list((tmp_path / "tables" / name).glob("**/date=*/*.parquet"))) for name in (RAW, STAGED)}
    done = step in (Step.COMMITTED, Step.CONFIRMED, Step.RELEASED)
    assert left == {RAW: 1, STAGED: 2 if done else 1}, "what was rolled back can be taken after all"


def test_killed_after_the_quarantine_was_replaced_the_evidence_of_what_readers_see_is_shown_again(
    tmp_path: Path, processes: ForkServerContext
) -> None:
    """The content to return to had nothing set aside, so the rollback had cleared the quarantine when it died."""
    for hour, rows in enumerate((BAD, GOOD)):
        deliver(tmp_path, ONE, rows)
        run_all(tmp_path, hour)
    before = engine_at(tmp_path).store.quarantined(GRAPH[STAGED], [ONE])
    assert before.height == 1
    assert in_a_process(processes, roll_back, tmp_path, STAGED, Death(Step.QUARANTINED), 2) == DIES
    assert engine_at(tmp_path).store.quarantined(GRAPH[STAGED], [ONE]).height == 0
    run_all(tmp_path, 3)
    assert engine_at(tmp_path).store.quarantined(GRAPH[STAGED], [ONE]).equals(before)
    check(tmp_path, 3)
