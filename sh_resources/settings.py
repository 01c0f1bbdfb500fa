"""Settings: the one place that reads the environment.

Belongs here: every environment variable, its default and its check. Does not belong here: anything else; all other
code is given values. Invariant: a setting that cannot work is refused here, with the variable's name.

    SELFHEAL_HOME     state folder (default ``.selfheal`` in the working directory)
    SELFHEAL_LANDING  where vendors' files land: a folder, or s3://bucket/prefix of an S3-compatible store, whose
                      credentials and endpoint the AWS_… variables name (``sh_resources.landing.s3``)
                      (default: ``landing`` in the state folder)
    SELFHEAL_LEDGER   SQLAlchemy URL of the ledger (default: SQLite in the state folder)
    SELFHEAL_TABLES   Python module whose ``TABLES`` is the graph, in the working directory or installed
                      (default: the flight demo, ``sh_assets.flights``)
    SELFHEAL_LEASE_S  seconds that a lease lasts without a heartbeat (default 20)
    SELFHEAL_RUNS     how many runs Dagster starts at a time, each a process of some 300 MB
                      (default: one per core, at least 2); the others wait in its queue
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sh_core.errors import SettingsError

LANDING = "landing"
"""The folder below the state folder where files land by default."""

DEMO_TABLES = "sh_assets.flights"

FEWEST_RUNS = 2
"""Runs at a time by default where there is one core: while one of them waits, another works."""


@dataclass(frozen=True)
class Bucket:
    """A place in an S3-compatible store.

    Attributes:
        name: Name of the bucket.
        prefix: Path in it, without slashes at its ends; may be empty.
    """

    name: str
    prefix: str = ""

    def __str__(self) -> str:
        return f"s3://{self.name}/{self.prefix}".rstrip("/")


@dataclass(frozen=True)
class Settings:
    """What a process needs to know of its surroundings.

    Attributes:
        home: State folder, absolute.
        zone: Where vendors' files land, with one folder per feed: a folder, absolute, or a bucket.
        ledger_url: SQLAlchemy URL.
        tables_module: Module whose ``TABLES`` is the graph.
        lease_s: Seconds that a lease lasts without a heartbeat.
        runs_at_once: How many runs Dagster starts at a time.
    """

    home: Path
    zone: Path | Bucket
    ledger_url: str
    tables_module: str
    lease_s: float
    runs_at_once: int

    @property
    def landing(self) -> Path:
        """The folder where vendors' files land, for whoever puts files there.

        Raises:
            SettingsError: If they land in a bucket.
        """
        if not isinstance(self.zone, Path):
            msg = f"files land in {self.zone}, and this delivers into a folder: unset SELFHEAL_LANDING"
            raise SettingsError(msg)
        return self.zone

    @property
    def archive(self) -> Path:
        """Where ingested bytes are kept, by content."""
        return self.home / "archive"

    @property
    def calendar(self) -> Path:
        """Where a replay keeps the time that it is for vendors; no such file, no replay."""
        return self.home / "calendar.json"

    @property
    def dagster_home(self) -> Path:
        """Dagster's own state."""
        return self.home / "dagster"


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings.

    Args:
        environment: Variables to read; None reads the process's own.

    Raises:
        SettingsError: If a variable has a value that cannot work.
    """
    env = os.environ if environment is None else environment
    home = Path(env.get("SELFHEAL_HOME") or ".selfheal").expanduser().absolute()
    if home.exists() and not home.is_dir():
        msg = f"SELFHEAL_HOME is {home}, which is a file: name a folder"
        raise SettingsError(msg)
    text = env.get("SELFHEAL_LEASE_S") or "20"
    try:
        lease_s = float(text)
    except ValueError:
        lease_s = 0.0
    if not lease_s >= 1:
        msg = f"SELFHEAL_LEASE_S is {text!r}: name a number of seconds, at least 1"
        raise SettingsError(msg)
    most = env.get("SELFHEAL_RUNS") or str(max(FEWEST_RUNS, os.cpu_count() or FEWEST_RUNS))
    if not most.isdecimal() or int(most) < 1:
        msg = f"SELFHEAL_RUNS is {most!r}: name a number of runs, at least 1"
        raise SettingsError(msg)
    return Settings(
        home=home,
        zone=_zone(env.get("SELFHEAL_LANDING") or str(home / LANDING)),
        ledger_url=env.get("SELFHEAL_LEDGER") or f"sqlite:///{home / 'ledger.sqlite'}",
        tables_module=env.get("SELFHEAL_TABLES") or DEMO_TABLES,
        lease_s=lease_s,
        runs_at_once=int(most),
    )


def _zone(said: str) -> Path | Bucket:
    """Where files land; a folder that is missing is found out when it is looked at, as a disk may be mounted later."""
    scheme, found, rest = said.partition("://")
    if not found:
        folder = Path(said).expanduser().absolute()
        if folder.exists() and not folder.is_dir():
            msg = f"SELFHEAL_LANDING is {folder}, which is a file: name a folder, or s3://bucket/prefix"
            raise SettingsError(msg)
        return folder
    name, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    if scheme != "s3" or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}", name) or "//" in prefix:
        msg = f"SELFHEAL_LANDING is {said!r}: name a folder, or a bucket and a prefix in it, like s3://vendors/incoming"
        raise SettingsError(msg)
    return Bucket(name, prefix)
