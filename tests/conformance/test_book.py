"""What a book promises, whoever keeps it: the ledger for production, dictionaries for the oracle.

The incident: the oracle is green in memory, while the ledger forgets to say that a content is new.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sh_core.book import LastLook, Request
from sh_core.staleness import CodeChanged, ContractChanged, FirstTime, InputChanged
from tests.conformance.book_drivers import MONDAY, SHAPES, TUESDAY, WEDNESDAY, Driver, edited, opened

ROWS = ((1, 5, 7), (2, 6, 8))
REGISTER = ((1, 3), (9, 9))


@pytest.fixture(params=["memory", "ledger"])
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Driver]:
    with opened(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def published(driver: Driver) -> Driver:
    """Monday's and Tuesday's files, the register, and everything made of them."""
    for key in (MONDAY, TUESDAY):
        driver.arrive("f", key, ROWS)
    driver.arrive("r", "all", REGISTER)
    for name in ("raw_f", "stg_f"):
        driver.run(name, [MONDAY, TUESDAY])
    for name in ("raw_r", "stg_r"):
        driver.run(name, ["all"])
    driver.run("mart", [MONDAY, TUESDAY])
    return driver


def serial(driver: Driver) -> int:
    return driver.book.changes(None).serial


def standing(driver: Driver, table: str, key: str) -> tuple[int, int, int]:
    """Content, looked and recipe."""
    return next((content, looked, recipe) for k, content, looked, recipe in driver.book.standings(table) if k == key)


def told(driver: Driver, after: int) -> tuple[dict[str, set[str]], ...]:
    changes = driver.book.changes(after)
    parts = (changes.settled, changes.content, changes.arrived)
    return tuple({name: set(keys) for name, keys in part.items()} for part in parts)


def test_nothing_has_happened_yet(driver: Driver) -> None:
    assert told(driver, serial(driver)) == ({}, {}, {})
    assert not list(driver.book.standings("mart"))
    assert not list(driver.book.arrivals("f"))
    assert not driver.book.leased()
    assert not driver.book.paused()


def test_a_file_has_come(driver: Driver) -> None:
    before = serial(driver)
    driver.arrive("f", MONDAY, ROWS)
    assert told(driver, before) == ({}, {}, {"f": {MONDAY}})
    assert dict(driver.book.arrivals("f")) == {MONDAY: serial(driver)}
    assert told(driver, serial(driver)) == ({}, {}, {})


def test_what_was_published_is_settled_and_new(driver: Driver) -> None:
    driver.arrive("f", MONDAY, ROWS)
    before = serial(driver)
    driver.run("raw_f", [MONDAY])
    assert told(driver, before) == ({"raw_f": {MONDAY}}, {"raw_f": {MONDAY}}, {})
    content, looked, recipe = standing(driver, "raw_f", MONDAY)
    assert (content, looked, recipe) == (serial(driver), before, driver.book.recipe("raw_f"))


def test_the_same_content_is_settled_and_not_new(published: Driver) -> None:
    driver, (content, _, _) = published, standing(published, "raw_f", MONDAY)
    driver.arrive("f", MONDAY, ROWS[::-1])  # other bytes, the same rows
    before = serial(driver)
    driver.run("raw_f", [MONDAY])
    assert told(driver, before) == ({"raw_f": {MONDAY}}, {}, {})
    assert standing(driver, "raw_f", MONDAY)[:2] == (content, before)


def test_what_was_withheld_is_settled_and_not_new(published: Driver) -> None:
    driver, (content, _, _) = published, standing(published, "stg_f", MONDAY)
    driver.arrive("f", MONDAY, ((1, 99, 7),))
    driver.run("raw_f", [MONDAY])
    before = serial(driver)
    driver.run("stg_f", [MONDAY])
    assert told(driver, before) == ({"stg_f": {MONDAY}}, {}, {})
    assert standing(driver, "stg_f", MONDAY)[0] == content
    assert driver.book.look("stg_f", [MONDAY]).settled == {MONDAY}
    assert driver.book.look("mart", [MONDAY, TUESDAY]).settled == {MONDAY, TUESDAY}, "they keep what was good last"


def test_what_never_was_published_is_withheld_without_content(driver: Driver) -> None:
    driver.arrive("f", MONDAY, ((1, 99, 7),))
    driver.run("raw_f", [MONDAY])
    before = serial(driver)
    driver.run("stg_f", [MONDAY])
    assert standing(driver, "stg_f", MONDAY)[:2] == (0, before)
    assert driver.book.look("mart", [MONDAY]).waiting.keys() == {MONDAY}


def test_a_look_tells_stale_waiting_and_settled(published: Driver) -> None:
    driver = published
    driver.arrive("f", TUESDAY, (*ROWS, (3, 1, 1)))
    driver.arrive("f", WEDNESDAY, ROWS)
    raw = driver.book.look("raw_f", [MONDAY, TUESDAY, WEDNESDAY])
    assert raw.settled == {MONDAY}
    assert {key: [type(r) for r in stale.reasons] for key, stale in raw.stale.items()} == {
        TUESDAY: [InputChanged],
        WEDNESDAY: [FirstTime],
    }
    assert driver.book.look("stg_f", [WEDNESDAY]).waiting.keys() == {WEDNESDAY}


def test_what_is_found_settled_is_noted(published: Driver) -> None:
    """Without the note, a change in a column that nobody reads is looked at in every sweep from then on."""
    driver = published
    driver.arrive("f", MONDAY, ((1, 5, 0), (2, 6, 0)))
    driver.run("raw_f", [MONDAY])
    driver.run("stg_f", [MONDAY])
    newest = standing(driver, "stg_f", MONDAY)[0]
    assert standing(driver, "mart", MONDAY)[1] < newest
    assert driver.book.look("mart", [MONDAY, TUESDAY]).settled == {MONDAY, TUESDAY}
    assert standing(driver, "mart", MONDAY)[1] >= newest
    assert standing(driver, "mart", TUESDAY)[1] >= newest


def test_what_is_found_stale_is_not_noted(published: Driver) -> None:
    """With a note, it would be forgotten as soon as the watch's memory is."""
    driver, before = published, standing(published, "mart", MONDAY)
    driver.arrive("f", MONDAY, ((1, 4, 7), (2, 6, 8)))
    driver.run("raw_f", [MONDAY])
    driver.run("stg_f", [MONDAY])
    assert driver.book.look("mart", [MONDAY]).stale.keys() == {MONDAY}
    assert standing(driver, "mart", MONDAY) == before


