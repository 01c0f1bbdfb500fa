"""Content: what the tables of a drawn world compute and what their gates let through, in plain Python.

Belongs here: the transform and the gate of a shape, on plain rows. Does not belong here: finding what a partition
reads. Invariant: a result depends only on the rows that are handed in, not on their order; nothing here imports the
project (the reference uses it too: what a transform computes is not on trial, when it runs is).
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from sh_drills.oracle.shapes import KEY, RAW, Code, Gate, Pick, Rows, Shape

Handed = Mapping[str, Sequence[Mapping[str, int]]]
"""Rows per argument, each by column."""

_HOWS: dict[str, Callable[[list[int]], int]] = {"min": min, "max": max, "sum": sum, "count": len}


def computed(shape: Shape, handed: Handed) -> Rows:
    """The rows that a table's transform returns.

    Args:
        shape: A staged table, or one that computes.
        handed: What it is handed; of a looked-up table only the rows whose key occurs.
    """
    if shape.code is None:
        (rows,) = (handed[g.argument] for g in shape.reads)
        return tuple(sorted(tuple(row[c] for c in shape.columns) for row in rows))
    code, groups = shape.code, dict[int, list[Mapping[str, int]]]()
    for row in handed[code.main]:
        groups.setdefault(row[KEY] % code.modulus, []).append(row)
    drivers = {g.argument: g.by[1] for g in shape.reads if g.by is not None}
    columns = [_column(code, pick, groups, handed, drivers) for pick in code.picks]
    return tuple(sorted((group, *(column[group] for column in columns)) for group in groups))


def _column(
    code: Code,
    pick: Pick,
    groups: Mapping[int, Sequence[Mapping[str, int]]],
    handed: Handed,
    drivers: Mapping[str, str],
) -> dict[int, int]:
    """One column's value per group."""
    if pick.argument == code.main:
        found = {group: [row[pick.column] for row in rows] for group, rows in groups.items()}
    elif pick.argument in drivers:
        by, values = drivers[pick.argument], dict[int, int]()
        for row in handed[pick.argument]:  # of several partitions, perhaps: the same key may occur in each
            values[row[KEY]] = max(row[pick.column], values.get(row[KEY], row[pick.column]))
        found = {group: [values.get(row[by], -1) for row in rows] for group, rows in groups.items()}
    else:
        everything = [row[pick.column] for row in handed[pick.argument]]
        found = dict.fromkeys(groups, everything)
    how = _HOWS[pick.how]
    return {group: ((how(values) if values else 0) // pick.by + code.plus) % 10 for group, values in found.items()}


def judged(shape: Shape, rows: Rows, known: Collection[int]) -> Rows | None:
    """The rows that may be published; None if the partition is withheld.

    Args:
        shape: The table.
        rows: What it computed.
        known: Keys of the table that its gate refers to.
    """
    gate: Gate = shape.gate
    if shape.station == RAW:
        return rows
    if gate.refers is not None and rows:
        lost = sum(row[1] not in known for row in rows)
        if lost / len(rows) > gate.lost:
            return None
    kept = tuple(row for row in rows if row[1] <= gate.limit)
    if len(kept) == len(rows):
        return rows
    if gate.share is None or (len(rows) - len(kept)) / len(rows) > gate.share:
        return None
    return kept


def by_column(columns: Sequence[str], wanted: Iterable[str], rows: Rows) -> list[dict[str, int]]:
    """Rows, each by column, with the wanted columns only."""
    places = [(c, columns.index(c)) for c in wanted]
    return [{c: row[place] for c, place in places} for row in rows]
