"""What a ledger promises, on every database that it runs on.

Belongs here: semantics that callers rely on, also under concurrency and kill -9. Does not belong here: how they are
reached. Invariant: every test that takes ``ledger`` or a URL runs on SQLite and on PostgreSQL.
"""

import hashlib
import multiprocessing
import os
import random
import re
import signal
import sqlite3
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from itertools import pairwise
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier as ProcessBarrier
from pathlib import Path
from threading import Barrier
from typing import Any, Self, TypeVar

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, select, text
from sqlalchemy.exc import IntegrityError

from sh_core.accounts import RowAccount, account_of
from sh_core.bars import Bar
from sh_core.deliveries import Several
from sh_core.errors import LedgerError, RulingError
from sh_core.records import Action, Arrival, ArrivalShare, Attempt, Said
from sh_core.trace import ABSENT, Read, Trace
from sh_core.verdict import Broken, Held, Level, RuleBreach, Unknown, Verdict
from sh_core.version import Version
from sh_resources.ledger import Delivery, Ledger
from sh_resources.ledger.codec import decode_verdict, decode_version, encode_verdict, encode_version
from sh_resources.ledger.database import CHUNK, Database, _prepare_sqlite
from sh_resources.ledger.incidents import cause_of
from sh_resources.ledger.migrations import revision
from sh_resources.ledger.schema import PREFIX, VERSION_TABLE, metadata

NOW = datetime(2013, 3, 10, 7, 30, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
TABLE = "stg_weather"

T = TypeVar("T")
Anything = Any

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload([__name__])

DUPLICATE_KEY = Broken((RuleBreach("key__unique", Level.TABLE, 1, "3 keys occur twice", ({"origin": "JFK"},)),), 0)
TOO_WINDY = Broken((RuleBreach("wind__in_range", Level.ROW, 1),), 1)
CRASHED = Unknown("wind__in_range", "ZeroDivisionError: division by zero")


def digest(of: str) -> str:
    return f"sh1-{hashlib.blake2b(of.encode(), digest_size=16).hexdigest()}"


def version(content: str) -> Version:
    return Version(digest(content), {name: digest(content + name) for name in ("origin", "wind")}, ("origin",), 24)


def trace(content: str, partition: str = "d1", code: str = "code-1") -> Trace:
    reads = {
        Read("raw_weather", partition, ("origin", "wind"), content),
        Read("raw_weather", partition, ("origin",), f"{content}-narrow"),
        Read("airports", "all", (), ABSENT),
    }
    return Trace(code, "contract-1", frozenset(reads))


def publish(name: str, token: int, partition: str = "d1", *, transaction: int = 1, **changes: Anything) -> Attempt:
    made = Attempt(
        id=name,
        table=TABLE,
        partition=partition,
        token=token,
        run_id="run-1",
        action=Action.PUBLISH,
        trace=trace(name, partition),
        verdict=Held(),
        version=version(name),
        path=f"date={partition}/{name}.parquet",
        transaction=transaction,
        quarantined=0,
        shares=(),
        intended_utc=NOW,
    )
    return replace(made, **changes)


def withhold(
    name: str, token: int, partition: str = "d1", verdict: Verdict = DUPLICATE_KEY, **changes: Anything
) -> Attempt:
    nothing = {"version": None, "path": None, "transaction": None}
    return publish(name, token, partition, **{"action": Action.WITHHOLD, "verdict": verdict, **nothing, **changes})


def refresh(name: str, token: int, of: Attempt, **changes: Anything) -> Attempt:
    kept = {"action": Action.REFRESH, "version": of.version, "path": of.path, "transaction": None}
    return publish(name, token, of.partition, **{**kept, "table": of.table, **changes})


def bar(bad: str, good: str, attempt_id: str, partition: str = "d1", **changes: Anything) -> Bar:
    """What a rollback from one content to another keeps away."""
    made = Bar(
        TABLE, partition, digest(bad), trace(bad, partition), trace(good, partition), "ada", "why \0 not", attempt_id
    )
    return replace(made, **changes)


def lease(ledger: Ledger, *partitions: str, table: str = TABLE, owner: str = "run-1", now: datetime = NOW) -> int:
    """Take leases; the token of the first."""
    return ledger.leases.acquire(table, partitions or ["d1"], owner, now, 60)[(partitions or ("d1",))[0]]


def take_over(ledger: Ledger, partition: str = "d1", owner: str = "run-2") -> int:
    return ledger.leases.acquire(TABLE, [partition], owner, NOW + timedelta(days=1), 60)[partition]


def published(ledger: Ledger, attempt: Attempt) -> Attempt:
    assert ledger.publications.intend([attempt]) == [attempt]
    assert ledger.publications.confirm([attempt.id], LATER) == {attempt.id}
    return attempt


def settle(ledger: Ledger, wanted: Collection[Attempt], now: datetime) -> frozenset[str]:
    """Intend and confirm what needs no Delta commit."""
    accepted = ledger.publications.intend(wanted)
    return ledger.publications.confirm([attempt.id for attempt in accepted], now)


def everything(ledger: Ledger) -> dict[str, list[tuple[object, ...]]]:
    with ledger._database.read() as connection:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
        }


def at_once(work: Iterable[Callable[[], T]]) -> list[T]:
    """Run functions in a thread each, all starting together."""
    jobs = list(work)
    barrier = Barrier(len(jobs))

    def run(job: Callable[[], T]) -> T:
        barrier.wait()
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return [future.result() for future in [pool.submit(run, job) for job in jobs]]


# ------------------------------------------------------------------------------------------------------------- opening


def _open_and_write(url: str, owner: str, together: ProcessBarrier, failures: "Queue[str]") -> None:
    try:
        together.wait()
        with Ledger.open(url) as ledger:
            ledger.leases.acquire(TABLE, [owner], owner, NOW, 60)
    except Exception as error:  # whatever it was, the parent shows it
        failures.put(repr(error))
        raise


def test_processes_may_open_a_fresh_ledger_at_the_same_time(fresh_url: str) -> None:
    together, failures = processes.Barrier(4), processes.Queue()
    started = [
        processes.Process(target=_open_and_write, args=(fresh_url, f"run-{i}", together, failures)) for i in range(4)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0] * 4, failures.get()
    with Ledger.open(fresh_url) as ledger:
        assert len(ledger.leases.held(None, NOW)) == 4


def test_threads_may_open_a_fresh_ledger_at_the_same_time(fresh_url: str) -> None:
    opened = at_once([lambda: Ledger.open(fresh_url)] * 4)
    assert [
        lease(ledger) if i == 0 else lease(ledger, now=NOW + i * timedelta(days=1)) for i, ledger in enumerate(opened)
    ] == [1, 2, 3, 4]
    for ledger in opened:
        ledger.close()


def test_the_migrations_make_what_the_schema_says(fresh_url: str) -> None:
    with Ledger.open(fresh_url) as ledger, ledger._database.read() as connection:
        options = {
            "version_table": VERSION_TABLE,
            "include_name": lambda name, kind, _: kind != "table" or name.startswith(PREFIX),
        }
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
        assert revision(connection) is not None


def test_a_ledger_newer_than_the_code_is_refused_unchanged(fresh_url: str) -> None:
    with Ledger.open(fresh_url) as ledger, ledger._database.write() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(LedgerError, match=r"9999.*newer"):
        Ledger.open(fresh_url)
    with Database(fresh_url).read() as connection:
        assert revision(connection) == "9999"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite://", "cannot be kept"),
        ("sqlite:///:memory:", "cannot be kept"),
        ("mysql://root:hidden@host/db", r"cannot be kept at mysql://root:\*\*\*@host"),
        ("no url", "cannot be understood"),
        ("sqlite:////no/such/folder/ledger.sqlite", "cannot be used: unable to open"),
        ("postgresql://me:hidden@127.0.0.1:1/db", r"postgresql\+psycopg2://me:\*\*\*@127.0.0.1:1/db cannot be used"),
    ],
)
def test_a_place_where_no_ledger_can_be_is_refused(url: str, says: str) -> None:
    with pytest.raises(LedgerError, match=says):
        Ledger.open(url)


