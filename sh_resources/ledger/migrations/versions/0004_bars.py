"""Rollbacks bar what they replaced; files of old snapshots are given up."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

Name = sa.String().with_variant(sa.Text(collation="C"), "postgresql").with_variant(sa.Text(), "sqlite")
Utc = sa.DateTime(timezone=True)


def upgrade() -> None:
    """No bar is in force, and every snapshot still has its file."""
    op.create_table(
        "ledger_bars",
        sa.Column("attempt_id", Name, nullable=False),
        sa.Column("table_name", Name, nullable=False),
        sa.Column("partition_key", Name, nullable=False),
        sa.Column("root", Name, nullable=False),
        sa.Column("bad_trace", Name, nullable=False),
        sa.Column("good_trace", Name, nullable=False),
        sa.Column("said", Name, nullable=False),
        sa.Column("lifted_utc", Utc),
        sa.PrimaryKeyConstraint("attempt_id", name="pk_ledger_bars"),
        sa.ForeignKeyConstraint(["attempt_id"], ["ledger_attempts.id"], name="fk_ledger_bars_attempt_id"),
        sa.ForeignKeyConstraint(["bad_trace"], ["ledger_traces.digest"], name="fk_ledger_bars_bad_trace"),
        sa.ForeignKeyConstraint(["good_trace"], ["ledger_traces.digest"], name="fk_ledger_bars_good_trace"),
    )
    op.create_index("ix_ledger_bars_partition", "ledger_bars", ["table_name", "partition_key"])
    op.add_column("ledger_snapshots", sa.Column("tidied_utc", Utc))
    op.create_index("ix_ledger_attempts_path", "ledger_attempts", ["table_name", "path"])
    op.create_index("ix_ledger_attempts_partition", "ledger_attempts", ["table_name", "partition_key"])
