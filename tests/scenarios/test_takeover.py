"""A lease that expires in the middle of a publish.

The incident: a worker stalls (a full garbage collection, a frozen VM), its lease runs out, another worker publishes
newer content, and then the first one wakes up and publishes its old content over it. The late writer must find its
work discarded, whichever step it stalled at; and nothing it does after waking may change what readers see.
"""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from sh_core.outcome import Busy, Fenced, Published, Reused
from sh_resources.publisher import Step
from tests.little import DAYS, GRAPH, NOON, deliver, engine_at
from tests.pausing import PausingWriter

KEY = DAYS.keys()[0]
OLD, NEW = [("old", 1, 1.0)], [("new", 1, 2.0), ("new", 2, 3.0)]
LATER = NOON + timedelta(hours=1)


@pytest.fixture
def writers() -> Iterator[list[PausingWriter]]:
    """Writers that are laid to rest after the test."""
    started: list[PausingWriter] = []
    yield started
    for writer in started:
        writer.end()


def sensors(home: Path) -> list[str]:
    """What a plain Delta reader sees."""
    return pl.read_delta(str(home / "tables" / "raw_readings"))["sensor"].to_list()


@pytest.mark.parametrize("published_before", [False, True])
@pytest.mark.parametrize("stalled_after", [Step.LEASED, Step.STAGED, Step.INTENDED, Step.QUARANTINED])
def test_the_late_writer_is_discarded(
    stalled_after: Step, *, published_before: bool, tmp_path: Path, writers: list[PausingWriter]
) -> None:
    """Also where nothing was published before, where nothing live tells the late writer that it is late."""
    home = engine_at(tmp_path)
    if published_before:
        deliver(tmp_path, KEY, [("first", 1, 1.0)])
        list(home.materialize("raw_readings", [KEY], run_id="first"))
    deliver(tmp_path, KEY, OLD)
    late = PausingWriter(home, "late", "raw_readings", [KEY], NOON)
    writers.append(late)
    late.until(stalled_after)
    deliver(tmp_path, KEY, NEW)
    prompt = PausingWriter(home, "prompt", "raw_readings", [KEY], LATER)
    writers.append(prompt)
    (outcome,) = prompt.to_the_end()
    assert isinstance(outcome, Published)
    assert sensors(tmp_path) == ["new", "new"]

    (outcome,) = late.to_the_end()
    # Right after taking its lease it had seen nothing yet: it then finds the newer content in place and has nothing to
    # do.
    assert isinstance(outcome, Reused if stalled_after is Step.LEASED else Fenced)
    assert sensors(tmp_path) == ["new", "new"]
    (live,) = home.store.table(GRAPH["raw_readings"]).state().files.values()
    assert home.ledger.publications.current("raw_readings")[KEY].path == live.path
    assert home.ledger.publications.unconfirmed("raw_readings") == []


def test_what_the_late_writer_had_committed_is_confirmed_by_its_successor(
    tmp_path: Path, writers: list[PausingWriter]
) -> None:
    """Committed is committed: its successor confirms it first, so that history has no hole, and then replaces it."""
    home = engine_at(tmp_path)
    deliver(tmp_path, KEY, OLD)
    late = PausingWriter(home, "late", "raw_readings", [KEY], NOON)
    writers.append(late)
    late.until(Step.COMMITTED)
    deliver(tmp_path, KEY, NEW)
    prompt = PausingWriter(home, "prompt", "raw_readings", [KEY], LATER)
    writers.append(prompt)
    prompt.to_the_end()
    (outcome,) = late.to_the_end()
    assert isinstance(outcome, Published)
    assert sensors(tmp_path) == ["new", "new"]
    history = home.ledger.publications.history("raw_readings", KEY)
    assert [s.version.rows for s in history] == [2, 1]


def test_while_a_lease_lasts_nobody_else_touches_the_partition(tmp_path: Path, writers: list[PausingWriter]) -> None:
    """A second run of the same partition is told that it is busy; other partitions go on."""
    home = engine_at(tmp_path)
    other = DAYS.keys()[1]
    deliver(tmp_path, KEY, OLD)
    deliver(tmp_path, other, OLD)
    first = PausingWriter(home, "first", "raw_readings", [KEY], NOON)
    second = PausingWriter(home, "second", "raw_readings", [KEY, other], NOON)
    writers += [first, second]
    first.until(Step.STAGED)
    outcomes = {o.partition: type(o) for o in second.to_the_end()}
    assert outcomes == {KEY: Busy, other: Published}
    assert [type(o) for o in first.to_the_end()] == [Published]
