"""Incidents about what is late, which no attempt has caused."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

Name = sa.String().with_variant(sa.Text(collation="C"), "postgresql").with_variant(sa.Text(), "sqlite")
OPEN = sa.text("closed_utc IS NULL")


def upgrade() -> None:
    """Every incident until now is about content."""
    op.add_column("ledger_incidents", sa.Column("about", Name, nullable=False, server_default="content"))
    op.drop_index("uq_ledger_incidents_open", "ledger_incidents")
    op.create_index(
        "uq_ledger_incidents_open",
        "ledger_incidents",
        ["about", "table_name", "partition_key"],
        unique=True,
        sqlite_where=OPEN,
        postgresql_where=OPEN,
    )
    with op.batch_alter_table("ledger_incident_events") as events:  # SQLite cannot: it copies the table
        events.alter_column("attempt_id", existing_type=Name, nullable=True)
