"""The ledger: the project's memory, in SQL (SQLite embedded, PostgreSQL in production).

Belongs here: keeping the facts of ``sh_core.records`` and giving them back, many at a time. Does not belong here:
deciding anything from them, clocks, and the tables' content (that is Delta's). Invariant: facts are only added; each
call is one transaction; whoever lost its lease changes nothing.

Read in this order: ``schema`` (what is kept) → ``arrivals`` and ``files`` (what came) → ``leases`` → ``publications``
and ``settling`` (how a partition is settled) → ``bars`` (what rollbacks keep away) → ``accounting`` (where every row
went) → ``tidying`` (which files can go) → ``ledger`` (all of it together).
"""

from sh_core.deliveries import Delivery
from sh_resources.ledger.accounting import ArrivalAccount
from sh_resources.ledger.files import KnownFile
from sh_resources.ledger.leases import Lease
from sh_resources.ledger.ledger import Ledger
from sh_resources.ledger.publications import Activity
from sh_resources.ledger.settling import Tracked

__all__ = ["Activity", "ArrivalAccount", "Delivery", "KnownFile", "Lease", "Ledger", "Tracked"]
