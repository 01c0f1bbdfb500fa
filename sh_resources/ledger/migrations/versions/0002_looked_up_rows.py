"""A trace may read some rows of a partition: which ones is part of what was read."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

Name = sa.String().with_variant(sa.Text(collation="C"), "postgresql").with_variant(sa.Text(), "sqlite")


def upgrade() -> None:
    """Reads of before are reads of all rows."""
    with op.batch_alter_table("ledger_reads") as reads:  # SQLite cannot alter a primary key: it copies the table
        reads.add_column(sa.Column("picked", Name, nullable=False, server_default=""))
        reads.drop_constraint("pk_ledger_reads", type_="primary")
        reads.create_primary_key(
            "pk_ledger_reads", ["trace_digest", "source", "partition_key", "column_set_id", "picked"]
        )
