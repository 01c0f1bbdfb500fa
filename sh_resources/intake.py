"""Intake: what has landed becomes arrivals.

Belongs here: when which files are looked at, which of them are news, and recording those. Does not belong here: seeing
and reading files (``landing``), which content counts (``ledger.arrivals``), what follows from an arrival
(``sh_core.watch``). Invariants: a file is archived before it is recorded, recorded before it is known, and read only if
it is not known as it is; so a process that dies in between costs a second reading, and nothing else. What a tick does
is bounded by what is new, not by what is known.

A tick looks at the files of the open windows (``sh_core.arriving``) by their names, and goes on with a sweep through
everything, ``SLICE`` names at a time: first what is in a feed's folder, in search of files that are new or were written
to, then what is known of it, in search of files that are gone. So any change is found within

    (files there + files known) / SLICE * seconds between ticks

and the time that reading the new ones takes. Where the sweep is, is kept in memory only: a restart begins it anew.

A change is one of the content under a name. A file that was touched, taken away or put back as it was is no delivery.
"""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice

from sh_core.arriving import is_declared, open_partitions, recent_partitions
from sh_core.deliveries import in_order
from sh_core.errors import FeedError
from sh_core.feed import Feed
from sh_resources import combining
from sh_resources.clock import Clock
from sh_resources.landing import Found, Ingested, LandingZone, Seen, Taken
from sh_resources.ledger import KnownFile, Ledger

SLICE = 5_000
"""Names that the sweep looks at in one tick."""

PAGE = 1_000
"""Names that are looked at together."""

BATCH = 64
"""Files that are read and recorded together."""

TICK_S = 20.0
"""Seconds after which a tick leaves files that it has found to the next one; Dagster gives a sensor 60."""


@dataclass(frozen=True)
class Took:
    """What was taken in of a feed.

    Attributes:
        read: Files that had to be read.
        news: Names of those that have another content than was known under their name.
        refused: Why others were not read, in words, by name.
    """

    read: tuple[Ingested, ...] = ()
    news: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


def take_in(
    feed: Feed, landing: LandingZone, ledger: Ledger, clock: Clock, files: Collection[Found], *, keep: bool = False
) -> Took:
    """Archive and record files, without reading those again that are known as they are.

    They arrive in the order in which they were written.

    Args:
        feed: The feed; other files than its own are left out.
        landing: Where they are, with its archive.
        ledger: Where they are recorded.
        clock: Says when they arrive.
        files: As they were seen.
        keep: Whether to hand their bytes on.

    Raises:
        FeedError: If the archive cannot be written.
    """
    unknown, known = _unknown(feed, ledger, files)
    back = [replace(k, gone_utc=None) for k in known.values() if k.gone_utc is not None and k.name not in unknown]
    by_time = sorted(unknown.values(), key=lambda file: (file.written_ns, file.name))
    # Versions may stand in the files.
    taken = landing.ingest(feed, by_time, keep=keep or not feed.is_plain) if unknown else Taken()
    # Before anything that is recorded, as a clock may be set back.
    now_utc = clock.now_utc()
    news = [i for i in taken.files if not _is_as_known(known.get(i.file_name), i)]
    if news:
        found = [combining.delivery(feed, i, unknown[i.file_name].written_ns or None) for i in news]
        ledger.arrivals.record(feed.name, found if feed.is_plain else in_order(found), now_utc, feed.several)
    new = frozenset(i.file_name for i in news)
    read = [
        KnownFile(
            name=i.file_name,
            partition=i.partition,
            size_bytes=i.size_bytes,
            stamp=i.stamp,
            sha256=i.sha256,
            seen_utc=now_utc if i.file_name in new else known[i.file_name].seen_utc,
        )
        for i in taken.files
    ]
    if read or back:
        ledger.files.note(feed.name, [*read, *back], known)
    return Took(taken.files, tuple(i.file_name for i in news), taken.refused)


def look_for(feed: Feed, landing: LandingZone, keys: Collection[str]) -> Seen:
    """Look at the files of partitions; where one may have several names, at all that begin like them.

    Raises:
        FeedError: If the landing zone cannot be asked.
    """
    if feed.has_one_name:
        return landing.look(feed, [feed.expected_file(key) for key in keys])
    wanted, seen = frozenset(keys), landing.place.starting(feed.name, {feed.prefix(key) for key in keys})
    return Seen(
        {name: file for name, file in seen.files.items() if feed.partition_of(name) in wanted},
        {name: why for name, why in seen.refused.items() if feed.partition_of(name) in wanted},
        seen.looked,
    )


