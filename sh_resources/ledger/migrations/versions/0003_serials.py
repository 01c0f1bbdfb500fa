"""Serials: what changed since, and up to where a partition's inputs were looked at; requests, and pauses."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

Name = sa.String().with_variant(sa.Text(collation="C"), "postgresql").with_variant(sa.Text(), "sqlite")
Utc = sa.DateTime(timezone=True)
Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Everything from before has serial 1 and was looked at up to 0: it is all looked at once."""
    op.create_table(
        "ledger_clock",
        sa.Column("id", Id, nullable=False),
        sa.Column("serial", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_clock"),
        sa.CheckConstraint("id = 1", name="ck_ledger_clock_one"),
    )
    op.execute("INSERT INTO ledger_clock (id, serial) VALUES (1, 1)")
    for name in ("looked", "recipe"):
        op.add_column("ledger_attempts", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("ledger_attempts", sa.Column("seconds", sa.Float))
    for name in ("content", "settled", "looked", "recipe"):
        op.add_column("ledger_partitions", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    op.execute("UPDATE ledger_partitions SET settled = 1")
    op.execute("UPDATE ledger_partitions SET content = 1 WHERE snapshot_id IS NOT NULL")
    op.create_index("ix_ledger_partitions_settled", "ledger_partitions", ["settled"])
    op.add_column("ledger_arrivals", sa.Column("serial", sa.BigInteger, nullable=False, server_default="1"))
    op.create_index("ix_ledger_arrivals_serial", "ledger_arrivals", ["serial"])
    op.create_table(
        "ledger_requests",
        sa.Column("id", Id, nullable=False),
        sa.Column("at_utc", Utc, nullable=False),
        sa.Column("asked_by", Name, nullable=False),
        sa.Column("table_name", Name, nullable=False),
        sa.Column("partition_key", Name, nullable=False),
        sa.Column("trace_digest", Name, nullable=False),
        sa.Column("reasons", Name, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_requests"),
    )
    op.create_index("ix_ledger_requests_asked_by", "ledger_requests", ["asked_by"])
    op.create_index("ix_ledger_requests_table_name_partition_key", "ledger_requests", ["table_name", "partition_key"])
    op.create_table(
        "ledger_pauses",
        sa.Column("table_name", Name, nullable=False),
        sa.Column("downstream", sa.Boolean, nullable=False),
        sa.Column("since_utc", Utc, nullable=False),
        sa.Column("paused_by", Name, nullable=False),
        sa.Column("reason", Name, nullable=False),
        sa.PrimaryKeyConstraint("table_name", name="pk_ledger_pauses"),
    )
