"""Removing what nothing can return to, and nothing else.

The incidents: a disk fills up with replaced files that nobody dares to delete; somebody does, with a script by age, and
takes the file that readers see, the one that a run was about to publish, or the one that a rollback was reading.
"""

import io
import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event

import polars as pl
import pytest
from deltalake import DeltaTable
from rich.console import Console

from sh_core.book import Request
from sh_core.errors import RollbackError
from sh_core.outcome import Fenced, Published
from sh_core.staleness import Stale
from sh_defs.progress import watching
from sh_defs.shown import undone
from sh_defs.undoing import tidy_up
from sh_resources.clock import ManualClock
from sh_resources.engine import Engine
from sh_resources.publisher import Step
from sh_resources.rollback import Wish
from sh_resources.tidying import YOUNG, Kind, Removable, disagreements
from tests.little import DAYS, GRAPH, NAMES, NOON, deliver, engine_at
from tests.pausing import PausingWriter

ONE, TWO = DAYS.keys()[:2]
RAW, STAGED, MART = NAMES
TABLE = GRAPH[STAGED]
DAY = timedelta(days=1)


def at(home: Path, now: datetime) -> Engine:
    return engine_at(home, ManualClock(now), patience_s=0)


def run_all(engine: Engine, key: str = ONE) -> None:
    for name in NAMES:
        list(engine.materialize(name, [key], run_id="test"))


def tidy(engine: Engine, keep_days: float = 30, keep_newest: int = 2) -> list[Removable]:
    """Tidy every table; Delta, the ledger and the disk agree before and after, and readers see what they saw."""
    before = {name: content(engine, name) for name in NAMES}
    agree(engine)
    planned = [f for t in GRAPH.tables for f in engine.tidier.plan(t, keep_days, keep_newest).files]
    went = [
        file
        for table in GRAPH.tables
        for swept in engine.tidier.tidy(table, "tidy", keep_days, keep_newest)
        for file in swept.files
    ]
    assert Counter(went) == Counter(planned), "a dry run says what goes"
    agree(engine)
    assert {name: content(engine, name) for name in NAMES} == before
    return went


def agree(engine: Engine) -> None:
    for table in GRAPH.tables:
        assert disagreements(table, engine.store, engine.ledger, engine.now_utc()) == []


def content(engine: Engine, name: str) -> list[tuple[object, ...]]:
    folder = engine.store.table(GRAPH[name]).folder
    return sorted(pl.read_delta(str(folder)).iter_rows()) if DeltaTable.is_deltatable(str(folder)) else []


def files(engine: Engine, name: str = STAGED) -> list[str]:
    return [f.path for f in engine.store.table(GRAPH[name]).found()]


def aside(engine: Engine) -> list[str]:
    return [f.path for f in engine.store.quarantine(TABLE).found()]