class Intake:
    """Takes in what lands for some feeds. One per process, as it remembers where its sweep is."""

    def __init__(self, feeds: Iterable[Feed], landing: LandingZone, ledger: Ledger, clock: Clock) -> None:
        """Nothing is looked at yet."""
        self._feeds, self._landing, self._ledger, self._clock = tuple(feeds), landing, ledger, clock
        self._sweeps: dict[str, _Sweep] = {}
        self._turn = 0
        self._queues: dict[str, dict[str, Found]] = {feed.name: {} for feed in self._feeds}
        self._again: dict[str, tuple[str, ...]] = {}

    def tick(self, now_utc: datetime) -> dict[str, int]:
        """Take in what is new in the open windows and in the next slice of the sweep.

        Args:
            now_utc: Files of periods that have not begun are not looked for.

        Returns:
            How many files with new content were taken in, by feed.

        Raises:
            FeedError: If that failed for a feed; of all others the files were taken in.
        """
        counts, failed, deadline_s = Counter[str](), list[FeedError](), time.monotonic() + TICK_S
        for feed in self._feeds:
            with _noting(failed):
                self._look(feed, now_utc)
        if not any(len(queue) >= SLICE for queue in self._queues.values()):
            self._sweep_on(now_utc, failed)
        for feed in self._feeds:
            with _noting(failed):
                counts[feed.name] += self._read(feed, deadline_s)
        return _told(counts, failed)

    def everything(self, now_utc: datetime) -> dict[str, int]:
        """Take in all that is new, wherever it is; see ``tick``."""
        counts, failed = Counter[str](), list[FeedError]()
        for feed in self._feeds:
            with _noting(failed):
                sweep = _Sweep(self._landing.slices(feed, PAGE))
                while self._step(feed, sweep, now_utc):
                    # Where files follow each other all are found first, to be recorded in their order.
                    if feed.is_plain or sweep.after is not None:
                        counts[feed.name] += self._read(feed)
                counts[feed.name] += self._read(feed)
        return _told(counts, failed)

    def files(self, feed: Feed, names: Collection[str], now_utc: datetime) -> dict[str, str]:
        """Take in some files now.

        Args:
            feed: Their feed.
            names: Their names, without folder.
            now_utc: Files of periods that have not begun are refused.

        Returns:
            Per name ``new``, ``known``, or why it was not taken, in words.

        Raises:
            FeedError: If the landing zone cannot be asked, or the archive not be written.
        """
        wrong = {name: why for name in names if (why := _why_not(feed, name, now_utc))}
        seen = self._landing.look(feed, [name for name in names if name not in wrong])
        said = dict.fromkeys(names, "it is not there") | dict.fromkeys(seen.files, "known") | {**seen.refused, **wrong}
        took = take_in(feed, self._landing, self._ledger, self._clock, list(seen.files.values()))
        return said | dict.fromkeys(took.news, "new") | dict(took.refused)

    def landed(self, feed: Feed, now_utc: datetime, keys: Collection[str] | None = None) -> dict[str, str]:
        """Files that would be news if they were taken in; nothing is written.

        Args:
            feed: The feed.
            now_utc: Files of periods that have not begun are not looked for.
            keys: For these partitions only; None for all.

        Returns:
            Name of the file, by partition.
        """
        found: dict[str, str] = {}
        if keys is None:
            pages: Iterable[Seen] = self._landing.slices(feed, PAGE)
        else:
            pages = [look_for(feed, self._landing, keys)]
        for seen in pages:
            unknown, known = _unknown(feed, self._ledger, seen.files.values())
            fresh = {name: str(feed.partition_of(name)) for name in unknown if _why_not(feed, name, now_utc) is None}
            # Of a file that was recorded when none were known, the arrival tells.
            current = self._ledger.arrivals.counting(feed.name, set(fresh.values())) if fresh else {}
            for name, key in fresh.items():
                sha256 = self._landing.sha256(feed, unknown[name])
                recorded = {known[name].sha256} if name in known else {a.sha256 for a in current.get(key, ())}
                if sha256 is not None and sha256 not in recorded:
                    found[key] = name
        return found

    def _look(self, feed: Feed, now_utc: datetime) -> None:
        """Look at the files that are expected, and at those that could not be read a moment ago.

        Those of which a partition may have several are looked for where that takes no listing of everything; elsewhere
        they are left to the sweep.
        """
        if again := self._again.pop(feed.name, ()):
            self._enqueue(feed, now_utc, self._landing.look(feed, dict.fromkeys(again)))
        if feed.has_one_name or self._landing.place.lists_prefixes:
            arrived = self._ledger.arrivals.current(feed.name, recent_partitions(feed, now_utc))
            expected = open_partitions(feed, now_utc, arrived)
            self._enqueue(feed, now_utc, look_for(feed, self._landing, expected))

    def _sweep_on(self, now_utc: datetime, failed: list[FeedError]) -> None:
        """Go on with the sweep by one slice, but look at no feed twice."""
        left, turns = SLICE, len(self._feeds)
        while left > 0 and turns > 0:
            feed = self._feeds[self._turn % len(self._feeds)]
            looked = 0
            with _noting(failed):
                sweep = self._sweeps.setdefault(feed.name, _Sweep(self._landing.slices(feed, PAGE)))
                looked = self._step(feed, sweep, now_utc)
                if not looked:
                    del self._sweeps[feed.name]
            if looked:
                left -= looked
            else:
                self._turn += 1
                turns -= 1

    def _step(self, feed: Feed, sweep: "_Sweep", now_utc: datetime) -> int:
        """Look at a page of a feed; how many names that were, 0 at the end of its sweep."""
        if sweep.after is None:
            seen = next(sweep.slices, None)
            if seen is not None:
                self._enqueue(feed, now_utc, seen)
                return seen.looked
            sweep.after = ""
        known = self._ledger.files.there(feed.name, sweep.after, PAGE)
        if known:
            sweep.after = max(known)
            gone = self._landing.place.gone(feed.name, known)
            self._ledger.files.note_gone(feed.name, gone, self._clock.now_utc())
        return len(known)

    def _enqueue(self, feed: Feed, now_utc: datetime, seen: Seen) -> None:
        """Have those files of a page read that are not known as they are."""
        unknown, known = _unknown(feed, self._ledger, seen.files.values())
        back = {name: seen.files[name] for name, k in known.items() if k.gone_utc is not None}
        self._queues[feed.name] |= {
            name: file for name, file in (unknown | back).items() if _why_not(feed, name, now_utc) is None
        }

    def _read(self, feed: Feed, deadline_s: float | None = None) -> int:
        """Read what was found of a feed, as long as there is time; how many of them were news."""
        queue, count = self._queues[feed.name], 0
        if len(queue) > BATCH:
            ordered = sorted(queue.items(), key=lambda item: (item[1].written_ns, item[0]))
            queue = self._queues[feed.name] = dict(ordered)
        while queue and (deadline_s is None or time.monotonic() < deadline_s):
            files = list(islice(queue.values(), BATCH))
            took = take_in(feed, self._landing, self._ledger, self._clock, files)
            for file in files:
                del queue[file.name]
            count += len(took.news)
            self._again[feed.name] = (*self._again.get(feed.name, ()), *took.refused)[:PAGE]
        return count


