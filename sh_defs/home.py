"""Dagster's folder: where Dagster's own files come from and where they go.

Belongs here: the files that this package brings along, preparing DAGSTER_HOME, opening Dagster's storage. Does not
belong here: reading the environment (``settings``), starting anything (``serve``). Invariant: a ``dagster.yaml`` that
is in place is left as it is: it may name somebody's production storage.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

import sh_defs
from sh_core.errors import SettingsError
from sh_resources.settings import Settings


def dagster_file(name: str) -> Path:
    """One of Dagster's own files that this package brings along: ``dagster.yaml``, ``workspace.yaml``."""
    return Path(sh_defs.__file__).resolve().parent / name


def prepare_dagster_home(settings: Settings) -> Path:
    """Create Dagster's folder with the project's ``dagster.yaml`` in it, where there is none yet.

    Raises:
        SettingsError: If the folder cannot be created or written.
    """
    home = settings.dagster_home
    target = home / "dagster.yaml"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            # Another process may do the same: whole files replace each other, and both are equal.
            temporary = home / f".dagster.yaml.{os.getpid()}.tmp"
            temporary.write_bytes(dagster_file("dagster.yaml").read_bytes())
            temporary.replace(target)
    except OSError as error:
        msg = f"the state folder {settings.home} cannot be written ({error.strerror}): name another in SELFHEAL_HOME"
        raise SettingsError(msg) from error
    return home


@contextmanager
def dagster_instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """Open Dagster's storage in a prepared folder.

    Processes take turns at it: of two that create the tables at the same time Dagster lets one fail.
    """
    with (home / ".opening").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        instance = dg.DagsterInstance.from_config(str(home))
        # Each storage creates its tables when it is first asked for.
        _ = instance.run_storage, instance.event_log_storage, instance.schedule_storage
    with instance:
        yield instance
