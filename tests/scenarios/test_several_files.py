"""Several files for one partition: late ones, parts, and those that a person decides about."""

import json
import os
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sh_core.accounts import RowAccount
from sh_core.feed import Feed
from sh_core.outcome import Outcome, Published, Reused, Withheld
from sh_core.verdict import Broken
from sh_defs.cli import app
from sh_resources.clock import ManualClock
from sh_resources.engine import Engine
from sh_resources.settings import load
from sh_resources.wiring import open_engine
from tests.little import NOON
from tests.scenarios.counters import DAYS, GRAPH, GUARDED, NUMBERED, PARTED, STAMPED, deliver, rows_of

ONE, TWO = DAYS.keys()[:2]
Counts = dict[str, int]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    opened = started(tmp_path)
    yield opened
    opened.ledger.close()


def started(home: Path) -> Engine:
    """What a process that starts on a state folder has."""
    return open_engine(load({"SELFHEAL_HOME": str(home)}), GRAPH, clock=ManualClock(NOON))


def run(engine: Engine, feed: Feed, *keys: str) -> dict[str, Outcome]:
    """Bring the tables of a feed up to date; outcomes by table, of the first partition."""
    engine.take_in(engine.now_utc())
    found = {}
    for name in (f"raw_{feed.name}", f"stg_{feed.name}", f"mart_{feed.name}"):
        (found[name], *_) = engine.materialize(name, keys or (ONE,), run_id="test")
    return found


def seen(engine: Engine, feed: Feed, key: str = ONE) -> Counts:
    """People by gate, as readers see them; the total agrees."""
    rows = engine.store.published(engine.graph[f"stg_{feed.name}"], [key]).collect()
    total = engine.store.published(engine.graph[f"mart_{feed.name}"], [key]).collect()["people"].sum()
    assert rows["people"].sum() == total
    return dict(rows.select("gate", "people").sort("gate").iter_rows())


def accounts(engine: Engine, feed: Feed) -> dict[tuple[str, str | None, str, str | None], RowAccount]:
    """Where the rows of each arrival are; none of them missing."""
    found = engine.ledger.accounts(feed.name, f"raw_{feed.name}", f"stg_{feed.name}")
    assert [a.arrival for a in found if a.account.missing or not a.is_read] == []
    return {(a.arrival.file_name, a.arrival.version, a.arrival.sha256, a.arrival.part): a.account for a in found}


def by_file(engine: Engine, feed: Feed) -> dict[str, RowAccount]:
    return {name: account for (name, *_), account in accounts(engine, feed).items()}


def incident(engine: Engine, table: str, key: str = ONE) -> str:
    """What the one open incident says, in words."""
    (found,) = engine.ledger.incidents.open()
    assert (found.table, found.partition) == (table, key)
    verdict = engine.ledger.publications.settlements(table, [key])[key].verdict
    assert isinstance(verdict, Broken)
    return "; ".join(breach.detail for breach in verdict.breaches)


# ---------------------------------------------------------------------------------------------------------- versions


def test_an_older_version_that_comes_late_changes_nothing_that_readers_see(engine: Engine, tmp_path: Path) -> None:
    """The incident: the vendor's retry of version 1 undoes the correction in version 2."""
    deliver(tmp_path, NUMBERED, ONE, rows_of(ONE, ("a", 2), ("b", 2)), "2")
    assert all(isinstance(o, Published) for o in run(engine, NUMBERED).values())
    serial, path = engine.ledger.serials.now(), engine.ledger.publications.current("raw_numbered")[ONE].path
    deliver(tmp_path, NUMBERED, ONE, rows_of(ONE, ("a", 1)), "1")
    assert engine.take_in(engine.now_utc()) == {"numbered": 1}
    assert engine.ledger.serials.now() == serial  # nobody has to look
    assert all(isinstance(o, Reused) for o in run(engine, NUMBERED).values())
    assert engine.ledger.publications.current("raw_numbered")[ONE].path == path
    assert seen(engine, NUMBERED) == {"a": 2, "b": 2}
    assert by_file(engine, NUMBERED) == {
        "n_20300101_v1.csv": RowAccount(arrived=1, superseded=1),
        "n_20300101_v2.csv": RowAccount(arrived=2, published=2),
    }
    (late,) = (a for a in engine.ledger.arrivals.all("numbered") if a.version == "1")
    assert engine.landing.shelf(NUMBERED).content(late.sha256) == rows_of(ONE, ("a", 1))  # the evidence is kept


