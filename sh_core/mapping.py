"""Mappings: which partitions of an upstream table one partition reads.

Belongs here: the step from a partition to those it reads. Does not belong here: the same for all partitions at once
(``links``), which of them are published (``sh_resources.inputs``), Dagster's own mappings (``sh_assets.keys``; a test
compares the two). Invariant: the answer depends on the declarations only, and on the time only where a set without end
is read by ``All`` or ``Last``; it is in order, and names partitions of the upstream set only.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import product
from math import prod

from sh_core.errors import DeclarationError
from sh_core.partitions import WHOLE, Dimension, Multi, Partitions, Periods, Static, Unpartitioned

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Window:
    """Those upstream periods that overlap the partition's own, and so many more (or fewer) at either end.

    ``Window()`` is the same day of a daily table, the days of a month, or the month that a day is in;
    ``Window(-6, 0)`` that and six upstream periods before; ``Window(-1, -1)`` the ones before. Periods that the
    upstream set does not have (before its start, say) are left out, and nobody waits for them. A table without
    partitions is read whole. Periods overlap if they have an instant in common, whatever the clocks of the two sets.

    The periods counted are always those of the upstream table, whatever the length of one's own: ``Window(-6, 0)`` of a
    daily table is, for a month, its days and the six before.

    ``Window()`` is also what is meant where nothing is said: between lists of keys the same key, between combinations
    the same in each dimension that both have (see ``Dimensions``).

    Attributes:
        first: Upstream periods by which the window's beginning is moved; negative is earlier.
        last: The same for its end.
    """

    first: int = 0
    last: int = 0


@dataclass(frozen=True)
class All:
    """Every upstream partition; of a set without end, every one whose period has begun."""


@dataclass(frozen=True)
class Last:
    """The newest upstream partition: the last key of its set; of a set without end, the period that goes on now."""


@dataclass(frozen=True, init=False)
class Keys:
    """For each of one's own keys of a list, the upstream keys of another: ``Keys({"east": ("JFK", "LGA")})``.

    Attributes:
        of: One's own keys, each with those that it reads.
    """

    of: tuple[tuple[str, tuple[str, ...]], ...]

    def __init__(self, reads: Mapping[str, Collection[str]]) -> None:
        """Say which keys are read.

        Raises:
            DeclarationError: If a text stands where keys are wanted.
        """
        for own, read in reads.items():
            if isinstance(read, str):
                raise DeclarationError(f'the keys that {own} reads are a tuple of texts, ("{read}",) with a comma')
        # Sorted, as a set has another order in each process, and whoever sees another declaration looks at everything.
        object.__setattr__(self, "of", tuple((own, tuple(sorted(read))) for own, read in reads.items()))


@dataclass(frozen=True, init=False)
class Dimensions:
    """Of a combination, one mapping per dimension: ``Dimensions(day=Window(-6, 0), airport=All())``.

    A dimension that is not named is read in the reader's own partition where the reader has it too, else whole. One
    that only the reader has is ignored: all of its keys read the same.

    Attributes:
        of: Mappings by the name of the upstream dimension.
    """

    of: tuple[tuple[str, "Window | All | Last | Keys"], ...]

    def __init__(self, **dimensions: "Window | All | Last | Keys") -> None:
        """Say how dimensions are read.

        Raises:
            DeclarationError: If one of them is read by something that is no mapping of one dimension.
        """
        given: Mapping[str, object] = dimensions
        for name, mapping in given.items():
            if not isinstance(mapping, Window | All | Last | Keys):
                kinds = "Window(-6, 0), All(), Last() or Keys(…)"
                raise DeclarationError(f"dimension {name} is read by {kinds}, not {mapping!r}")
        object.__setattr__(self, "of", tuple(sorted(dimensions.items())))


PartitionMapping = Window | All | Last | Keys | Dimensions
"""The closed union of mappings."""

SAME = Window()
"""The partition's own period, key or combination."""

Pair = tuple[Window | All | Last | Keys, str | None]
"""How an upstream dimension is read, and by which dimension of the reader; None if it has none that corresponds."""

ONLY = ""
"""Name of the one dimension of a set that is no combination."""


def dimensions_of(partitions: Partitions) -> dict[str, Dimension]:
    """The dimensions of a set; none of a table without partitions."""
    match partitions:
        case Unpartitioned():
            return {}
        case Multi():
            return partitions.dimensions
        case _:
            return {ONLY: partitions}