def touch(path: Path, when: datetime) -> None:
    os.utime(path, (when.timestamp(), when.timestamp()))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Five contents of one day, each with a row set aside, one a day from noon on; another day that never changed."""
    deliver(tmp_path, TWO, [("z", 1, 1.0)])
    run_all(at(tmp_path, NOON), TWO)
    for n in range(5):
        deliver(tmp_path, ONE, [("a", 1, float(n)), ("b", 1, 2.0), ("c", 1, 1000.0 + n)])
        run_all(at(tmp_path, NOON + n * DAY))
    return tmp_path


def test_old_snapshots_go_but_for_the_newest_and_their_evidence_with_them(home: Path) -> None:
    """By days since readers last saw them, by number, per partition."""
    engine = at(home, NOON + 32 * DAY)
    history = engine.ledger.publications.history(STAGED, ONE)
    assert tidy(engine, keep_newest=4) == []
    went = tidy(engine)
    of_staged = [f for f in went if f.table == STAGED]
    assert {f.snapshot for f in of_staged if f.kind is Kind.SNAPSHOT} == {s.attempt_id for s in history[3:]}
    assert sum(f.kind is Kind.EVIDENCE for f in of_staged) == 2
    assert sum(f.size_bytes for f in went) > 0
    assert sorted(p for p in files(engine) if ONE in p) == sorted(s.path for s in history[:3])
    assert len(aside(engine)) == 3
    assert tidy(engine) == [], "twice is once"
    outcome = engine.rollback(STAGED, ONE, Wish(history[2].attempt_id), run_id="undo")
    assert isinstance(outcome, Published)
    assert engine.store.quarantined(TABLE, [ONE])["row"].str.contains("1002.0").to_list() == [True]
    with pytest.raises(RollbackError, match=r"was tidied away on 2030-02-02; it can return to"):
        engine.rollback(STAGED, ONE, Wish(history[4].attempt_id), run_id="undo")


def test_what_was_rolled_back_can_be_taken_after_all_however_old_it_is(home: Path) -> None:
    """A forced run would withhold it: its file is the only way back to it."""
    bad = at(home, NOON + 5 * DAY).ledger.publications.current(STAGED)[ONE]
    at(home, NOON + 5 * DAY).rollback(STAGED, ONE, Wish(), run_id="undo")
    engine = at(home, NOON + 90 * DAY)
    tidy(engine, keep_days=0, keep_newest=0)
    assert sorted(p for p in files(engine) if ONE in p) == sorted(
        [bad.path, engine.ledger.publications.current(STAGED)[ONE].path]
    )
    assert isinstance(engine.rollback(STAGED, ONE, Wish(bad.attempt_id), run_id="forward"), Published)
    assert engine.store.quarantined(TABLE, [ONE])["row"].str.contains("1004.0").to_list() == [True]


def test_days_count_from_when_readers_last_saw_it(home: Path) -> None:
    """The last content but one was published early, and replaced a day ago."""
    engine = at(home, NOON + 4 * DAY + timedelta(hours=2))
    history = engine.ledger.publications.history(STAGED, ONE)
    went = [f for f in tidy(engine, keep_days=1.5, keep_newest=0) if f.kind is Kind.SNAPSHOT and f.table == STAGED]
    assert {f.snapshot for f in went} == {s.attempt_id for s in history[3:]}


def test_what_readers_saw_within_the_hour_stays_whatever_is_asked_for(home: Path) -> None:
    """Somebody's query, begun on the version before, is still reading."""
    now = NOON + 4 * DAY + YOUNG - timedelta(seconds=1)
    engine = at(home, now)
    assert {f.kind for f in tidy(engine, keep_days=0, keep_newest=0)} == {Kind.SNAPSHOT}
    assert len([p for p in files(engine) if ONE in p]) == 2
    assert len(aside(engine)) == 5, "when a quarantine file was replaced is not known, so all wait for a quiet hour"
    engine = at(home, now + timedelta(seconds=1))
    tidy(engine, keep_days=0, keep_newest=0)
    assert len([p for p in files(engine) if ONE in p]) == 1
    assert len(aside(engine)) == 1


def test_what_a_killed_run_left_goes_once_it_is_old(home: Path) -> None:
    """Staged and never intended; not named by anybody. Young files may belong to a run that is about to intend them."""
    now = NOON + 5 * DAY
    engine = at(home, now)
    delta = engine.store.table(TABLE)
    staged = delta.stage({ONE: ("sh1-dead-run", pl.DataFrame(schema=delta.columns))})
    evidence = engine.store.quarantine(TABLE).folder / f"date={ONE}" / "dead.parquet"
    incoming = home / "archive" / "readings" / "ab" / ".incoming-dead"
    incoming.parent.mkdir(exist_ok=True)
    for path in (evidence, incoming):
        path.write_bytes(b"half")
    left = (delta.folder / staged[ONE].path, evidence, incoming)
    for path in left:
        touch(path, now - YOUNG + timedelta(seconds=1))
    assert tidy(engine) == []
    for path in left:
        touch(path, now - YOUNG)
    went = tidy(engine)
    assert {(f.kind, f.table) for f in went} == {
        (Kind.ORPHAN, STAGED),
        (Kind.EVIDENCE, STAGED),
        (Kind.ABANDONED, "readings"),
    }
    assert [path for path in left if path.exists()] == []
    assert len(list((home / "archive" / "readings").glob("*/*"))) == 6, "deliveries stay"


def test_a_partition_that_a_run_holds_is_left_to_it(home: Path) -> None:
    """And named, so that nobody wonders why it was not tidied."""
    engine = at(home, NOON + 40 * DAY)
    with at(home, NOON + 40 * DAY)._publisher.claim(TABLE, [ONE], "a run"):
        assert engine.tidier.plan(TABLE).busy == ((STAGED, ONE),)
        assert engine.tidier.plan(TABLE).files == ()
        (swept,) = engine.tidier.tidy(TABLE, "tidy")
        assert (swept.files, swept.busy) == ((), ((STAGED, ONE),))
        assert len([p for p in files(engine) if ONE in p]) == 5
    assert tidy(engine) != []


