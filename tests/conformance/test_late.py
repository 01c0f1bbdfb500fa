"""What the ledger promises about late things and placeholders, on SQLite and on PostgreSQL.

The incidents: two daemons open one incident each for the same file; an incident that cannot be closed, since another
one is open for the same partition; the withheld day that nobody can confirm because a late one is in its way.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Barrier

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from sh_core.reconciliation import Differs, Reconciliation
from sh_core.records import About
from sh_resources.ledger import Delivery, Ledger
from sh_resources.ledger.database import CHUNK
from sh_resources.ledger.late import CLOSED, WITHDRAWN, Late
from tests.conformance.test_ledger import LATER, NOW, TABLE, lease, publish, published, version, withhold

FILE: Late = (About.FILE, "weather", "d1")
DETAIL = {"due_utc": "2013-03-10T06:00:00+00:00", "file": "weather_d1.csv \x00 ü", "holds_up": {"tables": {}}}


def kinds(ledger: Ledger) -> list[list[str]]:
    return [[event.kind for event in incident.events] for incident in ledger.incidents.all()]


def test_an_incident_about_a_late_file_is_opened_once_and_closed_once(ledger: Ledger) -> None:
    opened = ledger.late.open({FILE: DETAIL}, NOW)
    assert opened.keys() == {FILE}
    assert ledger.late.open({FILE: DETAIL}, LATER) == {}
    (standing,) = ledger.late.standing().values()
    assert (standing.id, standing.late, standing.opened_utc) == (opened[FILE], FILE, NOW)
    assert ledger.late.details([standing.id]) == {standing.id: DETAIL}
    assert ledger.late.close({standing.id: {"late_by_s": 300.0}}, CLOSED, LATER) == {standing.id}
    assert ledger.late.close({standing.id: {"late_by_s": 9.0}}, CLOSED, LATER + timedelta(1)) == frozenset()
    assert ledger.late.standing() == {}
    (incident,) = ledger.incidents.all()
    assert (incident.cause_key, incident.about, incident.table) == ("late:weather", About.FILE, "weather")
    assert (incident.opened_utc, incident.closed_utc, incident.is_open) == (NOW, LATER, False)
    assert [(e.kind, e.at_utc, e.attempt_id) for e in incident.events] == [
        ("opened", NOW, None),
        ("closed", LATER, None),
    ]
    assert dict(incident.events[1].detail) == {"late_by_s": 300.0}


def test_a_file_that_is_late_again_is_a_new_incident(ledger: Ledger) -> None:
    """It was withdrawn by mistake, say, and is owed again."""
    first = ledger.late.open({FILE: DETAIL}, NOW)[FILE]
    ledger.late.close({first: {}}, WITHDRAWN, NOW)
    second = ledger.late.open({FILE: DETAIL}, LATER)[FILE]
    assert second > first
    assert kinds(ledger) == [["opened", "withdrawn"], ["opened"]]


def test_many_writers_open_one_each_between_them(ledger: Ledger, ledger_url: str) -> None:
    wanted: dict[Late, dict[str, object]] = {(About.FILE, "weather", f"d{n}"): {} for n in range(20)}
    wanted |= {(About.DEADLINE, TABLE, f"d{n}"): {} for n in range(20)}
    ready = Barrier(4)

    def go(number: int) -> tuple[int, int]:
        mine = dict(reversed(wanted.items())) if number % 2 else wanted
        with Ledger.open(ledger_url) as own:
            ready.wait()
            opened = own.late.open(mine, NOW)
            ready.wait()
            every = {found.id: dict[str, object]() for found in own.late.standing().values()}
            ready.wait()
            return len(opened), len(own.late.close(every, CLOSED, LATER))

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(go, range(4)))
    assert sum(opened for opened, _ in done) == sum(closed for _, closed in done) == 40
    assert kinds(ledger) == [["opened", "closed"]] * 40


def test_whoever_looked_before_the_file_arrived_opens_nothing(ledger: Ledger) -> None:
    ledger.arrivals.record("weather", [Delivery("d1", "weather_d1.csv", "aa", 1)], NOW)
    other: Late = (About.FILE, "flights", "d1")
    of_table: Late = (About.DEADLINE, "weather", "d1")
    assert ledger.late.open({FILE: {}, other: {}, of_table: {}}, NOW).keys() == {other, of_table}


def test_late_and_withheld_are_two_incidents_of_one_partition(ledger: Ledger) -> None:
    """The table misses its deadline because it is withheld: neither incident is in the other one's way."""
    token = lease(ledger)
    mine: Late = (About.DEADLINE, TABLE, "d1")
    same_name: Late = (About.FILE, TABLE, "d1")
    number = ledger.late.open({mine: DETAIL, same_name: DETAIL}, NOW)
    published(ledger, withhold("a", token))
    assert [(i.about, i.partition) for i in ledger.incidents.open(TABLE)] == [
        (About.DEADLINE, "d1"),
        (About.CONTENT, "d1"),
    ]
    assert {i.about for i in ledger.incidents.open()} == set(About)
    assert {i.about for i in ledger.incidents.all(TABLE, "d1")} == {About.DEADLINE, About.CONTENT}
    (content,) = (i for i in ledger.incidents.open() if i.about is About.CONTENT)
    assert ledger.late.close({content.id: {}}, CLOSED, LATER) == frozenset()  # only what is published closes it
    published(ledger, publish("b", token))
    assert ledger.late.standing().keys() == {mine, same_name}  # what is published closes what is about content
    assert {i.about for i in ledger.incidents.open()} == {About.DEADLINE, About.FILE}
    assert ledger.late.close({number[mine]: {}}, CLOSED, LATER) == {number[mine]}