def mapped(
    mapping: PartitionMapping, downstream: Partitions, upstream: Partitions, key: str, now_utc: datetime
) -> tuple[str, ...]:
    """The upstream partitions that a partition reads, in order.

    Args:
        mapping: As declared.
        downstream: Partition set of the table that reads.
        upstream: Partition set of the table that is read.
        key: The partition that reads.
        now_utc: Up to when periods of a set without end are declared, for those that are read by ``All`` or ``Last``.

    Raises:
        DeclarationError: If the mapping cannot work (see ``refuse``).
    """
    if isinstance(upstream, Unpartitioned):
        return (WHOLE,)
    if isinstance(mapping, All | Last):
        return _ends(mapping, upstream.declared(now_utc))
    pairs = paired(mapping, downstream, upstream)
    pieces = downstream.pieces(key) if isinstance(downstream, Multi) else {ONLY: key}
    own = dimensions_of(downstream)
    found: list[Sequence[str]] = []
    for name, dimension in dimensions_of(upstream).items():
        how, by = pairs[name]
        if isinstance(how, All | Last):
            found.append(_ends(how, dimension.declared(now_utc)))
        elif by is not None:
            found.append(_mapped(how, own[by], dimension, pieces[by]))
    if not isinstance(upstream, Multi):
        return tuple(found[0])
    return tuple(upstream.joined(dict(zip(upstream.dimensions, keys, strict=True))) for keys in product(*found))


def _ends(mapping: All | Last, declared: Sequence[str]) -> tuple[str, ...]:
    return tuple(declared if isinstance(mapping, All) else declared[-1:])


def _mapped(mapping: Window | Keys, downstream: Dimension, upstream: Dimension, key: str) -> Sequence[str]:
    """The same in one dimension."""
    if isinstance(mapping, Keys):
        read = dict(mapping.of).get(key, ())
        return [k for k in upstream.of if k in read] if isinstance(upstream, Static) else []
    if isinstance(downstream, Static) or isinstance(upstream, Static):
        return (key,)
    number = downstream.number(key)
    if downstream.same_periods(upstream):
        first = last = number
    else:
        first = upstream.number_at(downstream.begin(number))
        last = upstream.number_at(downstream.begin(number + 1) - _MICROSECOND)
    return upstream.spelled(first + mapping.first, last + mapping.last)


def refuse(mapping: PartitionMapping, downstream: Partitions, upstream: Partitions) -> str | None:
    """Why a declared mapping cannot work, in words that follow "which"; None if it can."""
    if isinstance(upstream, Unpartitioned):
        return None if mapping == SAME else "has no partitions, so it is read whole: leave the window out"
    try:
        paired(mapping, downstream, upstream)
    except DeclarationError as error:
        return str(error)
    return None


def moves(mapping: PartitionMapping, downstream: Partitions, upstream: Partitions) -> bool:
    """Whether a partition reads others as time goes by: all, or the newest, of a set without end."""
    if isinstance(upstream, Unpartitioned):
        return False
    pairs, theirs = paired(mapping, downstream, upstream), dimensions_of(upstream)
    without_end = {name for name, of in theirs.items() if isinstance(of, Periods) and of.end is None}
    return any(name in without_end and isinstance(how, All | Last) for name, (how, _) in pairs.items())


def width(mapping: PartitionMapping, downstream: Partitions, upstream: Partitions, now_utc: datetime) -> int:
    """How many upstream partitions each further partition of the reading table adds to what must be read, about.

    What all of them read alike (a register, all partitions, the newest one) is read once, so it adds nothing.
    """
    if isinstance(upstream, Unpartitioned) or isinstance(downstream, Unpartitioned) or isinstance(mapping, All | Last):
        return 1
    own, theirs = dimensions_of(downstream), dimensions_of(upstream)
    pairs = paired(mapping, downstream, upstream)
    alike = all(by is None for _, by in pairs.values())
    return (
        1 if alike else prod(_width(how, own.get(by or ""), theirs[name], now_utc) for name, (how, by) in pairs.items())
    )


def _width(mapping: PartitionMapping, downstream: Dimension | None, upstream: Dimension, now_utc: datetime) -> int:
    match mapping:
        case All():
            return max(1, upstream.size(now_utc))
        case Keys(of):
            return max(1, *(len(read) for _, read in of))
        case Window() if isinstance(downstream, Periods) and isinstance(upstream, Periods):
            return _periods(downstream, upstream)
        case _:
            return 1


