"""Wiring: the adapters joined into one engine.

Belongs here: which adapter goes where. Does not belong here: what they do. Invariant: nothing else constructs an
``Engine`` for production, so every process agrees on folders and protocol.
"""

import uuid
from collections.abc import Callable
from pathlib import Path

import stamina.instrumentation

from sh_core.graph import Graph
from sh_resources.clock import Clock, ReplayCalendar, SystemClock
from sh_resources.engine import Engine
from sh_resources.landing import LandingZone, LocalFolder, Place, S3Bucket
from sh_resources.ledger import Ledger
from sh_resources.publisher import Publisher, Step
from sh_resources.settings import LANDING, Bucket, Settings
from sh_resources.store import Store


def new_id() -> str:
    """A unique id that is safe in file names."""
    return uuid.uuid4().hex


def open_engine(
    settings: Settings,
    graph: Graph,
    *,
    clock: Clock | None = None,
    on_step: Callable[[Step], None] = lambda _: None,
    patience_s: float | None = None,
) -> Engine:
    """Open the ledger, created or migrated where needed, and join it with the store under the state folder.

    Args:
        settings: Where things are.
        graph: The declared tables.
        clock: Time; None takes the system's.
        on_step: Called right after each step of a publish.
        patience_s: How long to wait for partitions that another run works on; None waits until its lease has surely
            expired.

    Raises:
        LedgerError: If the ledger cannot be opened, or belongs to a newer version of this project.
        DeclarationError: If a table has a column that cannot be stored.
    """
    # A commit that loses against another writer and is tried again is no news; past the budget it is an error.
    stamina.instrumentation.set_on_retry_hooks(())
    settings.home.mkdir(parents=True, exist_ok=True)
    if settings.zone == settings.home / LANDING:  # any other may be a disk that is not mounted yet
        settings.landing.mkdir(exist_ok=True)
    clock = clock or SystemClock()
    store, ledger = Store(settings.home, graph), Ledger.open(settings.ledger_url)
    publisher = Publisher(store, ledger, clock, new_id, lease_s=settings.lease_s, on_step=on_step)
    if patience_s is None:
        patience_s = 1.5 * settings.lease_s
    place = _place(settings.zone)
    landing = LandingZone(place, settings.archive)
    calendar = ReplayCalendar(settings.calendar)
    return Engine(graph, store, ledger, landing, publisher, clock, calendar, patience_s=patience_s)


def _place(zone: Path | Bucket) -> Place:
    return S3Bucket(zone.name, zone.prefix) if isinstance(zone, Bucket) else LocalFolder(zone)
