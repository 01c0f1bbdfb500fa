"""Sources: the code behind each code version, so that people can be shown what changed.

Belongs here: keeping and giving back normalised source. Does not belong here: computing it (``sh_core.code_version``).
Invariant: a code version stands for one source, for ever.
"""

from collections.abc import Collection

from sqlalchemy import select

from sh_resources.ledger.database import Database, conditions, insert_missing
from sh_resources.ledger.schema import code_sources


class Sources:
    """The sources of one ledger."""

    def __init__(self, database: Database) -> None:
        """Keep sources in this database."""
        self._database = database

    def keep(self, code_version: str, source: str) -> None:
        """Keep the source of a code version; one that is kept already stays.

        Raises:
            LedgerError: If the ledger cannot be reached.
        """
        with self._database.write() as connection:
            insert_missing(connection, code_sources, [{"code_version": code_version, "source": source}])

    def get(self, code_versions: Collection[str]) -> dict[str, str]:
        """The source per code version, for those that are kept."""
        with self._database.read() as connection:
            return {
                row.code_version: row.source
                for condition in conditions(code_sources.c.code_version, code_versions)
                for row in connection.execute(select(code_sources).where(condition))
            }