def test_the_tenth_version_comes_after_the_ninth(engine: Engine, tmp_path: Path) -> None:
    for version in (9, 10):
        deliver(tmp_path, NUMBERED, ONE, rows_of(ONE, ("a", version)), str(version))
    run(engine, NUMBERED)
    assert seen(engine, NUMBERED) == {"a": 10}


def test_every_order_of_versions_ends_in_the_same_tables_and_accounts(tmp_path: Path) -> None:
    """Whatever came first and whatever came twice, with a run after each delivery."""
    files = {
        "1": rows_of(ONE, ("a", 1), ("b", 1)),
        "2": rows_of(ONE, ("a", 2)),
        "3": rows_of(ONE, ("a", 3), ("a", 3), ("b", -3), ("c", 3)),
    }
    ended = []
    for number, order in enumerate(sorted(set(permutations(["1", "2", "3", "1"])))):
        home = tmp_path / str(number)
        engine = started(home)
        for version in order:
            deliver(home, NUMBERED, ONE, files[version], version)
            run(engine, NUMBERED)
        current = engine.ledger.arrivals.current("numbered")[ONE]
        root = engine.ledger.publications.current("stg_numbered")[ONE].version.root
        ended.append((current.version, current.sha256, root, seen(engine, NUMBERED), accounts(engine, NUMBERED)))
        assert engine.ledger.incidents.open() == []
        engine.ledger.close()
    assert ended[1:] == ended[:1] * 11
    assert ended[0][3] == {"a": 3, "c": 3}
    assert {account for (_, version, *_), account in ended[0][4].items() if version == "3"} == {
        RowAccount(arrived=4, published=2, quarantined=1, duplicates=1)
    }


def test_a_restart_finds_every_version_again_and_does_nothing(engine: Engine, tmp_path: Path) -> None:
    """All of them still lie there, beside each other."""
    for version in ("1", "2", "3"):
        deliver(tmp_path, NUMBERED, ONE, rows_of(ONE, ("a", int(version))), version)
        run(engine, NUMBERED)
    before, serial = engine.ledger.arrivals.all(), engine.ledger.serials.now()
    (tmp_path / "landing/numbered/n_20300101_v3.csv").unlink()  # deleting a file changes nothing published
    again = started(tmp_path)
    assert all(isinstance(o, Reused) for o in run(again, NUMBERED).values())
    assert (again.ledger.arrivals.all(), again.ledger.serials.now()) == (before, serial)
    assert seen(again, NUMBERED) == {"a": 3}
    again.ledger.close()


def test_the_version_may_stand_in_the_rows(engine: Engine, tmp_path: Path) -> None:
    """One name, overwritten: an older export that is copied over a newer one is late all the same."""
    new = rows_of(ONE, ("a", 2), at="2030-02-02T00:00:00Z")
    old = rows_of(ONE, ("a", 1), at="2030-02-01T00:00:00Z")
    for content in (new, old):
        deliver(tmp_path, STAMPED, ONE, content)
        run(engine, STAMPED)
        assert seen(engine, STAMPED) == {"a": 2}
    first, second = engine.ledger.arrivals.all("stamped")
    assert (first.version, second.version) == ("2030-02-02T00:00:00Z", "2030-02-01T00:00:00Z")
    assert second.superseded_by == first.id
    assert first.file_name == "01-01-2030.csv"


