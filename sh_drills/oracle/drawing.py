"""Drawing: worlds from a random generator.

Belongs here: which graphs and files are tried. Does not belong here: what is changed later (``changes``). Invariant: a
drawn world is one that an author could have declared, and the same generator draws the same world.

Small worlds are drawn most often, because most faults need few tables, and a failure in a small world can be read.
"""

from dataclasses import replace
from datetime import date, timedelta
from random import Random

from sh_drills.oracle.calendar import periods_read
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

_FINER = {"daily": ("daily",), "weekly": ("weekly", "daily"), "monthly": ("monthly", "daily", "weekly")}
"""Per kind, those over whose periods a table of that kind can be computed."""

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
    for number in range(rng.randint(1, 1 + wanted // 8)):
        _add_feed(rng, shapes, f"f{number}", spans["daily" if number == 0 else rng.choice(["daily", "weekly", "late"])])
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


def keys_of(span: Span, today: date) -> list[str]:
    """Declared partitions."""
    return [key for key, _, _ in periods_read(span, today)]


def _spans(rng: Random, *, short: bool) -> dict[str, Span]:
    days = rng.randint(2, 4 if short else 9)
    last = MONDAY + timedelta(days=days - 1)
    return {
        "daily": Span("daily", MONDAY, rng.choice([last, last, None])),
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
    own = rng.choice(
        [s for s in spans.values() if main.span.kind in _FINER[s.kind]] if main.span.start else [main.span]
    )
    if main.span.start is not None and rng.random() < 0.6:  # noqa: PLR2004 -- mostly its own days
        own = main.span
    reads = [_main_input(rng, main)]
    for _ in range(rng.choice([0, 0, 1, 1, 2, 3])):
        source = rng.choice(rng.choice([able, recent]))
        if own.start is not None or source.span.start is None:
            reads.append(_side_input(rng, source, own, reads, main))
    columns = (KEY, "a", "b", "c")[: rng.randint(2, 4)]
    by_name = {g.argument: shapes[g.table] for g in reads}
    code = Code(
        main=reads[0].argument,
        modulus=rng.choice([1, 2, 3, 1000, 1000]),
        picks=tuple(_pick(rng, reads, by_name) for _ in columns[1:]),
        plus=rng.randint(0, 3),
    )
    registers = [s.name for s in able if s.span.start is None]
    refers = rng.choice(registers) if registers and rng.random() < 0.15 else None  # noqa: PLR2004 -- now and then
    gate = Gate(rng.choice(LIMITS), rng.choice([None, None, 0.3]), refers, 0.5 if refers else 0.0)
    return Shape(name, MART, own, columns, gate, tuple(reads), code)


def _main_input(rng: Random, main: Shape) -> Given:
    return Given(main.name, main.name, _some_columns(rng, main), least=rng.choice([None, None, None, 0, 1]))


def _side_input(rng: Random, source: Shape, own: Span, before: list[Given], main: Shape) -> Given:
    argument = source.name if all(g.argument != source.name for g in before) else f"{source.name}_{len(before)}"
    given = Given(argument, source.name, _some_columns(rng, source))
    if source.span.start is not None:
        first, last = rng.choice(_WINDOWS)
        given = replace(given, first=first, last=last)
    if rng.random() < (0.6 if source.span.start is None else 0.1):
        handed = main.columns if before[0].columns is None else (KEY, *before[0].columns)
        given = replace(given, by=(before[0].argument, rng.choice(handed)))
    same = own == source.span and given.first == given.last == 0
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
