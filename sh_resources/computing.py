"""Computing: from delivered files or published inputs to rows that can be judged.

Belongs here: preparing the partitions of one table (what each would be computed from, what is missing) and computing
those that are wanted. Does not belong here: judging (``judging``), publishing, choosing which to compute (``engine``).
Invariant: a transform is run for one partition at a time and sees only that partition's inputs, so its result cannot
depend on which other partitions happen to share the run; and a crash in one partition is that partition's alone.
"""

import inspect
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Literal, TypeVar

import polars as pl

from sh_core.code_version import CodeVersion
from sh_core.conservation import Handed, not_conserved, not_in_partition, rows_per_part
from sh_core.deliveries import Several
from sh_core.errors import FeedError
from sh_core.feed import Feed
from sh_core.masking import raised_as_text
from sh_core.records import Arrival
from sh_core.references import unmatched
from sh_core.table import Station, Table, Transform
from sh_core.trace import Trace
from sh_core.verdict import RuleBreach, Unknown
from sh_resources import combining, inputs
from sh_resources.clock import Clock
from sh_resources.inputs import Frames, Sighting
from sh_resources.intake import Took, look_for, take_in
from sh_resources.landing import LandingZone
from sh_resources.ledger import Ledger
from sh_resources.raw import RawFile, reader_version
from sh_resources.store import Store

ENGINE: Literal["in-memory"] = "in-memory"
"""Polars engine for transforms: a partition fits in memory, and the streaming engine takes longer to start than to
run."""

ARCHIVE = "archive"
"""Name under which an archived file that can no longer be read is reported."""

TRANSFORM = "transform"
"""Name under which a crashed transform is reported, in the place of a rule's."""


@dataclass(frozen=True, eq=False)
class Computed:
    """One partition, computed and not yet judged.

    Attributes:
        rows: What the transform returned, or the file's records; or why there is nothing.
        breaches: Table-level rules found broken on the way.
        handed: The arrivals whose rows these are, and how many of each (raw and staged tables).
        marks: The placeholders that it rests on; none where all of it is real.
    """

    rows: pl.DataFrame | Unknown
    breaches: tuple[RuleBreach, ...] = ()
    handed: tuple[Handed, ...] = ()
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Prepared:
    """What some partitions of a table would be computed from.

    Attributes:
        traces: Per partition that could be computed now.
        missing: Per partition that could not: what is not there, in words.
        compute: Computes some of the partitions that have a trace.
    """

    traces: Mapping[str, Trace]
    missing: Mapping[str, tuple[str, ...]]
    compute: Callable[[Collection[str]], dict[str, Computed]]


def prepare_raw(
    table: Table,
    feed: Feed,
    landing: LandingZone,
    ledger: Ledger,
    clock: Clock,
    keys: Collection[str],
    *,
    ingest: bool = True,
) -> Prepared:
    """Ingest what has landed for some partitions of a feed, unless told not to, and prepare their raw rows.

    A file that is gone from the landing zone is taken from the archive if it was ever ingested.
    """
    seen = look_for(feed, landing, keys)
    took = take_in(feed, landing, ledger, clock, list(seen.files.values()), keep=True) if ingest else Took()
    refused = {feed.partition_of(name): why for name, why in {**seen.refused, **took.refused}.items()}
    fresh = {i.sha256: i.content for i in took.read}
    current = ledger.arrivals.counting(feed.name, keys)
    held = ledger.arrivals.held(feed.name, keys) if feed.several is Several.HOLD else {}
    reader = reader_version(feed)
    traces = {
        key: Trace(reader, table.contract.version, combining.reads(feed, those, held.get(key, ())))
        for key, those in current.items()
    }
    missing = {key: (_missing_file(feed, key, refused.get(key)),) for key in keys if key not in current}

    def compute(wanted: Collection[str]) -> dict[str, Computed]:
        files, damaged = dict[str, list[RawFile]](), dict[str, Computed]()
        for key in wanted:
            try:
                files[key] = [_raw_file(feed, landing, arrival, fresh) for arrival in current[key]]
            except FeedError as lost:
                damaged[key] = Computed(Unknown(ARCHIVE, str(lost)))
        rows = {}
        for key, parts in combining.read_together(feed, files).items():
            found = (breach for part in parts for breach in part.breaches)
            waiting = combining.not_accepted(feed, current[key], held.get(key, ()))
            handed = (Handed(a.id, p.records, feed, a.part) for a, p in zip(current[key], parts, strict=True))
            rows[key] = Computed(combining.rows_of(parts), (*found, *waiting), tuple(handed))
        return rows | damaged

    return Prepared(traces, missing, compute)


