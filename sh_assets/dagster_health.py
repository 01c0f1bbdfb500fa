"""Whether a run lives: what its process, its code server, its events and its leases say.

Belongs here: what is noted of a run when it is made or launched, and what follows from it later. Does not belong here:
what is done with a dead run (``dagster_runs``), processes as such (``processes``). Invariant: a run counts as dead only
if its process is known to be gone, with everybody who could still start one; or if the code server that was asked to
start it has no such run; or, where none of this can be said, if it has given no sign of life for ``SILENT_S`` though it
is one that gives signs.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

import dagster as dg
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value
from sqlalchemy.exc import ProgrammingError

from sh_assets.dagster_private import job_of
from sh_assets.processes import SESSIONS_ARE_TOLD, Place, process_lives, session_behind, session_lives
from sh_core.errors import LedgerError, SettingsError
from sh_resources import settings
from sh_resources.ledger.database import Database
from sh_resources.ledger.leases import Leases

HOST_TAG = "selfheal/host"
"""Run tag: where the run's process has its number; empty if that is not where whoever launched it is."""

PROCESS_TAG = "selfheal/process"
"""Run tag of a run without a code server: the number of its process."""

STARTERS_TAG = "selfheal/starters"
"""Run tag: who may start the run's process, until it is there: see ``_Starters``."""

SERVER_TAG = "selfheal/server"
"""Run tag: id of the code server that was asked to start the run. It gets another one with "Reload definitions"."""

LEASES_TAG = "selfheal/leases"
"""Tag of a step: it works under leases whose owner is ``lease_owner``."""

PATIENCE_S = 10
"""How long a code server may take to say which runs it has."""

SILENT_S = 300.0
"""A run of which nobody can tell is given up when it has given no sign of life for so long."""

_LEASES = 3.0
"""Nor before so many leases could have expired: whoever waits for another one's lease does so for less, in silence."""

_LOOKS = 10
"""Nor after fewer looks: between the leases of one lot of partitions and those of the next, a run that lives has none,
and one look may fall between them."""

_FORGOTTEN_S = 3600.0
"""A run that nobody has asked about for so long is over."""

_ASSIGNED = frozenset(
    {dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING},
)


def lease_owner(run_id: str, table: str) -> str:
    """Who holds the leases of a run's step."""
    return f"{run_id}:{table}"


# ---- what is noted


def tags_of_own() -> Mapping[str, str]:
    """Tags of a run in this process."""
    return {HOST_TAG: Place.here().as_tag(), PROCESS_TAG: str(os.getpid())}


def tags_at_launch(run_id: str, client: DagsterGrpcClient, server_id: str) -> Mapping[str, str]:
    """Tags of a run that a code server is about to be asked for.

    All of them are written, since whoever executes a run again copies those of the former.

    Args:
        run_id: Of the run.
        client: Of the code server.
        server_id: What it calls itself.
    """
    session = session_behind(client.socket) if client.socket else None
    here = session is not None if SESSIONS_ARE_TOLD else bool(client.socket)
    tags = {HOST_TAG: Place.here().as_tag() if here else "", SERVER_TAG: server_id}
    if session is not None:
        tags[STARTERS_TAG] = _Starters(run_id, os.getpid(), session, time.time()).as_tag()
    return tags


@dataclass(frozen=True)
class _Starters:
    """Who may start the process of a run, as long as it has none.

    Attributes:
        run_id: Of the run: whoever executes it again copies its tags to another one.
        launcher: Process that asks the code server for it.
        session: Of the code server, and so of the process behind it and of all runs that it starts.
        asked_s: When they were there (Unix seconds).
    """

    run_id: str
    launcher: int
    session: int
    asked_s: float

    def as_tag(self) -> str:
        return json.dumps([self.run_id, self.launcher, self.session, self.asked_s])

    @classmethod
    def of(cls, run: dg.DagsterRun) -> Self | None:
        said = run.tags.get(STARTERS_TAG)
        found = None if said is None else cls(*json.loads(said))
        return found if found is not None and found.run_id == run.run_id else None

    def live(self, stepped_s: float) -> bool:
        return process_lives(self.launcher, self.asked_s, stepped_s) or session_lives(
            self.session, self.asked_s, stepped_s
        )


# ---- what its process says


def own_process(run: dg.DagsterRun) -> int | None:
    """The process of a run made by ``run_here``. Whoever executes it again copies its tags to another kind of run."""
    is_copy = run.parent_run_id is not None or GRPC_INFO_TAG in run.tags
    return None if is_copy or PROCESS_TAG not in run.tags else int(run.tags[PROCESS_TAG])