def test_two_open_ones_about_the_same_are_refused_by_the_database(ledger: Ledger) -> None:
    ledger.late.open({FILE: {}}, NOW)
    row = "INSERT INTO ledger_incidents (cause_key, about, table_name, partition_key, opened_utc) "
    again = "SELECT cause_key, about, table_name, partition_key, opened_utc FROM ledger_incidents"
    with pytest.raises(IntegrityError), ledger._database.write() as connection:
        connection.execute(text(row + again))


def test_thousands_are_closed_in_one_go_and_the_newest_are_found(ledger: Ledger) -> None:
    wanted: dict[Late, dict[str, object]] = {(About.FILE, "weather", f"{n:05}"): {} for n in range(CHUNK + 5)}
    opened = ledger.late.open(wanted, NOW)
    assert [found.partition for found in ledger.late.newest(3)] == ["00502", "00503", "00504"]
    ended = {number: {"n": number} for number in opened.values()}
    assert ledger.late.close(ended, CLOSED, LATER) == frozenset(opened.values())
    assert len(ledger.late.newest(10**6)) == CHUNK + 5
    assert ledger.late.details(opened.values()).keys() == set(opened.values())


def test_times_without_a_zone_are_refused(ledger: Ledger) -> None:
    naive = datetime(2013, 3, 10)  # noqa: DTZ001
    with pytest.raises(ValueError, match="no time zone"):
        ledger.late.open({FILE: {}}, naive)
    with pytest.raises(ValueError, match="no time zone"):
        ledger.late.close({1: {}}, CLOSED, naive)
    assert ledger.late.open({}, naive) == {}


# ---------------------------------------------------------------------------------------------------------- arrivals


def test_the_first_file_counts_and_not_the_current_one(ledger: Ledger) -> None:
    """A restated file is not late: the one before it was there."""
    for minutes, content in enumerate(("aa", "bb", "aa")):
        at = NOW + timedelta(minutes=minutes)
        ledger.arrivals.record("weather", [Delivery("d1", "weather_d1.csv", content, 1)], at)
    ledger.arrivals.record("weather", [Delivery("d2", "weather_d2.csv", "cc", 1)], LATER)
    ledger.arrivals.record("flights", [Delivery("d3", "flights_d3.csv", "dd", 1)], LATER)
    assert ledger.arrivals.first("weather") == {"d1": NOW, "d2": LATER}
    assert ledger.arrivals.first("weather", ["d2", "d3"]) == {"d2": LATER}
    assert ledger.arrivals.first("weather", []) == {}


