"""Files of the landing zone are known, so that none is read again that nobody has written to."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

Name = sa.String().with_variant(sa.Text(collation="C"), "postgresql").with_variant(sa.Text(), "sqlite")
Utc = sa.DateTime(timezone=True)


def upgrade() -> None:
    """No file is known: each is read once more, and found to be the arrival that it is."""
    op.create_table(
        "ledger_files",
        sa.Column("feed", Name, nullable=False),
        sa.Column("file_name", Name, nullable=False),
        sa.Column("partition_key", Name, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("stamp", Name, nullable=False),
        sa.Column("sha256", Name, nullable=False),
        sa.Column("seen_utc", Utc, nullable=False),
        sa.Column("gone_utc", Utc),
        sa.PrimaryKeyConstraint("feed", "file_name", name="pk_ledger_files"),
    )
