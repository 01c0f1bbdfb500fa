"""Ledgers of before: what an earlier version of this project wrote is found again after an upgrade.

The incident: an upgrade changes what a trace's digest is, or loses what was read, and every partition ever published is
computed again; or a copied table loses a constraint that nobody misses until it is needed.
"""

from dataclasses import replace

import pytest
from alembic import command
from sqlalchemy import Connection, bindparam, inspect, select, text
from sqlalchemy.exc import IntegrityError

from sh_core.records import About, Action
from sh_core.trace import ABSENT, Read, Trace
from sh_resources.ledger import Ledger
from sh_resources.ledger.database import Database
from sh_resources.ledger.migrations import config, revision
from sh_resources.ledger.schema import metadata
from tests.conformance.test_ledger import (
    LATER,
    NOW,
    TABLE,
    everything,
    lease,
    publish,
    published,
    record,
    trace,
    withhold,
)

A_DIGEST, B_DIGEST = "e1f8e45c4295986819ea5b6960f070a8", "090231decb95b348b38a3e2e5c604e07"
"""As the code from before migration 0002 computed them."""


def columns_of(connection: Connection, name: str) -> set[str]:
    return {column["name"] for column in inspect(connection).get_columns(name)}


def without_serials(ledger: Ledger) -> dict[str, list[tuple[object, ...]]]:
    """Every row of a ledger, but for what was counted since there are serials."""
    rows = everything(ledger)
    del rows["ledger_clock"]
    rows["ledger_partitions"] = [row[:4] for row in rows["ledger_partitions"]]
    return rows


@pytest.fixture
def of_before(ledger: Ledger, fresh_url: str) -> str:
    """A ledger at revision 0001 with a published and a withheld partition, their traces, shares and incidents."""
    token = lease(ledger)
    published(ledger, publish("a", token))
    second = lease(ledger, "d2")
    published(ledger, publish("b", second, "d2", trace=trace("b", "d2", "code-2")))
    kept_back = withhold("c", token)
    assert ledger.publications.intend([kept_back]) == [kept_back]
    ledger.publications.confirm(["c"], LATER)
    with Database(fresh_url).write() as old, ledger._database.read() as new:
        command.upgrade(config(old), "0001")
        for table in metadata.sorted_tables:
            if not inspect(old).has_table(table.name):
                continue  # of a later revision
            kept = [c for c in table.columns if c.name in columns_of(old, table.name)]
            rows = [dict(row._mapping) for row in new.execute(select(*kept))]
            if rows:
                names = ", ".join(c.name for c in kept)
                values = ", ".join(f":{c.name}" for c in kept)
                statement = text(f"INSERT INTO {table.name} ({names}) VALUES ({values})")
                typed = statement.bindparams(*(bindparam(c.name, type_=c.type) for c in kept))
                old.execute(typed, rows)
        assert revision(old) == "0001"
        assert "picked" not in columns_of(old, "ledger_reads")
    return fresh_url


def test_what_was_written_before_there_were_lookups_is_found_again(of_before: str, ledger: Ledger) -> None:
    """The same trace as then: nothing is computed again because of an upgrade."""
    with Ledger.open(of_before) as upgraded:
        assert without_serials(upgraded) == without_serials(ledger)
        # Up to 0 looked at, content since 1: the first sweep looks at all of it once.
        assert sorted(upgraded.serials.standings(TABLE)) == [("d1", 1, 0, 0), ("d2", 1, 0, 0)]
        found = upgraded.publications.current(TABLE)
        assert found["d1"].trace == trace("a")
        assert (found["d1"].trace.digest, found["d2"].trace.digest) == (A_DIGEST, B_DIGEST)
        assert {read.rows for read in found["d1"].trace.reads} == {""}
        settled = upgraded.publications.settlements(TABLE, ["d1", "d2"])
        assert settled["d2"].trace_digest == trace("b", "d2", "code-2").digest == B_DIGEST
        assert settled["d1"].action is Action.WITHHOLD
        # … and it goes on: the next attempt of a known trace needs no second copy of it.
        again = publish(
            "again", lease(upgraded, owner="run-2", now=LATER.replace(year=2099)), trace=trace("a"), transaction=2
        )
        assert upgraded.publications.intend([again]) == [again]


def test_the_copied_table_still_refuses_what_it_refused(of_before: str) -> None:
    """SQLite cannot change a primary key, so the table is copied: constraints must come along."""
    with Ledger.open(of_before) as upgraded:
        row = "INSERT INTO ledger_reads (trace_digest, source, partition_key, column_set_id, digest, picked) "
        some = "trace_digest, source, partition_key, column_set_id, 'other', picked FROM ledger_reads"
        for refused in (
            f"{row} SELECT {some}",
            f"{row} SELECT 'no such trace', 'a', 'b', column_set_id, 'c', '' FROM ledger_reads",
        ):
            with pytest.raises(IntegrityError), upgraded._database.write() as connection:
                connection.execute(text(refused))
        with upgraded._database.write() as connection:
            allowed = some.replace("picked FROM", "'some rows' FROM")
            connection.execute(text(f"{row} SELECT {allowed}"))