def _raw_file(feed: Feed, landing: LandingZone, arrival: Arrival, fresh: Mapping[str, bytes | None]) -> RawFile:
    """The bytes of an arrival, which may just have been taken in.

    Raises:
        FeedError: If they are not in the archive any more.
    """
    content = fresh.get(arrival.sha256)
    if content is None and arrival.size_bytes <= feed.max_bytes:
        content = landing.shelf(feed).content(arrival.sha256)
    return RawFile(arrival.file_name, arrival.size_bytes, content)


def _missing_file(feed: Feed, key: str, refusal: str | None) -> str:
    """What a partition waits for, and why something of that name is not taken for it."""
    return f"{feed.delivery(key)}: {refusal}" if refusal else feed.delivery(key)


def prepare_transform(
    table: Table,
    transform: Transform,
    code: CodeVersion,
    upstream: Mapping[str, Table],
    store: Store,
    ledger: Ledger,
    keys: Collection[str],
    now_utc: datetime,
) -> Prepared:
    """See which inputs of some partitions are published, and prepare to run the transform on them."""
    sighting = inputs.look(table, upstream, store, ledger, keys, now_utc)
    ready = [key for key in keys if key not in sighting.missing]
    traces = {key: Trace(code.digest, table.contract.version, sighting.reads(key)) for key in ready}
    arrivals = _arrivals(table, sighting, ledger, ready)
    pii = table.contract.pii.union(*(source.contract.pii for source in upstream.values()))

    def compute(wanted: Collection[str]) -> dict[str, Computed]:
        loaded = sighting.load(wanted)
        handed = {key: {i.name: frames[i.name] for i in table.inputs} for key, frames in loaded.items()}
        rows = _run(transform, handed, pii)
        returned = {key: frame for key, frame in rows.items() if isinstance(frame, pl.DataFrame)}
        found = [not_in_partition(returned, table.partitions), *_unmatched(sighting, returned, loaded)]
        if table.station is Station.STAGED:
            found.append(not_conserved({key: list(handed[key].values()) for key in returned}, returned))
        return {
            key: Computed(
                rows[key],
                tuple(b[key] for b in found if key in b),
                _handed(arrivals[key], loaded[key]),
                sighting.reading.marks(key),
            )
            for key in wanted
        }

    return Prepared(traces, sighting.missing, compute)


def breaches_of_references(
    table: Table,
    upstream: Mapping[str, Table],
    store: Store,
    ledger: Ledger,
    rows: Mapping[str, pl.DataFrame],
    now_utc: datetime,
) -> dict[str, tuple[RuleBreach, ...]]:
    """Which rows of some partitions, computed at another time, refer to what is not there now.

    Args:
        table: The table.
        upstream: Its input tables by name.
        store: Where tables are.
        ledger: Where their versions are known.
        rows: Per partition.
        now_utc: Up to when partitions of a set without end are declared.

    Returns:
        The breaches of each partition that has any.
    """
    if not table.consulted:
        return {}
    sighting = inputs.look(table, upstream, store, ledger, rows.keys(), now_utc)
    found = list(_unmatched(sighting, rows, sighting.load(rows.keys(), table.consulted)))
    return {key: breaches for key in rows if (breaches := tuple(b[key] for b in found if key in b))}


def _unmatched(sighting: Sighting, returned: Frames, loaded: Mapping[str, Frames]) -> Iterator[dict[str, RuleBreach]]:
    """Per reference, and per part of the other table that is looked at, the partitions that break it."""
    contract = sighting.table.contract
    for reference in contract.references:
        consulted = f"@{reference.table}"
        alike: dict[tuple[str, ...], list[str]] = {}
        for partition in returned:
            alike.setdefault(sighting.wanted[consulted][partition], []).append(partition)
        for partitions in alike.values():
            known = loaded[partitions[0]][consulted].select(sighting.upstream[reference.table].contract.key)
            yield unmatched(reference, {p: returned[p] for p in partitions}, known, contract.pii)