def process_of_run_lives(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool | None:
    """Whether one of a run's processes is there, or may still come to be; None if that cannot be seen from here."""
    place = Place.of(run.tags.get(HOST_TAG, ""))
    there = place.still_there() if place is not None else None
    if place is None or there is None:
        return None
    seen, starters = list(_processes(instance, run)), _Starters.of(run)
    if not seen and starters is None:
        return None
    if not there:
        return False
    if not seen and starters is not None:
        if starters.live(place.stepped_s()):
            return True
        seen = list(_processes(instance, run))  # it may have come to be between the two looks
    return any(process_lives(pid, seen_s, place.stepped_s()) for pid, seen_s in seen)


def _processes(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Iterator[tuple[int, float]]:
    """Numbers of a run's processes, and when they were there (Unix seconds): its own, or those in its log."""
    own = own_process(run)
    if own is not None:
        record = instance.get_run_record_by_id(run.run_id)
        if record is not None:
            yield own, record.create_timestamp.timestamp()
        return
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        pid = event.engine_event_data.metadata.get("pid") if event is not None else None
        if pid is not None:
            yield int(str(pid.value)), entry.timestamp


# ---- what its code server says


def code_server_has(client: DagsterGrpcClient, run: dg.DagsterRun) -> bool | None:
    """Whether a code server has a run; None if it does not say.

    Only the one that was asked to start it can say that it is not there: after "Reload definitions" another one answers
    in the same place, while the former goes on with its runs. Until a run has begun, it may not know it yet; and one
    that it is ending it denies.
    """
    try:
        answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id), timeout=PATIENCE_S)
        if deserialize_value(answer, CanCancelExecutionResult).can_cancel:
            return True
        # After the answer: if it is still the same one, it was the same one that answered.
        same = client.get_server_id(timeout=PATIENCE_S) == run.tags.get(SERVER_TAG)
    except DagsterUserCodeUnreachableError:
        return None
    return False if same and run.status is dg.DagsterRunStatus.STARTED else None


# ---- signs of life


class Signs:
    """When each run of which nobody can tell gave a sign of life last: a new event, or a lease that it holds.

    Noted by whoever looks, look by look. So clocks of other machines do not matter, and a daemon that is started anew
    begins to count anew.
    """

    def __init__(self) -> None:
        """Know of no run yet."""
        self._noted: dict[str, _Sign] = {}

    def are_missing(self, instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
        """Look at a run, and say whether it has been silent for too long; only of one that works under leases.

        Args:
            instance: Where the run is.
            run: As it was a moment ago.
        """
        if run.status not in _ASSIGNED or not _gives_signs(instance, run):
            return False
        now_s, newest = time.monotonic(), _newest_event(instance, run)
        before = self._noted.get(run.run_id)
        try:
            found = settings.load()
            new = before is None or before.event != newest or _holds_lease(found, run)
        except (LedgerError, SettingsError, ProgrammingError):  # the last: a database that has no ledger
            found, new = None, True
        last_s, looks = (now_s, 0) if new or before is None else (before.last_s, before.looks + 1)
        self._noted = {of: sign for of, sign in self._noted.items() if now_s - sign.looked_s < _FORGOTTEN_S}
        self._noted[run.run_id] = _Sign(newest, last_s, now_s, looks)
        if found is None or looks < _LOOKS:
            return False
        return now_s - last_s >= max(SILENT_S, _LEASES * found.lease_s)


@dataclass(frozen=True)
class _Sign:
    """What is known of a run.

    Attributes:
        event: Number of its newest event.
        last_s: When it gave its last sign (seconds, monotonic).
        looked_s: When it was looked at last (seconds, monotonic).
        looks: How many looks found no new sign since.
    """

    event: int
    last_s: float
    looked_s: float
    looks: int


def _newest_event(instance: dg.DagsterInstance, run: dg.DagsterRun) -> int:
    newest = instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
    return newest[0].storage_id if newest else 0


def _gives_signs(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether all steps of a run work under leases. Those of other people's assets may be silent for hours."""
    job = job_of(instance, run)
    steps = job.node_defs_snapshot.op_def_snaps if job is not None else ()
    return bool(steps) and all(LEASES_TAG in step.tags for step in steps)


def _holds_lease(found: settings.Settings, run: dg.DagsterRun) -> bool:
    """Whether a lease of a run has not expired.

    Raises:
        LedgerError: If the ledger cannot be reached.
    """
    database = Database(found.ledger_url)  # as it is: a daemon neither makes nor upgrades one
    try:
        held = Leases(database).held(None, datetime.now(UTC))
    finally:
        database.close()
    return any(lease.owner.startswith(lease_owner(run.run_id, "")) for lease in held)