@dataclass
class _Sweep:
    """Where the sweep of one feed is.

    Attributes:
        slices: What is there and was not seen yet.
        after: Once all was seen: the last known file that was looked for.
    """

    slices: Iterator[Seen]
    after: str | None = None


def _unknown(feed: Feed, ledger: Ledger, files: Collection[Found]) -> tuple[dict[str, Found], dict[str, KnownFile]]:
    """Those files that are not known as they are, and all that is known of any of them."""
    known = ledger.files.known(feed.name, [file.name for file in files])
    return {file.name: file for file in files if not _is_same(feed, known.get(file.name), file)}, known


def _is_same(feed: Feed, known: KnownFile | None, file: Found) -> bool:
    """Whether nobody has written to a file since it was read, and its name still means what it did."""
    return (
        known is not None
        and (known.size_bytes, known.stamp) == (file.size_bytes, file.stamp)
        and known.partition == feed.partition_of(file.name)
    )


def _is_as_known(known: KnownFile | None, read: Ingested) -> bool:
    """Whether what was read is what was known, for the same partition."""
    return known is not None and (known.sha256, known.partition) == (read.sha256, read.partition)


def _why_not(feed: Feed, name: str, now_utc: datetime) -> str | None:
    """Why a file of this name is not taken in, in words; None if it is."""
    key = feed.partition_of(name)
    if key is None:
        return f"{feed.name} takes {feed.takes}"
    if not is_declared(feed.partitions, key, now_utc):
        return "it is for a time that has not come"
    return None


@contextmanager
def _noting(failed: list[FeedError]) -> Iterator[None]:
    """What goes wrong with one feed keeps no other from being taken in."""
    try:
        yield
    except FeedError as error:
        failed.append(error)


def _told(counts: Counter[str], failed: list[FeedError]) -> dict[str, int]:
    if failed:
        raise FeedError("; ".join(dict.fromkeys(map(str, failed))))
    return {feed: count for feed, count in counts.items() if count}