def test_arrivals_since_another_come_in_order_and_bounded(ledger: Ledger) -> None:
    assert (ledger.arrivals.newest(), ledger.arrivals.since(0, 5)) == (0, [])
    for n in range(4):
        ledger.arrivals.record("weather", [Delivery(f"d{n}", f"weather_d{n}.csv", "aa", 1)], NOW)
    first, *rest = ledger.arrivals.since(0, 10)
    assert [a.partition for a in (first, *rest)] == ["d0", "d1", "d2", "d3"]
    assert [a.partition for a in ledger.arrivals.since(first.id, 2)] == ["d1", "d2"]
    assert ledger.arrivals.newest() == rest[-1].id


# --------------------------------------------------------------------------------------------- placeholders and truth

MARK = f"{TABLE}[d1] from d0"
FOUND = Reconciliation(MARK, 3, 4, 1, 2, 1, {"wind \x00": Differs(1, 6, 41.5), "n": Differs(None)})


def test_what_readers_see_is_known_in_short(ledger: Ledger) -> None:
    token, other = lease(ledger), lease(ledger, "d2")
    published(ledger, publish("a", token, version=version("a").marked([MARK])))
    published(ledger, publish("b", other, "d2"))
    found = ledger.publications.shown(TABLE)
    assert {key: (f.attempt_id, f.published_utc, f.marks) for key, f in found.items()} == {
        "d1": ("a", LATER, (MARK,)),
        "d2": ("b", LATER, ()),
    }
    assert ledger.publications.shown(TABLE, ["d2", "d9"]).keys() == {"d2"}
    assert ledger.publications.shown("other") == {}


def test_a_reconciliation_counts_once_its_attempt_is_confirmed(ledger: Ledger) -> None:
    token = lease(ledger)
    truth = publish("truth", token)
    assert ledger.publications.intend([truth]) == [truth]
    ledger.reconciliations.keep(TABLE, {("d1", "truth"): FOUND})
    assert ledger.reconciliations.newest(limit=5) == []
    ledger.publications.confirm(["truth"], LATER)
    (kept,) = ledger.reconciliations.newest(limit=5)
    assert (kept.attempt_id, kept.table, kept.partition, kept.at_utc) == ("truth", TABLE, "d1", LATER)
    assert kept.found == FOUND
    ledger.reconciliations.keep(TABLE, {("d1", "truth"): replace(FOUND, differ=9)})  # said twice, it is what it was
    assert ledger.reconciliations.of_attempts(["truth", "other"]) == {"truth": kept}
    assert ledger.reconciliations.newest(TABLE, "d1", limit=5) == [kept]
    assert ledger.reconciliations.newest(TABLE, "d2", limit=5) == []
    assert ledger.reconciliations.newest("other", limit=5) == []


def test_a_reconciliation_of_what_was_discarded_is_told_to_nobody(ledger: Ledger) -> None:
    token = lease(ledger)
    assert ledger.publications.intend([publish("lost", token)])
    ledger.reconciliations.keep(TABLE, {("d1", "lost"): FOUND})
    ledger.publications.discard(["lost"], LATER, "why not")
    assert ledger.reconciliations.newest(limit=5) == []
    assert ledger.reconciliations.of_attempts(["lost"]) == {}


def test_reconciliations_come_newest_first_and_bounded(ledger: Ledger) -> None:
    token = lease(ledger)
    for n in range(3):
        attempt = publish(f"t{n}", token, transaction=n + 1)
        assert ledger.publications.intend([attempt])
        ledger.reconciliations.keep(TABLE, {("d1", f"t{n}"): FOUND})
        ledger.publications.confirm([f"t{n}"], LATER + timedelta(minutes=n))
    assert [r.attempt_id for r in ledger.reconciliations.newest(limit=2)] == ["t2", "t1"]


def test_one_of_an_unknown_attempt_is_refused(ledger: Ledger) -> None:
    with pytest.raises(IntegrityError):
        ledger.reconciliations.keep(TABLE, {("d1", "nobody"): FOUND})
