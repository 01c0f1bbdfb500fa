"""Automation: what is due is requested by Dagster, without anybody asking.

Belongs here: a decider's answer in the words of Dagster's declarative automation. Does not belong here: what is due (a
``Decider``), what is being worked on (``in_progress``). Invariant: exactly the partitions that the decider names are
requested, at most 500 tables by one sensor; what is lost on the way is due at the next tick.

The decider is asked once per tick, for all tables of a sensor together. Conditions keep nothing from one tick to the
next, neither here nor in Dagster's cursor: a tick that was lost or came twice changes nothing.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

import dagster as dg

from sh_assets.dagster_private import AskingSensor, Tick, subset_of
from sh_assets.in_progress import in_progress
from sh_assets.keys import is_table, table_key, table_name
from sh_assets.wording import SHOWN
from sh_core.errors import DeclarationError
from sh_resources.clock import Clock, SystemClock

MOST = 500
"""Tables per sensor: more assets than these Dagster refuses to evaluate in the code location."""

EVERY_S = 1
"""Seconds between two ticks at least. The daemon looks round every five (``sh_defs.daemon``: every one)."""

NAME = "due"

_CLOCK = SystemClock()

DESCRIPTION = (
    "Requests every partition that is due: what it reads, its code or its contract differ from what it was computed "
    "from. The log of a tick says what was requested and why; the Automation tab of a table says it per partition, and "
    "also what is held back."
)

Busy = Mapping[str, frozenset[str]]
"""Partitions that runs and backfills have yet to deal with, by table."""


@dataclass(frozen=True)
class Answer:
    """What to do about the stale partitions of one table, in the words that the web interface shows.

    Attributes:
        due: Partitions to be requested, each with what changed, e.g. ``("code changed", "stg_flights changed")``.
        held: Partitions that are stale and not requested now, each with why.
    """

    due: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    held: Mapping[str, str] = field(default_factory=dict)


NOTHING = Answer()
"""No partition is stale."""


_decisions: ContextVar[Mapping[str, Answer]] = ContextVar("_decisions")
"""The answers of the tick that is being evaluated."""


class Decider(Protocol):
    """Knows what is due."""

    def decide(self, tables: frozenset[str], evaluation_id: int, busy: Busy) -> Mapping[str, Answer]:
        """What to do about the stale partitions of some tables.

        Args:
            tables: Names of the tables that are asked about.
            evaluation_id: Dagster's number of the tick, to be kept with what is decided; 0 outside a daemon.
            busy: Those of all tables.

        Returns:
            Answers by table. Of a table that is left out, nothing is stale.
        """
        ...


class Reason(dg.AutomationCondition[dg.AssetKey]):
    """Why partitions are requested or not: a line below ``due`` in the web interface."""

    def __init__(self, said: str) -> None:
        self.said = said

    @property
    def name(self) -> str:
        """What the line says."""
        return self.said

    @property
    def requires_cursor(self) -> bool:
        """Nothing is remembered from one tick to the next."""
        return False

    def evaluate(self, context: dg.AutomationContext[dg.AssetKey]) -> dg.AutomationResult[dg.AssetKey]:
        """Never by itself: it is ``Due`` that knows the partitions."""
        raise NotImplementedError(context.key)


class Due(dg.AutomationCondition[dg.AssetKey]):
    """True for the partitions that the decider of the tick named."""

    @property
    def name(self) -> str:
        """As the web interface calls it."""
        return NAME

    @property
    def description(self) -> str:
        """What the web interface says of it."""
        return "read content, code or contract differ from what the partition was computed from"

    @property
    def requires_cursor(self) -> bool:
        """Nothing is remembered from one tick to the next."""
        return False

    def evaluate(self, context: dg.AutomationContext[dg.AssetKey]) -> dg.AutomationResult[dg.AssetKey]:
        """The partitions of one table that are due, and per reason those that it holds for."""
        answers = _decisions.get(None)
        if answers is None:
            msg = (
                f"{table_name(context.key)}: nobody was asked what is due, since the sensor lost its decider. Only "
                "sensors made by sh_assets.automation.sensors evaluate due(): leave them as they are, and let no other "
                "automation sensor select these tables"
            )
            raise DeclarationError(msg)
        decision = answers.get(table_name(context.key), NOTHING)
        lines = sorted(_by_reason(decision).items(), key=lambda line: line[0])
        told = [_line(context, position, said, keys) for position, (said, keys) in enumerate(lines)]
        return dg.AutomationResult(context, subset_of(context, decision.due), child_results=told)


def due() -> Due:
    """The condition of every table."""
    return Due()


def sensors(
    tables: Sequence[str], decider: Decider, *, every_s: int = EVERY_S, clock: Clock = _CLOCK
) -> list[dg.SensorDefinition]:
    """Sensors that request what is due, each for at most 500 tables.

    Args:
        tables: Names of all tables, whose assets have the condition ``due()``.
        decider: Knows what is due.
        every_s: Seconds between two ticks.
        clock: Tells for how long a run has been silent.
    """
    shares = [tables[i : i + MOST] for i in range(0, len(tables), MOST)]
    return [_sensor(_named(number), share, decider, every_s, clock) for number, share in enumerate(shares, start=1)]


def _named(number: int) -> str:
    return NAME if number == 1 else f"{NAME}_{number}"


def _sensor(name: str, tables: Sequence[str], decider: Decider, every_s: int, clock: Clock) -> dg.SensorDefinition:
    asked = frozenset(tables)

    @contextmanager
    def ask(tick: Tick) -> Iterator[Sequence[str]]:
        going_on = in_progress(tick.instance, tick.graph, clock.now_utc(), queue=tick.by_daemon)
        busy = {table_name(asset): keys for asset, keys in going_on.items() if is_table(asset)}
        answers = decider.decide(asked, tick.id, busy)
        token = _decisions.set(answers)
        try:
            yield [_said(table, answer.due) for table, answer in answers.items() if answer.due]
        finally:
            _decisions.reset(token)

    return AskingSensor(
        name,
        ask=ask,
        target=dg.AssetSelection.assets(*map(table_key, tables)),
        description=DESCRIPTION,
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=every_s,
    )


def _said(table: str, due: Mapping[str, Sequence[str]]) -> str:
    """One line of a tick's log: what is requested of a table, and why."""
    which = ", ".join(sorted(due)[:SHOWN]) + (f" and {len(due) - SHOWN:,} more" if len(due) > SHOWN else "")
    why = "; ".join(sorted({reason for reasons in due.values() for reason in reasons}))
    return f"{table}: {which} ({why})"


def _by_reason(decision: Answer) -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for key, reasons in decision.due.items():
        for reason in reasons:
            found[reason].add(key)
    for key, hold in decision.held.items():
        found[f"not now: {hold}"].add(key)
    return found


def _line(
    context: dg.AutomationContext[dg.AssetKey], position: int, said: str, keys: Collection[str]
) -> dg.AutomationResult[dg.AssetKey]:
    child = context.for_child_condition(
        Reason(said), child_indices=[position], candidate_subset=context.candidate_subset
    )
    return dg.AutomationResult(child, subset_of(context, keys))
