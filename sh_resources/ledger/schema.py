"""The ledger's tables.

Belongs here: tables, keys, constraints and the indexes that serve the queries of a tick. Does not belong here:
queries; and it is ``migrations`` that changes databases, this page says what they look like afterwards (a test
compares the two). Invariant: what is stored is either a fact that never changes (an arrival, a trace, an attempt's
content) or a pointer to one (a partition's current snapshot and settlement); a constraint guards whatever two writers
could break.

Names start with ``ledger_``: the ledger may share a PostgreSQL database with Dagster, which has ``snapshots`` too.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
    false,
    literal_column,
    text,
)

PREFIX = "ledger_"
"""How the name of every table of the ledger starts."""

VERSION_TABLE = "ledger_version"
"""Where Alembic keeps the revision; not ``alembic_version``, which is Dagster's in a shared database."""


class Utc(TypeDecorator[datetime]):
    """An aware datetime in UTC, also on SQLite, which knows no time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store in UTC; refuse a naive value."""
        del dialect
        return None if value is None else utc(value)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return as UTC: SQLite gives the naive value stored, PostgreSQL one in the session's time zone."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def utc(moment: datetime) -> datetime:
    """The same moment in UTC.

    Raises:
        ValueError: If it has no time zone: nobody knows which moment it is.
    """
    if moment.utcoffset() is None:
        msg = f"{moment!r} has no time zone; the ledger takes aware datetimes only, e.g. datetime.now(UTC)"
        raise ValueError(msg)
    return moment.astimezone(UTC)