def test_sqlite_is_set_up_to_lose_nothing(tmp_path: Path) -> None:
    with Ledger.open(f"sqlite:///{tmp_path / 'l.sqlite'}") as ledger, ledger._database.write() as connection:
        pragmas = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        values = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
        assert values == ["wal", 2, 1, 30_000]


def test_sqlite_refusing_a_simultaneous_switch_to_wal_is_asked_again(tmp_path: Path) -> None:
    refusals = [sqlite3.OperationalError("database is locked")] * 2

    class Cursor(sqlite3.Cursor):
        def execute(self, sql: str, *parameters: Anything) -> Self:
            if "WAL" in sql and refusals:
                raise refusals.pop()
            return super().execute(sql, *parameters)

    class Connection(sqlite3.Connection):
        def cursor(self, factory: Anything = Cursor) -> Anything:
            return super().cursor(factory)

    connection: Anything = Connection(tmp_path / "ledger.sqlite")
    _prepare_sqlite(connection, connection)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert refusals == []
    connection.close()


@pytest.mark.postgres
def test_on_postgresql_nobody_waits_for_ever_for_a_process_that_hangs(postgres_ledger: str) -> None:
    with Ledger.open(postgres_ledger) as ledger, ledger._database.write() as connection:
        limits = ("lock_timeout", "idle_in_transaction_session_timeout")
        assert [connection.exec_driver_sql(f"SHOW {name}").scalar() for name in limits] == ["30s", "1min"]


def test_naive_times_are_refused_before_anything_is_written(ledger: Ledger) -> None:
    naive = datetime(2013, 3, 10, 7, 30)  # noqa: DTZ001 -- what is refused
    token = lease(ledger)
    before = everything(ledger)
    for call in (
        lambda: ledger.leases.acquire(TABLE, ["d2"], "run", naive, 60),
        lambda: ledger.leases.renew(TABLE, {"d1": token}, naive, 60),
        lambda: ledger.leases.held(None, naive),
        lambda: ledger.arrivals.record("weather", [Delivery("d1", "f", "a", 1)], naive),
        lambda: ledger.publications.intend([publish("a", token, intended_utc=naive)]),
        lambda: ledger.publications.confirm([], naive),
        lambda: ledger.publications.recover({}, naive),
        lambda: ledger.tidying.give_up([], naive),
        lambda: ledger.tidying.replaced(TABLE, naive, 0),
        lambda: ledger.publications.discard([], naive, ""),
    ):
        with pytest.raises(ValueError, match="no time zone"):
            call()
    assert everything(ledger) == before


def test_times_come_back_in_utc_whatever_zone_they_had(ledger: Ledger) -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=-5)))
    arrival = ledger.arrivals.record("weather", [Delivery("d1", "f", "a", 1)], elsewhere)[0]
    for found in (arrival, ledger.arrivals.current("weather")["d1"]):
        assert found.arrived_utc == NOW
        assert found.arrived_utc.utcoffset() == timedelta(0)


def test_a_failing_transaction_leaves_nothing(ledger: Ledger) -> None:
    token = lease(ledger, "d1", "d2")
    before = everything(ledger)
    unknown_arrival = publish("b", token, "d2", shares=(ArrivalShare(99, 1, 1),))
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        ledger.publications.intend([publish("a", token), unknown_arrival])
    assert everything(ledger) == before


# -------------------------------------------------------------------------------------------------------------- leases


def test_a_lease_is_free_then_held_then_expired(ledger: Ledger) -> None:
    assert ledger.leases.acquire(TABLE, ["d1", "d2", "d1"], "run-1", NOW, 60) == {"d1": 1, "d2": 1}
    assert ledger.leases.acquire(TABLE, ["d1", "d3"], "run-2", NOW + timedelta(seconds=59.9), 60) == {"d3": 1}
    assert ledger.leases.acquire(TABLE, ["d1", "d3"], "run-2", NOW + timedelta(seconds=60), 60) == {"d1": 2}
    assert ledger.leases.acquire("other", ["d1"], "run-2", NOW, 60) == {"d1": 1}
    assert ledger.leases.acquire(TABLE, [], "run-2", NOW, 60) == {}


def test_an_owner_is_not_handed_its_own_lease_twice(ledger: Ledger) -> None:
    lease(ledger)
    assert ledger.leases.acquire(TABLE, ["d1"], "run-1", NOW, 60) == {}


def test_a_token_is_never_used_again_not_even_after_release(ledger: Ledger) -> None:
    for expected in (1, 2, 3):
        token = lease(ledger)
        assert token == expected
        ledger.leases.release(TABLE, {"d1": token})
    assert ledger.leases.current(TABLE, ["d1", "d2"]) == {"d1": 3}
    assert ledger.leases.held(None, NOW) == []


def test_renewal_keeps_a_lease_and_tells_which_are_lost(ledger: Ledger) -> None:
    tokens = ledger.leases.acquire(TABLE, ["d1", "d2", "d3", "d4"], "run-1", NOW, 60)
    ledger.leases.release(TABLE, {"d3": 1})
    take_over(ledger, "d2")
    assert ledger.leases.renew(TABLE, tokens, NOW + timedelta(days=2), 60) == {"d2", "d3"}
    assert ledger.leases.renew(TABLE, {"never": 1}, NOW, 60) == {"never"}
    held = {(x.partition, x.owner, x.token) for x in ledger.leases.held(TABLE, NOW + timedelta(days=2, seconds=59))}
    assert held == {("d1", "run-1", 1), ("d4", "run-1", 1)}
    assert ledger.leases.held("other", NOW) == []


def test_who_lost_a_lease_cannot_release_it(ledger: Ledger) -> None:
    old = lease(ledger)
    new = take_over(ledger)
    ledger.leases.release(TABLE, {"d1": old})
    assert ledger.leases.acquire(TABLE, ["d1"], "run-3", NOW + timedelta(days=1), 60) == {}
    assert ledger.leases.current(TABLE) == {"d1": new}


def test_a_lease_that_ran_out_or_was_given_back_counts_until_somebody_takes_it(ledger: Ledger) -> None:
    tokens = ledger.leases.acquire(TABLE, ["d1", "d2", "d3"], "run-1", NOW, 60)
    take_over(ledger, "d2")
    ledger.leases.release(TABLE, {"d3": 1})
    assert ledger.leases.not_taken_over(TABLE, tokens, tokens) == {"d1", "d3"}
    assert ledger.leases.not_taken_over(TABLE, tokens, ["d2", "d3"]) == {"d3"}


def test_of_many_workers_one_gets_each_lease(ledger: Ledger) -> None:
    days = [f"d{i:02}" for i in range(30)]

    def work(worker: int) -> dict[str, int]:
        mixed = random.Random(worker).sample(days, len(days))
        return ledger.leases.acquire(TABLE, mixed, f"run-{worker}", NOW, 60)

    won = at_once([partial(work, w) for w in range(6)])
    assert sorted(day for tokens in won for day in tokens) == days
    assert {token for tokens in won for token in tokens.values()} == {1}


def test_workers_that_keep_taking_and_releasing_never_share_a_token(ledger: Ledger) -> None:
    days = ["d1", "d2", "d3"]

    def work(worker: int) -> list[tuple[str, int]]:
        taken: list[tuple[str, int]] = []
        for i in range(15):
            tokens = ledger.leases.acquire(TABLE, days, f"run-{worker}-{i}", NOW, 60)
            taken += tokens.items()
            assert not ledger.leases.renew(TABLE, tokens, NOW, 60)
            ledger.leases.release(TABLE, tokens)
        return taken

    taken = [pair for pairs in at_once([partial(work, w) for w in range(4)]) for pair in pairs]
    assert len(taken) == len(set(taken))
    current = ledger.leases.current(TABLE)
    assert sorted(taken) == [(day, token) for day in days for token in range(1, current[day] + 1)]