@pytest.mark.parametrize(
    "broken",
    [b"", b"\x00\xff\xfe<html>", b"<html>an error page</html>\n", b'day,gate,people,published_at\n"2030', b"gate\na\n"],
)
def test_a_broken_file_has_no_version_and_is_an_incident(engine: Engine, tmp_path: Path, broken: bytes) -> None:
    """It replaces nothing that readers see, it is not passed over in silence, and no older file passes it."""
    for content in (
        rows_of(ONE, ("a", 5), at="2030-02-05T00:00:00Z"),
        broken,
        rows_of(ONE, ("a", 4), at="2030-02-04T00:00:00Z"),
    ):
        deliver(tmp_path, STAMPED, ONE, content)
        run(engine, STAMPED)
    assert seen(engine, STAMPED) == {"a": 5}
    assert [x.table for x in engine.ledger.incidents.open()] == ["raw_stamped"]
    accounts(engine, STAMPED)
    deliver(tmp_path, STAMPED, ONE, rows_of(ONE, ("a", 6), at="2030-02-06T00:00:00Z"))
    run(engine, STAMPED)
    assert seen(engine, STAMPED) == {"a": 6}
    assert engine.ledger.incidents.open() == []


# ------------------------------------------------------------------------------------------------------------- parts


def test_the_parts_of_a_day_are_its_content_together(engine: Engine, tmp_path: Path) -> None:
    deliver(tmp_path, PARTED, ONE, rows_of(ONE, ("a", 1), ("b", 1)), "east")
    run(engine, PARTED)
    assert seen(engine, PARTED) == {"a": 1, "b": 1}
    deliver(tmp_path, PARTED, ONE, rows_of(ONE, ("c", 2), ("a", 1), ("d", -1)), "west")
    assert isinstance(run(engine, PARTED)["raw_parted"], Published)
    assert seen(engine, PARTED) == {"a": 1, "b": 1, "c": 2}
    told = by_file(engine, PARTED)
    # The row that is in both files is a copy in one of them, and is counted there.
    assert told["east-01Jan2030.csv"] + told["west-01Jan2030.csv"] == RowAccount(5, 3, quarantined=1, duplicates=1)
    assert told["west-01Jan2030.csv"].quarantined == 1
    reads = engine.ledger.publications.current("raw_parted")[ONE].trace.reads
    assert sorted(read.rows for read in reads) == ["part east", "part west"]


def test_a_restated_part_replaces_that_part_only(engine: Engine, tmp_path: Path) -> None:
    """The incident: one terminal corrects its file, and the other terminal's passengers are gone."""
    for part, gate in (("east", "a"), ("west", "b")):
        deliver(tmp_path, PARTED, ONE, rows_of(ONE, (gate, 1)), part)
    run(engine, PARTED)
    deliver(tmp_path, PARTED, ONE, rows_of(ONE, ("b", 7), ("c", 7)), "west")
    run(engine, PARTED)
    assert seen(engine, PARTED) == {"a": 1, "b": 7, "c": 7}
    east, before, west = engine.ledger.arrivals.all("parted")
    assert (east.superseded_by, before.superseded_by, west.superseded_by) == (None, west.id, None)
    assert list(accounts(engine, PARTED).values()) == [
        RowAccount(1, published=1),
        RowAccount(1, superseded=1),
        RowAccount(2, published=2),
    ]
    assert engine.ledger.arrivals.counting("parted")[ONE] == (east, west)


