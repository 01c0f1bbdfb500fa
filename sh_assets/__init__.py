"""Tables as Dagster assets, and the flight demo's own tables.

Belongs here: what Dagster is told of declared tables, and of what became of their partitions. Does not belong here: how
a partition is computed and published (``sh_resources.engine``), sensors (``sh_sensors``), what a process is started
with (``sh_defs``). Invariant: Dagster's event log mirrors the ledger and is never asked what is true.

    build.py            a graph of tables → asset definitions; the body of each is a handful of calls
      describing.py     declarations in Dagster's words: partitions, columns, checks, code versions
      automation.py     the condition `due` and the sensors that request what a decider names
        in_progress.py    which partitions runs and backfills have yet to deal with
      telling.py        outcomes in Dagster's events: materializations and check evaluations
      wording.py        what people read: sentences on checks, why a run failed
      dagster_private.py  everything not public in Dagster that this project touches, except
      dagster_events.py   writing many events at once, and
      dagster_runs.py   runs: made in this process, queued and launched by the daemon, given up when they are dead
        dagster_health.py when that is: what is noted of a run, its code server, its signs of life, and
        processes.py      processes of this machine: whether one that had a number is still there
      dagster_daemon.py   the daemon: looks round more often
    flights/            the demo's tables; like any user's domain they know nothing of Dagster
"""