def test_leases_behave_like_their_model_over_any_history(ledger: Ledger) -> None:
    choose = random.Random(11)
    days, now = ["d1", "d2", "d3"], NOW
    model: dict[str, tuple[int, str | None, datetime]] = {}
    for step in range(150):
        now += timedelta(seconds=choose.randrange(40))
        some = choose.sample(days, choose.randint(1, 3))
        guesses = {d: model.get(d, (1, None, NOW))[0] - choose.choice([0, 0, 0, 1]) for d in some}
        expires = now + timedelta(seconds=60)
        match choose.choice(["acquire", "renew", "release"]):
            case "acquire":
                free = [d for d in some if d not in model or model[d][1] is None or model[d][2] <= now]
                expected = {d: model.get(d, (0, None, NOW))[0] + 1 for d in free}
                assert ledger.leases.acquire(TABLE, some, f"run-{step}", now, 60) == expected
                model.update({d: (token, f"run-{step}", expires) for d, token in expected.items()})
            case "renew":
                mine = {d for d in some if d in model and model[d][0] == guesses[d] and model[d][1] is not None}
                assert ledger.leases.renew(TABLE, guesses, now, 60) == set(some) - mine
                model.update({d: (model[d][0], model[d][1], expires) for d in mine})
            case _:
                ledger.leases.release(TABLE, guesses)
                model.update({d: (guesses[d], None, NOW) for d in some if d in model and model[d][0] == guesses[d]})
        assert ledger.leases.current(TABLE) == {d: token for d, (token, _, _) in model.items()}
        held = {d: owner for d, (_, owner, until) in model.items() if owner is not None and until > now}
        assert {x.partition: x.owner for x in ledger.leases.held(TABLE, now)} == held


# ------------------------------------------------------------------------------------------------------------ arrivals


def record(ledger: Ledger, *contents: str, partition: str = "d1", now: datetime = NOW) -> list[Arrival]:
    return ledger.arrivals.record("weather", [Delivery(partition, "w.csv", c, 7) for c in contents], now)


def test_the_same_content_again_is_the_same_arrival(ledger: Ledger) -> None:
    first = record(ledger, "a")
    assert record(ledger, "a", now=LATER) == first
    assert ledger.arrivals.all() == first == [Arrival(first[0].id, "weather", "d1", "w.csv", "a", 7, NOW)]


@pytest.mark.parametrize("in_one_call", [True, False])
def test_contents_a_b_a_end_at_a_third_arrival(ledger: Ledger, in_one_call: bool) -> None:
    recorded = record(ledger, "a", "b", "b", "a") if in_one_call else [record(ledger, c)[0] for c in "abba"]
    first, second, same, third = recorded
    assert same == second
    assert ledger.arrivals.all("weather") == [
        replace(first, superseded_by=second.id),
        replace(second, superseded_by=third.id),
        third,
    ]
    assert first.id < second.id < third.id
    assert ledger.arrivals.current("weather") == {"d1": third}
    assert third.sha256 == "a"


def test_feeds_and_partitions_do_not_mix(ledger: Ledger) -> None:
    d1, d2 = record(ledger, "a")[0], record(ledger, "a", partition="d2")[0]
    other = ledger.arrivals.record("flights", [Delivery("d1", "f.csv", "a", 9)], NOW)[0]
    assert len({d1.id, d2.id, other.id}) == 3
    assert ledger.arrivals.current("weather", ["d2", "d3"]) == {"d2": d2}
    assert ledger.arrivals.all("flights") == [other]
    assert ledger.arrivals.record("weather", [], NOW) == []


def test_arrivals_are_found_by_their_number(ledger: Ledger) -> None:
    first, second = record(ledger, "a")[0], record(ledger, "b")[0]
    found = ledger.arrivals.by_id([first.id, second.id, 999])
    assert found == {first.id: replace(first, superseded_by=second.id), second.id: second}
    assert ledger.arrivals.by_id([]) == {}


def test_concurrent_recorders_leave_one_chain(ledger: Ledger) -> None:
    at_once([partial(record, ledger, *[f"{w}-{i}" for i in range(5)]) for w in range(4)])
    chain = ledger.arrivals.all("weather")
    assert len(chain) == 20
    assert [earlier.superseded_by == later.id for earlier, later in pairwise(chain)] == [True] * 19
    assert ledger.arrivals.current("weather") == {"d1": chain[-1]}


def test_concurrent_recorders_of_one_content_find_one_arrival(ledger: Ledger) -> None:
    recorded = at_once([lambda: record(ledger, "a")] * 4)
    assert [[ledger.arrivals.current("weather")["d1"]]] * 4 == recorded


def versioned(version: str | None, content: str, part: str = "") -> Delivery:
    return Delivery("d1", f"w{version}{part}.csv", content, 7, version, part)


def test_the_vendors_version_goes_before_the_order_of_arrival(ledger: Ledger) -> None:
    """The incident: a retry delivers an older version late, and the correction is undone."""
    delivered = [versioned("2", "b"), versioned("1", "a"), versioned("10", "c"), versioned("1", "a")]
    second, first, third, first_again = ledger.arrivals.record("weather", delivered, NOW)
    assert first_again == first
    assert [(a.version, a.superseded_by) for a in ledger.arrivals.all("weather")] == [
        ("2", third.id),
        ("1", second.id),
        ("10", None),
    ]
    assert ledger.arrivals.current("weather") == {"d1": third}


def test_each_part_of_a_partition_has_a_chain_of_its_own(ledger: Ledger) -> None:
    east, west, newer = ledger.arrivals.record(
        "weather", [versioned(None, "a", "east"), versioned(None, "a", "west"), versioned(None, "b", "east")], NOW
    )
    assert ledger.arrivals.counting("weather") == {"d1": (newer, west)}
    assert ledger.arrivals.by_id([east.id])[east.id].superseded_by == newer.id


def test_concurrent_recorders_agree_on_the_greatest_version(ledger: Ledger) -> None:
    orders = [random.Random(worker).sample(range(1, 9), 8) for worker in range(4)]

    def work(order: list[int]) -> None:
        for version in order:
            ledger.arrivals.record("weather", [versioned(str(version), f"content {version}")], NOW)

    at_once([partial(work, order) for order in orders])
    found = ledger.arrivals.all("weather")
    assert sorted(int(a.version or 0) for a in found) == [*range(1, 9)]
    assert [a.version for a in found if a.superseded_by is None] == ["8"]
    assert ledger.arrivals.current("weather")["d1"].version == "8"


def hold(ledger: Ledger, *contents: str, now: datetime = NOW) -> list[Arrival]:
    found = [Delivery("d1", "w.csv", content, 7) for content in contents]
    return ledger.arrivals.record("weather", found, now, Several.HOLD)


def test_another_file_is_held_until_a_person_says_which_counts(ledger: Ledger) -> None:
    (first,) = hold(ledger, "a")
    serial = ledger.serials.now()
    (other,) = hold(ledger, "b")
    assert hold(ledger, "b", "a") == [other, first]  # they lie there still
    assert (other.waits, other.superseded_by) == (True, None)
    assert ledger.arrivals.current("weather") == {"d1": first}
    assert ledger.arrivals.held("weather", ["d1", "d2"]) == {"d1": (other,)}
    assert ledger.serials.changes(serial).arrived == {"weather": ["d1"]}  # so that its raw table says so

    accepted = ledger.arrivals.rule("weather", "d1", [other.id], other.id, Said("ann", "they called"), LATER)
    assert ledger.arrivals.current("weather") == {"d1": accepted}
    assert (accepted.sha256, accepted.said, accepted.arrived_utc) == ("b", Said("ann", "they called"), LATER)
    assert ledger.arrivals.held("weather") == {}
    assert ledger.arrivals.all("weather") == [
        replace(first, superseded_by=accepted.id),
        replace(other, superseded_by=accepted.id, is_accepted=True),
        accepted,
    ]
    assert hold(ledger, "b") == [accepted]
    (back,) = hold(ledger, "a")  # the first one again is another one now
    assert back.waits


def test_what_was_rejected_is_not_held_again(ledger: Ledger) -> None:
    """A file that a person has refused lies in the landing zone for months; nobody wants to be asked every minute."""
    first, b, c = hold(ledger, "a", "b", "c")
    serial = ledger.serials.now()
    kept = ledger.arrivals.rule("weather", "d1", [b.id, c.id], None, Said("ann"), LATER)
    assert kept == ledger.arrivals.current("weather")["d1"]
    assert (kept.sha256, kept.file_name) == (first.sha256, first.file_name)
    assert ledger.serials.changes(serial).arrived == {"weather": ["d1"]}  # the incident is over
    assert [a.id for a in hold(ledger, "b", "c")] == [b.id, c.id]
    assert ledger.arrivals.held("weather") == {}
    assert [(a.is_accepted, a.superseded_by) for a in ledger.arrivals.by_id([b.id, c.id]).values()] == [
        (False, kept.id)
    ] * 2
    (d,) = hold(ledger, "d")
    assert d.waits


