"""Drawing: worlds from a random generator.

Belongs here: which graphs and files are tried. Does not belong here: what is changed later (``changes``). Invariant: a
drawn world is one that an author could have declared, and the same generator draws the same world.

Small worlds are drawn most often, because most faults need few tables, and a failure in a small world can be read.
"""

from dataclasses import replace
from datetime import date, timedelta
from random import Random

from sh_drills.oracle.calendar import keys_of
from sh_drills.oracle.shapes import (
    KEY,
    MART,
    RAW,
    STAGED,
    Code,
    File,
    Gate,
    Given,
    Pick,
    Rows,
    Shape,
    Span,
    World,
)

MONDAY = date(2024, 2, 26)
"""All sets begin about here: a Monday, two days before the end of a leap year's February."""

LIMITS = (6, 8, 50)
"""Greatest values that contracts allow; values are below 10 unless something is broken."""

_FINER = {
    "hourly": ("hourly",),
    "daily": ("daily", "hourly"),
    "weekly": ("weekly", "daily", "hourly"),
    "monthly": ("monthly", "daily"),
    "static": ("static",),
}
"""Per kind, those over whose partitions a table of that kind can be computed."""

_WINDOWS = ((0, 0), (0, 0), (-1, 0), (-1, -1), (-2, 0), (0, 1), (-3, -2), (1, 1))


