"""Judging: from computed rows to what can be said of them, before anything is written.

Belongs here: the gate's judgement of many partitions in one pass, content versions and row accounts of what it let
through, and holding back what was rolled back. Does not belong here: the gate itself (``sh_core.gate``), computing
(``computing``), what a verdict leads to (``publisher``). Invariant: each computed partition is judged once, and has a
version exactly if its rows may be published.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import polars as pl

from sh_core.bars import Bar, barring, breach, refusing
from sh_core.conservation import shares_of
from sh_core.gate import Judgement, judge_partitions
from sh_core.records import ArrivalShare
from sh_core.table import Table
from sh_core.trace import Trace
from sh_core.verdict import Broken, Unknown
from sh_core.version import Version, digest_groups
from sh_resources.computing import Computed


@dataclass(frozen=True, eq=False)
class Judged:
    """What is said of one computed partition.

    Attributes:
        judgement: What the gate made of its rows.
        version: Content version of the rows that hold; None where they may not be published.
        shares: Row account per arrival; empty for tables without lineage.
    """

    judgement: Judgement
    version: Version | None
    shares: tuple[ArrivalShare, ...]


def judge(
    table: Table,
    computed: Mapping[str, Computed],
    traces: Mapping[str, Trace],
    bars: Mapping[str, Collection[Bar]],
    *,
    force: bool,
) -> dict[str, Judged]:
    """Judge computed partitions of one table.

    Args:
        table: The table.
        computed: What was computed, per partition.
        traces: What it was computed from, at least for these partitions.
        bars: What rollbacks keep from coming back, for those partitions of which there is anything.
        force: A person asked for it, and says that a barred trace is worth a try; barred content stays barred.
    """
    judgements = _judgements(table, computed)
    versions = {key: version.marked(computed[key].marks) for key, version in _versions(table, judgements).items()}
    for key in versions.keys() & bars.keys():
        bar = refusing(bars[key], versions[key].root)
        bar = bar if bar is not None or force else barring(bars[key], traces[key])
        if bar is not None:
            judgements[key] = _refused(judgements[key], bar)
            del versions[key]
    shares = _shares(judgements, computed) if table.keeps_lineage else {}
    return {key: Judged(judgement, versions.get(key), shares.get(key, ())) for key, judgement in judgements.items()}


def _judgements(table: Table, computed: Mapping[str, Computed]) -> dict[str, Judgement]:
    frames = {key: c.rows for key, c in computed.items() if isinstance(c.rows, pl.DataFrame)}
    breaches = {key: c.breaches for key, c in computed.items() if c.breaches}
    judged = judge_partitions(frames, table.contract, breaches)
    none = pl.DataFrame()
    crashed = {
        key: Judgement(verdict=c.rows, publishable=False, rows=none, broken=none, duplicates=none, rows_judged=0)
        for key, c in computed.items()
        if isinstance(c.rows, Unknown)
    }
    return {key: crashed[key] if key in crashed else judged[key] for key in computed}


def _versions(table: Table, judgements: Mapping[str, Judgement]) -> dict[str, Version]:
    """Content version of each partition that may be published, hashed in one pass."""
    good = {key: j.rows.select(table.contract.columns) for key, j in judgements.items() if j.publishable}
    if not good:
        return {}
    rows = pl.concat(list(good.values()))
    group = pl.concat(
        [pl.repeat(i, frame.height, dtype=pl.UInt32, eager=True) for i, frame in enumerate(good.values())]
    )
    return dict(zip(good, (p.finish() for p in digest_groups(rows, table.contract.key, group, len(good))), strict=True))


def _refused(judgement: Judgement, bar: Bar) -> Judgement:
    """The same rows, withheld since they were rolled back."""
    before = judgement.verdict if isinstance(judgement.verdict, Broken) else Broken((), 0)
    verdict = Broken((*before.breaches, breach(bar)), before.rows_broken)
    return replace(judgement, verdict=verdict, publishable=False)


def _shares(
    judgements: Mapping[str, Judgement], computed: Mapping[str, Computed]
) -> dict[str, tuple[ArrivalShare, ...]]:
    return shares_of(
        {key: j.rows for key, j in judgements.items()},
        {key: j.broken for key, j in judgements.items()},
        {key: j.duplicates for key, j in judgements.items()},
        {key: c.handed for key, c in computed.items()},
    )
