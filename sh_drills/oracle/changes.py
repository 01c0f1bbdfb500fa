"""Changes: what happens to a world from outside.

Belongs here: drawing one change and making it. Does not belong here: what has to follow from it. Invariant: a change is
made once, to the files and tables that both sides see; each side finds out for itself what it means.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random

from sh_drills.oracle.calendar import keys_of
from sh_drills.oracle.drawing import LIMITS, broken, draw_file, windowed
from sh_drills.oracle.shapes import RAW, File, Shape, World

_MORE = "abcdefgh"
"""Names of columns beside the key."""


@dataclass(frozen=True)
class Change:
    """One change that was made.

    Attributes:
        says: What happened, in words.
        arrived: Feed and partition of a file that came.
        edited: Whether code or a contract was edited, so that the code location is loaded anew.
    """

    says: str
    arrived: tuple[str, str] | None = None
    edited: bool = False


def change(rng: Random, world: World) -> Change:
    """Make one random change to a world."""
    kinds: list[tuple[int, Callable[[Random, World], Change]]] = [
        (6, _restate),
        (3, _restate_column),
        (2, _same_again),
        (3, _deliver),
        (2, _break),
        (2, _add_row),
        (2, _edit_code),
        (1, _edit_idly),
        (2, _edit_contract),
        (2, _redeclare),
        (1, _add_column),
        (2, _pass_days),
        (1, _pause),
        (2, _resume),
    ]
    made = rng.choices([make for _, make in kinds], [weight for weight, _ in kinds])[0]
    return made(rng, world)


def _feed(rng: Random, world: World) -> tuple[Shape, str]:
    """A raw table and a partition of it, one with a file if there is any."""
    raw = rng.choice([s for s in world.shapes.values() if s.station == RAW])
    keys = [key for key in keys_of(raw.span, world.today) if (raw.feed or "", key) in world.files]
    return raw, rng.choice(keys or keys_of(raw.span, world.today))


def _land(world: World, raw: Shape, key: str, file: File, says: str) -> Change:
    feed = raw.feed or ""
    world.files[feed, key] = file
    return Change(f"{feed}[{key}]: {says}: {file.rows}", arrived=(feed, key))


def _restate(rng: Random, world: World) -> Change:
    raw, key = _feed(rng, world)
    return _land(world, raw, key, draw_file(rng, raw), "restated")


def _restate_column(rng: Random, world: World) -> Change:
    """One value of one column: often one that nobody reads."""
    raw, key = _feed(rng, world)
    file = world.files.get((raw.feed or "", key))
    if file is None or not file.rows:
        return _land(world, raw, key, draw_file(rng, raw), "delivered")
    row, column = rng.randrange(len(file.rows)), rng.randrange(1, len(raw.columns))
    rows = [list(r) for r in file.rows]
    rows[row][column] = rng.randint(0, 9)
    return _land(
        world, raw, key, File(tuple(map(tuple, rows)), file.salt), f"one value of {raw.columns[column]} restated"
    )


def _add_row(rng: Random, world: World) -> Change:
    """A key appears, or one disappears."""
    raw, key = _feed(rng, world)
    rows = {row[0]: row for row in world.files.get((raw.feed or "", key), File(())).rows}
    number = rng.randrange(10)
    if rows.pop(number, None) is None:
        rows[number] = (number, *(rng.randint(0, 9) for _ in raw.columns[1:]))
    return _land(world, raw, key, File(tuple(sorted(rows.values()))), f"key {number} added or removed")


def _same_again(rng: Random, world: World) -> Change:
    """The same bytes, or the same rows in other bytes."""
    raw, key = _feed(rng, world)
    file = world.files.get((raw.feed or "", key), File(()))
    salt = rng.choice([file.salt, file.salt + 1])
    return _land(world, raw, key, replace(file, salt=salt), "the same again")


def _deliver(rng: Random, world: World) -> Change:
    """A late file, if one is missing; now and then one for a day that is not declared yet."""
    raw = rng.choice([s for s in world.shapes.values() if s.station == RAW])
    keys = keys_of(raw.span, world.today + timedelta(days=rng.choice([0, 0, 1])))
    late = [key for key in keys if (raw.feed or "", key) not in world.files]
    return _land(world, raw, rng.choice(late or keys), draw_file(rng, raw), "delivered")


def _break(rng: Random, world: World) -> Change:
    raw, key = _feed(rng, world)
    file = world.files.get((raw.feed or "", key)) or draw_file(rng, raw)
    rows = broken(rng, file.rows or draw_file(rng, raw).rows)
    return _land(world, raw, key, File(tuple(row[: len(raw.columns)] for row in rows)), "broken")


def _mart(rng: Random, world: World) -> Shape:
    return rng.choice([s for s in world.shapes.values() if s.code is not None] or list(world.shapes.values()))


def _edited(world: World, shape: Shape, says: str) -> Change:
    world.shapes[shape.name] = shape
    return Change(f"{shape.name}: {says}", edited=True)


def _edit_code(rng: Random, world: World) -> Change:
    shape = _mart(rng, world)
    if shape.code is None:
        return _same_again(rng, world)
    plus = rng.randint(0, 4)
    return _edited(world, replace(shape, code=replace(shape.code, plus=plus)), f"code edited to + {plus}")


def _edit_idly(rng: Random, world: World) -> Change:
    shape = _mart(rng, world)
    if shape.code is None:
        return _same_again(rng, world)
    idle = shape.code.idle + 1
    return _edited(world, replace(shape, code=replace(shape.code, idle=idle)), "code edited without effect")


def _edit_contract(rng: Random, world: World) -> Change:
    shape = rng.choice([s for s in world.shapes.values() if s.station != RAW])
    limit, share = rng.choice(LIMITS), rng.choice([None, None, 0.3])
    return _edited(
        world, replace(shape, gate=replace(shape.gate, limit=limit, share=share)), f"at most {limit}, {share}"
    )


def _redeclare(rng: Random, world: World) -> Change:
    """Other columns of an input are read, or other partitions, or it need not be there."""
    shape = _mart(rng, world)
    if shape.code is None:
        return _same_again(rng, world)
    number = rng.randrange(len(shape.reads))
    given = shape.reads[number]
    needed = {p.column for p in shape.code.picks if p.argument == given.argument}
    needed |= {g.by[1] for g in shape.reads if g.by is not None and g.by[0] == given.argument}
    columns = world.shapes[given.table].columns[1:]
    read = tuple(c for c in columns if c in needed or rng.random() < 0.5)  # noqa: PLR2004 -- half of the others
    given = replace(given, columns=rng.choice([None, read]), least=rng.choice([given.least, None, 0]))
    if number > 0 and windowed(shape.span, world.shapes[given.table].span) and not given.every:
        given = replace(given, first=rng.choice([given.first, -1]), last=rng.choice([given.last, 0]))
        if given.last < given.first:
            given = replace(given, last=given.first)
    reads = (*shape.reads[:number], given, *shape.reads[number + 1 :])
    return _edited(world, replace(shape, reads=reads), f"reads {given}")


def _add_column(rng: Random, world: World) -> Change:
    """A table gets one more column; whoever reads all of them waits for it."""
    shape = _mart(rng, world)
    if shape.code is None or len(shape.columns) > len(_MORE):
        return _restate(rng, world)
    columns = (*shape.columns, _MORE[len(shape.columns) - 1])
    code = replace(shape.code, picks=(*shape.code.picks, shape.code.picks[0]))
    return _edited(world, replace(shape, columns=columns, code=code), f"gets the column {columns[-1]}")


def _pass_days(rng: Random, world: World) -> Change:
    days = rng.choice([1, 1, 2])
    world.today += timedelta(days=days)
    return Change(f"{days} days pass: it is {world.today}")


def _pause(rng: Random, world: World) -> Change:
    name = rng.choice(list(world.shapes))
    world.paused.add(name)
    return Change(f"{name} is paused")


def _resume(rng: Random, world: World) -> Change:
    if not world.paused:
        return _restate(rng, world)
    name = rng.choice(sorted(world.paused))
    world.paused.discard(name)
    return Change(f"{name} is resumed")
