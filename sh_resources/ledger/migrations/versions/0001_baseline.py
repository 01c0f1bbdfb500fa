"""The first set of tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

Name = sa.String().with_variant(sa.Text(collation="C"), "postgresql").with_variant(sa.Text(), "sqlite")
Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Utc = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create everything."""
    _arrivals()
    _traces()
    _attempts()
    _snapshots()
    _leases()
    _incidents()
    op.create_table(
        "ledger_code_sources",
        sa.Column("code_version", Name, nullable=False),
        sa.Column("source", Name, nullable=False),
        sa.PrimaryKeyConstraint("code_version", name="pk_ledger_code_sources"),
    )


def _index(name: str, table: str, columns: list[str], *, unique: bool = False, where: str | None = None) -> None:
    condition = None if where is None else sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def _arrivals() -> None:
    op.create_table(
        "ledger_arrivals",
        sa.Column("id", Id, nullable=False),
        sa.Column("feed", Name, nullable=False),
        sa.Column("partition_key", Name, nullable=False),
        sa.Column("file_name", Name, nullable=False),
        sa.Column("sha256", Name, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("arrived_utc", Utc, nullable=False),
        sa.Column("supersedes", Id),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_arrivals"),
        sa.ForeignKeyConstraint(["supersedes"], ["ledger_arrivals.id"], name="fk_ledger_arrivals_supersedes"),
    )
    feed_partition = ["feed", "partition_key"]
    _index("uq_ledger_arrivals_supersedes", "ledger_arrivals", ["supersedes"], unique=True)
    _index("ix_ledger_arrivals_feed_partition_key", "ledger_arrivals", feed_partition)
    _index("uq_ledger_arrivals_first", "ledger_arrivals", feed_partition, unique=True, where="supersedes IS NULL")


def _traces() -> None:
    op.create_table(
        "ledger_column_sets",
        sa.Column("id", Name, nullable=False),
        sa.Column("names", Name, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_column_sets"),
    )
    op.create_table(
        "ledger_traces",
        sa.Column("digest", Name, nullable=False),
        sa.Column("code", Name, nullable=False),
        sa.Column("contract", Name, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_ledger_traces"),
    )
    op.create_table(
        "ledger_reads",
        sa.Column("trace_digest", Name, nullable=False),
        sa.Column("source", Name, nullable=False),
        sa.Column("partition_key", Name, nullable=False),
        sa.Column("column_set_id", Name, nullable=False),
        sa.Column("digest", Name, nullable=False),
        sa.PrimaryKeyConstraint("trace_digest", "source", "partition_key", "column_set_id", name="pk_ledger_reads"),
        sa.ForeignKeyConstraint(["trace_digest"], ["ledger_traces.digest"], name="fk_ledger_reads_trace_digest"),
        sa.ForeignKeyConstraint(["column_set_id"], ["ledger_column_sets.id"], name="fk_ledger_reads_column_set_id"),
    )


def _attempts() -> None:
    op.create_table(
        "ledger_attempts",
        sa.Column("id", Name, nullable=False),
        sa.Column("table_name", Name, nullable=False),
        sa.Column("partition_key", Name, nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("run_id", Name, nullable=False),
        sa.Column("action", Name, nullable=False),
        sa.Column("trace_digest", Name, nullable=False),
        sa.Column("verdict", Name, nullable=False),
        sa.Column("version", Name),
        sa.Column("path", Name),
        sa.Column("transaction_version", sa.BigInteger),
        sa.Column("quarantined", sa.BigInteger, nullable=False),
        sa.Column("intended_utc", Utc, nullable=False),
        sa.Column("state", Name, nullable=False),
        sa.Column("decided_utc", Utc),
        sa.Column("reason", Name),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_attempts"),
        sa.ForeignKeyConstraint(["trace_digest"], ["ledger_traces.digest"], name="fk_ledger_attempts_trace_digest"),
        sa.CheckConstraint("state IN ('intended', 'confirmed', 'discarded')", name=op.f("ck_ledger_attempts_state")),
        sa.CheckConstraint("(state = 'intended') = (decided_utc IS NULL)", name=op.f("ck_ledger_attempts_decided")),
        sa.CheckConstraint(
            "(action = 'publish') = (transaction_version IS NOT NULL)", name=op.f("ck_ledger_attempts_transaction")
        ),
        sa.CheckConstraint(
            "(action = 'withhold') = (path IS NULL) AND (path IS NULL) = (version IS NULL)",
            name=op.f("ck_ledger_attempts_content"),
        ),
    )
    _index(
        "uq_ledger_attempts_undecided",
        "ledger_attempts",
        ["table_name", "partition_key"],
        unique=True,
        where="state = 'intended'",
    )
    op.create_table(
        "ledger_shares",
        sa.Column("attempt_id", Name, nullable=False),
        sa.Column("arrival_id", Id, nullable=False),
        sa.Column("arrived", sa.BigInteger, nullable=False),
        sa.Column("published", sa.BigInteger, nullable=False),
        sa.Column("quarantined", sa.BigInteger, nullable=False),
        sa.Column("duplicates", sa.BigInteger, nullable=False),
        sa.Column("pending", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("attempt_id", "arrival_id", name="pk_ledger_shares"),
        sa.ForeignKeyConstraint(["attempt_id"], ["ledger_attempts.id"], name="fk_ledger_shares_attempt_id"),
        sa.ForeignKeyConstraint(["arrival_id"], ["ledger_arrivals.id"], name="fk_ledger_shares_arrival_id"),
    )
    _index("ix_ledger_shares_arrival_id", "ledger_shares", ["arrival_id"])


def _snapshots() -> None:
    op.create_table(
        "ledger_snapshots",
        sa.Column("attempt_id", Name, nullable=False),
        sa.Column("table_name", Name, nullable=False),
        sa.Column("partition_key", Name, nullable=False),
        sa.Column("path", Name, nullable=False),
        sa.Column("transaction_version", sa.BigInteger, nullable=False),
        sa.Column("version", Name, nullable=False),
        sa.Column("trace_digest", Name, nullable=False),
        sa.Column("published_utc", Utc, nullable=False),
        sa.PrimaryKeyConstraint("attempt_id", name="pk_ledger_snapshots"),
        sa.ForeignKeyConstraint(["attempt_id"], ["ledger_attempts.id"], name="fk_ledger_snapshots_attempt_id"),
        sa.ForeignKeyConstraint(["trace_digest"], ["ledger_traces.digest"], name="fk_ledger_snapshots_trace_digest"),
    )
    _index("uq_ledger_snapshots_path", "ledger_snapshots", ["table_name", "path"], unique=True)
    _index(
        "uq_ledger_snapshots_transaction",
        "ledger_snapshots",
        ["table_name", "partition_key", "transaction_version"],
        unique=True,
    )
    op.create_table(
        "ledger_partitions",
        sa.Column("table_name", Name, nullable=False),
        sa.Column("partition_key", Name, nullable=False),
        sa.Column("snapshot_id", Name),
        sa.Column("settlement_id", Name, nullable=False),
        sa.PrimaryKeyConstraint("table_name", "partition_key", name="pk_ledger_partitions"),
        sa.ForeignKeyConstraint(
            ["snapshot_id"], ["ledger_snapshots.attempt_id"], name="fk_ledger_partitions_snapshot_id"
        ),
        sa.ForeignKeyConstraint(["settlement_id"], ["ledger_attempts.id"], name="fk_ledger_partitions_settlement_id"),
    )


def _leases() -> None:
    op.create_table(
        "ledger_leases",
        sa.Column("table_name", Name, nullable=False),
        sa.Column("partition_key", Name, nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("owner", Name),
        sa.Column("expires_utc", Utc),
        sa.PrimaryKeyConstraint("table_name", "partition_key", name="pk_ledger_leases"),
        sa.CheckConstraint("(owner IS NULL) = (expires_utc IS NULL)", name=op.f("ck_ledger_leases_released")),
    )
    _index("ix_ledger_leases_held", "ledger_leases", ["table_name", "partition_key"], where="owner IS NOT NULL")


def _incidents() -> None:
    partition = ["table_name", "partition_key"]
    op.create_table(
        "ledger_incidents",
        sa.Column("id", Id, nullable=False),
        sa.Column("cause_key", Name, nullable=False),
        sa.Column("table_name", Name, nullable=False),
        sa.Column("partition_key", Name, nullable=False),
        sa.Column("opened_utc", Utc, nullable=False),
        sa.Column("closed_utc", Utc),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_incidents"),
    )
    _index("ix_ledger_incidents_table_name_partition_key", "ledger_incidents", partition)
    _index("uq_ledger_incidents_open", "ledger_incidents", partition, unique=True, where="closed_utc IS NULL")
    op.create_table(
        "ledger_incident_events",
        sa.Column("id", Id, nullable=False),
        sa.Column("incident_id", Id, nullable=False),
        sa.Column("at_utc", Utc, nullable=False),
        sa.Column("kind", Name, nullable=False),
        sa.Column("attempt_id", Name, nullable=False),
        sa.Column("detail", Name, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_incident_events"),
        sa.ForeignKeyConstraint(["incident_id"], ["ledger_incidents.id"], name="fk_ledger_incident_events_incident_id"),
        sa.ForeignKeyConstraint(["attempt_id"], ["ledger_attempts.id"], name="fk_ledger_incident_events_attempt_id"),
    )
    _index("ix_ledger_incident_events_incident_id", "ledger_incident_events", ["incident_id"])
