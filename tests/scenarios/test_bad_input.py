"""What vendors deliver on their bad days, as real files through the real graph, and what a person reads about it.

Each case spoils one feed's file of one day of 2013. All of them land together, each on a day of its own, so that each
is also a neighbour of all the others. Then everybody delivers the right file, and all is as if nothing had been.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from sh_assets.flights import TABLES
from sh_assets.flights.feeds import DAYS, FLIGHT_FEEDS
from sh_core.accounts import RowAccount
from sh_core.columns import FILE, LINE
from sh_core.feed import Feed
from sh_drills.replay import Replay, land
from tests.scenarios.bed import Bed, Told

pytestmark = [pytest.mark.graph, pytest.mark.slow]

SPOILED, *OTHERS = FLIGHT_FEEDS
COLUMNS = SPOILED.columns
RAW, STG, MART = f"raw_{SPOILED.name}", "stg_flights", "mart_daily_delays"
RAWS = tuple(f"raw_{feed.name}" for feed in FLIGHT_FEEDS)

Deliver = Callable[[Path, list[bytes]], None]
"""Puts something at the path, made of the lines of the real file, line ends included."""


@dataclass(frozen=True)
class Case:
    """One bad file.

    Attributes:
        deliver: Puts it there.
        says: Per (table, rule) what the failed check says is wrong; ``{file}`` and ``{rows}`` stand for the real ones.
        withheld: The first table that is not published.
        added: Rows that the file has more than the real one; None if it has ``rows`` in all.
        rows: See ``added``.
        quarantined: Rows set aside.
        duplicates: Exact copies dropped.
        waits: Why nothing of it is read.
    """

    deliver: Deliver
    says: Mapping[tuple[str, str], str] = field(default_factory=dict)
    withheld: str | None = None
    added: int = 0
    rows: int | None = None
    quarantined: int = 0
    duplicates: int = 0
    waits: str | None = None

    def arrived(self, real: int) -> int:
        return real + self.added if self.rows is None else self.rows


# ---- what is done to a file; lines are numbered as a person would, the header being line 1


def content(spoil: Callable[[list[bytes]], bytes]) -> Deliver:
    return lambda path, lines: land(path, spoil(lines))


def cells(change: Callable[[list[bytes]], list[bytes]], only: int | None = None) -> Deliver:
    """Change the cells of every line, or of one."""

    def spoil(lines: list[bytes]) -> bytes:
        changed = (b",".join(change(line.rstrip(b"\n").split(b","))) + b"\n" for line in lines)
        return b"".join(
            new if only in (None, at) else old for at, (new, old) in enumerate(zip(changed, lines, strict=True), 1)
        )

    return content(spoil)


def cell(line: int, column: str, text: bytes) -> Deliver:
    at = COLUMNS.index(column)
    return cells(lambda found: [*found[:at], text, *found[at + 1 :]], only=line)


def copied(line: int, before: int, change: Callable[[bytes], bytes]) -> Deliver:
    return content(lambda lines: b"".join([*lines[: before - 1], change(lines[line - 1]), *lines[before - 1 :]]))


def replaced(line: int, change: Callable[[bytes], bytes]) -> Deliver:
    return content(lambda lines: b"".join([*lines[: line - 1], change(lines[line - 1]), *lines[line:]]))


def sparse(path: Path, _: list[bytes]) -> None:
    with path.open("wb") as file:
        file.truncate(2**31)


def linked(path: Path, lines: list[bytes]) -> None:
    outside = path.parents[3] / "outside.csv"
    outside.write_bytes(b"".join(lines))
    path.symlink_to(outside)


@cache
def year() -> Mapping[tuple[str, date], bytes]:
    return Replay.load().files


@cache
def airports() -> frozenset[bytes]:
    lines = Replay.load().snapshots["airports"].splitlines()[1:]
    return frozenset(line.split(b",")[0] for line in lines)


def dests(feed: Feed, key: str) -> list[bytes]:
    lines = year()[feed.name, DAYS.value(key)].splitlines()[1:]
    return [line.split(b",")[COLUMNS.index("dest")] for line in lines]


def of_the_next_day(path: Path, _: list[bytes]) -> None:
    key = SPOILED.partition_of(path.name)
    assert key is not None
    land(path, year()[SPOILED.name, DAYS.value(key) + timedelta(days=1)])


HTML = b"<!DOCTYPE html>\n<html><body>\n<h1>503 Service Unavailable</h1>\n</body></html>\n"
EXPECTED = f"expected {','.join(COLUMNS)}"
FIRST = "flights_ewr/{file} line"


def no_line_can_be_read(rows: str = "{rows}") -> dict[tuple[str, str], str]:
    return {(RAW, "parse"): f"{rows} broken rows, the first: {FIRST} 2, the line cannot be read"}


def header(problem: str, rows: str = "{rows}") -> dict[tuple[str, str], str]:
    said = {(RAW, "header"): f"{{file}} line 1: {problem}; {EXPECTED}"}
    return said if rows == "0" else {**said, **no_line_can_be_read(rows)}


def one_row(table: str, rule: str, line: int, what: str = "") -> dict[tuple[str, str], str]:
    return {(table, rule): f"1 broken row: {FIRST} {line}{what}"}


PARAGRAPH = "\n\n"
LIMIT = "at most 5 % may be set aside"
ASIDE = "Set aside; all other rows are published."
KEPT = "The partition is withheld; readers see nothing of it yet."
UNREAD = ", the line cannot be read"
CASES = {
    "empty file": Case(
        content(lambda lines: b""), header("the file is empty or starts with an empty line", "0"), RAW, rows=0
    ),
    "header only": Case(
        content(lambda lines: lines[0]),
        {
            (STG, "every_airport_flew"): "it does not hold: "
            "Each of the three airports has at least 100 scheduled flights (2013: 171 to 377)"
        },
        STG,
        rows=0,
    ),
    "missing column": Case(cells(lambda found: found[:11] + found[12:]), header("missing column tailnum"), RAW),
    "extra column": Case(cells(lambda found: [*found, b"x"]), header("unexpected column x"), RAW),
    "reordered columns": Case(cells(lambda found: found[::-1])),
    "wrong delimiter": Case(
        content(lambda lines: b"".join(lines).replace(b",", b";")), header("the delimiter is ';', not ','"), RAW
    ),
    "a line cut off, and one with a cell too many": Case(
        content(
            lambda lines: b"".join(
                [*lines[:4], lines[4][:20] + b"\n", lines[5], lines[6].rstrip(b"\n") + b",9\n", *lines[7:]]
            )
        ),
        {(RAW, "parse"): f"2 broken rows, the first: {FIRST} 5{UNREAD}"},
        quarantined=2,
    ),
    "a letter in another encoding": Case(
        cell(9, "tailnum", "Zürich".encode("latin-1")), one_row(RAW, "parse", 9, UNREAD), quarantined=1
    ),
    "UTF-16": Case(
        content(lambda lines: b"".join(lines).decode().encode("utf-16")),
        header("this looks like UTF-16, not CSV", "{arrived}"),
        RAW,
        added=1,  # the second half of the last line end looks like the start of another line
    ),
    "byte-order mark": Case(content(lambda lines: b"\xef\xbb\xbf" + b"".join(lines))),
    "line end within quotes": Case(cell(9, "tailnum", b'"N14\n228"')),
    "quote never closed": Case(
        cell(9, "tailnum", b'"N14228'),
        {(RAW, "parse"): f"{{to_the_end}} broken rows, the first: {FIRST} 9{UNREAD}"},
        RAW,
    ),
    "NUL bytes": Case(
        replaced(4, lambda line: bytes(len(line) - 1) + b"\n"), one_row(RAW, "parse", 4, UNREAD), quarantined=1
    ),
    "HTML error page": Case(
        content(lambda lines: HTML), header("this looks like HTML or XML, not CSV", "3"), RAW, rows=3
    ),
    "number out of range": Case(
        cell(6, "distance", b"999999"),
        {**one_row(STG, "distance_mi__in_range", 6), **one_row(STG, "slower_than_sound", 6)},
        quarantined=1,
    ),
    "unparsable time": Case(
        cell(8, "dep_time", b"25:99"), one_row(STG, "parse", 8, ", dep_clock_min cannot be read"), quarantined=1
    ),
    "duplicate row": Case(copied(5, 20, lambda line: line), added=1, duplicates=1),
    "duplicate key with different values": Case(
        copied(5, 20, lambda line: line.replace(b",N", b",N0", 1)),
        {(STG, "key__unique"): f"2 rows share date, origin, carrier, flight with another row: {FIRST} 5, {FIRST} 20"},
        STG,
        added=1,
    ),
    "another day's file under this day's name": Case(
        of_the_next_day,
        {(STG, "in_partition"): f"{{arrived}} rows belong to another date, 2013-02-19; the first is {FIRST} 2"},
        STG,
        rows=347,
    ),
    "formula in a text": Case(cell(7, "tailnum", b"=1+1")),
    "formula in a number": Case(
        cell(7, "flight", b"=1+1"), one_row(STG, "parse", 7, ", flight cannot be read"), quarantined=1
    ),
    "references without a match": Case(
        cells(lambda found: [*found[:13], b"dest" if found[13] == b"dest" else b"QQQ", *found[14:]]),
        {
            (STG, "dest__in_stg_airports"): "{lost} of {flights} rows refer to a key that stg_airports lacks, "
            f"e.g. QQQ: {FIRST} 2, {FIRST} 3, {FIRST} 4"
        },
        STG,
    ),
    "2 GB without a line end": Case(
        sparse,
        {
            (RAW, "readable"): "{file}: the file is 2,147,483,648 bytes, the feed allows 536,870,912 (max_bytes); "
            "raise that, or have team:flights deliver less at a time",
            **one_row(RAW, "parse", 1, UNREAD),
        },
        RAW,
        rows=1,
    ),
    "a link that leads out": Case(
        linked,
        withheld=RAW,
        waits="it is a symbolic link; links may lead out of the landing zone, so deliver the file itself",
    ),
    "a folder": Case(
        lambda path, _: path.mkdir(), withheld=RAW, waits="it is a folder; deliver a file under this name"
    ),
    "a pipe": Case(lambda path, _: os.mkfifo(path), withheld=RAW, waits="it is a pipe; deliver a file under this name"),
}
KEY = dict(zip(CASES, DAYS.keys()[30:], strict=False))
NEIGHBOUR = DAYS.keys()[30 + len(CASES)]
EVERY = (*KEY.values(), NEIGHBOUR)


@dataclass(frozen=True)
class Seen:
    """What there is after a run of every table.

    Attributes:
        bed: Where.
        real: Rows of the real files of the spoiled feed, by partition.
        told: What a person reads, by partition.
        published: Content root by partition, per table.
        accounts: Where the rows of the spoiled feed's current file are, by partition.
        rows: Published rows of the spoiled feed as they came.
    """

    bed: Bed
    real: Mapping[str, int]
    told: Mapping[str, Told]
    published: Mapping[str, Mapping[str, str]]
    accounts: Mapping[str, RowAccount]
    rows: pl.DataFrame

    @classmethod
    def after_run(cls, bed: Bed, real: Mapping[str, int]) -> "Seen":
        told = bed.run((*RAWS, STG, MART), EVERY)
        current = bed.engine.ledger.publications.current
        published = {name: {k: s.version.root for k, s in current(name).items()} for name in (*RAWS, STG, MART)}
        accounts = {a.arrival.partition: a.account for a in bed.accounts(SPOILED, STG) if not a.arrival.superseded_by}
        rows = pl.read_delta(str(bed.home / "tables" / RAW))
        return cls(bed, real, told, published, accounts, rows)


@pytest.fixture(scope="module")
def real() -> dict[tuple[str, str], bytes]:
    """Real files by feed and day."""
    return {(feed.name, key): year()[feed.name, DAYS.value(key)] for feed in FLIGHT_FEEDS for key in EVERY}


def deliver_all(bed: Bed, real: Mapping[tuple[str, str], bytes], feed: Feed) -> None:
    bed.deliver(feed, {key: real[feed.name, key] for key in EVERY})


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory, real: Mapping[tuple[str, str], bytes]) -> Iterator[Seen]:
    """Every bad file delivered among good ones, and all tables run once."""
    with Bed.at(tmp_path_factory.mktemp("spoiled") / "home", TABLES) as bed:
        bed.take_registers()
        for feed in OTHERS:
            deliver_all(bed, real, feed)
        bed.deliver(SPOILED, {NEIGHBOUR: real[SPOILED.name, NEIGHBOUR]})
        for name, key in KEY.items():
            CASES[name].deliver(bed.path(SPOILED, key), real[SPOILED.name, key].splitlines(keepends=True))
        yield Seen.after_run(bed, {key: real[SPOILED.name, key].count(b"\n") - 1 for key in EVERY})


@pytest.fixture(scope="module")
def healed(spoiled: Seen, real: Mapping[tuple[str, str], bytes]) -> Seen:
    """The right files delivered in the place of the bad ones, and all tables run again."""
    deliver_all(spoiled.bed, real, SPOILED)
    return Seen.after_run(spoiled.bed, spoiled.real)


@pytest.fixture(scope="module")
def never_spoiled(tmp_path_factory: pytest.TempPathFactory, real: Mapping[tuple[str, str], bytes]) -> Iterator[Seen]:
    with Bed.at(tmp_path_factory.mktemp("never") / "home", TABLES) as bed:
        bed.take_registers()
        for feed in FLIGHT_FEEDS:
            deliver_all(bed, real, feed)
        yield Seen.after_run(bed, {key: real[SPOILED.name, key].count(b"\n") - 1 for key in EVERY})


each_case = pytest.mark.parametrize("name", CASES)


@each_case
def test_a_person_reads_what_is_wrong_where_and_by_which_rule(name: str, spoiled: Seen) -> None:
    """The failed checks of the whole day, in all tables: these, and no others."""
    case, key = CASES[name], KEY[name]
    rows = spoiled.real[key]
    facts = {
        "file": SPOILED.expected_file(key),
        "rows": rows,
        "arrived": case.arrived(rows),
        "to_the_end": rows - 7,
        "flights": rows + sum(len(dests(feed, key)) for feed in OTHERS),
        "lost": rows + sum(dest not in airports() for feed in OTHERS for dest in dests(feed, key)),
    }
    expected = {}
    for at, text in case.says.items():
        said = text.format(**facts)
        why = []
        if case.withheld and (broken := re.match(r"(\d+) broken row", said)) is not None:
            are = "is" if broken[1] == "1" else "are"
            why.append(f"In all, {broken[1]} of {facts['arrived']} rows {are} broken, and {LIMIT}.")
        expected[at] = PARAGRAPH.join([f"{said}.", *why, KEPT if case.withheld else ASIDE])
    assert dict(spoiled.told[key].failed_checks) == expected


@each_case
def test_a_run_that_fails_says_what_it_waits_for_or_withholds(name: str, spoiled: Seen) -> None:
    """In the words of the failed run: which partition of which table, and why."""
    case, key = CASES[name], KEY[name]
    said = spoiled.told[key].not_published
    waiting = {MART: f"waiting (for {STG}[{key}])", STG: f"waiting (for {RAW}[{key}])"}
    if case.withheld is None:
        assert said == {}
    elif case.waits:
        asked = f"file {SPOILED.expected_file(key)} of feed {SPOILED.name}"
        assert said == {RAW: f"waiting (for {asked}: it is there, but {case.waits})", **waiting}
    elif case.withheld == RAW:
        assert said == {RAW: said[RAW], **waiting}
    else:
        assert said == {STG: said[STG], MART: waiting[MART]}
    if case.withheld and not case.waits:
        checks = spoiled.told[key].failed_checks
        reasons = [f"{at[1]}: {checks[at].split(PARAGRAPH)[0].removesuffix('.')}" for at in case.says]
        shown = "; ".join(text if len(text) <= 300 else f"{text[:300]}…" for text in reasons)
        assert said[case.withheld] == f"withheld ({shown})"


@each_case
def test_no_row_is_missing(name: str, spoiled: Seen) -> None:
    case, key = CASES[name], KEY[name]
    if case.waits:
        assert key not in spoiled.accounts
        return
    arrived = case.arrived(spoiled.real[key])
    gone = RowAccount(arrived=arrived, quarantined=case.quarantined, duplicates=case.duplicates)
    if case.withheld:
        assert spoiled.accounts[key] == RowAccount(arrived=arrived, pending=arrived)
    else:
        published = arrived - case.quarantined - case.duplicates
        assert spoiled.accounts[key] == gone + RowAccount(published=published)


@each_case
def test_what_arrived_is_safe_in_the_archive(name: str, spoiled: Seen) -> None:
    """Byte for byte, also what no reader can make sense of."""
    arrivals = spoiled.bed.engine.ledger.arrivals.all(SPOILED.name)
    arrived = [a for a in arrivals if a.partition == KEY[name]]
    if CASES[name].waits:
        # What is there now came later: the link's target was never taken in.
        assert all(a.superseded_by is None for a in arrived)
        return
    sha256 = arrived[0].sha256
    with (spoiled.bed.home / "archive" / SPOILED.name / sha256[:2] / sha256).open("rb") as archived:
        assert hashlib.file_digest(archived, "sha256").hexdigest() == sha256


def test_the_other_feeds_and_the_other_days_go_on(spoiled: Seen) -> None:
    withheld = {KEY[name]: case.withheld for name, case in CASES.items() if case.withheld}
    for raw in RAWS[1:]:
        assert spoiled.published[raw].keys() == set(EVERY)
    assert spoiled.published[RAW].keys() == {key for key in EVERY if withheld.get(key) != RAW}
    for table in (STG, MART):
        assert spoiled.published[table].keys() == set(EVERY) - withheld.keys()
    assert len(withheld) == 15


@pytest.mark.parametrize("name", ["reordered columns", "byte-order mark"])
def test_what_is_only_written_differently_is_the_same_content(name: str, spoiled: Seen, never_spoiled: Seen) -> None:
    for table in (RAW, STG, MART):
        assert spoiled.published[table][KEY[name]] == never_spoiled.published[table][KEY[name]]


@pytest.mark.parametrize(
    ("name", "line", "tailnum"), [("formula in a text", 7, "=1+1"), ("line end within quotes", 9, "N14\n228")]
)
def test_a_cell_is_text_and_never_evaluated(name: str, line: int, tailnum: str, spoiled: Seen) -> None:
    row = spoiled.rows.row(by_predicate=pl.col(FILE).str.contains(KEY[name]) & (pl.col(LINE) == line), named=True)
    assert row["tailnum"] == tailnum


@each_case
def test_a_later_good_file_heals_it(name: str, healed: Seen, never_spoiled: Seen) -> None:
    """To the same content as if the bad file had never come, with nothing left open."""
    key = KEY[name]
    assert healed.told[key] == Told({}, {})
    for table in (RAW, STG, MART):
        assert healed.published[table][key] == never_spoiled.published[table][key]
    assert healed.accounts[key] == never_spoiled.accounts[key]
    assert healed.accounts[key].published == healed.real[key]


def test_after_healing_nothing_is_open_and_every_bad_row_is_superseded(healed: Seen) -> None:
    assert healed.bed.engine.ledger.incidents.open() == []
    old = [a for a in healed.bed.accounts(SPOILED, STG) if a.arrival.superseded_by]
    assert len(old) == sum(not case.waits for case in CASES.values())
    assert all(a.account == RowAccount(arrived=a.account.arrived, superseded=a.account.arrived) for a in old)