def test_incidents_of_before_are_about_content_and_stay_unique(of_before: str, ledger: Ledger) -> None:
    """SQLite cannot drop NOT NULL, so events are copied: none is lost, and each still belongs to an incident."""
    with Ledger.open(of_before) as upgraded:
        assert upgraded.incidents.all() == ledger.incidents.all()
        (incident,) = upgraded.incidents.open()
        assert incident.about is About.CONTENT
        assert incident.events
        late = (About.FILE, incident.table, incident.partition)
        with upgraded._database.write() as connection:
            if connection.dialect.name == "postgresql":  # rows that were copied with their numbers count up nothing
                for name in ("ledger_incidents", "ledger_incident_events"):
                    connection.execute(text(f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), 100)"))
        assert upgraded.late.open({late: {}}, LATER).keys() == {late}
        row = "INSERT INTO ledger_incident_events (incident_id, at_utc, kind, detail) "
        with pytest.raises(IntegrityError), upgraded._database.write() as connection:
            connection.execute(text(f"{row} SELECT 999, opened_utc, 'opened', '' FROM ledger_incidents"))
        again = "cause_key, table_name, partition_key, opened_utc"
        with pytest.raises(IntegrityError), upgraded._database.write() as connection:
            connection.execute(text(f"INSERT INTO ledger_incidents ({again}) SELECT {again} FROM ledger_incidents"))


LOOKED_UP = Trace(
    "code",
    "contract",
    frozenset(
        {
            Read("flights", "d1", ("dest", "origin"), "f"),
            Read("airports", "all", ("faa", "zone"), "whole"),
            Read("airports", "all", ("faa", "zone"), "one", "origin of flights as origins"),
            Read("airports", "all", ("faa", "zone"), "other", "dest of flights as destinations"),
            Read("airports", "old", ("faa", "zone"), ABSENT, "dest of flights as destinations"),
        }
    ),
)


def test_two_lookups_of_the_same_columns_are_two_reads(ledger: Ledger) -> None:
    token = lease(ledger)
    published(ledger, publish("a", token, trace=LOOKED_UP))
    found = ledger.publications.current(TABLE)["d1"].trace
    assert found == LOOKED_UP
    assert found.digest == LOOKED_UP.digest


def test_what_is_read_as_what_is_part_of_the_trace() -> None:
    exchange = {"origin of flights as origins": "dest of flights as destinations"}
    exchange |= {other: one for one, other in exchange.items()}
    exchanged = replace(
        LOOKED_UP, reads=frozenset(replace(r, rows=exchange.get(r.rows, r.rows)) for r in LOOKED_UP.reads)
    )
    assert exchanged.digest != LOOKED_UP.digest


def test_one_read_cannot_have_two_digests(ledger: Ledger) -> None:
    twice = replace(
        LOOKED_UP,
        reads=LOOKED_UP.reads | {Read("airports", "all", ("faa", "zone"), "x", "origin of flights as origins")},
    )
    with pytest.raises(ValueError, match=r"reads airports\[all\] \['faa', 'zone'\] with two digests"):
        ledger.publications.intend([publish("a", lease(ledger), trace=twice, intended_utc=NOW)])


def test_what_was_published_before_there_were_rollbacks_can_be_returned_to(of_before: str) -> None:
    """Nothing is barred, nothing was tidied away."""
    with Ledger.open(of_before) as upgraded:
        assert upgraded.bars.standing(TABLE) == {}
        assert [s.tidied_utc for s in upgraded.publications.history(TABLE, "d1")] == [None]
        assert len(upgraded.tidying.needed(TABLE).paths) == 2


def test_arrivals_from_before_there_were_versions_are_one_chain_each(ledger: Ledger, fresh_url: str) -> None:
    """The incident: after an upgrade every file ever delivered counts as new, or two writers make two chains."""
    record(ledger, "a", "b")
    record(ledger, "a", partition="d2")
    with Database(fresh_url).write() as old, ledger._database.read() as new:
        command.upgrade(config(old), "0004")
        table = metadata.tables["ledger_arrivals"]
        kept = [c for c in table.columns if c.name in columns_of(old, table.name)]
        assert "version" not in {c.name for c in kept}
        names, values = ", ".join(c.name for c in kept), ", ".join(f":{c.name}" for c in kept)
        typed = text(f"INSERT INTO {table.name} ({names}) VALUES ({values})").bindparams(
            *(bindparam(c.name, type_=c.type) for c in kept)
        )
        old.execute(typed, [dict(row._mapping) for row in new.execute(select(*kept))])
    with Ledger.open(fresh_url) as upgraded:
        assert upgraded.arrivals.all() == ledger.arrivals.all()
        assert upgraded.arrivals.current("weather") == ledger.arrivals.current("weather")
        first, second, _ = upgraded.arrivals.all()
        insert = "INSERT INTO ledger_arrivals (feed, partition_key, file_name, sha256, size_bytes, arrived_utc"
        row = "'weather', 'd1', 'w.csv', 'x', 1, '2030-01-01 00:00:00'"
        for more, values in (
            ("", ""),  # a second first one
            (", supersedes", f", {first.id}"),  # a fork
            (", behind", ", 999"),  # behind nothing
            (", accepts", ", 999"),
            (", supersedes, held", f", {second.id}, true"),
        ):
            with pytest.raises(IntegrityError), upgraded._database.write() as connection:
                connection.execute(text(f"{insert}{more}) VALUES ({row}{values})"))