def test_a_word_is_about_the_files_that_a_person_saw(ledger: Ledger) -> None:
    """The incident: while somebody looks at one held file another comes, and is decided about unseen."""
    _, seen, unseen = hold(ledger, "a", "b", "c")
    before = everything(ledger)
    for of, accepts in [([seen.id], seen.id), ([seen.id, unseen.id], 99), ([], None)]:
        with pytest.raises(RulingError, match=rf"held is w.csv \({seen.id}\), w.csv \({unseen.id}\)"):
            ledger.arrivals.rule("weather", "d1", of, accepts, Said("ann"), NOW)
    assert everything(ledger) == before
    said = at_once([partial(_ruled, ledger, [seen.id, unseen.id], i) for i in (seen.id, unseen.id, None)])
    assert sorted(said) == [False, False, True]  # the first to speak


def _ruled(ledger: Ledger, of: list[int], accepts: int | None) -> bool:
    try:
        ledger.arrivals.rule("weather", "d1", of, accepts, Said("ann"), NOW)
    except RulingError:
        return False
    return True


@pytest.mark.parametrize(
    "columns",
    [
        "supersedes",  # nothing: a second first one
        "behind, supersedes",
        "held, supersedes",
        "held, behind",
    ],
)
def test_the_database_refuses_an_arrival_in_two_places(ledger: Ledger, columns: str) -> None:
    """Also of a writer that takes no turns."""
    first = record(ledger, "a")[0].id
    values = {"supersedes": "NULL"} if columns == "supersedes" else dict.fromkeys(columns.split(", "), str(first))
    if "held" in values:
        values["held"] = "true"
    names, given = ", ".join(values), ", ".join(values.values())
    with pytest.raises(IntegrityError), ledger._database.write() as connection:
        connection.execute(
            text(
                "INSERT INTO ledger_arrivals (feed, partition_key, file_name, sha256, size_bytes, arrived_utc, "
                f"{names}) VALUES ('weather', 'd1', 'w.csv', 'x', 1, '2030-01-01 00:00:00', {given})"
            )
        )


# -------------------------------------------------------------------------------------------------------- publications


def test_a_publication_from_intent_to_confirmation(ledger: Ledger) -> None:
    arrival = record(ledger, "a")[0]
    attempt = publish(
        "a", lease(ledger), verdict=TOO_WINDY, quarantined=1, shares=(ArrivalShare(arrival.id, 3, 1, 1, 1),)
    )
    publications = ledger.publications
    assert publications.intend([attempt]) == [attempt]
    assert publications.unconfirmed(TABLE) == publications.unconfirmed(TABLE, ["d1", "d2"]) == [attempt]
    assert publications.unconfirmed("other") == publications.unconfirmed(TABLE, ["d2"]) == []
    assert publications.current(TABLE) == publications.settlements(TABLE) == {}

    assert publications.confirm(["a"], LATER) == {"a"}
    snapshot = publications.current(TABLE)["d1"]
    assert (snapshot.version, snapshot.path, snapshot.transaction) == (version("a"), attempt.path, 1)
    assert (snapshot.trace, snapshot.published_utc, snapshot.attempt_id) == (attempt.trace, LATER, "a")
    settled = publications.settlements(TABLE, ["d1", "d2"])["d1"]
    assert (settled.action, settled.verdict, settled.shares) == (Action.PUBLISH, TOO_WINDY, attempt.shares)
    assert (settled.trace_digest, settled.quarantined, settled.settled_utc) == (attempt.trace.digest, 1, LATER)
    assert publications.unconfirmed(TABLE) == []
    assert publications.attempts(["a", "?"])["a"].attempt == attempt


def test_history_keeps_every_snapshot_with_its_path(ledger: Ledger) -> None:
    token = lease(ledger)
    old, new = published(ledger, publish("a", token)), published(ledger, publish("b", token, transaction=2))
    kept = [(s.attempt_id, s.path, s.trace) for s in ledger.publications.history(TABLE, "d1")]
    assert kept == [("b", new.path, new.trace), ("a", old.path, old.trace)]
    assert [s.attempt_id for s in ledger.publications.history(TABLE, "d1", limit=1)] == ["b"]
    found = ledger.publications.versions(TABLE, [str(old.path), str(new.path), "none"])
    assert found == {old.path: old.version, new.path: new.version}
    assert ledger.publications.current(TABLE, ["d1"])["d1"].attempt_id == "b"
    assert ledger.publications.versions("other", [str(old.path)]) == {}


def test_every_content_of_a_partition_is_told_newest_first(ledger: Ledger) -> None:
    token = lease(ledger)
    old, new = published(ledger, publish("a", token)), published(ledger, publish("b", token, transaction=2))
    assert ledger.publications.contents(TABLE, ["d1", "d2"]) == {"d1": [new.version, old.version]}


def test_what_a_partition_costs_is_the_median_of_what_was_measured(ledger: Ledger) -> None:
    """Attempts from before anything was measured say nothing about seconds."""
    for number, seconds in enumerate((None, 1.0, 7.0, 2.0)):
        key = f"d{number}"
        published(ledger, publish(f"a{number}", lease(ledger, key), key, seconds=seconds))
    costs = ledger.publications.costs([TABLE, "other"])
    assert costs[TABLE].seconds == 2.0
    assert costs[TABLE].rows is not None
    assert (costs["other"].rows, costs["other"].seconds) == (None, None)


def test_an_intent_needs_the_current_token(ledger: Ledger) -> None:
    stale, good = lease(ledger), lease(ledger, "d2")
    take_over(ledger)
    attempts = [publish("a", stale), publish("b", good, "d2"), publish("c", 1, "never leased")]
    assert ledger.publications.intend(attempts) == [attempts[1]]
    assert ledger.publications.unconfirmed(TABLE) == [attempts[1]]


def test_an_expired_lease_that_nobody_took_still_counts(ledger: Ledger) -> None:
    published(ledger, publish("a", lease(ledger), intended_utc=NOW + timedelta(days=1)))


def test_an_intent_may_be_repeated_but_not_changed(ledger: Ledger) -> None:
    attempt = publish("a", lease(ledger))
    assert ledger.publications.intend([attempt]) == [attempt]
    before = everything(ledger)
    assert ledger.publications.intend([attempt]) == [attempt]
    with pytest.raises(ValueError, match="other content"):
        ledger.publications.intend([replace(attempt, path="elsewhere")])
    assert everything(ledger) == before
    ledger.publications.discard(["a"], NOW, "test")
    assert ledger.publications.intend([attempt]) == []


def test_an_undecided_intent_must_be_dealt_with_first(ledger: Ledger) -> None:
    old = publish("a", lease(ledger))
    ledger.publications.intend([old])
    new = [publish("b", take_over(ledger)), publish("c", lease(ledger, "d2"), "d2")]
    with pytest.raises(LedgerError, match=r"attempt a .* undecided"):
        ledger.publications.intend(new)
    with pytest.raises(LedgerError, match=r"attempt a .* undecided"):
        settle(ledger, [withhold("b", 2)], NOW)
    assert ledger.publications.unconfirmed(TABLE) == [old]
    assert ledger.publications.discard(["a"], NOW, "not committed") == {"a"}
    assert ledger.publications.intend(new) == new


@pytest.mark.parametrize(
    "attempt",
    [
        publish("a", 1, version=None),
        publish("a", 1, path=None),
        replace(publish("a", 1), transaction=None),
        publish("a", 1, verdict=CRASHED),
        refresh("a", 1, publish("b", 1), transaction=2),
        refresh("a", 1, publish("b", 1), verdict=CRASHED),
        withhold("a", 1, path="date=d1/a.parquet"),
        withhold("a", 1, verdict=Held()),
    ],
)
def test_an_attempt_that_contradicts_itself_is_refused(ledger: Ledger, attempt: Attempt) -> None:
    lease(ledger)
    before = everything(ledger)
    with pytest.raises(ValueError, match="attempt a to"):
        ledger.publications.intend([attempt])
    assert everything(ledger) == before


