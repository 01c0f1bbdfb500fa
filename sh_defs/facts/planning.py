"""Planning: the plan of a state folder, as data and as plain JSON values.

Belongs here: gathering what a plan is made of. Does not belong here: deciding what is a step (``sh_core.planning``),
how it looks at a terminal (``shown.terminal_plan``). Invariant: nothing is written, neither to the ledger nor to a
file; and what people are shown is made of the very values that programs get (``docs/repair.md`` describes them).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from sh_core import planning
from sh_core.errand import Insistence
from sh_core.plan import Cost, Due, HeldBack, Landed, Outside, Plan, Reached, Selection, Status, WaitsFor
from sh_core.policy import Held
from sh_core.staleness import Stale
from sh_core.survey import survey
from sh_defs.facts.explaining import Details, explain
from sh_defs.facts.pausing import pause_facts
from sh_defs.facts.reasons import reason_facts
from sh_resources.book import LedgerBook
from sh_resources.clock import Clock
from sh_resources.engine import Engine

SCHEMA = 1
"""Raised whenever a key of the JSON form changes its meaning or goes away; new keys do not raise it."""

DECISIONS = 400
"""Named partitions whose last decision is told."""

Facts = dict[str, Any]


def make_plan(engine: Engine, clock: Clock, selection: Selection | None, insistence: Insistence | None = None) -> Plan:
    """Plan what was asked for.

    Args:
        engine: Where everything is.
        clock: Time.
        selection: What was asked for; None for everything.
        insistence: What a person insists on.
    """
    now_utc = clock.now_utc()
    book = LedgerBook(engine, clock, writes=False)
    found = survey(engine.graph, book, now_utc, landed=engine.landed(engine.today_utc()), insistence=insistence)
    plan = planning.make(engine.graph, found, selection)
    return replace(plan, costs=engine.ledger.publications.costs({table for hop in plan.hops for table in hop}))


def plan_facts(engine: Engine, plan: Plan, asked: Collection[str] = ()) -> Facts:
    """A plan as plain values.

    Args:
        engine: Where everything is.
        plan: The plan.
        asked: The selection as typed.
    """
    details = explain(engine, _stale(plan))
    hops = plan.hops
    return {
        "schema": SCHEMA,
        "made_utc": plan.made_utc.isoformat(),
        "asked": list(asked),
        "downstream": plan.selection is not None and plan.selection.downstream,
        "due": plan.due,
        "may_change": sum(isinstance(status, Reached | Landed) for _, _, status in plan),
        "cost": _cost(_sum(plan, hops)),
        "hops": [
            {
                "hop": number,
                "cost": _cost(plan.cost(hop)),
                "tables": [
                    {"table": table, "partitions": list(keys), "cost": _cost(plan.cost({table: keys}))}
                    for table, keys in hop.items()
                ],
            }
            for number, hop in enumerate(hops, start=1)
        ],
        "partitions": [
            {"table": table, "partition": key, **_status(status, key, details)} for table, key, status in plan
        ],
        "settled": [
            {"table": table, "partitions": list(keys), "decisions": _decisions(engine, plan, table, keys)}
            for table, keys in plan.settled.items()
        ],
        "pauses": pause_facts(engine.ledger.requests.pauses()),
    }


def _stale(plan: Plan) -> Iterable[tuple[str, str, Stale]]:
    for table, key, status in plan:
        match status:
            case Due(stale=stale):
                yield table, key, stale
            case HeldBack(stale=Stale() as stale):
                yield table, key, stale


def _sum(plan: Plan, hops: Iterable[Mapping[str, Collection[str]]]) -> Cost:
    together: dict[str, list[str]] = {}
    for hop in hops:
        for table, keys in hop.items():
            together.setdefault(table, []).extend(keys)
    return plan.cost(together)


def _cost(cost: Cost) -> Facts:
    return {
        "rows": None if cost.rows is None else round(cost.rows),
        "seconds": None if cost.seconds is None else round(cost.seconds, 3),
    }


def _status(status: Status, own: str, details: Details) -> Facts:
    match status:
        case Due(stale, hop, overrides):
            return {
                "status": "due",
                "hop": hop,
                "reasons": _reasons(stale, own, details),
                "trace": stale.trace,
                "overrides": None if overrides is None else _held(overrides),
            }
        case Landed(file_name, hop):
            return {"status": "landed", "hop": hop, "file": file_name}
        case Reached(through, hop, is_new):
            return {"status": "may_change", "hop": hop, "through": list(through), "is_new": is_new}
        case HeldBack(held, stale, through):
            reasons = [] if stale is None else _reasons(stale, own, details)
            return {"status": "held_back", "held": _held(held), "reasons": reasons, "through": list(through)}
        case Outside(first):
            return {"status": "outside", "first": list(first)}
        case WaitsFor(missing):
            return {"status": "waiting", "missing": list(missing)}


def _reasons(stale: Stale, own: str, details: Details) -> list[Facts]:
    return [reason_facts(reason, details.get(reason), own) for reason in stale.reasons]


def _held(held: Held) -> Facts:
    until = None if held.until_utc is None else held.until_utc.isoformat()
    return {"hold": held.hold.name.lower(), "says": held.hold.value, "until_utc": until}


def _decisions(engine: Engine, plan: Plan, table: str, keys: Collection[str]) -> list[Facts]:
    """What was last decided about partitions that were named one by one."""
    if plan.selection is None:
        return []
    named = [key for key in keys if key in set(plan.selection.named.get(table, ()))][:DECISIONS]
    settled = engine.ledger.publications.settlements(table, named)
    tried = engine.ledger.publications.attempts([s.attempt_id for s in settled.values()])
    return [
        {
            "partition": key,
            "action": settled[key].action.value,
            "settled_utc": settled[key].settled_utc.isoformat(),
            "run": tried[settled[key].attempt_id].attempt.run_id,
            "trace": settled[key].trace_digest,
        }
        for key in named
        if key in settled
    ]