def draw_world(rng: Random, tables: int | None = None) -> World:
    """A world with some of its files delivered.

    Args:
        rng: Where chance comes from.
        tables: How many tables, at least 3; drawn if not given.
    """
    wanted = tables or rng.choices((rng.randint(3, 8), rng.randint(9, 20), rng.randint(21, 60)), (85, 12, 3))[0]
    spans = _spans(rng, short=wanted > 20)  # noqa: PLR2004 -- many tables of few partitions
    shapes: dict[str, Shape] = {}
    for number in range(rng.randint(1, 1 + wanted // 4)):
        if len(shapes) + 2 < wanted:
            _add_feed(
                rng, shapes, f"f{number}", rng.choice([spans["daily"], *spans.values(), *list(spans.values())[:2]])
            )
    for number in range(rng.randint(0, 1 + wanted // 12)):
        if len(shapes) + 2 < wanted:
            _add_feed(rng, shapes, f"r{number}", Span("whole"))
    while len(shapes) < wanted:
        shape = _mart(rng, f"t{len(shapes)}", shapes, spans)
        shapes[shape.name] = shape
    ends = [s.end for s in spans.values() if s.end is not None]
    world = World(shapes, rng.choice([max(ends), MONDAY + timedelta(days=rng.randint(1, 9))]))
    for shape in shapes.values():
        for key in keys_of(shape.span, world.today) if shape.feed else ():
            if rng.random() < 0.9:  # noqa: PLR2004 -- some files are late
                world.files[shape.feed or "", key] = draw_file(rng, shape)
    return world


def _spans(rng: Random, *, short: bool) -> dict[str, Span]:
    days = rng.randint(2, 4 if short else 9)
    last = MONDAY + timedelta(days=days - 1)
    daily, places = Span("daily", MONDAY, rng.choice([last, last, None])), Span("static", of=("x", "y"))
    unusual = {
        "hourly": Span("hourly", MONDAY, MONDAY),
        "places": places,
        "combined": Span("multi", dims=(("day", daily), ("place", places))),
    }
    chosen = rng.sample(list(unusual), rng.choice([0, 0, 2, 3]))
    return {
        **{name: unusual[name] for name in chosen},
        "whole": Span("whole"),
        "daily": daily,
        "late": Span("daily", MONDAY + timedelta(days=rng.randint(0, 2)), last + timedelta(days=2)),
        "weekly": Span("weekly", MONDAY, MONDAY + timedelta(days=13)),
        "monthly": Span("monthly", date(2024, 2, 1), date(2024, 3, 31)),
    }


def _add_feed(rng: Random, shapes: dict[str, Shape], feed: str, span: Span) -> None:
    columns = (KEY, "a", "b", "c")[: rng.randint(2, 4)]
    shapes[f"raw_{feed}"] = Shape(f"raw_{feed}", RAW, span, columns, Gate(50), feed=feed)
    given = Given(f"raw_{feed}", f"raw_{feed}")
    gate = Gate(max(LIMITS), rng.choice([None, 0.3]))
    shapes[f"stg_{feed}"] = Shape(f"stg_{feed}", STAGED, span, columns, gate, (given,))


def _mart(rng: Random, name: str, shapes: dict[str, Shape], spans: dict[str, Span]) -> Shape:
    able = [s for s in shapes.values() if s.station != RAW]
    recent = able[-5:]
    main = rng.choice(rng.choice([able, recent]))
    own = main.span  # mostly
    if rng.random() < 0.5:  # noqa: PLR2004
        own = rng.choice([s for s in spans.values() if _finer(main.span, s) and s.kind != "whole"] or [own])
    if rng.random() < 0.1:  # noqa: PLR2004 -- now and then
        own = spans["whole"]
    reads = [_main_input(rng, main, own)]
    for _ in range(rng.choice([0, 0, 1, 1, 2, 3])):
        reads.append(_side_input(rng, rng.choice(rng.choice([able, recent])), own, reads, main))
    columns = (KEY, "a", "b", "c")[: rng.randint(2, 4)]
    by_name = {g.argument: shapes[g.table] for g in reads}
    code = Code(
        main=reads[0].argument,
        modulus=rng.choice([1, 2, 3, 1000, 1000]),
        picks=tuple(_pick(rng, reads, by_name) for _ in columns[1:]),
        plus=rng.randint(0, 3),
    )
    registers = [s.name for s in able if s.span.kind == "whole"]
    refers = rng.choice(registers) if registers and rng.random() < 0.15 else None  # noqa: PLR2004 -- now and then
    gate = Gate(rng.choice(LIMITS), rng.choice([None, None, 0.3]), refers, 0.5 if refers else 0.0)
    return Shape(name, MART, own, columns, gate, tuple(reads), code)


def _finer(span: Span, own: Span) -> bool:
    """Whether every partition of a set lies within one of another set, or the other set is one partition."""
    kinds = [part.kind for part in span.parts.values()]
    return all(any(kind in _FINER[part.kind] for kind in kinds) for part in own.parts.values())


def _corresponds(own: Span, source: Span) -> bool:
    """Whether a partition of the one set says which of another one is meant."""
    lists, theirs = ([p.kind == "static" for p in s.parts.values()] for s in (own, source))
    return source.kind == "whole" or any(sort in lists for sort in theirs)


def windowed(own: Span, source: Span) -> bool:
    """Whether periods of one set can be counted from those of another."""
    return source.start is not None and any(part.start is not None for part in own.parts.values())


def _main_input(rng: Random, main: Shape, own: Span) -> Given:
    every = "" if _corresponds(own, main.span) else rng.choice(["all", "last"])
    least = rng.choice([None, None, None, 0, 1])
    return Given(main.name, main.name, _some_columns(rng, main), every=every, least=least)


def _side_input(rng: Random, source: Shape, own: Span, before: list[Given], main: Shape) -> Given:
    argument = source.name if all(g.argument != source.name for g in before) else f"{source.name}_{len(before)}"
    given = Given(argument, source.name, _some_columns(rng, source))
    if not _corresponds(own, source.span) or (source.span.kind != "whole" and rng.random() < 0.1):  # noqa: PLR2004
        given = replace(given, every=rng.choice(["all", "last"]))
    elif windowed(own, source.span):
        first, last = rng.choice(_WINDOWS)
        given = replace(given, first=first, last=last)
    if rng.random() < (0.6 if source.span.kind == "whole" else 0.1):
        handed = main.columns if before[0].columns is None else (KEY, *before[0].columns)
        given = replace(given, by=(before[0].argument, rng.choice(handed)))
    same = own == source.span and given.first == given.last == 0 and not given.every
    return replace(given, least=rng.choice([None, None, 0] if same else [None, 0, 0, 1, 2]))


def _some_columns(rng: Random, source: Shape) -> tuple[str, ...] | None:
    chosen = tuple(c for c in source.columns[1:] if rng.random() < 0.5)  # noqa: PLR2004 -- half of them are not read
    return rng.choice([None, chosen, chosen])


def _pick(rng: Random, reads: list[Given], shapes: dict[str, Shape]) -> Pick:
    given = rng.choice([reads[0], *reads])
    columns = shapes[given.argument].columns if given.columns is None else (KEY, *given.columns)
    return Pick(
        given.argument, rng.choice(columns), rng.choice(["min", "max", "sum", "count"]), rng.choice([1, 1, 2, 4])
    )


def draw_file(rng: Random, shape: Shape) -> File:
    """A file whose rows hold."""
    keys = sorted(rng.sample(range(10), rng.choice([0, 1, 2, 3, 4, 6])))
    return File(tuple((key, *(rng.randint(0, 9) for _ in shape.columns[1:])) for key in keys))


def broken(rng: Random, rows: Rows) -> Rows:
    """Rows of which one breaks every contract."""
    if not rows:
        return ((1, 99, *(0 for _ in range(2))),)
    number = rng.randrange(len(rows))
    return tuple((row[0], 99, *row[2:]) if i == number else row for i, row in enumerate(rows))