def _arrivals(
    table: Table, sighting: Sighting, ledger: Ledger, keys: Collection[str]
) -> dict[str, dict[str, tuple[Feed, Mapping[str, int]]]]:
    """Per partition, per raw input of a staged table that is there: its feed, and by part the arrivals it holds."""
    found: dict[str, dict[str, tuple[Feed, Mapping[str, int]]]] = {key: {} for key in keys}
    if table.station is Station.STAGED:
        for given in table.inputs:
            feed, files = sighting.upstream[given.table].feed, sighting.files[given.table]
            if feed is not None:
                settled = ledger.publications.settlements(given.table, keys)
                held = {
                    key: [x.arrival_id for x in s.shares] for key, s in settled.items() if s.shares and key in files
                }
                several = feed.several is Several.APPEND
                those = ledger.arrivals.by_id({i for ids in held.values() for i in ids}) if several else {}
                for key, ids in held.items():
                    parts = {those[i].part: i for i in ids} if several else {"": ids[0]}
                    found[key][given.name] = (feed, parts)
    return found


def _handed(arrivals: Mapping[str, tuple[Feed, Mapping[str, int]]], frames: Frames) -> tuple[Handed, ...]:
    handed: list[Handed] = []
    for name, (feed, parts) in arrivals.items():
        rows = dict.fromkeys(parts, frames[name].height) if len(parts) == 1 else rows_per_part(feed, frames[name])
        handed += [Handed(arrival_id, rows[part], feed, part) for part, arrival_id in parts.items()]
    return tuple(handed)


def _run(transform: Transform, handed: Mapping[str, Frames], pii: Collection[str]) -> dict[str, pl.DataFrame | Unknown]:
    """The transform's result for each partition, in parallel; alone where one of them crashes the others."""
    guarded = partial(_guarded, transform, pii)
    plans: dict[str, pl.LazyFrame] = {}
    results: dict[str, pl.DataFrame | Unknown] = {}
    for key, frames in handed.items():
        call = partial(transform, **{name: frame.lazy() for name, frame in frames.items()})
        built: object = guarded(call)
        if isinstance(built, Unknown):
            results[key] = built
        elif isinstance(built, pl.LazyFrame):
            plans[key] = built
        else:
            wrong = f"returned {type(built).__name__} in {_place(transform)}, not a polars LazyFrame"
            results[key] = Unknown(TRANSFORM, wrong)
    together = guarded(partial(_collect_all, list(plans.values())))
    if isinstance(together, Unknown):
        results.update({key: guarded(partial(_collect, plan)) for key, plan in plans.items()})
    else:
        results.update(zip(plans, together, strict=True))
    return results


def _collect_all(plans: list[pl.LazyFrame]) -> list[pl.DataFrame]:
    return pl.collect_all(plans, engine=ENGINE)


def _collect(plan: pl.LazyFrame) -> pl.DataFrame:
    return plan.collect(engine=ENGINE)


_T = TypeVar("_T")


def _guarded(transform: Transform, pii: Collection[str], call: Callable[[], _T]) -> _T | Unknown:
    try:
        return call()
    # The boundary around user code: whatever it raises is a verdict, not our crash. A panic of Polars is no Exception.
    except (Exception, pl.exceptions.PanicException) as raised:  # noqa: BLE001
        return Unknown(TRANSFORM, raised_as_text(raised, pii, f"in {_place(transform, raised)}"))


def _place(transform: Transform, raised: Exception | None = None) -> str:
    """File and line at which to look: the transform's own line that raised, else where it begins.

    What Polars raises when the plan is run has no line of the transform any more.
    """
    function = inspect.unwrap(transform)
    code = getattr(function, "__code__", None)
    file = code.co_filename if code is not None else inspect.getfile(type(function))
    path = traceback.walk_tb(None if raised is None else raised.__traceback__)
    lines = [line for frame, line in path if frame.f_code is code]
    begin = code.co_firstlineno if code is not None else 1
    return f"{file.rpartition('/')[2]}, line {lines[-1] if lines else begin}"