def test_two_attempts_for_one_partition_in_one_call_are_refused(ledger: Ledger) -> None:
    token = lease(ledger)
    with pytest.raises(ValueError, match="two attempts"):
        ledger.publications.intend([publish("a", token), publish("b", token)])


def test_a_trace_with_two_digests_for_one_read_is_refused(ledger: Ledger) -> None:
    reads = frozenset({Read("raw", "d1", ("a",), "x"), Read("raw", "d1", ("a",), "y")})
    with pytest.raises(ValueError, match="two digests"):
        ledger.publications.intend([publish("a", lease(ledger), trace=Trace("code", "contract", reads))])


def test_a_stale_token_confirms_nothing(ledger: Ledger) -> None:
    first = lease(ledger, "d1", "d2")
    ledger.publications.intend([publish("a", first), publish("b", first, "d2")])
    take_over(ledger)
    before = everything(ledger)
    assert ledger.publications.confirm(["a"], NOW) == frozenset()
    assert everything(ledger) == before
    assert ledger.publications.confirm(["a", "b"], NOW) == {"b"}
    assert list(ledger.publications.current(TABLE)) == ["d2"]


def test_confirming_twice_changes_nothing(ledger: Ledger) -> None:
    token = lease(ledger, "d1", "d2")
    attempts = [publish("a", token), withhold("b", token, "d2")]
    ledger.publications.intend(attempts)
    assert ledger.publications.confirm(["a", "b"], NOW) == {"a", "b"}
    before = everything(ledger)
    assert ledger.publications.confirm(["a", "b"], LATER) == {"a", "b"}
    take_over(ledger)
    assert ledger.publications.confirm(["a"], LATER) == {"a"}
    assert ledger.publications.recover({"a": 2, "b": 1}, LATER) == {"a", "b"}
    ledger.publications.discard(["a"], LATER, "too late")
    after = everything(ledger)
    assert before.pop("ledger_leases") != after.pop("ledger_leases")
    assert before == after


def test_unknown_attempts_are_refused(ledger: Ledger) -> None:
    for call in (
        lambda: ledger.publications.confirm(["?"], NOW),
        lambda: ledger.publications.recover({"?": 1}, NOW),
        lambda: ledger.publications.discard(["?"], NOW, ""),
    ):
        with pytest.raises(LedgerError, match=r"\? are not in the ledger"):
            call()


def test_a_refresh_renews_the_trace_and_keeps_the_content(ledger: Ledger) -> None:
    token = lease(ledger)
    old, new = published(ledger, publish("a", token)), published(ledger, publish("b", token, transaction=2))
    before = ledger.publications.current(TABLE)["d1"]
    again = refresh("c", token, new, trace=trace("c", code="code-2"))
    assert settle(ledger, [again], LATER) == {"c"}
    assert ledger.publications.current(TABLE)["d1"] == replace(before, trace=again.trace)
    settled = ledger.publications.settlements(TABLE)["d1"]
    assert (settled.attempt_id, settled.action, settled.trace_digest) == ("c", Action.REFRESH, again.trace.digest)
    assert [s.trace for s in ledger.publications.history(TABLE, "d1")] == [again.trace, old.trace]


def test_a_refresh_of_what_is_not_published_is_refused(ledger: Ledger) -> None:
    token = lease(ledger)
    old, _ = published(ledger, publish("a", token)), published(ledger, publish("b", token, transaction=2))
    late = refresh("c", token, old)
    ledger.publications.intend([late])
    before = everything(ledger)
    with pytest.raises(LedgerError, match="refreshes"):
        ledger.publications.confirm(["c"], LATER)
    assert everything(ledger) == before


def test_what_is_withheld_leaves_the_last_good_snapshot(ledger: Ledger) -> None:
    token = lease(ledger, "d1", "d2")
    published(ledger, publish("a", token))
    before = ledger.publications.current(TABLE)
    bad = [withhold("b", token), withhold("c", token, "d2", verdict=CRASHED, quarantined=0)]
    assert settle(ledger, bad, LATER) == {"b", "c"}
    assert ledger.publications.current(TABLE) == before
    settled = ledger.publications.settlements(TABLE)
    assert {d: (s.action, s.verdict) for d, s in settled.items()} == {
        "d1": (Action.WITHHOLD, DUPLICATE_KEY),
        "d2": (Action.WITHHOLD, CRASHED),
    }
    assert settled["d1"].trace_digest == bad[0].trace.digest


def test_settling_may_be_repeated(ledger: Ledger) -> None:
    token = lease(ledger)
    assert settle(ledger, [withhold("b", token)], NOW) == {"b"}
    before = everything(ledger)
    assert settle(ledger, [withhold("b", token)], LATER) == {"b"}
    assert everything(ledger) == before
    take_over(ledger)
    assert settle(ledger, [withhold("c", token)], LATER) == frozenset()


def test_a_discarded_attempt_leaves_only_its_record(ledger: Ledger) -> None:
    token = lease(ledger)
    ledger.publications.intend([publish("a", token)])
    assert ledger.publications.discard(["a"], LATER, "lost the race") == {"a"}
    assert ledger.publications.discard(["a"], LATER, "again") == {"a"}
    assert ledger.publications.confirm(["a"], LATER) == frozenset()
    assert ledger.publications.current(TABLE) == ledger.publications.settlements(TABLE) == {}
    tracked = ledger.publications.attempts(["a"])["a"]
    assert (tracked.state, tracked.reason, tracked.decided_utc) == ("discarded", "lost the race", LATER)
    published(ledger, publish("b", token))
    assert ledger.publications.discard(["b"], LATER, "too late") == frozenset()


def test_a_dead_writers_commit_is_confirmed_by_its_successor(ledger: Ledger) -> None:
    ledger.publications.intend([publish("a", lease(ledger))])
    token = take_over(ledger)
    assert ledger.publications.recover({"a": token - 1}, LATER) == frozenset()
    assert ledger.publications.current(TABLE) == {}
    assert ledger.publications.recover({"a": token}, LATER) == {"a"}
    assert ledger.publications.current(TABLE)["d1"].published_utc == LATER
    published(ledger, publish("b", token, transaction=2))


def test_a_commit_that_came_after_it_was_discarded_is_confirmed_too(ledger: Ledger) -> None:
    ledger.publications.intend([publish("a", lease(ledger))])
    token = take_over(ledger)
    ledger.publications.discard(["a"], NOW, "not in Delta")
    assert ledger.publications.recover({"a": token}, LATER) == {"a"}
    assert ledger.publications.current(TABLE)["d1"].attempt_id == "a"


def test_what_was_replaced_cannot_be_confirmed_later(ledger: Ledger) -> None:
    token = lease(ledger)
    ledger.publications.intend([publish("a", token)])
    ledger.publications.discard(["a"], NOW, "not in Delta")
    published(ledger, publish("b", token))
    before = everything(ledger)
    with pytest.raises(LedgerError, match="transaction 1 is published already"):
        ledger.publications.recover({"a": token}, LATER)
    assert everything(ledger) == before


def test_the_log_holds_every_try_at_a_partition_newest_first(ledger: Ledger) -> None:
    """Discarded tries too: people ask what was tried, not only what became of it."""
    token = lease(ledger, "d1", "d2")
    published(ledger, publish("a", token))
    given_up = publish("b", token, transaction=2, intended_utc=LATER)
    ledger.publications.intend([given_up])
    ledger.publications.discard(["b"], LATER, "its lease was lost")
    held_back = withhold("c", token, intended_utc=LATER + timedelta(hours=1))
    settle(ledger, [held_back], LATER)
    published(ledger, publish("other", token, "d2"))

    log = ledger.publications.log(TABLE, "d1")
    assert [(t.attempt.id, t.state, t.reason) for t in log] == [
        ("c", "confirmed", None),
        ("b", "discarded", "its lease was lost"),
        ("a", "confirmed", None),
    ]
    assert log[0].attempt == held_back
    assert [t.attempt.id for t in ledger.publications.log(TABLE, "d1", limit=2)] == ["c", "b"]
    assert {t.attempt.id for t in ledger.publications.log(TABLE)} == {"a", "b", "c", "other"}
    assert ledger.publications.log("another") == []


