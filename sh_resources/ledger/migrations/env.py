"""Run by Alembic, never imported: hands it the connection and what the tables should look like."""

from alembic import context

from sh_resources.ledger.schema import PREFIX, VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    # Others' tables in a shared database are none of our business.
    include_name=lambda name, kind, _: kind != "table" or (name or "").startswith(PREFIX),
)
context.run_migrations()
