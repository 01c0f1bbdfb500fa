"""Files in any order, late, twice, restated, broken at first, versions the wrong way round: the same tables in the end.

And only what it takes. After each step what readers see and what was executed is compared with a naive opinion: what
rests on a placeholder is worked out from the files alone, and what had to run from what readers saw before and after.
In the end everything is as if every file had come once, on time.

The incident: a month of deliveries is replayed after an outage in another order, and some days are different for ever.
"""

import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from sh_core.columns import LINEAGE
from sh_core.feed import Feed
from sh_core.lateness import Deadlines
from tests.late import DAYS, GRAPH, NAMES, SALES, VISITS, Shop, sales, visits

SEED = int(os.environ.get("SELFHEAL_SEED", "1"))
FIRST = date(2024, 3, 4)
MONTH = [(FIRST + timedelta(days=n)).isoformat() for n in range(28)]
END = datetime(2024, 4, 15, tzinfo=UTC)
STEP = timedelta(hours=47)

Seen = dict[tuple[str, str], tuple[object, ...]]
"""Per table and partition that has something published: its rows and its marks, as something to compare."""

READS: Mapping[str, tuple[tuple[str, tuple[str, ...], tuple[int, ...]], ...]] = {
    "mart_sales": (("stg_sales", ("date", "shop", "sold_utc", "euros"), (0,)),),
    "mart_trend": (("stg_sales", ("date", "shop", "sold_utc", "euros"), (0, -1, -2)),),
    "feat_trend": (("mart_trend", ("date", "shop", "euros"), (0,)),),
    "mart_rate": (
        ("stg_sales", ("date", "shop", "sold_utc", "euros"), (0,)),
        ("stg_visits", ("shop", "visits"), (0,)),
    ),
}
"""What each table reads: another table, columns, and which days, today being 0. Today's has to be there."""


@dataclass(frozen=True, order=True)
class Delivery:
    """A file that lands."""

    at_utc: datetime
    feed: str
    day: str
    content: bytes
    good: bool
    version: int = 0


@dataclass
class Month:
    """A month of deliveries in some order.

    Attributes:
        deliveries: In the order in which they land.
        last: What each file says in the end.
    """

    deliveries: list[Delivery] = field(default_factory=list)
    last: dict[tuple[str, str], bytes] = field(default_factory=dict)

    @classmethod
    def drawn(cls, seed: int) -> "Month":
        """Delays, duplicates, restatements and broken files, drawn from a seed."""
        draw, month = random.Random(f"orders {seed}"), cls()
        for feed, make in ((SALES, _some_sales), (VISITS, _some_visits)):
            for day in MONTH:
                over = datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=1)
                delay = draw.choices((2, 6, 30, 24 * draw.randint(2, 7), 24 * 20), (70, 10, 8, 8, 4))[0]
                at_utc, content = over + timedelta(hours=delay), make(draw, day)
                times, contents = [at_utc], [content]
                while draw.random() < 0.25:
                    at_utc += timedelta(hours=draw.randint(1, 200))
                    content = content if draw.random() < 0.4 else make(draw, day)
                    times.append(at_utc)
                    contents.append(content)
                if draw.random() < 0.1:
                    early = times[0] - timedelta(hours=draw.randint(1, 40))
                    month._add(early, feed, day, b"<html>503</html>\n", 0)
                month.last[feed.name, day] = contents[-1]
                if feed is VISITS:  # whose versions say what counts, in whatever order they come
                    draw.shuffle(times)
                for version, (when, what) in enumerate(zip(times, contents, strict=True), 1):
                    month._add(when, feed, day, what, version)
        month.deliveries.sort()
        return month

    def _add(self, at_utc: datetime, feed: Feed, day: str, content: bytes, version: int) -> None:
        at_utc = max(at_utc, datetime.fromisoformat(day).replace(tzinfo=UTC))  # nobody looks for what has not begun
        good = not content.startswith(b"<")
        self.deliveries.append(Delivery(min(at_utc, END), feed.name, day, content, good, version))

    def steps(self) -> Iterator[tuple[datetime, list[Delivery]]]:
        """What has landed by the end of each step; of several under one name, that which comes last in it."""
        now_utc, left = datetime.fromisoformat(MONTH[0]).replace(tzinfo=UTC), list(self.deliveries)
        while now_utc < END + STEP:
            now_utc += STEP
            landed = [d for d in left if d.at_utc <= now_utc]
            left = left[len(landed) :]
            yield now_utc, list({(d.feed, d.day, d.version * (d.feed == VISITS.name)): d for d in landed}.values())


def _some_sales(draw: random.Random, day: str) -> bytes:
    return sales(day, *(draw.randint(0, 9) for _ in range(draw.randint(1, 3))))


def _some_visits(draw: random.Random, day: str) -> bytes:
    del day
    return visits(draw.randint(1, 9))


def seen(shop: Shop) -> Seen:
    """What readers see, with the marks that the ledger has."""
    found: Seen = {}
    for name in NAMES:
        rows = shop.engine.store.published(GRAPH[name]).drop(LINEAGE, strict=False).collect()
        marks = {key: s.version.marks for key, s in shop.engine.ledger.publications.current(name).items()}
        by_day = {str(key): frame for (key,), frame in rows.group_by("date")} if rows.height else {}
        for key, of in marks.items():
            frame = by_day.get(key, rows.clear())
            found[name, key] = (*(frame[c].to_list() for c in sorted(frame.columns)), of)
            if "_placeholder" in frame.columns and frame.height:
                assert frame["_placeholder"].to_list() == [bool(of)] * frame.height
    return found


