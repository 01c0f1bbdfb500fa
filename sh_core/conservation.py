"""Conservation: every delivered row is somewhere, and it is known where.

Belongs here: comparing what a staged transform was handed with what it returned, and counting a judged partition's
rows per arrival. Does not belong here: summing over stations (``accounts``). Invariant: a row is known by (file,
line), and a staged transform returns each one it was handed exactly once.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import polars as pl

from sh_core.columns import FILE, LINE, LINEAGE
from sh_core.feed import Feed
from sh_core.partitions import Partitions
from sh_core.records import ArrivalShare
from sh_core.verdict import Level, Rule, RuleBreach


@dataclass(frozen=True)
class Handed:
    """The rows of one arrival that a table was handed.

    Attributes:
        arrival_id: The arrival.
        rows: How many, counted before anything was done with them.
        feed: Its feed.
        part: Which of the partition's files it is; empty unless files are appended.
    """

    arrival_id: int
    rows: int
    feed: Feed
    part: str = ""


CONSERVES_ROWS = Rule("conserved", Level.TABLE, (), "Each delivered row occurs exactly once")
IN_PARTITION = Rule("in_partition", Level.TABLE, (), "Every row belongs to the partition that it was computed for")
_ROW = [FILE, LINE]
_NAMED = 3
"""Other partitions that a message names."""

_ID = ["partition", *_ROW]


def not_conserved(
    given: Mapping[str, list[pl.DataFrame]], returned: Mapping[str, pl.DataFrame]
) -> dict[str, RuleBreach]:
    """Find the partitions whose transform lost, doubled or made up rows.

    Args:
        given: Per partition, the frames handed to the transform, each with file and line.
        returned: Per partition, what it returned.

    Returns:
        A breach of the rule ``conserved`` for each partition that breaks it.
    """
    breaches: dict[str, RuleBreach] = {}
    traceable: dict[str, pl.DataFrame] = {}
    for partition, frame in returned.items():
        if frame.schema.get(FILE) == pl.String and frame.schema.get(LINE) == pl.Int64:
            traceable[partition] = frame
        else:
            breaches[partition] = _breach(f"the transform must pass on {FILE} (text) and {LINE} (Int64) unchanged")
    if not traceable:
        return breaches
    before = _rows([(p, frame) for p in traceable for frame in given[p]])
    after = _rows(list(traceable.items()))
    findings = {
        "lost": before.join(after, on=_ID, how="anti"),
        "made up": after.join(before, on=_ID, how="anti", nulls_equal=True),
        "doubled": after.filter(pl.struct(_ID).is_duplicated()).unique(),
    }
    for partition in traceable:
        told = [
            _tell(what, rows.filter(pl.col("partition") == partition)) for what, rows in findings.items() if rows.height
        ]
        if any(told):
            breaches[partition] = _breach("the transform " + "; ".join(t for t in told if t))
    return breaches


def not_in_partition(returned: Mapping[str, pl.DataFrame], partitions: Partitions) -> dict[str, RuleBreach]:
    """Find the partitions whose transform returned rows of another one; published, they would change their date.

    Args:
        returned: Per partition, what the transform returned.
        partitions: The partition set.

    Returns:
        A breach of the rule ``in_partition`` for each partition with such rows. A missing or wrongly typed partition
        column is not judged here (rule ``schema``).
    """
    found: dict[str, RuleBreach] = {}
    for column, dtype in partitions.columns.items():
        judged = {key: frame for key, frame in returned.items() if frame.schema.get(column) == dtype}
        found = _strays(judged, column, dtype, partitions) | found
    return found


def _strays(
    returned: Mapping[str, pl.DataFrame], column: str, dtype: pl.DataType, partitions: Partitions
) -> dict[str, RuleBreach]:
    """The partitions with rows that have another value in one partition column."""
    if not returned:
        return {}
    rows = pl.concat(
        [
            f.select(
                pl.lit(key).alias("partition"),
                pl.col(column).alias("value"),
                *_origin(f),
                own=pl.lit(partitions.values(key)[column], dtype),
            )
            for key, f in returned.items()
        ]
    )
    strays = rows.filter(pl.col("value").ne_missing(pl.col("own")) & pl.col("value").is_not_null())
    found = (
        strays.sort(_ROW)
        .group_by("partition")
        .agg(pl.len(), pl.col("value").value_counts(sort=True), pl.col(*_ROW).first())
    )
    return {
        key: RuleBreach(IN_PARTITION.name, Level.TABLE, 1, _belongs(count, column, values, file, line))
        for key, count, values, file, line in found.iter_rows()
    }


def _belongs(count: int, column: str, values: list[dict[str, object]], file: str | None, line: int | None) -> str:
    """Where rows belong that are not of their partition, most of them first."""
    rows = "1 row belongs" if count == 1 else f"{count} rows belong"
    ordered = sorted(values, key=lambda v: (-int(str(v["count"])), str(v["value"])))
    where = ", ".join(
        str(v["value"]) if len(ordered) == 1 else f"{v['value']} ({v['count']})" for v in ordered[:_NAMED]
    )
    more = f" and {len(ordered) - _NAMED} more" if len(ordered) > _NAMED else ""
    place = "" if file is None else f"; the first is {file} line {line}"
    return f"{rows} to another {column}, {where}{more}{place}"


def shares_of(
    published: Mapping[str, pl.DataFrame],
    quarantined: Mapping[str, pl.DataFrame],
    duplicates: Mapping[str, pl.DataFrame],
    handed: Mapping[str, Collection[Handed]],
) -> dict[str, tuple[ArrivalShare, ...]]:
    """Count what became of the rows of each arrival.

    Args:
        published: Per partition, rows to publish, with file and line.
        quarantined: Per partition, rows set aside.
        duplicates: Per partition, exact copies dropped.
        handed: Per partition, the arrivals and how many of their rows were handed over; of each feed one, or one for
            each part.

    Returns:
        Per partition, one share for each of its arrivals, also for those without any row.
    """
    feeds = {given.feed.name: given.feed for those in handed.values() for given in those}
    good, broken, copies = (_counted(frames, feeds) for frames in (published, quarantined, duplicates))
    return {
        partition: tuple(
            ArrivalShare(
                arrival_id=given.arrival_id,
                arrived=given.rows,
                published=good[partition, given.feed.name, given.part],
                quarantined=broken[partition, given.feed.name, given.part],
                duplicates=copies[partition, given.feed.name, given.part],
            )
            for given in sorted(those, key=lambda given: (given.feed.name, given.part))
        )
        for partition, those in handed.items()
    }


def rows_per_part(feed: Feed, rows: pl.DataFrame) -> Counter[str]:
    """How many rows of a raw partition came in which of its files."""
    counted = _counted({"": rows}, {feed.name: feed})
    return Counter({part: n for (_, _, part), n in counted.items()})


def _origin(frame: pl.DataFrame) -> list[pl.Expr]:
    """File and line of each row; null where they did not come along."""
    return [
        (pl.col(name) if frame.schema.get(name) == dtype else pl.lit(None, dtype)).alias(name)
        for name, dtype in LINEAGE.items()
    ]


def _rows(frames: list[tuple[str, pl.DataFrame]]) -> pl.DataFrame:
    return pl.concat([frame.select(pl.lit(partition).alias("partition"), *_ROW) for partition, frame in frames])


def _counted(frames: Mapping[str, pl.DataFrame], feeds: Mapping[str, Feed]) -> Counter[tuple[str, str, str]]:
    """Rows by partition, feed and part."""
    counted: Counter[tuple[str, str, str]] = Counter()
    filled = [(p, f) for p, f in frames.items() if f.height and FILE in f.columns]
    if filled:
        for partition, file, n in _rows(filled).group_by("partition", FILE).len().iter_rows():
            feed, _, name = (file or "").partition("/")
            counted[partition, feed, feeds[feed].part_of(name) if feed in feeds else ""] += n
    return counted


def _breach(detail: str) -> RuleBreach:
    return RuleBreach(CONSERVES_ROWS.name, Level.TABLE, 1, detail)


def _tell(what: str, rows: pl.DataFrame) -> str:
    if rows.is_empty():
        return ""
    first = rows.sort(_ROW).row(0, named=True)
    count = "1 row" if rows.height == 1 else f"{rows.height} rows"
    return f"{what} {count}, the first being {first[FILE]} line {first[LINE]}"
