"""The connection to the ledger's database: SQLite (embedded) or PostgreSQL (production).

Belongs here: engines, transactions, and the few things that the two databases do differently. Does not belong here:
tables (``schema``) and what is asked of them. Invariant: a write transaction on SQLite holds the write lock from its
first statement, so that writers wait for each other and never fail half-way; a read transaction sees one state
throughout.
"""

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import stamina
from sqlalchemy import Column, ColumnElement, Connection, Engine, Table, create_engine, event, make_url, true
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, InterfaceError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from sh_core.errors import LedgerError

WAIT_S = 30
"""How long a writer waits for another one (SQLite), and a client for a connection, in seconds."""

CHUNK = 500
"""Rows named by one statement; SQLite allows 32,766 variables in one, and older builds 999."""

_POSTGRESQL = {
    "connect_timeout": WAIT_S,
    # A process that hangs inside a transaction must not hang the others: they give up, and the server ends it.
    "options": f"-c lock_timeout={WAIT_S}s -c idle_in_transaction_session_timeout={2 * WAIT_S}s",
}
_WRITES = "ledger_writes"

T = TypeVar("T")
S = TypeVar("S", str, int)


class Database:
    """One ledger database. Safe to share between threads; not across a fork: open it anew in the child."""

    def __init__(self, url: str) -> None:
        """Prepare to connect; connects to nothing yet.

        Args:
            url: ``sqlite:////absolute/path`` or ``postgresql+psycopg2://user:password@host/database``.

        Raises:
            LedgerError: If the URL is neither, or an SQLite ledger in memory, which no other process could see.
        """
        self._engine = _engine(url)
        self.where = self._engine.url.render_as_string(hide_password=True)
        self._writer = self._engine.execution_options(**{_WRITES: True})
        self._reader: Engine = self._engine
        if self._engine.dialect.name == "postgresql":
            self._reader = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One transaction that sees one state of the ledger throughout.

        Raises:
            LedgerError: If the database cannot be reached, or stayed busy for longer than ``WAIT_S``.
        """
        with self._reachable(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that is committed whole at the end of the block, or not at all if it raises.

        Raises:
            LedgerError: If the database cannot be reached, or stayed busy for longer than ``WAIT_S``.
        """
        with self._reachable(), self._writer.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close all idle connections."""
        self._engine.dispose()

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except (OperationalError, InterfaceError) as error:
            msg = f"the ledger at {self.where} cannot be used: {error.orig}. Is it running, writable, not overloaded?"
            raise LedgerError(msg) from error


def insert(connection: Connection, table: Table) -> "sqlite.Insert | postgresql.Insert":
    """An INSERT that knows ON CONFLICT; both databases write it alike, SQLAlchemy has one class for each."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def insert_missing(connection: Connection, table: Table, rows: Iterable[dict[str, Any]]) -> None:
    """Insert facts that are named by their content: those that are there already are the same.

    In order of their primary key, so that two writers of the same facts wait for each other instead of dead-locking.
    """
    key = [column.name for column in table.primary_key]
    ordered = sorted(rows, key=lambda row: tuple(row[name] for name in key))
    if ordered:
        connection.execute(insert(connection, table).on_conflict_do_nothing(index_elements=key), ordered)


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """The values in order, ``CHUNK`` at a time."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]


def conditions(column: Column[Any], values: Collection[S] | None) -> Iterator[ColumnElement[bool]]:
    """What to ask for one after the other, so as to have asked for all the values; None asks for everything at once."""
    if values is None:
        yield true()
        return
    for chunk in chunks(sorted(set(values))):
        yield column.in_(chunk)


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        msg = "the ledger's URL cannot be understood; write it like sqlite:////path/ledger.db"
        raise LedgerError(msg) from error
    if parsed.drivername == "postgresql":  # SQLAlchemy 2.1 takes psycopg 3 for it, which dagster-postgres cannot use
        parsed = parsed.set(drivername="postgresql+psycopg2")
    match parsed.drivername:
        case "sqlite" | "sqlite+pysqlite" if parsed.database and ":memory:" not in parsed.database:
            engine = create_engine(parsed, connect_args={"timeout": WAIT_S}, pool_timeout=WAIT_S)
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
            return engine
        case "postgresql+psycopg2":
            try:
                return create_engine(parsed, connect_args=_POSTGRESQL, pool_timeout=WAIT_S, pool_pre_ping=True)
            except (ModuleNotFoundError, NoSuchModuleError) as error:
                msg = "a ledger on PostgreSQL needs psycopg2: pip install 'selfheal[postgres]'"
                raise LedgerError(msg) from error
        case _:
            msg = (
                f"a ledger cannot be kept at {parsed.render_as_string(hide_password=True)}: use a file, like "
                "sqlite:////path/ledger.db, or postgresql+psycopg2://user@host/database"
            )
            raise LedgerError(msg)


def _prepare_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    # The driver would otherwise begin transactions by itself, deferred: a transaction that reads first and writes later
    # then fails with "database is locked" at once if another one wrote in between, however long the timeout.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA synchronous = FULL")
    # Kept in the file, so it changes something only once. Two processes that both try at that moment would dead-lock,
    # which SQLite resolves by refusing one of them without waiting.
    for attempt in stamina.retry_context(on=sqlite3.OperationalError, attempts=None, timeout=WAIT_S, wait_max=0.5):
        with attempt:
            cursor.execute("PRAGMA journal_mode = WAL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