def _periods(downstream: Periods, upstream: Periods) -> int:
    """Upstream periods that fit into one downstream, at the set's beginning."""
    begin, end = downstream.begin(downstream.first), downstream.begin(downstream.first + 1)
    within = upstream.number_at(begin)
    return max(1, (end - begin) // (upstream.begin(within + 1) - upstream.begin(within)))


# ------------------------------------------------------------------------------------------------- what fits what


@lru_cache(maxsize=1024)
def paired(mapping: PartitionMapping, downstream: Partitions, upstream: Partitions) -> Mapping[str, Pair]:
    """How each upstream dimension is read, and by which dimension of the reader.

    Raises:
        DeclarationError: If the mapping cannot work; in words that follow "which" (see ``refuse``).
    """
    own, theirs = dimensions_of(downstream), dimensions_of(upstream)
    if isinstance(mapping, All | Last):
        return dict.fromkeys(theirs, (mapping, None))
    if not own and not isinstance(mapping, Dimensions):
        raise DeclarationError(_NO_PARTITION)
    shared = _shared(own, theirs)
    if isinstance(upstream, Multi):
        if not isinstance(mapping, Dimensions) and mapping != SAME:
            example = f"Dimensions({next(iter(theirs))}={_said(mapping)})"
            raise DeclarationError(f"has dimensions: say which is meant, {example}")
        said = dict(mapping.of) if isinstance(mapping, Dimensions) else {}
    else:
        if isinstance(mapping, Dimensions):
            raise DeclarationError("has one dimension: say how it is read without Dimensions(…)")
        said = {ONLY: mapping}
    unknown = sorted(said.keys() - theirs.keys())
    if unknown:
        raise DeclarationError(f"has no dimension {', '.join(unknown)}; it has {', '.join(theirs)}")
    return {name: _pair(name, of, said.get(name), shared.get(name), own) for name, of in theirs.items()}


def _pair(
    name: str,
    upstream: Dimension,
    said: Window | All | Last | Keys | None,
    by: str | None,
    own: Mapping[str, Dimension],
) -> Pair:
    how = said if said is not None else SAME if by is not None else All()
    if isinstance(how, All | Last):
        return how, None
    which = "" if name == ONLY else f"has a dimension {name}, which "
    if by is None:
        lacks = "the reader lacks" if which else f"has {upstream.NAME} partitions, of which the reader's say nothing"
        raise DeclarationError(f"{which}{lacks}: read All() of them, or Last()")
    why = _why_not_keys(how, own[by], upstream) if isinstance(how, Keys) else _why_not(how, own[by], upstream)
    if why is not None:
        raise DeclarationError(which + why)
    return how, by


def _shared(own: Mapping[str, Dimension], theirs: Mapping[str, Dimension]) -> dict[str, str]:
    """The dimension of the reader that corresponds to each upstream dimension that has one.

    Between combinations it is the one of the same name. A set of one dimension corresponds to the dimension that is
    equal to it, else to the only one of its sort (periods, lists).
    """
    if ONLY in theirs:
        found = _like(theirs[ONLY], own)
        return {ONLY: found[0]} if found else {}
    if ONLY in own:
        return dict.fromkeys(_like(own[ONLY], theirs), ONLY)
    return {name: name for name in theirs if name in own}


def _like(dimension: Dimension, among: Mapping[str, Dimension]) -> list[str]:
    """The name of the dimension that corresponds to one, if there is one."""
    equal = [name for name, other in among.items() if other == dimension]
    alike = [name for name, other in among.items() if isinstance(other, Static) == isinstance(dimension, Static)]
    found = equal if len(equal) == 1 else alike
    if len(found) > 1:
        msg = (
            f"could be read by either of {' and '.join(found)}: give the dimension that is meant the very same set, or "
            "read All() of it"
        )
        raise DeclarationError(msg)
    return found


def _why_not(window: Window, downstream: Dimension, upstream: Dimension) -> str | None:
    """Why a dimension cannot be read by another one through a window; None if it can."""
    why = None
    if isinstance(downstream, Static) and isinstance(upstream, Static):
        there = set(upstream.of)
        lacking = [key for key in downstream.of if key not in there]
        if window != SAME:
            why = f"has a list of keys, in which {_said(window)} counts nothing: say Keys(…), All() or Last()"
        elif lacking:
            why = f"has no partition {_some(lacking)}: say what these read with Keys(…)"
    elif isinstance(downstream, Static) or isinstance(upstream, Static):
        sorts = f"{upstream.NAME} partitions, of which {downstream.NAME} ones say nothing"
        why = f"has {sorts}: read All() of them, or Last()"
    elif window.last < window.first and _periods(downstream, upstream) == 1:
        why = f"would be read from {window.first} to {window.last}, which is nothing: the first comes first"
    return why


def _why_not_keys(keys: Keys, downstream: Dimension, upstream: Dimension) -> str | None:
    """Why a dimension cannot be read by another one key by key; None if it can."""
    if not (isinstance(downstream, Static) and isinstance(upstream, Static)):
        return "is read by Keys(…), but that is for lists of keys on either side"
    said, why, own = dict(keys.of), None, set(downstream.of)
    unknown = [key for key in said if key not in own]
    nothing = [key for key in downstream.of if not said.get(key)]
    lacking = sorted({key for read in said.values() for key in read} - set(upstream.of))
    if unknown:
        why = f"is read by Keys(…) for {_some(unknown)}, which the reader has no partition of"
    elif nothing:
        why = f"is read by Keys(…), which says nothing for {_some(nothing)}: name what each reads"
    elif lacking:
        why = f"has no partition {_some(lacking)}; it has {_some(upstream.of)}"
    return why


_NAMED = 5
"""Keys that a message names."""


def _some(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return ", ".join(keys[:_NAMED]) + more


def _said(mapping: PartitionMapping) -> str:
    return f"Window({mapping.first}, {mapping.last})" if isinstance(mapping, Window) else f"{type(mapping).__name__}(…)"


_NO_PARTITION = (
    "has partitions, but a table without partitions cannot say which of them it reads: "
    "read All() of them, or Last(), or give it partitions"
)