def test_a_part_that_cannot_be_read_keeps_the_others_as_they_were(engine: Engine, tmp_path: Path) -> None:
    deliver(tmp_path, PARTED, ONE, rows_of(ONE, ("a", 1)), "east")
    run(engine, PARTED)
    deliver(tmp_path, PARTED, ONE, b"no,such,header\n1,2,3\n", "west")
    assert isinstance(run(engine, PARTED)["raw_parted"], Withheld)
    assert seen(engine, PARTED) == {"a": 1}
    assert "west-01Jan2030.csv line 1" in incident(engine, "raw_parted")
    assert by_file(engine, PARTED) == {
        "east-01Jan2030.csv": RowAccount(1, pending=1),
        "west-01Jan2030.csv": RowAccount(1, pending=1),
    }
    deliver(tmp_path, PARTED, ONE, rows_of(ONE, ("b", 2)), "west")
    run(engine, PARTED)
    assert seen(engine, PARTED) == {"a": 1, "b": 2}
    assert engine.ledger.incidents.open() == []


def test_two_parts_with_the_same_bytes_are_two_files(engine: Engine, tmp_path: Path) -> None:
    """Their rows are copies of each other, and dropped as such where the table says so; none is lost from the books."""
    for part in ("east", "west"):
        deliver(tmp_path, PARTED, ONE, rows_of(ONE, ("a", 1)), part)
    run(engine, PARTED)
    assert seen(engine, PARTED) == {"a": 1}
    (one, other) = by_file(engine, PARTED).values()
    assert one + other == RowAccount(2, published=1, duplicates=1)


# -------------------------------------------------------------------------------------------------------------- held


def cli(home: Path, *arguments: str, code: int = 0) -> Any:  # noqa: ANN401 - JSON, or what is complained about
    environment = {**os.environ, "SELFHEAL_TABLES": "tests.scenarios.counters", "NO_COLOR": "1"}
    done = CliRunner().invoke(app, [*arguments, "--home", str(home), *([] if code else ["--json"])], env=environment)
    assert done.exit_code == code, done.output
    return " ".join(done.stderr.split()) if code else json.loads(done.stdout)


def test_a_second_file_is_held_until_a_person_accepts_it(engine: Engine, tmp_path: Path) -> None:
    """The incident: a test file of the vendor's replaced a day of real passengers."""
    deliver(tmp_path, GUARDED, ONE, rows_of(ONE, ("a", 1)))
    run(engine, GUARDED)
    deliver(tmp_path, GUARDED, ONE, rows_of(ONE, ("a", 9)))
    assert isinstance(run(engine, GUARDED)["raw_guarded"], Withheld)
    assert seen(engine, GUARDED) == {"a": 1}
    said = incident(engine, "raw_guarded")
    held = engine.ledger.arrivals.held("guarded")[ONE][0].id
    assert said.startswith("another file has come beside g_2030-01-01.csv (")
    assert f"arrival {held}" in said
    assert f"selfheal accept guarded '{ONE}' takes it instead, selfheal reject guarded '{ONE}' does not" in said
    assert list(accounts(engine, GUARDED).values()) == [RowAccount(1, pending=1), RowAccount(1, pending=1)]
    assert engine.look("raw_guarded", [ONE]).stale == {}  # it is said once

    facts = cli(tmp_path, "accept", "guarded", ONE, "--why", "they called")
    assert facts["counts"]["file"] == "g_2030-01-01.csv"
    assert "raw_guarded 2030-01-01 is due" in facts["says"]
    assert list(engine.look("raw_guarded", [ONE]).stale) == [ONE]
    assert isinstance(run(engine, GUARDED)["raw_guarded"], Published)
    assert seen(engine, GUARDED) == {"a": 9}
    assert engine.ledger.incidents.open() == []
    told = list(accounts(engine, GUARDED).values())
    assert told[0] == RowAccount(1, superseded=1)
    assert told[-1] == RowAccount(1, published=1)
    assert engine.ledger.arrivals.current("guarded")[ONE].said is not None


