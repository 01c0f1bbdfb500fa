"""Arrivals have versions and parts, may be late or held, and may be there on a person's word."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

Name = sa.String().with_variant(sa.Text(collation="C"), "postgresql").with_variant(sa.Text(), "sqlite")

_ONE_PLACE = (
    "CASE WHEN supersedes IS NULL THEN 0 ELSE 1 END + CASE WHEN behind IS NULL THEN 0 ELSE 1 END"
    " + CASE WHEN held THEN 1 ELSE 0 END <= 1"
)


def upgrade() -> None:
    """Every arrival from before is in its partition's one chain."""
    op.add_column("ledger_arrivals", sa.Column("version", Name))
    op.add_column("ledger_arrivals", sa.Column("part", Name, nullable=False, server_default=""))
    op.add_column("ledger_arrivals", sa.Column("modified_ns", sa.BigInteger))
    op.add_column("ledger_arrivals", sa.Column("rows", sa.BigInteger))
    op.add_column("ledger_arrivals", sa.Column("said", Name))
    # Written out: SQLite takes constraints along with a new column only, and Alembic adds them afterwards.
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    number, no = ("INTEGER", "0") if is_sqlite else ("BIGINT", "false")
    for name in ("behind", "accepts"):
        refers = f"CONSTRAINT fk_ledger_arrivals_{name} REFERENCES ledger_arrivals (id)"
        op.execute(f"ALTER TABLE ledger_arrivals ADD COLUMN {name} {number} {refers}")
    check = f"CONSTRAINT ck_ledger_arrivals_one_place CHECK ({_ONE_PLACE})"
    op.execute(f"ALTER TABLE ledger_arrivals ADD COLUMN held BOOLEAN NOT NULL DEFAULT {no} {check}")
    op.drop_index("uq_ledger_arrivals_first", "ledger_arrivals")
    in_chain = "behind IS NULL AND NOT held"
    chain = ["feed", "partition_key", "part"]
    _index("uq_ledger_arrivals_first", chain, f"supersedes IS NULL AND {in_chain}", unique=True)
    _index("uq_ledger_arrivals_late", [*chain, "version", "sha256"], "behind IS NOT NULL", unique=True)
    _index("ix_ledger_arrivals_chain", chain, in_chain)
    _index("ix_ledger_arrivals_held", ["feed", "partition_key"], "held")
    op.create_index("uq_ledger_arrivals_accepts", "ledger_arrivals", ["accepts"], unique=True)


def _index(name: str, columns: list[str], condition: str, *, unique: bool = False) -> None:
    where = sa.text(condition)
    op.create_index(name, "ledger_arrivals", columns, unique=unique, sqlite_where=where, postgresql_where=where)
