"""A changed register: whoever is passed over would have been found settled by a closer look.

The incident these prevent: a shortcut that takes a partition for up to date because the register looks as it did when
somebody last looked, although the partition was computed from what it was in between.
"""

import random
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from sh_core.partitions import WHOLE
from sh_core.staleness import Look
from sh_resources.book import LedgerBook
from sh_resources.clock import ManualClock
from sh_resources.engine import Engine
from sh_resources.registers import Registers
from tests.reading import BIKES, GRAPH, NOON, RIDES, D, deliver, deliver_all, engine_at, run, run_all
from tests.scenarios.test_what_runs import change

READER = "ride_details"
RED, BLUE = [("b1", "red", 2), ("b2", "red", 2)], [("b1", "blue", 2), ("b2", "red", 2)]


def book_of(engine: Engine) -> LedgerBook:
    """A book that takes the short way however few partitions there are."""
    book = LedgerBook(engine, ManualClock(NOON))
    book.registers.least = 1
    return book


def register(engine: Engine, home: Path, bikes: list[tuple[str, str, int]]) -> None:
    """Publish the register of bikes anew."""
    deliver(home, BIKES, bikes)
    for name in ("raw_bikes", "stg_bikes"):
        run(engine, name)


def settled_with(home: Path, bikes: list[tuple[str, str, int]]) -> tuple[Engine, LedgerBook]:
    """Everything delivered and run with this register, and a book that has seen nothing yet."""
    engine = engine_at(home)
    deliver_all(home)
    register(engine, home, bikes)
    run_all(engine)
    return engine, book_of(engine)


def all_keys(name: str) -> Collection[str]:
    return GRAPH[name].partitions.keys()


@pytest.mark.parametrize("seed", range(6))
def test_the_short_way_finds_what_the_long_way_finds(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random deliveries and runs of some tables only, so that partitions have looked at registers of any age."""
    rng, engine, passed = random.Random(seed), engine_at(tmp_path), set[tuple[int, str, str]]()
    unconcerned = Registers.unconcerned

    def noted(self: Registers, name: str, *rest: Any) -> frozenset[str]:  # noqa: ANN401
        found = unconcerned(self, name, *rest)
        passed.update((burst, name, key) for key in found)
        return found

    monkeypatch.setattr(Registers, "unconcerned", noted)
    book, serial = book_of(engine), 0
    for burst in range(12):
        for _ in range(40 if burst == 0 else rng.randrange(1, 4)):
            change(tmp_path, rng)
        for table in engine.graph.tables:
            if burst == 0 or rng.random() < 0.7:
                run(engine, table.name)
        changes = book.changes(serial)
        serial = changes.serial
        for table in engine.graph.tables:
            if rng.random() < 0.2:
                book.standings(table.name)
            if rng.random() < 0.7:
                long = engine.look(table.name, table.partitions.keys())
                assert book.look(table.name, table.partitions.keys()) == long, (burst, table.name)
    assert {name for _, name, _ in passed} >= {READER}
    assert len({burst for burst, _, _ in passed}) > 1


def test_only_partitions_with_the_changed_key_are_looked_at_closely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bicycle is painted: the days on which others were ridden cost next to nothing."""
    engine = engine_at(tmp_path)
    deliver_all(tmp_path)
    deliver(tmp_path, RIDES, [(1, "b2", "Bern", "north", "south", 3)], D[3])
    register(engine, tmp_path, RED)
    run_all(engine)
    book = book_of(engine)
    book.standings("stg_bikes")
    register(engine, tmp_path, BLUE)
    closely = _spied(engine, monkeypatch)
    look = book.look(READER, all_keys(READER))
    assert D[3] in look.settled
    assert sorted(key for _, keys in closely for key in keys) == sorted(look.stale) == [d for d in D if d != D[3]]
    assert D[3] in {key for key, _, looked, _ in book.standings(READER) if looked >= engine.ledger.serials.now() - 1}


def _spied(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Collection[str]]]:
    seen: list[tuple[str, Collection[str]]] = []
    look = engine.look

    def spied(name: str, keys: Collection[str], *, ingest: bool) -> Look:
        seen.append((name, list(keys)))
        return look(name, keys, ingest=ingest)

    monkeypatch.setattr(engine, "look", spied)
    return seen


def _just_before(engine: Engine, monkeypatch: pytest.MonkeyPatch, what: str, name: str, do: Callable[[], None]) -> None:
    """Have something happen once, right before the engine looks at a table's inputs."""
    original = getattr(engine, what)

    def late(table: Any, *rest: Any, **options: Any) -> Any:  # noqa: ANN401
        if getattr(table, "name", table) == name:
            monkeypatch.setattr(engine, what, original)
            do()
        return original(table, *rest, **options)

    monkeypatch.setattr(engine, what, late)


def test_a_run_that_saw_a_register_for_a_moment_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red when the run noted its serial, blue when it looked, red again now: the partition shows blue."""
    engine, book = settled_with(tmp_path, RED)
    book.standings("stg_bikes")
    seen = engine.ledger.serials.now()
    deliver(tmp_path, RIDES, [(1, "b1", "Bern", "north", "south", 3)], D[0])
    for name in ("raw_rides", "stg_rides"):
        run(engine, name, [D[0]])
    book.changes(seen)
    _just_before(engine, monkeypatch, "_prepare", READER, lambda: register(engine, tmp_path, BLUE))
    run(engine, READER, [D[0]])
    assert engine.look(READER, [D[0]]).settled == {D[0]}  # it is blue
    register(engine, tmp_path, RED)
    assert set(book.look(READER, [D[0]]).stale) == {D[0]}


def test_a_look_that_saw_a_register_for_a_moment_is_not_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blue when it ran; red, and blue again while it was looked at, and then red: it is not what it was before."""
    engine, book = settled_with(tmp_path, BLUE)
    register(engine, tmp_path, RED)
    book.standings("stg_bikes")
    book.changes(engine.ledger.serials.now())
    _just_before(engine, monkeypatch, "look", READER, lambda: register(engine, tmp_path, BLUE))
    assert D[0] in book.look(READER, all_keys(READER)).settled
    register(engine, tmp_path, RED)
    assert D[0] in book.look(READER, all_keys(READER)).stale


def test_a_register_whose_old_file_is_gone_is_looked_at_closely(tmp_path: Path) -> None:
    """Tidied away: nobody knows any more what has changed."""
    engine, book = settled_with(tmp_path, RED)
    book.standings("stg_bikes")
    old = engine.ledger.publications.current("stg_bikes")[WHOLE].path
    register(engine, tmp_path, BLUE)
    engine.store.table(GRAPH["stg_bikes"]).unstage([old])
    assert book.look(READER, all_keys(READER)) == engine.look(READER, all_keys(READER))


def test_a_partition_that_somebody_else_took_away_is_looked_at_closely(tmp_path: Path) -> None:
    """The incident: a table is deleted or restored, a sweep finds it, and all is called well as no register changed."""
    engine, book = settled_with(tmp_path, RED)
    assert set(all_keys(READER)) == book.look(READER, all_keys(READER)).settled
    shutil.rmtree(engine.store.table(GRAPH[READER]).folder)
    astray = book.astray(READER)
    assert set(book.look(READER, astray).stale) == set(astray) == set(all_keys(READER))
