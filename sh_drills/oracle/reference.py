"""The reference: a second, naive opinion on what has to be executed, and on what is then to be seen.

Belongs here: comparing what a partition is handed, row by row, with what it was handed last time. Does not belong here:
anything of the project (an import contract holds it): no versions, no traces, no serials, no mapping of the project's.
Invariant: naive. It goes through every partition of every table in the order of their inputs, as often as anything
changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from sh_drills.oracle.calendar import keys_of, read_by
from sh_drills.oracle.content import by_column, computed, judged
from sh_drills.oracle.shapes import KEY, RAW, Given, Rows, Shape, World

Place = tuple[str, str]

Handed = tuple[object, ...]
"""Everything that decides a partition: its table's code and gate, and what it is handed, row by row."""


@dataclass(frozen=True)
class Shown:
    """What readers see of a partition.

    Attributes:
        columns: Columns.
        rows: Rows.
    """

    columns: tuple[str, ...]
    rows: Rows
    _only: dict[tuple[str, ...], list[dict[str, int]]] = field(default_factory=dict, compare=False, repr=False)

    def only(self, columns: tuple[str, ...]) -> list[dict[str, int]]:
        """Its rows by column, with some columns only."""
        if columns not in self._only:
            self._only[columns] = by_column(self.columns, columns, self.rows)
        return self._only[columns]


@dataclass
class Reference:
    """What is to be seen, and what it was made from.

    Attributes:
        world: Files, tables, pauses: as they are now.
        shown: What is to be seen.
        last: What a partition was last executed with.
        withheld: Partitions whose last execution may not be seen.
    """

    world: World
    shown: dict[Place, Shown] = field(default_factory=dict)
    last: dict[Place, Handed] = field(default_factory=dict)
    withheld: set[Place] = field(default_factory=set)

    def follow(self) -> list[Place]:
        """Execute what has to be, until nothing has; returns it in order."""
        executed: list[Place] = []
        for shape in self.world.shapes.values():
            if shape.name in self.world.paused:
                continue
            for key in keys_of(shape.span, self.world.today):
                handed = self.handed(shape, key)
                if handed is not None and handed != self.last.get((shape.name, key)):
                    self._execute(shape, key, handed)
                    executed.append((shape.name, key))
        return executed

    def handed(self, shape: Shape, key: str) -> Handed | None:
        """What a partition would be handed now; None if something is missing."""
        # A gate's limit counts for staged tables and marts; raw rows are let through as they are.
        rules = None if shape.station == RAW else shape.gate
        if shape.feed is not None:
            file = self.world.files.get((shape.feed, key))
            return None if file is None else (shape.station, shape.columns, rules, file)
        found: list[object] = []
        for given in shape.everything_read:
            per_partition = self._input(shape, given, key)
            there = sum(rows is not None for _, rows in per_partition)
            if there < (len(per_partition) if given.least is None else min(given.least, len(per_partition))):
                return None
            source = self.world.shapes[given.table]
            # Which rows come under which argument; in a set of periods, the column that names the period is one more.
            period = source.span.kind != "whole" and (given.columns is None or given is shape.reads[0])
            if per_partition:  # of no partition no rows are handed over, whatever is declared about them
                declared = (given.argument, given.table, given.by, _columns(given, source), period)
                found.append((declared, tuple(per_partition)))
        return (shape.station, shape.columns, shape.code, rules, *found)

    def _input(self, shape: Shape, given: Given, key: str) -> list[tuple[str, tuple[Mapping[str, int], ...] | None]]:
        """Per partition that is read: its rows, or None if there is nothing to be seen of it."""
        source = self.world.shapes[given.table]
        columns = _columns(given, source)
        found: list[tuple[str, tuple[Mapping[str, int], ...] | None]] = []
        occurring = self._occurring(shape, given, key)
        for p in read_by(shape.span, source.span, given, key, self.world.today):
            shown = self.shown.get((given.table, p))
            if shown is None or not set(columns) <= set(shown.columns):
                found.append((p, None))
                continue
            rows = shown.only(columns)
            found.append((p, tuple(rows if occurring is None else (row for row in rows if row[KEY] in occurring))))
        return found

    def _occurring(self, shape: Shape, given: Given, key: str) -> set[int] | None:
        if given.by is None:
            return None
        argument, column = given.by
        driver = next(g for g in shape.reads if g.argument == argument)
        return {row[column] for _, rows in self._input(shape, driver, key) for row in rows or ()}

    def _execute(self, shape: Shape, key: str, handed: Handed) -> None:
        place = (shape.name, key)
        self.last[place] = handed
        rows = self.rows_of(shape, key)
        if rows is None:
            self.withheld.add(place)
        else:
            self.withheld.discard(place)
            self.shown[place] = Shown(shape.columns, rows)

    def rows_of(self, shape: Shape, key: str) -> Rows | None:
        """What a partition computes from what is to be seen now; None if it would be withheld."""
        if shape.feed is not None:
            return tuple(sorted(self.world.files[shape.feed, key].rows))
        handed = {
            given.argument: [row for _, rows in self._input(shape, given, key) for row in rows or ()]
            for given in shape.everything_read
        }
        known = {row[KEY] for row in handed.get(f"@{shape.gate.refers}", ())}
        return judged(shape, computed(shape, handed), known)


@dataclass
class Rebuilt:
    """Everything computed from scratch: from files, code and contracts as they are now, and from nothing else.

    What a withheld partition shows is its last good content. No rebuilding can know that: it is taken as it is seen.

    Attributes:
        world: Files and tables.
        seen: What is really to be seen, to be compared; withheld partitions are taken from it.
        pinned: What was put back by hand: content, and what the partition would have been handed then.
    """

    world: World
    seen: Mapping[Place, Shown]
    pinned: Mapping[Place, tuple[Handed, Shown]]

    def differences(self) -> list[str]:
        """What is seen and should not be, or should be and is not; in words."""
        found: list[str] = []
        rebuilt = Reference(self.world)
        for shape in self.world.shapes.values():
            for key in keys_of(shape.span, self.world.today):
                place, handed = (shape.name, key), rebuilt.handed(shape, key)
                seen = self.seen.get(place)
                if place in self.pinned and self.pinned[place][0] == handed:
                    expected: Shown | None = self.pinned[place][1]
                elif handed is None:
                    expected = seen  # what it showed before an input was asked for that is not there, if anything
                else:
                    rows = rebuilt.rows_of(shape, key)
                    expected = seen if rows is None else Shown(shape.columns, rows)
                if expected != seen:
                    found.append(f"{shape.name}[{key}] shows {_said(seen)}, from scratch it is {_said(expected)}")
                if expected is not None:
                    rebuilt.shown[place] = expected
        return found


@lru_cache(maxsize=100_000)
def _columns(given: Given, source: Shape) -> tuple[str, ...]:
    return tuple(c for c in source.columns if given.columns is None or c == KEY or c in given.columns)


def _said(shown: Shown | None) -> str:
    return "nothing" if shown is None else f"{shown.rows}"