def test_a_rejected_file_is_forgotten_for_good(engine: Engine, tmp_path: Path) -> None:
    deliver(tmp_path, GUARDED, ONE, rows_of(ONE, ("a", 1)))
    run(engine, GUARDED)
    path = engine.ledger.publications.current("raw_guarded")[ONE].path
    deliver(tmp_path, GUARDED, ONE, rows_of(ONE, ("a", 9)))
    run(engine, GUARDED)
    assert cli(tmp_path, "reject", "guarded", ONE)["rejected"] == ["g_2030-01-01.csv"]
    for opened in (engine, started(tmp_path)):  # it lies there still
        run(opened, GUARDED)
        assert opened.ledger.incidents.open() == []
        assert opened.ledger.publications.current("raw_guarded")[ONE].path == path
        assert seen(opened, GUARDED) == {"a": 1}
        assert opened.ledger.arrivals.held("guarded") == {}
    assert RowAccount(1, published=1) in accounts(engine, GUARDED).values()


def test_a_decision_that_cannot_be_meant_is_refused(engine: Engine, tmp_path: Path) -> None:
    deliver(tmp_path, GUARDED, ONE, rows_of(ONE, ("a", 1)))
    run(engine, GUARDED)
    assert "no file is held for 2030-01-01" in cli(tmp_path, "accept", "guarded", ONE, code=1)
    assert "there is no feed 'guard' (did you mean guarded?)" in cli(tmp_path, "reject", "guard", ONE, code=1)
    assert "'2030-01-99' is no daily partition" in cli(tmp_path, "reject", "guarded", "2030-01-99", code=1)
    for people in (8, 9):
        deliver(tmp_path, GUARDED, ONE, rows_of(ONE, ("a", people)))
        run(engine, GUARDED)
    first, second = (a.id for a in engine.ledger.arrivals.held("guarded")[ONE])
    assert f"--arrival {second}" in incident(engine, "raw_guarded")
    assert "2 files are held" in cli(tmp_path, "accept", "guarded", ONE, code=1)
    assert "arrival 99999 is not held" in cli(tmp_path, "accept", "guarded", ONE, "--arrival", "99999", code=1)
    cli(tmp_path, "accept", "guarded", ONE, "--arrival", str(first))
    run(engine, GUARDED)
    assert seen(engine, GUARDED) == {"a": 8}
    assert engine.ledger.incidents.open() == []


# --------------------------------------------------------------------------------------------------------- wrong day


def test_a_file_with_rows_of_another_day_is_held(engine: Engine, tmp_path: Path) -> None:
    """The incident: the vendor sends Wednesday's passengers as Tuesday's, and Tuesday has Wednesday's numbers."""
    deliver(tmp_path, NUMBERED, ONE, rows_of(ONE, ("a", 1)), "1")
    deliver(tmp_path, NUMBERED, TWO, rows_of(TWO, ("a", 2)), "1")
    run(engine, NUMBERED, ONE, TWO)
    before = {name: engine.ledger.publications.current(name) for name in ("raw_numbered", "stg_numbered")}
    deliver(tmp_path, NUMBERED, ONE, rows_of(TWO, ("a", 2), ("b", 2)), "2")
    run(engine, NUMBERED, ONE, TWO)
    assert incident(engine, "stg_numbered") == (
        "2 rows belong to another date, 2030-01-02; the first is numbered/n_20300101_v2.csv line 2"
    )
    now = {name: engine.ledger.publications.current(name) for name in before}
    assert now["stg_numbered"] == before["stg_numbered"]  # of either day, to the file
    assert now["raw_numbered"][TWO] == before["raw_numbered"][TWO]
    assert (seen(engine, NUMBERED, ONE), seen(engine, NUMBERED, TWO)) == ({"a": 1}, {"a": 2})
    assert by_file(engine, NUMBERED)["n_20300101_v2.csv"] == RowAccount(2, pending=2)
    deliver(tmp_path, NUMBERED, ONE, rows_of(ONE, ("a", 3)), "3")
    run(engine, NUMBERED, ONE, TWO)
    assert engine.ledger.incidents.open() == []
    assert (seen(engine, NUMBERED, ONE), seen(engine, NUMBERED, TWO)) == ({"a": 3}, {"a": 2})
