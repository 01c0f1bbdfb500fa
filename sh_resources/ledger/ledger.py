"""The ledger as a whole.

Belongs here: opening it, and which part answers what. Does not belong here: the answers. Invariant: an open ledger is
at the revision that this code was written for. It never reads a clock: every time is an argument, aware, and kept in
UTC.
"""

from types import TracebackType
from typing import Self

from sh_resources.ledger.accounting import ArrivalAccount, accounts
from sh_resources.ledger.arrivals import Arrivals
from sh_resources.ledger.bars import Bars
from sh_resources.ledger.database import Database
from sh_resources.ledger.files import Files
from sh_resources.ledger.incidents import Incidents
from sh_resources.ledger.late import LateIncidents
from sh_resources.ledger.leases import Leases
from sh_resources.ledger.migrations import migrate
from sh_resources.ledger.publications import Publications
from sh_resources.ledger.reconciliations import Reconciliations
from sh_resources.ledger.requests import Requests
from sh_resources.ledger.serials import Serials
from sh_resources.ledger.sources import Sources
from sh_resources.ledger.tidying import Tidying


class Ledger:
    """What is known of every arrival and partition. Threads may share one; a forked process opens its own.

    Attributes:
        arrivals: Which files came.
        files: Which files are known to be in the landing zone.
        leases: Who may write which partition.
        publications: What is published and what was decided.
        bars: What rollbacks keep from coming back.
        tidying: Which files nothing needs any more.
        incidents: Which faults are open.
        late: Those of them that are about something late.
        sources: The code behind code versions.
        serials: What changed since, and what was looked at.
        requests: What automation asked for, and what is paused.
        reconciliations: How far placeholders were from the truth.
    """

    def __init__(self, database: Database) -> None:
        """Take a database that was migrated; ``open`` does both."""
        self._database = database
        self.arrivals = Arrivals(database)
        self.files = Files(database)
        self.leases = Leases(database)
        self.publications = Publications(database)
        self.bars = Bars(database)
        self.tidying = Tidying(database)
        self.incidents = Incidents(database)
        self.late = LateIncidents(database)
        self.sources = Sources(database)
        self.serials = Serials(database)
        self.requests = Requests(database)
        self.reconciliations = Reconciliations(database)

    @classmethod
    def open(cls, url: str) -> Self:
        """Open a ledger, creating or upgrading its tables where needed; any number of processes may do so at once.

        Args:
            url: ``sqlite:////absolute/path/ledger.db`` (its folder must exist), or
                ``postgresql+psycopg2://user:password@host/database``.

        Raises:
            LedgerError: If the URL is no such thing, the database cannot be reached, or the ledger is newer than this
            code.
        """
        database = Database(url)
        migrate(database)
        return cls(database)

    def accounts(self, feed: str, raw_table: str, staged_table: str | None) -> list[ArrivalAccount]:
        """Where the rows of every arrival of a feed are, in order of arrival.

        Args:
            feed: Name of the feed.
            raw_table: The feed's raw table.
            staged_table: The staged table made from it, partition by partition; None while there is none.
        """
        with self._database.read() as connection:
            return accounts(connection, feed, raw_table, staged_table)

    def close(self) -> None:
        """Close the connections; the ledger may still be used, and then connects anew."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