@pytest.fixture
def stalled(home: Path) -> Iterator[PausingWriter]:
    """A writer that has staged a file and is then swapped out for days."""
    deliver(home, ONE, [("new", 1, 9.0)])
    writer = PausingWriter(at(home, NOON), "stalled", RAW, [ONE], NOON + 5 * DAY)
    writer.until(Step.STAGED)
    yield writer
    writer.end()


def test_a_writer_that_was_taken_for_dead_cannot_publish_the_file_that_went(home: Path, stalled: PausingWriter) -> None:
    """Its file was removed while it slept. Had its lease not been taken, readers would be shown a file that is gone."""
    engine = at(home, NOON + 40 * DAY)
    assert Kind.ORPHAN in {f.kind for f in tidy(engine)}
    assert stalled.to_the_end() == [Fenced(ONE)]
    agree(engine)
    run_all(engine)
    assert engine.store.published(GRAPH[RAW], [ONE]).collect()["sensor"].to_list() == ["new"]


def test_a_table_changed_by_hand_is_told_and_what_it_shows_is_left_alone(home: Path) -> None:
    """Somebody restored an old version with Delta: the ledger calls its file replaced, readers see it."""
    folder = home / "tables" / STAGED
    DeltaTable(folder).restore(DeltaTable(folder).version() - 1)
    engine = at(home, NOON + 40 * DAY)
    (said,) = disagreements(TABLE, engine.store, engine.ledger, engine.now_utc())
    shown = engine.store.table(TABLE).state().files[ONE].path
    assert f"{STAGED} {ONE}: Delta shows {shown}, the ledger date=" in said
    list(engine.tidier.tidy(TABLE, "tidy", 0, 0))
    assert shown in files(engine)
    assert engine.store.published(TABLE, [ONE]).collect().height == 2


def test_a_file_that_somebody_else_removed_is_given_up_in_its_time(home: Path) -> None:
    """A script by age was there before: what cannot be returned to is not offered for ever."""
    engine = at(home, NOON + 40 * DAY)
    oldest = engine.ledger.publications.history(STAGED, ONE)[-1]
    (engine.store.table(TABLE).folder / oldest.path).unlink()
    (said,) = disagreements(TABLE, engine.store, engine.ledger, engine.now_utc())
    assert said == f"{STAGED}: {oldest.path} can be returned to, and is not there"
    list(engine.tidier.tidy(TABLE, "tidy"))
    agree(engine)


def test_archived_deliveries_stay_so_everything_can_be_computed_again(home: Path) -> None:
    """Tidying as hard as it gets takes nothing from a replay."""
    engine = at(home, NOON + 40 * DAY)
    tidy(engine, keep_days=0, keep_newest=0)
    archived = sorted(p for p in (home / "archive").glob("**/*") if p.is_file())
    assert len(archived) == 6
    for name in NAMES:
        assert isinstance(next(engine.materialize(name, [ONE], run_id="again", force=True)), Published)


def test_publishers_rollbacks_and_tidyings_at_once(home: Path) -> None:
    """Nobody is shown a file that is gone, and whatever loses a race says so in a sentence."""
    later = NOON + 40 * DAY
    engines = [engine_at(home, ManualClock(later), patience_s=60) for _ in range(4)]
    stop = Event()

    def publish() -> None:
        for n in range(12):
            deliver(home, ONE, [("a", n, 7.0 + n)])
            list(engines[0].materialize(RAW, [ONE], run_id=f"run-{n}"))
        stop.set()

    def roll_back() -> None:
        while not stop.is_set():
            with suppress(RollbackError):
                engines[1].rollback(RAW, ONE, Wish(), run_id=f"undo-{time.monotonic()}")

    def sweep() -> None:
        while not stop.is_set():
            list(engines[2].tidier.tidy(GRAPH[RAW], f"tidy-{time.monotonic()}", 0, 0))

    def look() -> None:
        while not stop.is_set():
            assert pl.read_delta(str(home / "tables" / RAW)).height > 0

    with ThreadPoolExecutor(4) as pool:
        for job in [pool.submit(work) for work in (publish, roll_back, sweep, look)]:
            job.result()
    agree(engines[3])
    assert [a for a in engines[3].ledger.accounts("readings", RAW, STAGED) if a.account.missing] == []


