"""Dagster's daemon, which here looks round more often and gives up dead runs earlier.

Belongs here: what is changed of the daemon, each with its reason. Does not belong here: how often (``sh_defs.daemon``),
when a run is dead (``dagster_health``). Invariant: Dagster's own daemon does the same, only later.
"""

import logging
import os
from collections.abc import Callable, Sequence

import dagster as dg

from sh_assets.dagster_runs import give_up_if_dead

Monitor = Callable[[dg.DagsterInstance, dg.RunRecord, logging.Logger], None]


def run_daemon(arguments: Sequence[str], *, sensors_every_s: float, backfills_every_s: float) -> None:
    """Be ``dagster-daemon``, and look round more often than it does.

    Dagster looks for sensors every 5 s and at each backfill every 30 s, which no setting changes: a backfill waits for
    half a minute before its first run, and again before each run that needs another one's outcome. Run monitoring waits
    for a run that is starting or being canceled until a time is over, also where its process is known to be gone. And a
    backfill fails while there is no code server, which cancels all of it that stands in the queue.

    Args:
        arguments: Those of the command ``dagster-daemon``.
        sensors_every_s: Seconds between two looks for sensors whose interval is over.
        backfills_every_s: Seconds between two looks at each backfill.
    """
    # Only the daemon's own process needs these.
    from dagster._daemon import controller, sensor  # noqa: PLC0415
    from dagster._daemon.cli import create_dagster_daemon_cli  # noqa: PLC0415
    from dagster._daemon.monitoring import run_monitoring  # noqa: PLC0415

    controller.DEFAULT_DAEMON_INTERVAL_SECONDS = backfills_every_s  # type: ignore[assignment]  # read at each look
    sensor.MIN_INTERVAL_LOOP_TIME = sensors_every_s  # type: ignore[assignment]
    run_monitoring.monitor_starting_run = unless_dead(run_monitoring.monitor_starting_run)  # type: ignore[assignment]
    run_monitoring.monitor_canceling_run = unless_dead(run_monitoring.monitor_canceling_run)  # type: ignore[assignment]
    os.environ.setdefault("DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR", "1")  # a backfill waits for the server
    create_dagster_daemon_cli().main(list(arguments), prog_name="dagster-daemon", obj={})


def unless_dead(monitor: Monitor) -> Monitor:
    """Look at a run as Dagster does, unless it is dead and given up for that."""

    def look(instance: dg.DagsterInstance, run_record: dg.RunRecord, logger: logging.Logger) -> None:
        if not give_up_if_dead(instance, run_record.dagster_run):
            monitor(instance, run_record, logger)

    return look
