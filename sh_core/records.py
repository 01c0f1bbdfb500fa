"""Facts that the ledger keeps, as frozen records.

Belongs here: the shape of facts. Does not belong here: SQL. Invariant: times are aware UTC; ids are given, never made
here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sh_core.trace import Trace
from sh_core.verdict import Verdict
from sh_core.version import Version


@dataclass(frozen=True)
class Said:
    """A person's word.

    Attributes:
        by: Whose.
        why: For what reason, in their words.
    """

    by: str
    why: str = ""


@dataclass(frozen=True)
class Arrival:
    """One delivered file, by content.

    Attributes:
        id: Ledger number, increasing in order of arrival.
        feed: Name of the feed.
        partition: Partition key that its name stands for.
        file_name: Name it landed under.
        sha256: Content, hex.
        size_bytes: Size as delivered.
        arrived_utc: When it was ingested.
        superseded_by: Arrival for the same partition that counts instead of it, if any: a later one; of one whose
            version was an older one when it came, the one that was current; of a held one, that which a person chose.
        version: The vendor's version by which it is ordered; of a file that said none, that of the one before it.
        part: Which of the partition's files it is; empty unless files are appended.
        modified_ns: When the file was last written to, in nanoseconds since 1970; None if nobody knows.
        rows: Records in it, if they were counted as it was taken in.
        is_held: Whether it waits for a person's word, or had to.
        is_accepted: Whether it is a held one that a person accepted.
        said: By whom, and why, if it is there on a person's word.
    """

    id: int
    feed: str
    partition: str
    file_name: str
    sha256: str
    size_bytes: int
    arrived_utc: datetime
    superseded_by: int | None = None
    version: str | None = None
    part: str = ""
    modified_ns: int | None = None
    rows: int | None = None
    is_held: bool = False
    is_accepted: bool = False
    said: Said | None = None

    @property
    def chain(self) -> tuple[str, str]:
        """Partition and part."""
        return self.partition, self.part

    @property
    def waits(self) -> bool:
        """Whether it waits for a person's word."""
        return self.is_held and self.superseded_by is None


@dataclass(frozen=True)
class ArrivalShare:
    """What one judged partition made of the rows of one arrival.

    Attributes:
        arrival_id: The arrival.
        arrived: Rows of it that reached this table (at raw: records in the file).
        published: Rows of it in the published content.
        quarantined: Rows of it set aside.
        duplicates: Rows of it dropped as exact copies.
        pending: Rows of it kept back because the partition was withheld.
    """

    arrival_id: int
    arrived: int
    published: int = 0
    quarantined: int = 0
    duplicates: int = 0
    pending: int = 0


class Action(StrEnum):
    """How a judged partition is settled."""

    PUBLISH = "publish"
    """New content: one Delta commit."""
    REFRESH = "refresh"
    """Same content under a new trace: ledger only."""
    WITHHOLD = "withhold"
    """Nothing becomes visible; the last good snapshot stays."""


@dataclass(frozen=True)
class Attempt:
    """The intent to settle one partition; confirmed or discarded exactly once.

    Attributes:
        id: Unique id (also part of the staged file's name).
        table: Table name.
        partition: Partition key.
        token: Fencing token of the lease under which it was made.
        run_id: Dagster run, or another name of who did it.
        action: How the partition is to be settled.
        trace: What the content was computed from.
        verdict: What the gate said.
        version: Content version; None when withheld.
        path: Data file relative to the table's folder; for REFRESH that of the snapshot kept; None when withheld.
        transaction: Delta transaction version that the commit carries; None unless PUBLISH.
        quarantined: Rows in this attempt's quarantine batch.
        shares: Row account per arrival (raw and staged tables; empty elsewhere).
        intended_utc: When the intent was recorded.
        looked: Serial of the ledger before its inputs were looked at.
        recipe: The table's recipe at that moment (``sh_core.reading``).
        seconds: Its share of the time that looking at inputs, computing and judging took; None where nobody measured.
    """

    id: str
    table: str
    partition: str
    token: int
    run_id: str
    action: Action
    trace: Trace
    verdict: Verdict
    version: Version | None
    path: str | None
    transaction: int | None
    quarantined: int
    shares: tuple[ArrivalShare, ...]
    intended_utc: datetime
    looked: int = 0
    recipe: int = 0
    seconds: float | None = None


@dataclass(frozen=True)
class Snapshot:
    """The published state of one partition.

    Attributes:
        table: Table name.
        partition: Partition key.
        version: Content version, per column and as a root.
        path: Data file relative to the table's folder.
        transaction: Delta transaction version that published it.
        trace: What it was last computed from (a refresh renews it).
        published_utc: When its content was confirmed as published.
        attempt_id: The attempt that published its content.
        tidied_utc: When its file was given up, so that nothing can return to it; None while it is there.
    """

    table: str
    partition: str
    version: Version
    path: str
    transaction: int
    trace: Trace
    published_utc: datetime
    attempt_id: str
    tidied_utc: datetime | None = None


@dataclass(frozen=True)
class Settlement:
    """The last thing decided about a partition, published or not.

    Attributes:
        attempt_id: The attempt.
        action: How it was settled.
        trace_digest: Trace under which it was settled; the same trace need not be tried again.
        verdict: What the gate said.
        quarantined: Rows in quarantine.
        shares: Row account per arrival.
        settled_utc: When.
    """

    table: str
    partition: str
    attempt_id: str
    action: Action
    trace_digest: str
    verdict: Verdict
    quarantined: int
    shares: tuple[ArrivalShare, ...]
    settled_utc: datetime


@dataclass(frozen=True)
class IncidentEvent:
    """One thing that happened to an incident.

    Attributes:
        at_utc: When.
        kind: ``opened``, ``seen_again``, ``closed``, ``replaced``.
        attempt_id: The attempt that caused it.
        detail: Plain JSON values, PII masked.
    """

    at_utc: datetime
    kind: str
    attempt_id: str
    detail: Mapping[str, object]


@dataclass(frozen=True)
class Incident:
    """One fault.

    Attributes:
        id: Ledger number.
        cause_key: What went wrong, without the partition, e.g. ``broken:stg_weather:key__unique``.
        table: Table it concerns.
        partition: Partition it concerns.
        is_open: Whether it still needs healing.
        opened_utc: When it was opened.
        closed_utc: When it was closed, if it was.
        events: Everything that happened to it, oldest first.
    """

    id: int
    cause_key: str
    table: str
    partition: str
    is_open: bool
    opened_utc: datetime
    closed_utc: datetime | None
    events: tuple[IncidentEvent, ...] = ()