# Compared byte by byte on PostgreSQL as on SQLite and in Python: whoever locks several rows does so in the same order.
Name = String().with_variant(Text(collation="C"), "postgresql").with_variant(Text(), "sqlite")
Id = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows by itself only under this very type name

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def _only_where(condition: str) -> dict[str, Any]:
    """Options of a partial index."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


# Counts confirmations. Whoever raises it holds its row until the end of the transaction, on either database: so serials
# become visible in their order, and who has seen one has seen all that came before it.
clock = Table(
    "ledger_clock",
    metadata,
    Column("id", Id, nullable=False),
    Column("serial", BigInteger, nullable=False),
    PrimaryKeyConstraint("id"),
    CheckConstraint("id = 1", name="one"),
)

arrivals = Table(
    "ledger_arrivals",
    metadata,
    Column("id", Id, primary_key=True),
    Column("feed", Name, nullable=False),
    Column("partition_key", Name, nullable=False),
    Column("file_name", Name, nullable=False),
    Column("sha256", Name, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("arrived_utc", Utc, nullable=False),
    # The arrival that this one replaced. A row is never changed: what replaced it is looked up the other way round.
    Column("supersedes", Id, ForeignKey("ledger_arrivals.id")),
    Column("serial", BigInteger, nullable=False, server_default="1"),
    # By what it is ordered before the order of arrival (sh_core.deliveries).
    Column("version", Name),
    # Which chain of the partition it is in, where files are appended.
    Column("part", Name, nullable=False, server_default=""),
    Column("modified_ns", BigInteger),
    Column("rows", BigInteger),  # counted as it was taken in, for those that may never be read into a table
    # Outside of the chain: the arrival that was current, and of a greater version, when this one came.
    Column("behind", Id, ForeignKey("ledger_arrivals.id")),
    # Outside of the chain: it waits for a person's word, or had to. All up to the next arrival with one are settled.
    Column("held", Boolean, nullable=False, server_default=false()),
    # On a person's word (JSON: whose, and why), in the place of the one it supersedes; and the held one it repeats.
    Column("said", Name),
    Column("accepts", Id, ForeignKey("ledger_arrivals.id")),
    CheckConstraint(
        "CASE WHEN supersedes IS NULL THEN 0 ELSE 1 END + CASE WHEN behind IS NULL THEN 0 ELSE 1 END"
        " + CASE WHEN held THEN 1 ELSE 0 END <= 1",
        name="one_place",
    ),
    Index("ix_ledger_arrivals_serial", "serial"),
    Index("uq_ledger_arrivals_supersedes", "supersedes", unique=True),
    Index("uq_ledger_arrivals_accepts", "accepts", unique=True),
    Index("ix_ledger_arrivals_feed_partition_key", "feed", "partition_key"),
    Index("ix_ledger_arrivals_chain", "feed", "partition_key", "part", **_only_where("behind IS NULL AND NOT held")),
    Index("ix_ledger_arrivals_held", "feed", "partition_key", **_only_where("held")),
    Index(
        "uq_ledger_arrivals_first",
        *("feed", "partition_key", "part"),
        unique=True,
        **_only_where("supersedes IS NULL AND behind IS NULL AND NOT held"),
    ),
    Index(
        "uq_ledger_arrivals_late",
        *("feed", "partition_key", "part", "version", "sha256"),
        unique=True,
        **_only_where("behind IS NOT NULL"),
    ),
)

# What is known of the landing zone. Unlike facts about arrivals it is overwritten: it saves reading files again.
files = Table(
    "ledger_files",
    metadata,
    Column("feed", Name, nullable=False),
    Column("file_name", Name, nullable=False),
    Column("partition_key", Name, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("stamp", Name, nullable=False),  # which writing of the file was read; empty if it is to be read once more
    Column("sha256", Name, nullable=False),
    Column("seen_utc", Utc, nullable=False),  # when this content was first seen there
    Column("gone_utc", Utc),  # since when it is not there any more
    PrimaryKeyConstraint("feed", "file_name"),
)

column_sets = Table(
    "ledger_column_sets",
    metadata,
    # A hash of the names: PostgreSQL refuses to index long texts, and nobody has to ask which number a set was given.
    Column("id", Name, primary_key=True),
    Column("names", Name, nullable=False),  # JSON
)

traces = Table(
    "ledger_traces",
    metadata,
    Column("digest", Name, primary_key=True),
    Column("code", Name, nullable=False),
    Column("contract", Name, nullable=False),
)

reads = Table(
    "ledger_reads",
    metadata,
    Column("trace_digest", Name, ForeignKey("ledger_traces.digest"), nullable=False),
    Column("source", Name, nullable=False),
    Column("partition_key", Name, nullable=False),
    Column("column_set_id", Name, ForeignKey("ledger_column_sets.id"), nullable=False),
    Column("digest", Name, nullable=False),
    Column("picked", Name, nullable=False, server_default=""),  # which rows and as what, in words
    PrimaryKeyConstraint("trace_digest", "source", "partition_key", "column_set_id", "picked"),
)

INTENDED, CONFIRMED, DISCARDED = "intended", "confirmed", "discarded"

attempts = Table(
    "ledger_attempts",
    metadata,
    Column("id", Name, primary_key=True),
    Column("table_name", Name, nullable=False),
    Column("partition_key", Name, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("run_id", Name, nullable=False),
    Column("action", Name, nullable=False),
    Column("trace_digest", Name, ForeignKey("ledger_traces.digest"), nullable=False),
    Column("verdict", Name, nullable=False),  # JSON
    Column("version", Name),  # JSON
    Column("path", Name),
    Column("transaction_version", BigInteger),
    Column("quarantined", BigInteger, nullable=False),
    Column("intended_utc", Utc, nullable=False),
    Column("state", Name, nullable=False),
    Column("decided_utc", Utc),
    Column("reason", Name),
    Column("looked", BigInteger, nullable=False, server_default="0"),
    Column("recipe", BigInteger, nullable=False, server_default="0"),
    Column("seconds", Float),  # its share of what computing and judging took
    CheckConstraint(f"state IN ('{INTENDED}', '{CONFIRMED}', '{DISCARDED}')", name="state"),
    CheckConstraint(f"(state = '{INTENDED}') = (decided_utc IS NULL)", name="decided"),
    CheckConstraint("(action = 'publish') = (transaction_version IS NOT NULL)", name="transaction"),
    CheckConstraint("(action = 'withhold') = (path IS NULL) AND (path IS NULL) = (version IS NULL)", name="content"),
    # At most one undecided intent for each partition: whoever comes next must first finish or discard it.
    Index(
        "uq_ledger_attempts_undecided",
        "table_name",
        "partition_key",
        unique=True,
        **_only_where(f"state = '{INTENDED}'"),
    ),
    Index("ix_ledger_attempts_path", "table_name", "path"),
    Index("ix_ledger_attempts_partition", "table_name", "partition_key"),
)

# With the value written out: SQLite does not look for a partial index when the value comes as a parameter.
is_undecided = attempts.c.state == literal_column(f"'{INTENDED}'")

shares = Table(
    "ledger_shares",
    metadata,
    Column("attempt_id", Name, ForeignKey("ledger_attempts.id"), nullable=False),
    Column("arrival_id", Id, ForeignKey("ledger_arrivals.id"), nullable=False),
    Column("arrived", BigInteger, nullable=False),
    Column("published", BigInteger, nullable=False),
    Column("quarantined", BigInteger, nullable=False),
    Column("duplicates", BigInteger, nullable=False),
    Column("pending", BigInteger, nullable=False),
    PrimaryKeyConstraint("attempt_id", "arrival_id"),
    Index("ix_ledger_shares_arrival_id", "arrival_id"),
)

snapshots = Table(
    "ledger_snapshots",
    metadata,
    Column("attempt_id", Name, ForeignKey("ledger_attempts.id"), primary_key=True),
    Column("table_name", Name, nullable=False),
    Column("partition_key", Name, nullable=False),
    Column("path", Name, nullable=False),
    Column("transaction_version", BigInteger, nullable=False),
    Column("version", Name, nullable=False),  # JSON
    Column("trace_digest", Name, ForeignKey("ledger_traces.digest"), nullable=False),  # a refresh renews it
    Column("published_utc", Utc, nullable=False),
    Column("tidied_utc", Utc),  # when its file was given up; null while one can return to it
    Index("uq_ledger_snapshots_path", "table_name", "path", unique=True),
    Index("uq_ledger_snapshots_transaction", "table_name", "partition_key", "transaction_version", unique=True),
)

partitions = Table(
    "ledger_partitions",
    metadata,
    Column("table_name", Name, nullable=False),
    Column("partition_key", Name, nullable=False),
    Column("snapshot_id", Name, ForeignKey("ledger_snapshots.attempt_id")),
    Column("settlement_id", Name, ForeignKey("ledger_attempts.id"), nullable=False),
    # Serials: when its content last changed (0 if nothing is published), when it was last decided about, and up to
    # which its inputs were looked at, under which recipe (sh_core.suspects).
    Column("content", BigInteger, nullable=False, server_default="0"),
    Column("settled", BigInteger, nullable=False, server_default="0"),
    Column("looked", BigInteger, nullable=False, server_default="0"),
    Column("recipe", BigInteger, nullable=False, server_default="0"),
    PrimaryKeyConstraint("table_name", "partition_key"),
    Index("ix_ledger_partitions_settled", "settled"),
)

leases = Table(
    "ledger_leases",
    metadata,
    Column("table_name", Name, nullable=False),
    Column("partition_key", Name, nullable=False),
    Column("token", BigInteger, nullable=False),
    # Both are null when released. The row stays, since it remembers the token.
    Column("owner", Name),
    Column("expires_utc", Utc),
    PrimaryKeyConstraint("table_name", "partition_key"),
    CheckConstraint("(owner IS NULL) = (expires_utc IS NULL)", name="released"),
    Index("ix_ledger_leases_held", "table_name", "partition_key", **_only_where("owner IS NOT NULL")),
)

incidents = Table(
    "ledger_incidents",
    metadata,
    Column("id", Id, primary_key=True),
    Column("cause_key", Name, nullable=False),
    Column("about", Name, nullable=False, server_default="content"),  # a feed may be called like a table
    Column("table_name", Name, nullable=False),  # of a late file, the feed
    Column("partition_key", Name, nullable=False),
    Column("opened_utc", Utc, nullable=False),
    Column("closed_utc", Utc),
    Index("ix_ledger_incidents_table_name_partition_key", "table_name", "partition_key"),
    Index(
        "uq_ledger_incidents_open",
        "about",
        "table_name",
        "partition_key",
        unique=True,
        **_only_where("closed_utc IS NULL"),
    ),
)

incident_events = Table(
    "ledger_incident_events",
    metadata,
    Column("id", Id, primary_key=True),
    Column("incident_id", Id, ForeignKey("ledger_incidents.id"), nullable=False),
    Column("at_utc", Utc, nullable=False),
    Column("kind", Name, nullable=False),
    Column("attempt_id", Name, ForeignKey("ledger_attempts.id")),  # none where nothing was tried: a file is late
    Column("detail", Name, nullable=False),  # JSON
    Index("ix_ledger_incident_events_incident_id", "incident_id"),
)

requests = Table(
    "ledger_requests",
    metadata,
    Column("id", Id, primary_key=True),
    Column("at_utc", Utc, nullable=False),
    Column("asked_by", Name, nullable=False),
    Column("table_name", Name, nullable=False),
    Column("partition_key", Name, nullable=False),
    Column("trace_digest", Name, nullable=False),  # under which it would be settled; may never have come to be
    Column("reasons", Name, nullable=False),  # JSON
    Index("ix_ledger_requests_asked_by", "asked_by"),
    Index("ix_ledger_requests_table_name_partition_key", "table_name", "partition_key"),
)

pauses = Table(
    "ledger_pauses",
    metadata,
    Column("table_name", Name, nullable=False),
    Column("downstream", Boolean, nullable=False),  # whether all tables downstream are paused with it
    Column("since_utc", Utc, nullable=False),
    Column("paused_by", Name, nullable=False),
    Column("reason", Name, nullable=False),
    PrimaryKeyConstraint("table_name"),
)

bars = Table(
    "ledger_bars",
    metadata,
    # The rollback. Written along with its intent; in force once that is confirmed, and until it is lifted.
    Column("attempt_id", Name, ForeignKey("ledger_attempts.id"), primary_key=True),
    Column("table_name", Name, nullable=False),
    Column("partition_key", Name, nullable=False),
    Column("root", Name, nullable=False),
    Column("bad_trace", Name, ForeignKey("ledger_traces.digest"), nullable=False),
    Column("good_trace", Name, ForeignKey("ledger_traces.digest"), nullable=False),
    Column("said", Name, nullable=False),  # JSON: by whom, and why
    Column("lifted_utc", Utc),
    Index("ix_ledger_bars_partition", "table_name", "partition_key"),
)

reconciliations = Table(
    "ledger_reconciliations",
    metadata,
    # The attempt that published the truth. Written along with its intent; it counts once that is confirmed.
    Column("attempt_id", Name, ForeignKey("ledger_attempts.id"), primary_key=True),
    Column("table_name", Name, nullable=False),
    Column("partition_key", Name, nullable=False),
    Column("found", Name, nullable=False),  # JSON: how far the placeholder was from it
    Index("ix_ledger_reconciliations_partition", "table_name", "partition_key"),
)

code_sources = Table(
    "ledger_code_sources",
    metadata,
    Column("code_version", Name, primary_key=True),
    Column("source", Name, nullable=False),
)