def test_what_was_missing_and_appears_is_a_change(driver: Driver) -> None:
    """Tuesday's mart does without Monday, whose file is late; when it comes, Tuesday is computed again."""
    driver.arrive("f", TUESDAY, ROWS)
    driver.arrive("r", "all", REGISTER)
    for name, key in (("raw_f", TUESDAY), ("stg_f", TUESDAY), ("raw_r", "all"), ("stg_r", "all"), ("mart", TUESDAY)):
        driver.run(name, [key])
    assert driver.book.look("mart", [TUESDAY]).settled == {TUESDAY}
    driver.arrive("f", MONDAY, ROWS)
    for name in ("raw_f", "stg_f"):
        driver.run(name, [MONDAY])
    (stale,) = driver.book.look("mart", [TUESDAY]).stale.values()
    assert [reason.appeared for reason in stale.reasons if isinstance(reason, InputChanged)] == [True]


def test_only_those_rows_of_a_register_count_that_are_looked_up(published: Driver) -> None:
    driver = published
    for rows, stale in (
        (((1, 3), (9, 0)), set()),  # 9 occurs nowhere
        (((1, 3),), set()),
        (((1, 3), (2, 2)), {MONDAY, TUESDAY}),  # 2 had been missing
    ):
        driver.arrive("r", "all", rows)
        driver.run("raw_r", ["all"])
        driver.run("stg_r", ["all"])
        assert driver.book.look("mart", [MONDAY, TUESDAY]).stale.keys() == stale


