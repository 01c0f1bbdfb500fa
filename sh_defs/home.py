"""Dagster's folder: where Dagster's own files come from and where they go.

Belongs here: the files that this package brings along, preparing DAGSTER_HOME, opening Dagster's storage. Does not
belong here: reading the environment (``settings``), starting anything (``serve``). Invariant: a ``dagster.yaml`` that
is in place is left as it is: it may name somebody's production storage. One from an older release goes on as before:
without ``STORAGE`` pages with checks are slow, without ``run_launcher`` and ``run_monitoring`` runs that died stay
"started", and without the queue all runs start at once (``outdated``). Add those lines to it, or delete it and let it
be made anew.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import yaml

import sh_defs
from sh_assets.dagster_runs import open_for_runs_here
from sh_core.errors import SettingsError
from sh_resources.settings import Settings

STORAGE = """
# Dagster's own SQLite files, with a quicker answer to which checks passed. Without these lines the files are the same,
# and pages with checks are slow where there are many partitions.
storage:
  custom:
    module: sh_assets.dagster_storage
    class: Storage
    config:
      base_dir:
        env: DAGSTER_HOME
"""
"""What only the ``dagster.yaml`` in DAGSTER_HOME can say; the project's own is also read where there is none."""


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
            temporary.write_text(dagster_file("dagster.yaml").read_text() + STORAGE)
            temporary.replace(target)
    except OSError as error:
        msg = f"the state folder {settings.home} cannot be written ({error.strerror}): name another in SELFHEAL_HOME"
        raise SettingsError(msg) from error
    return home


def outdated(home: Path) -> Iterator[str]:
    """What a ``dagster.yaml`` from an older release should be given, a line each; nothing if it has it.

    Without a watch on runs, a run whose process was killed stays "started". Automation stops waiting for it after half
    an hour; nobody ever marks it as failed, unless `selfheal run` or `selfheal demo` made it. Without a queue a repair
    of many partitions starts as many processes.
    """
    file, ours = home / "dagster.yaml", dagster_file("dagster.yaml")
    named = yaml.safe_load(file.read_text()) or {}
    lacks = [key for key in ("run_launcher", "run_monitoring") if key not in named]
    if lacks:
        yield (
            f"{file} has no {' and no '.join(lacks)}: runs that are killed stay “started”, and hold "
            f"up their partitions for half an hour. Add those lines from {ours}"
        )
    if named.get("run_coordinator", {}).get("class") == "DefaultRunCoordinator":
        yield (
            f"{file} has no queue of runs: a repair of many partitions starts as many processes at once. Replace its "
            f"run_coordinator by that in {ours}"
        )


@contextmanager
def dagster_instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """Open Dagster's storage in a prepared folder.

    Processes take turns at it: of two that create the tables at the same time Dagster lets one fail.
    """
    with (home / ".opening").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        instance = _open(home)
        # Each storage creates its tables when it is first asked for.
        _ = instance.run_storage, instance.event_log_storage, instance.schedule_storage
    with instance:
        yield instance


def _open(home: Path) -> dg.DagsterInstance:
    """Dagster's storage in a folder, whatever the environment has to say about where Dagster lives."""
    name = "DAGSTER_HOME"  # dagster.yaml refers to it, so that a folder can be moved
    before = os.environ.get(name)
    os.environ[name] = str(home)
    try:
        return open_for_runs_here(home)
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
