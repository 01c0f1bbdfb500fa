"""Planning: from what is found of a graph to the steps of a plan.

Belongs here: who may change, what of it was asked for, and in which order. Does not belong here: what is due
(``survey``), the plan as data (``plan``). Invariant: a step's ancestors that may change are steps too, in earlier hops;
so whoever runs the steps hop by hop runs none that would have to run again.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from sh_core.graph import Graph
from sh_core.inputs import Partial
from sh_core.links import Flags, Numbers, places
from sh_core.mapping import mapped
from sh_core.plan import Cost, Due, HeldBack, Landed, Outside, Plan, Reached, Selection, Status, WaitsFor
from sh_core.policy import Held, Hold
from sh_core.survey import Survey
from sh_core.suspects import enough, linked, named
from sh_core.table import Table

_Through = Mapping[str, tuple[str, ...]]
"""Per partition, tables that it reads something of."""


def make(graph: Graph, found: Survey, selection: Selection | None, costs: Mapping[str, Cost] | None = None) -> Plan:
    """Make the plan for what was asked for.

    Args:
        graph: The tables.
        found: What there is.
        selection: What was asked for; None for everything.
        costs: What a partition costs, by table.
    """
    return _Making(graph, found, selection).plan(costs or {})


class _Making:
    """Works out one plan: first who may change at all, then what of it belongs to the plan."""

    def __init__(self, graph: Graph, found: Survey, selection: Selection | None) -> None:
        self._graph, self._found, self._selection, self._today = graph, found, selection, found.today
        self._barred = {t.name: self._barred_of(t) for t in graph.tables}
        self._level = self._levels()
        self._chosen = self._chosen_flags()
        self._steps = self._step_flags()

    def plan(self, costs: Mapping[str, Cost]) -> Plan:
        statuses, settled = dict[str, dict[str, Status]](), dict[str, tuple[str, ...]]()
        for table in self._graph.tables:
            told = self._statuses(table)
            if told:
                statuses[table.name] = told
            rest = self._chosen[table.name] & self._found.decided[table.name]
            rest &= ~self._flags(table, told)
            if rest.any():
                settled[table.name] = tuple(named(table.partitions, self._today, rest))
        made = Plan(self._found.now_utc, self._selection, statuses, settled)
        steps = {table for hop in made.hops for table in hop}
        return replace(made, costs={name: cost for name, cost in costs.items() if name in steps})

    # ---- who may change

    def _barred_of(self, table: Table) -> dict[str, Held]:
        """Stale partitions that are not run, whatever becomes of their ancestors."""
        held = self._found.decision.held.get(table.name, {})
        return {key: why for key, why in held.items() if why.hold not in (Hold.ANCESTOR, Hold.BUSY)}

    def _levels(self) -> dict[str, Numbers]:
        """Per table, in which hop each partition may change; 0 where it will not."""
        level: dict[str, Numbers] = {}
        for table in self._graph.tables:
            name, decision = table.name, self._found.decision
            held = decision.held.get(name, {})
            own = self._flags(table, [*decision.due.get(name, ()), *(k for k in held if k not in self._barred[name])])
            own |= self._flags(table, self._found.occupied.get(name, ()))
            own |= self._flags(table, self._found.landed.get(name, ()))
            behind, able = np.zeros(len(own), np.int64), self._found.decided[name].copy()
            ready = np.full(len(own), table.feed is None)
            for given in table.reads:
                of = linked(table, given, self._graph, self._today)
                behind = np.maximum(behind, of.newest(level[given.table], none=0))
                ready &= enough(given, of, self._found.there[given.table] | (level[given.table] > 0))
            able |= ready
            runs = (own | ((behind > 0) & able)) & ~self._flags(table, self._barred[name])
            if name in self._found.paused:
                runs[:] = False
            level[name] = np.where(runs, behind + 1, 0)
        return level

    # ---- what of it belongs to the plan

    def _chosen_flags(self) -> dict[str, Flags]:
        """What was asked for."""
        chosen: dict[str, Flags] = {}
        for table in self._graph.tables:
            if self._selection is None:
                chosen[table.name] = np.ones(len(self._level[table.name]), np.bool_)
                continue
            flags = self._flags(table, self._selection.named.get(table.name, ()))
            if self._selection.downstream:
                for given in table.reads:
                    flags |= linked(table, given, self._graph, self._today).reading(chosen[given.table])
            chosen[table.name] = flags
        return chosen

    def _step_flags(self) -> dict[str, Flags]:
        """What was asked for and may change; before it, what it reads that may change; after it, what reads those."""
        moving = {name: level > 0 for name, level in self._level.items()}
        steps = {name: self._chosen[name] & moving[name] for name in moving}
        if self._selection is None:
            return steps
        for table in reversed(self._graph.tables):
            wanted = steps[table.name]
            for given in table.reads if wanted.any() else ():
                of, source = linked(table, given, self._graph, self._today), given.table
                steps[source] |= of.read(wanted) & moving[source]
        for table in self._graph.tables:
            reads_step, reads_other = self._reads(table, steps), self._reads(table, moving, but=steps)
            steps[table.name] |= moving[table.name] & reads_step & ~reads_other
        return steps

    def _reads(self, table: Table, flags: Mapping[str, Flags], but: Mapping[str, Flags] | None = None) -> Flags:
        """Which partitions of a table read something that is flagged, and not flagged as something else."""
        found = np.zeros(len(self._level[table.name]), np.bool_)
        for given in table.reads:
            wanted = flags[given.table] if but is None else flags[given.table] & ~but[given.table]
            if wanted.any():
                found |= linked(table, given, self._graph, self._today).reading(wanted)
        return found

    def _through(self, table: Table, flags: Mapping[str, Flags]) -> dict[str, tuple[str, ...]]:
        """Per partition of a table, which tables it reads something flagged of."""
        through: dict[str, tuple[str, ...]] = {}
        for name in dict.fromkeys(given.table for given in table.reads):
            reading = np.zeros(len(self._level[table.name]), np.bool_)
            for given in table.reads:
                if given.table == name and flags[name].any():
                    reading |= linked(table, given, self._graph, self._today).reading(flags[name])
            for key in named(table.partitions, self._today, reading):
                through[key] = (*through.get(key, ()), name)
        return through

    # ---- what is said of each

    def _statuses(self, table: Table) -> dict[str, Status]:
        """What is to be said of the partitions of a table that belong to the plan or are reached by it."""
        moving = {other: (flags > 0) for other, flags in self._level.items()}
        through = self._through(table, self._steps)
        beyond = self._through(table, {other: moving[other] & ~self._steps[other] for other in moving})
        waiting = self._waiting(table)
        told: dict[str, Status] = {}
        for place, key in enumerate(places(table.partitions, self._today)):
            if self._steps[table.name][place]:
                told[key] = self._step(table, place, key, through)
            elif self._chosen[table.name][place] or key in through:
                status = self._rest(table, place, key, through, beyond) or waiting.get(key)
                if status is not None:
                    told[key] = status
        return told

    def _step(self, table: Table, place: int, key: str, through: _Through) -> Status:
        """What is said of a partition that is a step."""
        name, hop = table.name, int(self._level[table.name][place])
        stale = self._found.decision.stale.get(name, {}).get(key)
        if key in self._found.occupied.get(name, ()):
            return HeldBack(Held(Hold.BUSY), stale)
        if stale is not None:
            return Due(stale, hop, self._found.overridden.get((name, key)))
        landed = self._found.landed.get(name, {})
        if key in landed:
            return Landed(landed[key], hop)
        return Reached(through.get(key, ()), hop, is_new=not bool(self._found.decided[name][place]))

    def _rest(self, table: Table, place: int, key: str, through: _Through, beyond: _Through) -> Status | None:
        """What is said of one that is none; nothing if it is settled, or only waits."""
        name = table.name
        if key in self._barred[name]:
            return HeldBack(self._barred[name][key], self._found.decision.stale[name][key])
        if name in self._found.paused and (key in through or key in self._found.landed.get(name, ())):
            return HeldBack(Held(Hold.PAUSED), None, through.get(key, ()))
        return Outside(beyond.get(key, ())) if self._level[name][place] > 0 else None

    def _waiting(self, table: Table) -> dict[str, WaitsFor]:
        """What partitions wait for that were never decided about, or that were looked at and lack something."""
        looked_at = self._found.waiting.get(table.name, {})
        lacking = {key: WaitsFor(missing) for key, missing in looked_at.items()}
        never = ~self._found.decided[table.name] & self._chosen[table.name] & (self._level[table.name] == 0)
        for key in named(table.partitions, self._today, never):
            if key not in lacking:
                missing = self._missing(table, key)
                if missing:
                    lacking[key] = WaitsFor(missing)
        return lacking

    def _missing(self, table: Table, key: str) -> tuple[str, ...]:
        if table.feed is not None:
            place = places(table.partitions, self._today)[key]
            return () if self._found.there[table.feed.name][place] else (table.feed.delivery(key),)
        missing: list[str] = []
        for given in table.reads:
            source = self._graph[given.table]
            at = places(source.partitions, self._today)
            asked = [p for p in mapped(given.window, table.partitions, source.partitions, key, self._today) if p in at]
            absent = [p for p in asked if not self._found.there[given.table][at[p]]]
            needed = given.present.min_present if isinstance(given.present, Partial) else len(asked)
            if len(asked) - len(absent) < needed:
                missing += [f"{given.table}[{p}]" for p in absent]
        return tuple(dict.fromkeys(missing))

    def _flags(self, table: Table, keys: Collection[str]) -> Flags:
        place = places(table.partitions, self._today)
        flags = np.zeros(len(place), np.bool_)
        flags[[place[key] for key in keys if key in place]] = True
        return flags
