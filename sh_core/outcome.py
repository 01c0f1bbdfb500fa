"""Outcomes: what became of each partition that somebody asked for.

Belongs here: the closed union ``Outcome``, which Dagster, the command line and reports all consume. Does not belong
here: how it is told. Invariant: every requested partition gets exactly one outcome.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from sh_core.records import Action, ArrivalShare
from sh_core.verdict import Verdict
from sh_core.version import Version


@dataclass(frozen=True, eq=False)
class Published:
    """The partition's content was judged and is visible.

    Attributes:
        partition: Partition key.
        attempt_id: The attempt that settled it.
        version: Content version.
        refreshed: Whether the content was the same as before, so that only the ledger changed.
        verdict: What the gate said (``Broken`` where rows were set aside under a split policy).
        rows_judged: Rows that the transform returned.
        quarantined: Rows set aside.
        duplicates: Exact copies dropped.
        shares: Row account per arrival (raw and staged tables).
        preview: First rows, PII masked.
        returned_to: Where a rollback put earlier content back: the attempt that had published it. None where it was
            computed.
    """

    partition: str
    attempt_id: str
    version: Version
    refreshed: bool
    verdict: Verdict
    rows_judged: int
    quarantined: int
    duplicates: int
    shares: tuple[ArrivalShare, ...]
    preview: pl.DataFrame
    returned_to: str | None = None


@dataclass(frozen=True)
class Withheld:
    """The partition's new content may not be published; readers keep the last good snapshot, if there is one.

    Attributes:
        partition: Partition key.
        attempt_id: The attempt that settled it.
        verdict: ``Broken`` or ``Unknown``.
        rows_judged: Rows that the transform returned.
        quarantined: Broken rows set aside as evidence.
        last_good: Root of the snapshot that readers keep; None if they see nothing.
    """

    partition: str
    attempt_id: str
    verdict: Verdict
    rows_judged: int
    quarantined: int
    last_good: str | None


@dataclass(frozen=True)
class Reused:
    """Nothing that the partition was computed from has changed: the transform did not run.

    Attributes:
        partition: Partition key.
        action: How the partition was settled under the same trace before; ``WITHHOLD`` means it stays withheld.
        verdict: What the gate said then.
        root: Root of what readers see; None if they see nothing.
    """

    partition: str
    action: Action
    verdict: Verdict
    root: str | None


@dataclass(frozen=True)
class Waiting:
    """An input is not there yet.

    Attributes:
        partition: Partition key.
        missing: What is missing, in words, e.g. ``file flights_ewr_2013-01-05.csv of feed flights_ewr``.
    """

    partition: str
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Busy:
    """Another run holds the partition's lease and is working on it.

    Attributes:
        partition: Partition key.
    """

    partition: str


@dataclass(frozen=True)
class Fenced:
    """This run's lease was taken over before it could publish: its work was discarded.

    Attributes:
        partition: Partition key.
    """

    partition: str


def awaited(missing: Sequence[str], most: int) -> str:
    """What a partition waits for, the first few by name.

    Args:
        missing: As ``Waiting`` has it.
        most: How many are named.
    """
    more = f" and {len(missing) - most:,} more" if len(missing) > most else ""
    return f"{', '.join(missing[:most])}{more}"


Outcome = Published | Withheld | Reused | Waiting | Busy | Fenced
