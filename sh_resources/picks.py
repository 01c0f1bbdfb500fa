"""Picks: looked-up rows as they were when a partition was computed, beside those of now.

Belongs here: finding the snapshot of a looked-up table that was read then, and comparing rows. Does not belong here:
looking up (``inputs``), words. Invariant: what is compared is what was read: its version is the one in the trace, which
also proves that the keys were the same ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl

from sh_core.explanation import Detail, NotKept, RowsDiffer
from sh_core.inputs import Input
from sh_core.masking import sample
from sh_core.reading import handed_over
from sh_core.records import Snapshot
from sh_resources.inputs import Sighting, pick
from sh_resources.partition_files import DataFile

TRIED = 5
"""Earlier snapshots of a looked-up partition that are looked at, newest first."""

KEYS_NAMED = 3

Pair = tuple[str, str]
"""A partition to compute, and a partition that it looks rows up in."""

_NOT_KEPT = NotKept("what was looked up then")


def compared(
    sighting: Sighting, given: Input, wanted: Mapping[Pair, tuple[str, str]], earlier: Mapping[str, Sequence[Snapshot]]
) -> dict[Pair, Detail]:
    """What differs between the rows that partitions looked up then, and those they would look up now.

    Args:
        sighting: What is there now, with the present rows picked.
        given: The input that is looked up.
        wanted: Version of the rows looked up then, and of those of now.
        earlier: Snapshots of each looked-up partition, newest first, the present one left out.
    """
    found: dict[Pair, Detail] = dict.fromkeys(wanted, _NOT_KEPT)
    source, now = sighting.upstream[given.table], sighting.picked[given.name]
    columns, delta = set(handed_over(given, source)), sighting.store.table(source)
    pii = source.contract.pii
    left = {pair for pair, (_, after) in wanted.items() if now.digests.get(pair) == after}
    for nth in range(TRIED):
        there = {p: snapshots[nth] for p, snapshots in earlier.items() if nth < len(snapshots)}
        files = {
            p: DataFile(p, s.path, s.version.rows, 0)
            for p, s in there.items()
            if columns <= set(s.version.columns) and (delta.folder / s.path).is_file()
        }
        asked = {pair for pair in left if pair[1] in files}
        if not asked:
            continue
        then = replace(sighting, files={**sighting.files, given.table: {**sighting.files[given.table], **files}})
        picked = pick(then, given, sorted({key for key, _ in asked}))
        for pair in asked:
            if picked.digests.get(pair) == wanted[pair][0]:
                rows = [one.rows.slice(*one.spans[pair]) for one in (picked, now)]
                found[pair] = rows_differ(rows[0], rows[1], source.contract.key, pii)
                left.discard(pair)
    return found


def rows_differ(then: pl.DataFrame, now: pl.DataFrame, key: Sequence[str], pii: frozenset[str]) -> RowsDiffer:
    """How looked-up rows differ.

    Args:
        then: Rows as they were; no two with the same key.
        now: Rows as they are.
        key: Key columns of both.
        pii: Columns whose values nobody is shown.
    """
    values = [c for c in now.columns if c not in key]
    both = then.join(now, on=list(key), suffix="_sh_now")
    unequal = [pl.col(c).ne_missing(pl.col(f"{c}_sh_now")).alias(c) for c in values]
    flags = both.select(unequal)
    changed = both.filter(pl.any_horizontal(unequal)) if values else both.clear()
    appeared, gone = now.join(then, on=list(key), how="anti"), then.join(now, on=list(key), how="anti")
    keys = pl.concat([part.select(key) for part in (changed, appeared, gone)]).head(KEYS_NAMED)
    return RowsDiffer(
        changed.height,
        appeared.height,
        gone.height,
        tuple(c for c in values if flags[c].any()),
        tuple(" ".join(str(value) for value in row.values()) for row in sample(keys, pii)),
    )
