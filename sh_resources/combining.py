"""Combining: what a feed's several files for one partition are, one by one and together.

Belongs here: the version, part and size of a file just taken in, and reading those of a partition that count. Does not
belong here: which of them count (``sh_core.deliveries``, ``ledger.arrivals``), finding them (``landing``), the formats
(``raw``). Invariant: of a feed with one file per partition, in order of arrival, no file is looked into here.
"""

from collections.abc import Mapping, Sequence

import polars as pl

from sh_core.contract import ACCEPTED
from sh_core.deliveries import Delivery, greatest
from sh_core.feed import Feed
from sh_core.records import Arrival
from sh_core.trace import Read
from sh_core.verdict import Level, RuleBreach
from sh_resources.landing import Ingested
from sh_resources.raw import RawFile, RawPartition, read_raw


def delivery(feed: Feed, file: Ingested, modified_ns: int | None) -> Delivery:
    """A file just taken in, as it is recorded.

    Where several files of a partition follow each other, it is read once for its version and number of rows, in the
    bounds that its feed sets; what cannot be read has no version, nor has what breaks off.

    Args:
        feed: Its feed.
        file: The file.
        modified_ns: When it was last written to, in nanoseconds since 1970; None if nobody knows.
    """
    if feed.is_plain:
        return Delivery(file.partition, file.file_name, file.sha256, file.size_bytes)
    named = feed.named(file.file_name)
    version = None if named is None else named.version
    (raw,) = read_raw(feed, {file.partition: RawFile(file.file_name, file.size_bytes, file.content)}).values()
    if feed.version_column is not None and not raw.breaches:
        version = greatest(raw.frame[feed.version_column].unique().to_list())
    return Delivery(
        file.partition,
        file.file_name,
        file.sha256,
        file.size_bytes,
        version=version,
        part=feed.part_of(file.file_name),
        modified_ns=modified_ns,
        rows=raw.records,
    )


def reads(feed: Feed, counting: Sequence[Arrival], held: Sequence[Arrival] = ()) -> frozenset[Read]:
    """What a raw partition is made of: each file that counts, and that others wait for a person's word."""
    files = {Read(feed.name, a.partition, (), a.sha256, f"part {a.part}" if a.part else "") for a in counting}
    return frozenset(
        files | {Read(feed.name, a.partition, (), a.sha256, f"held {a.file_name} (arrival {a.id})") for a in held}
    )


def read_together(feed: Feed, files: Mapping[str, Sequence[RawFile]]) -> dict[str, list[RawPartition]]:
    """What each file of each partition holds, in the order of ``files``."""
    read: dict[str, list[RawPartition]] = {key: [] for key in files}
    for turn in range(max(map(len, files.values()), default=0)):
        those = {key: of[turn] for key, of in files.items() if turn < len(of)}
        for key, raw in read_raw(feed, those).items():
            read[key].append(raw)
    return read


def rows_of(parts: Sequence[RawPartition]) -> pl.DataFrame:
    """The rows of a partition's files, one file after the other."""
    return parts[0].frame if len(parts) == 1 else pl.concat([part.frame for part in parts])


def not_accepted(feed: Feed, counting: Sequence[Arrival], held: Sequence[Arrival]) -> tuple[RuleBreach, ...]:
    """A breach of the rule ``accepted`` where files of a partition wait for a person's word: which, and what to do."""
    if not held:
        return ()
    (now,), key = counting, held[0].partition
    which = ", ".join(f"{a.file_name} ({a.size_bytes:,} bytes, arrival {a.id})" for a in held)
    came = "another file has" if len(held) == 1 else f"{len(held)} other files have"
    choose = "" if len(held) == 1 else f" --arrival {held[-1].id}"
    detail = (
        f"{came} come beside {now.file_name} ({now.size_bytes:,} bytes, arrival {now.id}), with other content: {which}"
        f"; selfheal accept {feed.name} '{key}'{choose} takes it instead, selfheal reject {feed.name} '{key}' does not"
    )
    return (RuleBreach(ACCEPTED, Level.TABLE, 1, detail),)
