"""What the ledger knows of the landing zone, on every database that it runs on."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import event

from sh_resources.ledger import KnownFile, Ledger

NOW = datetime(2013, 3, 10, 7, 30, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
A = KnownFile("a.csv", "d1", 7, "1 2 3", "aa", NOW)
B = KnownFile("b.csv", "d1", 2**40, "", "bb", NOW)


def test_what_was_noted_is_known_by_feed_and_name(ledger: Ledger) -> None:
    ledger.files.note("flights", [B, A], {})
    ledger.files.note("weather", [replace(A, sha256="other")], {})
    assert ledger.files.known("flights", ["b.csv", "a.csv", "c.csv"]) == {"a.csv": A, "b.csv": B}
    assert ledger.files.known("weather", ["a.csv", "b.csv"]) == {"a.csv": replace(A, sha256="other")}
    assert ledger.files.known("flights", []) == {}


def test_a_file_is_noted_anew_with_all_that_changed(ledger: Ledger) -> None:
    ledger.files.note("flights", [A], {})
    new = KnownFile("a.csv", "d2", 9, "4", "cc", LATER)
    ledger.files.note("flights", [new], {"a.csv": A})
    assert ledger.files.known("flights", ["a.csv"]) == {"a.csv": new}


def test_what_another_process_noted_meanwhile_stays(ledger: Ledger) -> None:
    """The incident: of A, B, A two processes read A and B; the slower one notes its A, and the last A is never read."""
    ledger.files.note("flights", [A], {})
    other = replace(A, sha256="bb", stamp="5")
    ledger.files.note("flights", [other], {"a.csv": A})
    ledger.files.note("flights", [replace(A, stamp="6"), B], {"a.csv": A})
    assert ledger.files.known("flights", ["a.csv", "b.csv"]) == {"a.csv": other, "b.csv": B}
    new = replace(A, sha256="dd")
    ledger.files.note("flights", [new], {})  # to this one it was new
    assert ledger.files.known("flights", ["a.csv"]) == {"a.csv": other}


def test_two_processes_that_read_the_same_may_both_note_it(ledger: Ledger) -> None:
    ledger.files.note("flights", [A], {})
    again = replace(A, stamp="later")
    ledger.files.note("flights", [again], {})
    assert ledger.files.known("flights", ["a.csv"]) == {"a.csv": again}


def test_what_is_gone_is_known_since_when_until_it_is_back(ledger: Ledger) -> None:
    ledger.files.note("flights", [A, B], {})
    ledger.files.note("weather", [A], {})
    ledger.files.note_gone("flights", ["a.csv", "never.csv"], NOW)
    ledger.files.note_gone("flights", ["a.csv"], LATER)
    gone = replace(A, gone_utc=NOW)
    assert ledger.files.known("flights", ["a.csv", "b.csv"]) == {"a.csv": gone, "b.csv": B}
    assert ledger.files.there("flights", "", 10) == {"b.csv": ""}
    assert ledger.files.there("weather", "", 10) == {"a.csv": "1 2 3"}
    ledger.files.note("flights", [A], {"a.csv": gone})
    assert ledger.files.known("flights", ["a.csv"]) == {"a.csv": A}


def test_what_is_there_is_told_in_order_page_by_page(ledger: Ledger) -> None:
    """By bytes on either database: a bucket lists names in this order."""
    names = ["B.csv", "_.csv", "a.csv", "b.csv", "ä.csv"]
    ledger.files.note("flights", [replace(A, name=name) for name in reversed(names)], {})
    pages, after = list[list[str]](), ""
    while page := ledger.files.there("flights", after, 2):
        pages.append(list(page))
        after = pages[-1][-1]
    assert pages == [names[:2], names[2:4], names[4:]]


def test_many_files_take_few_queries(ledger: Ledger) -> None:
    many = [replace(A, name=f"{n}.csv") for n in range(1200)]
    queries: list[str] = []
    event.listen(ledger._database._engine, "before_cursor_execute", lambda *a: queries.append(a[2]))
    ledger.files.note("flights", many, {})
    assert len(ledger.files.known("flights", [file.name for file in many])) == 1200
    ledger.files.note_gone("flights", [file.name for file in many], NOW)
    assert len([query for query in queries if not query.startswith(("BEGIN", "COMMIT"))]) < 20