def test_activity_counts_the_partitions_decided_at_each_moment(ledger: Ledger) -> None:
    token = lease(ledger, "d1", "d2", "d3")
    first = [publish("a", token), publish("b", token, "d2")]
    ledger.publications.intend(first)
    ledger.publications.confirm(["a", "b"], LATER)
    settle(ledger, [withhold("c", token, "d3")], LATER)
    settle(ledger, [refresh("d", token, first[0])], LATER + timedelta(days=1))
    ledger.publications.intend([publish("undecided", token, "d2", transaction=2)])

    assert [(a.table, a.at_utc, a.action, a.partitions) for a in ledger.publications.activity()] == [
        (TABLE, LATER, Action.PUBLISH, 2),
        (TABLE, LATER, Action.WITHHOLD, 1),
        (TABLE, LATER + timedelta(days=1), Action.REFRESH, 1),
    ]


def test_sweeps_are_told_what_is_needed(ledger: Ledger) -> None:
    token = lease(ledger, "d1", "d2", "d3")
    old, new = published(ledger, publish("a", token)), published(ledger, publish("b", token, transaction=2))
    pending = publish("c", token, "d2")
    ledger.publications.intend([pending])
    settle(ledger, [withhold("d", token, "d3", quarantined=4)], NOW)
    assert ledger.tidying.needed(TABLE).paths == {old.path, new.path, pending.path}
    assert ledger.tidying.needed(TABLE, ["d1"]).paths == {old.path, new.path}
    ledger.tidying.give_up(["a", "b"], NOW)
    assert ledger.tidying.needed(TABLE).paths == {new.path, pending.path}, "what is published is never given up"


def test_many_more_partitions_than_one_statement_takes(ledger: Ledger) -> None:
    days = [f"d{i:05}" for i in range(CHUNK + 50)]
    recorded = ledger.arrivals.record("weather", [Delivery(d, f"{d}.csv", "a", 1) for d in days], NOW)
    tokens = ledger.leases.acquire(TABLE, days, "run-1", NOW, 60)
    assert list(tokens) == days
    attempts = [publish(f"a-{a.partition}", 1, a.partition, shares=(ArrivalShare(a.id, 1, 1),)) for a in recorded]
    assert ledger.publications.intend(attempts) == attempts
    assert sorted(ledger.publications.unconfirmed(TABLE, days), key=lambda a: a.id) == attempts
    assert len(ledger.publications.confirm([a.id for a in attempts], NOW)) == len(days)
    assert set(ledger.publications.current(TABLE, days)) == set(days) == set(ledger.publications.current(TABLE))
    assert len(ledger.publications.versions(TABLE, [str(a.path) for a in attempts])) == len(days)
    bad = [withhold(f"b-{d}", 1, d) for d in days]
    assert len(settle(ledger, bad, LATER)) == len(days)
    assert len(ledger.incidents.open(TABLE)) == len(days)
    again = [refresh(f"c-{a.partition}", 1, a) for a in attempts]
    assert len(settle(ledger, again, LATER)) == len(days)
    assert {s.trace for s in ledger.publications.current(TABLE).values()} == {a.trace for a in again}
    assert ledger.incidents.open() == []
    assert ledger.leases.renew(TABLE, tokens, NOW, 60) == frozenset()
    ledger.leases.release(TABLE, tokens)
    assert ledger.leases.held(None, NOW) == []


def test_every_question_of_a_tick_is_served_by_an_index(tmp_path: Path) -> None:
    scans: list[str] = []
    with Ledger.open(f"sqlite:///{tmp_path / 'l.sqlite'}") as ledger:

        def explain(conn: Anything, _: object, statement: str, values: Anything, __: object, many: bool) -> None:
            if statement.startswith(("SELECT", "UPDATE")):
                cursor = conn.connection.driver_connection.cursor()
                plan = cursor.execute(f"EXPLAIN QUERY PLAN {statement}", values[0] if many else values)
                scans.extend(f"{row[3]}: {statement}" for row in plan if re.match(r"SCAN (?!\(subquery|anon_)", row[3]))

        event.listen(ledger._database._engine, "after_cursor_execute", explain)
        arrival = record(ledger, "a")[0]
        ledger.arrivals.current("weather")
        token = lease(ledger, "d1", "d2")
        old = published(ledger, publish("a", token, shares=(ArrivalShare(arrival.id, 1, 1),)))
        settle(ledger, [withhold("b", token, "d2")], NOW)
        settle(ledger, [refresh("c", token, old)], NOW)
        for keys in (None, ["d1", "d2"]):
            ledger.publications.unconfirmed(TABLE, keys)
            ledger.publications.current(TABLE, keys)
            ledger.publications.settlements(TABLE, keys)
            ledger.leases.current(TABLE, keys)
        ledger.publications.versions(TABLE, [str(old.path)])
        ledger.publications.history(TABLE, "d1")
        ledger.publications.attempts(["a"])
        for keys in (None, ["d1", "d2"]):
            ledger.tidying.needed(TABLE, keys)
            ledger.tidying.replaced(TABLE, NOW, 1, keys)
            ledger.tidying.last_decided(TABLE, keys)
            ledger.bars.standing(TABLE, keys)
        ledger.publications.last_by_path(TABLE, str(old.path))
        ledger.tidying.give_up(["a"], NOW)
        ledger.incidents.open(TABLE)
        ledger.leases.held(TABLE, NOW)
        ledger.leases.renew(TABLE, {"d1": token}, NOW, 60)
        ledger.leases.release(TABLE, {"d1": token})
    assert scans == []


# ---------------------------------------------------------------------------------------------- incidents and sources


def test_an_incident_from_opening_to_closing(ledger: Ledger) -> None:
    token = lease(ledger, "d1", "d2")
    steps = [
        withhold("a", token),
        withhold("b", token),
        withhold("c", token, verdict=CRASHED),
        publish("d", token, run_id="run-9"),
        publish("e", token, transaction=2),
        withhold("f", token),
        refresh("g", token, publish("e", token)),
    ]
    for i, attempt in enumerate(steps):
        ledger.publications.intend([attempt])
        assert ledger.publications.confirm([attempt.id], NOW + timedelta(seconds=i)) == {attempt.id}
        assert len(ledger.incidents.open()) == (attempt.action is Action.WITHHOLD)
    told = [
        (x.cause_key, x.is_open, x.opened_utc == x.events[0].at_utc, [(e.kind, e.attempt_id) for e in x.events])
        for x in ledger.incidents.all()
    ]
    unique, crash = f"broken:{TABLE}:key__unique", f"unknown:{TABLE}:wind__in_range"
    assert told == [
        (unique, False, True, [("opened", "a"), ("seen_again", "b"), ("replaced", "c")]),
        (crash, False, True, [("opened", "c"), ("closed", "d")]),
        (unique, False, True, [("opened", "f"), ("closed", "g")]),
    ]
    first, second, _ = ledger.incidents.all()
    assert first.events[0].detail == {
        "run_id": "run-1",
        "action": "withhold",
        "verdict": {
            "is": "broken",
            "rows_broken": 0,
            "breaches": [
                {
                    "rule": "key__unique",
                    "level": "table",
                    "count": 1,
                    "detail": "3 keys occur twice",
                    "sample": [{"origin": "JFK"}],
                }
            ],
        },
    }
    assert first.events[2].detail["cause_key"] == crash
    assert second.events[1].detail == {"run_id": "run-9", "action": "publish"}
    assert second.closed_utc == NOW + timedelta(seconds=3)


def test_incidents_are_asked_for_by_table_and_partition(ledger: Ledger) -> None:
    token = lease(ledger, "d1", "d2")
    lease(ledger, table="raw_weather")
    elsewhere = withhold("c", 1, table="raw_weather")
    settle(ledger, [withhold("a", token), withhold("b", token, "d2"), elsewhere], NOW)
    assert [x.partition for x in ledger.incidents.open(TABLE)] == ["d1", "d2"]
    assert [x.table for x in ledger.incidents.open()] == [TABLE, TABLE, "raw_weather"]
    assert [x.partition for x in ledger.incidents.all(TABLE, "d2")] == ["d2"]
    assert [x.table for x in ledger.incidents.all(limit=1)] == ["raw_weather"]


