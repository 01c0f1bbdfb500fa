"""How far placeholders were from the truth that replaced them."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

Name = sa.String().with_variant(sa.Text(collation="C"), "postgresql").with_variant(sa.Text(), "sqlite")


def upgrade() -> None:
    """Of what was replaced before, nobody knows."""
    op.create_table(
        "ledger_reconciliations",
        sa.Column("attempt_id", Name, nullable=False),
        sa.Column("table_name", Name, nullable=False),
        sa.Column("partition_key", Name, nullable=False),
        sa.Column("found", Name, nullable=False),
        sa.PrimaryKeyConstraint("attempt_id", name="pk_ledger_reconciliations"),
        sa.ForeignKeyConstraint(["attempt_id"], ["ledger_attempts.id"], name="fk_ledger_reconciliations_attempt_id"),
    )
    op.create_index("ix_ledger_reconciliations_partition", "ledger_reconciliations", ["table_name", "partition_key"])