# ---- requests


def asked(engine: Engine, name: str, key: str, by: str) -> dict[tuple[str, str], Stale]:
    """Ask for a partition as automation does, under its present trace."""
    stale = engine.look(name, [key]).stale.get(key, Stale("a trace that has been settled", ()))
    engine.ledger.requests.note([Request(name, key, stale)], by, engine.now_utc())
    return {(name, key): stale}


def told(engine: Engine) -> list[str]:
    """Who has asked for anything, as ``selfheal why`` finds it."""
    return sorted(r.asked_by for name in NAMES for r in engine.ledger.requests.of(name))


def test_requests_go_when_they_are_old_and_their_partition_was_settled_since(home: Path) -> None:
    """One line for each partition that ever was due: after years the ledger is mostly those."""
    asked(at(home, NOON + 4 * DAY), RAW, ONE, "long ago")
    deliver(home, ONE, [("a", 1, 2.0)])
    asked(at(home, NOON + 30 * DAY), RAW, ONE, "lately")
    run_all(at(home, NOON + 31 * DAY))
    engine = at(home, NOON + 34 * DAY)
    assert engine.tidier.forget() == 0
    engine = at(home, NOON + 34 * DAY + timedelta(seconds=1))
    assert engine.tidier.forget(dry_run=True) == 1
    assert told(engine) == ["lately", "long ago"]
    assert engine.tidier.forget() == 1
    assert told(engine) == ["lately"]
    assert engine.tidier.forget(0) == 1
    assert told(engine) == []


def test_tries_of_what_still_fails_are_never_forgotten(home: Path) -> None:
    """Forgotten, what was given up would be tried five times again after each tidying, for ever."""
    deliver(home, ONE, [("a", 1, 2.0)])
    for number in range(5):
        wanted = asked(at(home, NOON + (6 + number) * DAY), RAW, ONE, f"try {number}")
    asked(at(home, NOON + 11 * DAY), RAW, DAYS.keys()[2], "never settled")
    engine = at(home, NOON + 400 * DAY)
    before = engine.ledger.requests.tries(wanted)
    assert engine.tidier.forget(0) == 0
    assert engine.ledger.requests.tries(wanted) == before
    assert before[RAW, ONE].count == 5
    run_all(engine)
    assert at(home, NOON + 500 * DAY).tidier.forget() == 5
    assert told(engine) == ["never settled"]


def test_many_requests_go_little_by_little(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All at once, nobody could confirm anything meanwhile."""
    monkeypatch.setattr("sh_resources.ledger.tidying.TOGETHER", 3)
    early = at(home, NOON - DAY)
    for number in range(10):
        asked(early, RAW, (ONE, TWO)[number % 2], f"{number}")
    asked(early, RAW, DAYS.keys()[2], "never settled")
    for number in range(6):
        asked(early, RAW, ONE, f"again {number}")
    assert at(home, NOON + 60 * DAY).tidier.forget() == 16
    assert told(early) == ["never settled"]


def test_a_request_of_the_last_hour_stays_whatever_is_asked_for(home: Path) -> None:
    engine = at(home, NOON + 5 * DAY)
    asked(engine, RAW, ONE, "just now")
    list(engine.materialize(RAW, [ONE], run_id="again", force=True))
    assert engine.tidier.forget(0) == 0
    assert at(home, NOON + 5 * DAY + YOUNG + timedelta(seconds=1)).tidier.forget(0) == 1


def test_the_command_says_how_many_requests_went(home: Path) -> None:
    asked(at(home, NOON - DAY), RAW, ONE, "long ago")
    engine = at(home, NOON + 60 * DAY)
    for dry_run, verb in ((True, "would go"), (False, "removed")):
        with watching(Console(file=io.StringIO(), quiet=True)) as watcher:
            facts = tidy_up(engine, watcher, keep_days=30, keep_newest=9, dry_run=dry_run)
        assert facts["requests"] == 1
        out = io.StringIO()
        undone.tidied(Console(file=out, width=200), facts)
        assert f"1 old request {verb}; selfheal why no longer tells of them." in out.getvalue()
        assert told(engine) == (["long ago"] if dry_run else [])