def test_the_cause_names_the_rules_that_withhold() -> None:
    both = Broken((*TOO_WINDY.breaches, *DUPLICATE_KEY.breaches), 1)
    rows = Broken((*TOO_WINDY.breaches, RuleBreach("temp__not_null", Level.ROW, 2)), 3)
    assert cause_of("t", both) == "broken:t:key__unique"
    assert cause_of("t", rows) == "broken:t:wind__in_range+temp__not_null"
    with pytest.raises(ValueError, match="no cause"):
        cause_of("t", Held())


def test_a_source_is_kept_once(ledger: Ledger) -> None:
    ledger.sources.keep("v1", "def f(): ...")
    ledger.sources.keep("v1", "def f(): ...")
    ledger.sources.keep("v2", "def g(): return 'ü'")
    assert ledger.sources.get(["v1", "v2", "v3"]) == {"v1": "def f(): ...", "v2": "def g(): return 'ü'"}


# ------------------------------------------------------------------------------------------------- crashes and races


def _run_until(url: str, name: str, deadly: int) -> None:
    """Do one thing to the ledger, killed right after its n-th statement."""
    ledger = Ledger(Database(url))
    left = deadly

    @event.listens_for(ledger._database._engine, "after_cursor_execute")
    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    match name:
        case "intend":
            ledger.publications.intend(_doomed(), [bar("older", "old", "a", "d1")])
        case "confirm":
            ledger.publications.confirm([a.id for a in _doomed()], LATER)
        case _:
            record(ledger, "b", "c")


def _doomed() -> list[Attempt]:
    old = publish("old", 1, "d3")
    return [
        publish("a", 1, "d1"),
        publish("b", 1, "d2", shares=(ArrivalShare(1, 24, 24),)),
        refresh("c", 1, old),
        withhold("d", 1, "d4"),
        withhold("e", 1, "d5", verdict=CRASHED),
    ]


@pytest.mark.parametrize("name", ["intend", "confirm", "record"])
def test_kill_9_between_any_two_statements_leaves_all_or_nothing(ledger: Ledger, ledger_url: str, name: str) -> None:
    record(ledger, "a")
    lease(ledger, "d1", "d2", "d3", "d4", "d5")
    published(ledger, publish("old", 1, "d3"))
    settle(ledger, [withhold("w", 1, "d1"), withhold("x", 1, "d5")], NOW)
    if name == "confirm":
        ledger.publications.intend(_doomed())
    before = everything(ledger)
    for deadly in range(1, 100):
        process = processes.Process(target=_run_until, args=(ledger_url, name, deadly))
        process.start()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        assert everything(ledger) == before, f"after statement {deadly}"
    assert deadly > 4
    after = everything(ledger)
    assert after != before
    if name == "confirm":
        assert sorted(ledger.publications.current(TABLE)) == ["d1", "d2", "d3"]
        assert {x.partition: x.cause_key for x in ledger.incidents.open()} == {
            "d4": f"broken:{TABLE}:key__unique",
            "d5": f"unknown:{TABLE}:wind__in_range",
        }


def test_two_confirmers_of_one_attempt_confirm_it_once(ledger: Ledger) -> None:
    token = lease(ledger, "d1", "d2")
    ledger.publications.intend([publish("a", token), withhold("b", token, "d2")])
    assert at_once([lambda: ledger.publications.confirm(["a", "b"], NOW)] * 4) == [{"a", "b"}] * 4
    assert [[e.kind for e in x.events] for x in ledger.incidents.all()] == [["opened"]]
    assert len(ledger.publications.history(TABLE, "d1")) == 1


def test_a_takeover_and_a_confirmation_never_both_win(ledger: Ledger) -> None:
    days = [f"d{i:02}" for i in range(20)]
    lease(ledger, *days)
    ledger.publications.intend([publish(d, 1, d) for d in days])

    def confirm() -> set[str]:
        return {i for d in days for i in ledger.publications.confirm([d], NOW)}

    def take() -> set[str]:
        found = set[str]()
        for day in reversed(days):
            take_over(ledger, day)
            found |= {a.partition for a in ledger.publications.unconfirmed(TABLE, [day])}
        return found

    confirmed, left_over = at_once([confirm, take])
    assert confirmed | left_over == set(days)
    assert not confirmed & left_over
    assert set(ledger.publications.current(TABLE)) == confirmed


def test_writers_of_the_same_traces_and_partitions_wait_for_each_other(ledger: Ledger) -> None:
    days = [f"d{i:03}" for i in range(300)]

    def work(worker: int) -> int:
        table, mixed = f"t{worker}", random.Random(worker).sample(days, len(days))
        ledger.leases.acquire(table, mixed, "run", NOW, 60)
        attempts = [publish(f"{worker}-{d}", 1, d, table=table, trace=trace("same", d)) for d in mixed]
        ledger.publications.intend(attempts)
        return len(ledger.publications.confirm([a.id for a in attempts], NOW))

    assert at_once([partial(work, w) for w in range(4)]) == [300] * 4


# ------------------------------------------------------------------------------------------------------- row accounts


RAW, STAGED = "raw_weather", "stg_weather"


def settle_station(
    ledger: Ledger, table: str, attempt: Attempt, *shares: ArrivalShare, reads: Iterable[Read] = ()
) -> Attempt:
    made = replace(attempt, table=table, shares=shares, trace=Trace(attempt.id, "contract", frozenset(reads)))
    assert ledger.publications.intend([made])
    assert ledger.publications.confirm([made.id], NOW)
    return made


def terms(ledger: Ledger) -> list[tuple[bool, RowAccount]]:
    found = ledger.accounts("weather", RAW, STAGED)
    assert [x.account.missing for x in found] == [0] * len(found)
    return [(x.is_read, x.account) for x in found]


def test_the_rows_of_arrivals_are_conserved_at_every_step(ledger: Ledger) -> None:
    columns = ("origin", "wind")
    lease(ledger, table=RAW)
    lease(ledger, table=STAGED)
    first = record(ledger, "a")[0].id
    assert terms(ledger) == [(False, RowAccount())]

    settle_station(ledger, RAW, withhold("r1", 1), ArrivalShare(first, 10, pending=10))
    assert terms(ledger) == [(True, RowAccount(10, pending=10))]

    raw = settle_station(ledger, RAW, publish("r2", 1), ArrivalShare(first, 10, published=9, quarantined=1))
    assert terms(ledger) == [(True, RowAccount(10, quarantined=1, pending=9))]

    sees_first = [Read(RAW, "d1", columns, version("r2").of(columns))]
    settle_station(ledger, STAGED, withhold("s1", 1), ArrivalShare(first, 9, pending=9), reads=sees_first)
    assert terms(ledger) == [(True, RowAccount(10, quarantined=1, pending=9))]

    judged = ArrivalShare(first, 9, published=6, quarantined=2, duplicates=1)
    settle_station(ledger, STAGED, publish("s2", 1), judged, reads=sees_first)
    assert terms(ledger) == [(True, RowAccount(10, published=6, quarantined=3, duplicates=1))]

    # The same rows in another file: raw keeps its content for the new arrival, and staged has nothing to do.
    second = record(ledger, "b")[0].id
    assert terms(ledger) == [(True, RowAccount(10, superseded=10)), (False, RowAccount())]
    settle_station(ledger, RAW, refresh("r3", 1, raw), ArrivalShare(second, 10, published=9, quarantined=1))
    whole = RowAccount(10, published=6, quarantined=3, duplicates=1)
    assert terms(ledger) == [(True, RowAccount(10, superseded=10)), (True, whole)]

    # A check crashes before anything is counted: what was read before is pending, not forgotten.
    settle_station(ledger, RAW, withhold("r4", 1, verdict=CRASHED))
    assert terms(ledger)[1] == (True, RowAccount(10, pending=10))

    # A column that staged had read is gone: staged has not seen what there is now.
    other = Version(digest("other"), {"origin": digest("o")}, ("origin",), 9)
    moved = publish("r4b", 1, transaction=2, version=other)
    settle_station(ledger, RAW, moved, ArrivalShare(second, 10, published=9, quarantined=1))
    assert terms(ledger)[1] == (True, RowAccount(10, quarantined=1, pending=9))

    # The same arrival read anew with another outcome: pending until staged has seen it.
    settle_station(ledger, RAW, publish("r5", 1, transaction=3), ArrivalShare(second, 10, published=10))
    assert terms(ledger)[1] == (True, RowAccount(10, pending=10))
    sees_second = [Read(RAW, "d1", columns, version("r5").of(columns))]
    settle_station(ledger, STAGED, withhold("s3", 1, verdict=CRASHED), reads=sees_second)
    assert terms(ledger)[1] == (True, RowAccount(10, pending=10))
    judged = ArrivalShare(second, 10, published=8, quarantined=2)
    settle_station(ledger, STAGED, publish("s4", 1, transaction=2), judged, reads=sees_second)
    assert terms(ledger)[1] == (True, RowAccount(10, published=8, quarantined=2))