@pytest.mark.parametrize("idle", [0, 1])
def test_an_edit_is_another_recipe(published: Driver, idle: int) -> None:
    driver, mart = published, SHAPES["mart"]
    assert mart.code is not None
    before = driver.book.recipe("mart")
    driver.edit(edited(mart, code=replace(mart.code, idle=idle, plus=1 - idle)))
    assert driver.book.recipe("mart") != before
    assert driver.book.recipe("stg_f") == standing(driver, "stg_f", MONDAY)[2]
    (stale,) = driver.book.look("mart", [MONDAY]).stale.values()
    assert [type(reason) for reason in stale.reasons] == [CodeChanged]
    driver.edit(SHAPES)
    assert driver.book.recipe("mart") == before


def test_another_contract_is_another_recipe(published: Driver) -> None:
    driver, staged = published, SHAPES["stg_f"]
    before = driver.book.recipe("stg_f")
    driver.edit(edited(staged, gate=replace(staged.gate, limit=40)))
    assert driver.book.recipe("stg_f") != before
    (stale,) = driver.book.look("stg_f", [MONDAY]).stale.values()
    assert [type(reason) for reason in stale.reasons] == [ContractChanged]


def test_who_works_on_what(published: Driver) -> None:
    release = published.hold("mart", MONDAY)
    assert {name: set(keys) for name, keys in published.book.leased().items()} == {"mart": {MONDAY}}
    release()
    assert not published.book.leased()


def test_what_is_paused(published: Driver) -> None:
    published.pause("mart")
    assert set(published.book.paused()) == {"mart"}


def test_tries_are_counted_by_trace_until_it_is_settled(published: Driver) -> None:
    """Counted for ever, a day that was restated back and forth five times would be given up."""
    driver = published
    driver.arrive("f", MONDAY, ((1, 4, 7), (2, 6, 8)))
    (stale,) = driver.book.look("raw_f", [MONDAY]).stale.values()
    request, place = Request("raw_f", MONDAY, stale), ("raw_f", MONDAY)
    assert not driver.book.tries({place: stale})
    for _ in range(2):
        last = driver.later(10)
        driver.book.request([request], "a test", last)
    tries = driver.book.tries({place: stale})[place]
    assert (tries.count, tries.last_utc) == (2, last)
    assert not driver.book.tries({place: replace(stale, trace="another")})
    driver.later(10)
    driver.run("raw_f", [MONDAY])
    assert not driver.book.tries({place: stale})


def test_a_request_has_a_serial_of_its_own_before_any_look_that_follows_it(published: Driver) -> None:
    """With the serial of something else, a look from before the request would pass for an answer to it."""
    driver = published
    driver.arrive("f", MONDAY, ((1, 4, 7), (2, 6, 8)))
    (stale,) = driver.book.look("raw_f", [MONDAY]).stale.values()
    before = serial(driver)
    asked = driver.book.request([Request("raw_f", MONDAY, stale)], "a test", driver.later(1))
    assert asked == before + 1 == serial(driver)
    assert told(driver, before) == ({}, {}, {})
    looked = driver.book.looks([("raw_f", MONDAY), ("raw_f", WEDNESDAY)])
    assert looked.keys() == {("raw_f", MONDAY)}
    assert looked["raw_f", MONDAY].looked < asked
    driver.run("raw_f", [MONDAY])
    after = driver.book.looks([("raw_f", MONDAY)])["raw_f", MONDAY]
    assert after == LastLook(asked, driver.book.recipe("raw_f"))


def test_a_run_that_finds_a_partition_settled_has_looked_at_it(published: Driver) -> None:
    """Otherwise whoever requested it under other code could not tell such a run from one that died."""
    driver, before = published, serial(published)
    assert standing(driver, "mart", MONDAY)[1] < before
    driver.run("mart", [MONDAY])
    assert serial(driver) == before
    assert driver.book.looks([("mart", MONDAY)]) == {("mart", MONDAY): LastLook(before, driver.book.recipe("mart"))}
    assert standing(driver, "mart", MONDAY)[1] == before
