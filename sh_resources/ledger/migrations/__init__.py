"""How a ledger becomes what ``schema`` describes.

Belongs here: revisions, one file each in ``versions``, and running them. Does not belong here: what the tables mean.
Invariant: a ledger is opened at the newest revision or not at all; a revision, once released, is never edited.

A change of ``schema`` needs a new file ``versions/<number>_<subject>.py``, written like the ones there; the
conformance test that compares the two shows what is still missing in it. Revisions must run inside one transaction on
both databases.
"""

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from sh_core.errors import LedgerError
from sh_resources.ledger.database import Database
from sh_resources.ledger.schema import VERSION_TABLE

_ALEMBIC = threading.Lock()  # Alembic keeps its state in module globals

_LOCK_NUMBER = 0x5E1F_4EA1
"""Advisory lock that processes which migrate the same PostgreSQL database take turns with."""


def migrate(database: Database) -> None:
    """Bring a ledger to the newest revision; creates its tables if there are none.

    Processes that open the same ledger at the same time take turns.

    Raises:
        LedgerError: If the ledger is newer than this code, or cannot be reached.
    """
    with _ALEMBIC:
        script = ScriptDirectory.from_config(config())
        with database.read() as connection:
            if revision(connection) == script.get_current_head():
                return
        with database.write() as connection:  # on SQLite this transaction is the lock
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK_NUMBER})
            found = revision(connection)
            known = {known.revision for known in script.walk_revisions()}
            if found is not None and found not in known:
                msg = (
                    f"the ledger at {database.where} has revision {found}, which this code (up to "
                    f"{script.get_current_head()}) does not know: a newer version of it was here. Install that "
                    "version, or restore the ledger's backup from before"
                )
                raise LedgerError(msg)
            command.upgrade(config(connection), "head")


def revision(connection: Connection) -> str | None:
    """The ledger's revision, None if it has no tables yet."""
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration, made here instead of read from a file: an installed package has no ``alembic.ini``."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    made.set_main_option("path_separator", "os")
    made.attributes["connection"] = connection
    return made