def part(before: Seen, name: str, key: str, columns: tuple[str, ...], shop: Shop) -> object:
    """What a reader of some columns of a partition gets to see."""
    content = before.get((name, key))
    if content is None:
        return None
    every = sorted([*GRAPH[name].contract.columns, *_own(name, shop)])
    values = dict(zip(every, content, strict=False))
    return tuple(sorted(zip(*(values[c] for c in columns), strict=True), key=repr)), content[-1]


def _own(name: str, shop: Shop) -> list[str]:
    stored = shop.engine.store.table(GRAPH[name]).columns.names()
    return [column for column in stored if column.startswith("_") and column not in LINEAGE]


@dataclass
class Opinion:
    """What had to happen, worked out naively.

    Attributes:
        taken: Content of every file that was taken in and counts, whether or not it could be read.
        version: Its version, of feeds that have them.
        real: Days of a feed of which a readable file ever came.
    """

    taken: dict[tuple[str, str], bytes] = field(default_factory=dict)
    version: dict[tuple[str, str], int] = field(default_factory=dict)
    real: dict[str, set[str]] = field(default_factory=lambda: {SALES.name: set(), VISITS.name: set()})

    def raw(self, landed: list[Delivery]) -> set[tuple[str, str]]:
        """Raw partitions that have to run: those of which the newest file is another."""
        before = dict(self.taken)
        for d in landed:
            place = (d.feed, d.day)
            if d.feed == VISITS.name and d.version < self.version.get(place, 0):
                continue  # an older version counts for nothing
            self.taken[place], self.version[place] = d.content, d.version
            if d.good:
                self.real[d.feed].add(d.day)
        return {(f"raw_{feed}", day) for (feed, day), now in self.taken.items() if before.get((feed, day)) != now}

    def stand_ins(self, now_utc: datetime) -> set[str]:
        """Days of sales for which something stands in: late, never real, and something earlier is."""
        real = self.real[SALES.name]
        return {
            day
            for day in DAYS.declared(now_utc)
            if day not in real and _late(day) <= now_utc and any(other < day for other in real)
        }


def _late(day: str) -> datetime:
    late = Deadlines(GRAPH).late_utc("raw_sales", day, END + timedelta(days=60))
    assert late is not None
    return late


def had_to_run(before: Seen, after: Seen, shop: Shop) -> set[tuple[str, str]]:
    """Partitions of marts and features of which something that they read has changed, and what they need is there."""
    due: set[tuple[str, str]] = set()
    for name, reads in READS.items():
        features = name.startswith("feat")
        for key in DAYS.declared(shop.clock.now_utc()):
            parts: list[tuple[object, object, int]] = []
            for source, columns, days in reads:
                for n in days:
                    other = (date.fromisoformat(key) + timedelta(days=n)).isoformat()
                    then, now = (part(side, source, other, columns, shop) for side in (before, after))
                    parts.append((_usable(then, features=features), _usable(now, features=features), n))
            there = all(now is not None for _, now, n in parts if n == 0)
            if there and ((name, key) not in before or any(then != now for then, now, _ in parts)):
                due.add((name, key))
    return due


def _usable(found: object, *, features: bool) -> object:
    return None if features and isinstance(found, tuple) and found[-1] else found


def check(home: Path, seed: int) -> None:
    """One month in one order."""
    month, opinion = Month.drawn(seed), Opinion()
    shop = Shop.at(home / "any", datetime.fromisoformat(MONTH[0]).replace(tzinfo=UTC))
    before: Seen = {}
    for now_utc, landed in month.steps():
        shop.until(now_utc)
        for d in landed:
            shop.land(SALES if d.feed == SALES.name else VISITS, d.day, d.content, d.version)
        executed = {(name, key) for name, keys in shop.heal().items() for key in keys}
        after = seen(shop)
        raw = opinion.raw(landed)
        expected = raw | had_to_run(before, after, shop)
        stood_in = {key for (name, key), content in before.items() if name == "stg_sales" and content[-1]}
        expected |= {("stg_sales", day) for day in opinion.stand_ins(now_utc) - stood_in}
        expected |= {
            (name.replace("raw_", "stg_"), day)
            for name, day in raw
            if not opinion.taken[name.removeprefix("raw_"), day].startswith(b"<")
            and before.get((name, day)) != after.get((name, day))
        }
        assert executed == expected, f"seed {seed}, {now_utc}"
        marked = {day for (name, day), content in after.items() if name == "stg_sales" and content[-1]}
        assert marked == opinion.stand_ins(now_utc), f"seed {seed}, {now_utc}"
        assert shop.heal() == {}, f"seed {seed}, {now_utc}: not quiet"
        before = after
    on_time = Shop.at(home / "on_time", datetime.fromisoformat(MONTH[0]).replace(tzinfo=UTC))
    for (feed, day), content in month.last.items():
        on_time.land(SALES if feed == SALES.name else VISITS, day, content)
    on_time.until(datetime(2024, 4, 1, 3, tzinfo=UTC))  # before anything is late
    on_time.heal()
    wanted = seen(on_time)
    assert shop.engine.ledger.incidents.open() == [], f"seed {seed}"
    assert {place: before.get(place) for place in wanted} == wanted, f"seed {seed}"


@pytest.mark.parametrize("seed", range(SEED, SEED + 3))
def test_in_any_order_the_same_in_the_end(tmp_path: Path, seed: int) -> None:
    check(tmp_path, seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(SEED + 3, SEED + 200))
def test_in_many_more_orders(tmp_path: Path, seed: int) -> None:
    check(tmp_path, seed)