def test_rows_that_a_station_lost_are_missing(ledger: Ledger) -> None:
    lease(ledger, table=RAW)
    lease(ledger, table=STAGED)
    arrival = record(ledger, "a")[0].id
    settle_station(ledger, RAW, publish("r", 1), ArrivalShare(arrival, 10, published=10))
    seen = [Read(RAW, "d1", (), version("r").root)]
    settle_station(ledger, STAGED, publish("s", 1), ArrivalShare(arrival, 7, published=7), reads=seen)
    assert ledger.accounts("weather", RAW, STAGED)[0].account.missing == 3


def test_a_withheld_file_without_rows_does_not_take_over_the_rows_of_the_last_good_one(ledger: Ledger) -> None:
    """The incident: a vendor replaced a day's file by an HTML page of one line.

    It has no rows and is withheld. The rows that readers still see were added to its account, which then had published
    rows that never arrived.
    """
    lease(ledger, table=RAW)
    lease(ledger, table=STAGED)
    first = record(ledger, "a")[0].id
    settle_station(ledger, RAW, publish("r1", 1), ArrivalShare(first, 10, published=10))
    seen = [Read(RAW, "d1", (), version("r1").root)]
    settle_station(ledger, STAGED, publish("s1", 1), ArrivalShare(first, 10, published=10), reads=seen)

    page = record(ledger, "b")[0].id
    settle_station(ledger, RAW, withhold("r2", 1), ArrivalShare(page, 0))
    assert terms(ledger) == [(True, RowAccount(10, superseded=10)), (True, RowAccount())]
    settle_station(ledger, RAW, withhold("r3", 1, verdict=CRASHED))
    assert terms(ledger)[1] == (True, RowAccount())


def test_without_a_staged_table_published_raw_rows_are_pending(ledger: Ledger) -> None:
    lease(ledger, table=RAW)
    settle_station(ledger, RAW, publish("r", 1), ArrivalShare(record(ledger, "a")[0].id, 10, published=10))
    assert ledger.accounts("weather", RAW, None)[0].account == RowAccount(10, pending=10)


@st.composite
def shares(draw: st.DrawFn, arrived: int) -> ArrivalShare:
    """What a station that loses nothing makes of so many rows."""
    if draw(st.booleans()):
        return ArrivalShare(1, arrived, pending=arrived)
    cuts = sorted(draw(st.lists(st.integers(0, arrived), min_size=2, max_size=2)))
    return ArrivalShare(1, arrived, cuts[0], cuts[1] - cuts[0], arrived - cuts[1])


@given(st.booleans(), st.data())
def test_accounts_of_stations_that_lose_nothing_miss_nothing(superseded: bool, data: st.DataObject) -> None:
    raw = data.draw(st.none() | st.integers(0, 50).flatmap(shares))
    staged = None if raw is None else data.draw(st.none() | shares(raw.published))
    account = account_of(superseded=superseded, raw=raw, staged=staged)
    assert account.missing == 0
    assert account.arrived == (0 if raw is None else raw.arrived)
    assert min(account.published, account.quarantined, account.duplicates, account.pending, account.superseded) >= 0


# --------------------------------------------------------------------------------------------------------------- codec


text_values = st.text() | st.sampled_from(["\x00", "\ud800", "ü", "'", "\u2028"])
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text_values
breaches = st.builds(
    RuleBreach,
    rule=text_values,
    level=st.sampled_from(Level),
    count=st.integers(0),
    detail=text_values,
    sample=st.lists(st.dictionaries(text_values, plain | st.lists(plain), max_size=3), max_size=3).map(tuple),
)
verdicts = (
    st.just(Held())
    | st.builds(Broken, st.lists(breaches, max_size=3).map(tuple), st.integers(0))
    | st.builds(Unknown, text_values, text_values)
)
digests = st.integers(0, 2**128 - 1).map("sh1-{:032x}".format)
versions = st.dictionaries(text_values, digests).flatmap(
    lambda columns: st.builds(
        Version,
        root=digests,
        columns=st.just(columns),
        key=st.lists(st.sampled_from(sorted(columns)), unique=True).map(sorted).map(tuple) if columns else st.just(()),
        rows=st.integers(0),
    )
)


@given(verdicts)
def test_verdicts_survive_storage(verdict: Verdict) -> None:
    stored = encode_verdict(verdict)
    assert stored.isascii()
    assert decode_verdict(stored) == verdict


@given(versions)
def test_versions_survive_storage(made: Version) -> None:
    stored = encode_version(made)
    assert stored.isascii()
    assert decode_version(stored) == made


def test_text_that_is_no_verdict_is_refused() -> None:
    with pytest.raises(ValueError, match="where a verdict is expected"):
        decode_verdict('{"is": "sideways"}')


def test_characters_that_databases_dislike_survive_in_evidence(ledger: Ledger) -> None:
    nasty = Broken((RuleBreach("rule", Level.TABLE, 1, "a\x00b\ud800", ({"cell": "\x00'\"\\;--"},)),), 0)
    settle(ledger, [withhold("a", lease(ledger), verdict=nasty)], NOW)
    assert ledger.publications.settlements(TABLE)["d1"].verdict == nasty


# ------------------------------------------------------------------------------------------------ narrow questions


def test_what_is_compared_with_is_what_was_last_settled_and_what_is_shown(ledger: Ledger) -> None:
    """A look at thousands of partitions asks for two texts of each, not for all that is known of them."""
    days = [f"d{n}" for n in (2, 10, 1, 3)]
    tokens = ledger.leases.acquire(TABLE, days, "run-1", NOW, 60)
    shown = {day: published(ledger, publish(f"a-{day}", tokens[day], day, looked=7, recipe=9)) for day in days}
    held_back = withhold("b-d1", tokens["d1"], "d1")
    refreshed = refresh("b-d3", tokens["d3"], shown["d3"])
    assert settle(ledger, [held_back, refreshed], LATER) == {"b-d1", "b-d3"}
    never = withhold("b-new", lease(ledger, "new"), "new")
    settle(ledger, [never], LATER)

    last = {**shown, "d1": held_back, "d3": refreshed}
    expected = {day: (last[day].trace.digest, shown[day].path) for day in days}
    assert ledger.publications.recorded(TABLE, [*days, "new", "none"]) == {
        **expected,
        "new": (never.trace.digest, None),
    }
    assert ledger.publications.recorded("another", days) == {}

    serials, now = ledger.serials, ledger.serials.now()
    rows = serials.standings(TABLE)
    assert [key for key, *_ in rows] == sorted([*days, "new"])  # by their bytes, on either database
    assert {key: rest for key, *rest in rows}["d10"][1:] == [7, 9]
    contents = {key: content for key, content, _, _ in rows}
    assert {(key, content, path) for key, content, path in serials.published(TABLE)} == {
        (day, contents[day], shown[day].path) for day in days
    }
    settled = dict(serials.settled(TABLE))
    assert settled == {"d2": contents["d2"], "d10": contents["d10"], "d1": now - 1, "d3": now - 1, "new": now}
